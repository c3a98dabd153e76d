#!/usr/bin/env node
// Breaks one invariant at a time in a copy of the tree and checks that its test notices. A test that stays green
// guards nothing.
//
//   scripts/mutants.mjs                 as the gate does: those of the files that changed, and a tenth of the others
//   scripts/mutants.mjs --all           all of them
//   scripts/mutants.mjs --anchors       none: only whether each text to break stands once in its file
//   scripts/mutants.mjs 'off by one'    those with these words in their names
//
// "Changed" is against origin/main, or, where that is the commit at hand, against the commit before it. The tenth is chosen
// by the commit, so that each commit tries another one, and the same commit the same one.
import { execFile, execFileSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const folder = join(root, 'target', 'mutants');

/** What is broken, where, how, and the test that must fail. `suite` is the test binary: the library's own, or `it`. */
const mutants = [
  {
    name: 'who reads much has the priority of whoever commits and delivers',
    file: 'src/blocking.rs',
    from: '        if !IS_BEHIND.replace(true) {',
    to: '        if false {',
    test: 'who_reads_much_leaves_the_processor_to_whoever_commits_and_delivers',
  },
  {
    name: 'wake before commit',
    file: 'src/store/sqlite/writer.rs',
    from: '            rows::run(&self.connection, "COMMIT").map_err(broken(true))?;',
    to: `            for follower in &self.followers {
                follower.committed(before, &changes.entries, changes.head);
            }
            changes.entries.clear();
            rows::run(&self.connection, "COMMIT").map_err(broken(true))?;`,
    test: 'the_embedded_store_passes_the_suite',
  },
  {
    name: 'a user joins any number of topics',
    file: 'src/store/sqlite/changes.rs',
    from: 'if spans::count_joined(self.connection, user)? + new.len() > self.topics_max {',
    to: 'if false {',
    test: 'a_user_joins_so_many_topics_and_of_a_list_all_or_none',
  },
  {
    name: 'as much of each topic is read ahead as if there were one',
    file: 'src/store/sqlite/feed.rs',
    from: '(ROWS_AHEAD / spans.len()).clamp(*ROWS_PER_READ.start(), *ROWS_PER_READ.end())',
    to: '*ROWS_PER_READ.end()',
    test: 'a_look_reads_so_much_ahead_however_many_topics_there_are',
  },
  {
    name: 'each topic is looked through for what was missed as far as if there were one',
    file: 'src/store/sqlite/feed.rs',
    from: 'let through = span.through.min(self.reached);',
    to: 'let through = span.through;',
    test: 'what_was_missed_is_read_at_once_of_many_topics_as_of_few',
  },
  {
    name: 'a user who joins and leaves again and again keeps all times of it',
    file: 'src/store/sqlite/changes.rs',
    from: '        spans::drop_oldest_memberships(self.connection, user.as_str())?;\n',
    to: '',
    test: 'ended_memberships_are_bounded_and_the_newest_are_kept',
  },
  {
    name: 'what a user does next is done before the erasure has ended',
    file: 'src/store/sqlite/deferred.rs',
    from: 'erased.contains(*user) || erasing::through(connection, user).is_ok_and(|through| through.is_some())',
    to: 'false',
    test: 'a_user_who_is_being_erased_waits_for_it_and_nobody_else_does',
  },
  {
    name: 'memberships of an erased user count until they are removed',
    file: 'src/store/sqlite/spans.rs',
    from: '(?2 IS NULL OR since > ?2)',
    to: '(?2 IS NULL OR 1)',
    test: 'memberships_of_an_erased_user_are_gone_at_once_and_from_the_file_in_pieces',
  },
  {
    name: 'a membership counts whatever its checksum',
    file: 'src/store/sqlite/spans.rs',
    from: 'WHERE user = ?1 AND (?2 IS NULL OR since > ?2) AND {}",',
    to: 'WHERE user = ?1 AND (?2 IS NULL OR since > ?2) AND (1 OR {})",',
    test: 'a_damaged_membership_shows_a_topic_to_nobody_and_is_made_again',
  },
  {
    name: 'damaged rows of a long table stay',
    file: 'src/store/sqlite/audit.rs',
    from: '            kept.table.delete_if_damaged(connection, key)?;\n',
    to: '',
    test: 'damaged_rows_of_a_long_table_are_mended_while_the_server_serves',
  },
  {
    name: 'a slice goes on after whatever position was the last',
    file: 'src/store/sqlite/audit.rs',
    from: 'if position <= unfound.through.unwrap_or(after) {',
    to: 'if false {',
    test: 'a_damaged_position_at_the_end_of_a_slice_is_not_looked_at_for_ever',
  },
  {
    name: 'acknowledge before the follower is told',
    file: 'src/store/sqlite/writer.rs',
    from: `            for follower in &self.followers {
                follower.committed(before, &entries, head);
            }`,
    to: `            let (followers, told) = (self.followers.clone(), entries.clone());
            std::thread::spawn(move || {
                std::thread::sleep(std::time::Duration::from_millis(20));
                followers.iter().for_each(|follower| follower.committed(before, &told, head));
            });`,
    test: 'the_embedded_store_passes_the_suite',
  },
  {
    name: 'an exp that need not be in the future',
    file: 'src/auth/tokens/issuing.rs',
    from: 'if expires_at <= now {',
    to: 'if false {',
    test: 'the_times_of_a_token_may_have_fractions_and_need_no_certain_notation',
  },
  {
    name: 'a token that is refused for what it says is a guess',
    file: 'src/auth.rs',
    from: 'Self::Token(TokenError::Signature))',
    to: 'Self::Token(_))',
    suite: 'it',
    test: 'a_token_that_is_refused_for_what_it_says_is_no_guess',
  },
  {
    name: 'a report of lost lines is lost like any line',
    file: 'src/diagnostics/output.rs',
    from: '> WAITING_BYTES_MAX && !is_report {',
    to: '> WAITING_BYTES_MAX {',
    test: 'a_report_of_losses_is_not_lost_itself_and_does_not_make_the_queue_longer',
  },
  {
    name: 'the second signal leaves the folder of dev behind',
    file: 'src/cli/serve.rs',
    from: '            remove(&folder);',
    to: '            drop(folder);',
    suite: 'it',
    test: 'dev_leaves_nothing_behind_however_it_is_told_to_end',
  },
  {
    name: 'JSON with a mistake in it is text',
    file: 'src/http/draft.rs',
    from: 'if is_meant_as_json(headers, bytes) {',
    to: 'if super::request::is_json(headers) {',
    test: 'json_is_json_whatever_it_calls_itself_and_text_is_text',
  },
  {
    name: 'what the log has lost not counted',
    file: 'src/store/sqlite/head.rs',
    from: 'count.inc_by(said.map_or(1, |said| lost(said, reached)));',
    to: 'let _ = (count, said.map_or(1, |said| lost(said, reached)));',
    test: 'a_file_from_before_an_entry_is_noticed',
  },
  {
    name: 'what is damaged is said to have expired',
    file: 'src/delivery/subscriber.rs',
    from: 'reset(ResetReason::Damaged)',
    to: 'reset(ResetReason::Expired)',
    test: 'a_cursor_that_cannot_be_honoured_is_said_so',
  },
  {
    name: 'all polls share one room',
    file: 'src/http/poll.rs',
    from: 'AtOnce::new((room / share).max(1))',
    to: 'AtOnce::new(room * share)',
    suite: 'it',
    test: 'who_polls_more_than_a_share_is_told_so_and_nobody_else_notices',
  },
  {
    name: 'the wait of a poll is over before the store has answered',
    file: 'src/http/poll.rs',
    from: 'timeout_at(begun + WAIT_MAX, parts.settled())',
    to: 'timeout_at(begun + WAIT_MAX, std::future::ready(()))',
    suite: 'it',
    test: 'a_poll_that_does_not_wait_has_what_is_there',
  },
  {
    name: 'the cursor of a poll without events stays where it was',
    file: 'src/http/poll.rs',
    from: 'parts.caught_up().filter(|_| self.events.is_empty())',
    to: 'parts.caught_up().filter(|_| false)',
    suite: 'it',
    test: 'the_cursor_of_a_poll_moves_over_what_is_for_others',
  },
  {
    name: 'the limit of an address is not that of the configuration',
    file: 'src/server.rs',
    from: '            per_address: config.limits.connections_per_address.unwrap_or(places.requests.div_ceil(4)),',
    to: '            per_address: places.requests.div_ceil(4),',
    suite: 'it',
    test: 'an_address_has_so_many_connections_and_a_new_one_takes_the_place_of_its_oldest',
  },
  {
    name: 'HTTP/1.1 without a Host header',
    file: 'src/http.rs',
    from: '        (None, _) if request.version() != Version::HTTP_11 => {}',
    to: '        (None, _) => {}',
    suite: 'it',
    test: 'http_1_1_must_name_its_host_once_and_http_1_0_need_not',
  },
  {
    name: 'what memory owes to the store is given up with the request',
    file: 'src/store.rs',
    from: '    match tokio::spawn(work).await {',
    to: '    match Ok::<_, tokio::task::JoinError>(work.await) {',
    test: 'memory_follows_the_store_though_the_client_goes_away_in_between',
  },
  {
    name: 'a delay counted though no stream waited',
    file: 'src/delivery/engine.rs',
    from: '            let audiences: Box<[Audience]> = audiences.iter().filter(ours)',
    to: `            self.counts.awaited(committed.at);
            let audiences: Box<[Audience]> = audiences.iter().filter(ours)`,
    test: 'a_delay_is_counted_only_where_a_stream_waited',
  },
  {
    name: 'more streams than descriptors',
    file: 'src/listener/descriptors.rs',
    from: '(left - requests).min(wanted.streams.unwrap_or(usize::MAX))',
    to: 'wanted.streams.unwrap_or(left - requests)',
    test: 'connections_get_no_more_descriptors_than_there_are',
  },
  {
    name: 'a log that takes any number of lines',
    file: 'src/diagnostics/output.rs',
    from: 'if state.bytes + line.len() > WAITING_BYTES_MAX',
    to: 'if state.bytes + line.len() > usize::MAX',
    test: 'whoever_logs_does_not_wait_for_a_reader_and_memory_is_bounded',
  },
  {
    name: 'warnings that a peer can repeat without end',
    file: 'src/diagnostics/repetition.rs',
    from: 'if period.written.len() < DIFFERENT_MAX && !period',
    to: 'if !period',
    test: 'lines_that_say_something_else_are_written_up_to_a_bound_and_the_newest_is_told',
  },
  {
    name: 'a warning left out since another of its kind was written',
    file: 'src/diagnostics/repetition.rs',
    from: '!period.written.contains(&text)',
    to: 'period.written.is_empty()',
    test: 'lines_that_say_something_else_are_written_up_to_a_bound_and_the_newest_is_told',
  },
  {
    name: 'what a stranger was refused, at info',
    file: 'src/http/request_log.rs',
    from: '(key.is_some() && status.is_client_error())',
    to: 'status.is_client_error()',
    test: 'what_somebody_must_act_on_is_info_and_all_is_debug',
  },
  {
    name: 'a body that can not be read taken for one that was read',
    file: 'src/http/body.rs',
    from: 'Rest::Broken => false',
    to: 'Rest::Broken => true',
    suite: 'it',
    test: 'an_answer_to_a_malformed_chunk_says_that_the_connection_ends',
  },
  {
    name: 'an answer of a draining server that keeps its connection',
    file: 'src/http.rs',
    from: '    if app.is_draining() && version < Version::HTTP_2 {',
    to: '    if false && version < Version::HTTP_2 {',
    suite: 'it',
    test: 'a_full_or_ending_server_asks_to_come_back_and_never_sends_an_error',
  },
  {
    name: 'a quiet connection outlives the drain',
    file: 'src/listener/ending.rs',
    from: 'if quiet.spoken || *self.phase.borrow() == Phase::Ending =>',
    to: 'if *self.phase.borrow() == Phase::Ending =>',
    test: 'a_quiet_connection_is_closed_while_the_server_drains',
  },
  {
    name: 'HTTP is not told that a quiet connection ends',
    file: 'src/listener/http1.rs',
    from: '                Pin::new(&mut http).graceful_shutdown();\n',
    to: '',
    test: 'a_quiet_connection_is_closed_while_the_server_drains',
  },
  {
    name: 'a wake-up lost between reading and waiting',
    file: 'src/delivery/subscriber.rs',
    from: 'self.cursor = batch.through;\n            return;',
    to: 'self.cursor = view.tail.head();\n            return;',
    test: 'a_wake_up_during_a_read_is_not_lost',
  },
  {
    name: 'a wake-up lost while the sink is full',
    file: 'src/delivery/subscriber.rs',
    from: 'Input::Writable => self.blocked = false,',
    to: 'Input::Writable => { self.blocked = false; return Output::Nothing }',
    test: 'a_wake_up_while_the_sink_is_full_is_not_lost',
  },
  {
    name: 'replay unbounded by the head',
    file: 'src/delivery/subscriber.rs',
    from: 'Output::Read { after: self.cursor, through: view.tail.head() }',
    to: 'Output::Read { after: self.cursor, through: Position(u64::MAX) }',
    test: 'a_read_is_bounded_by_the_head',
  },
  {
    name: 'the store ignores the bound of a read',
    file: 'src/store/sqlite/replay.rs',
    from: 'let read = feed::positions(connection, interest, after, through, limit)',
    to: 'let read = feed::positions(connection, interest, after, Position::END, limit)',
    test: 'the_embedded_store_passes_the_suite',
  },
  {
    name: 'off by one at the edge of the tail: one entry lost',
    file: 'src/delivery/tail.rs',
    from: 'if cursor < self.floor ||',
    to: 'if cursor.0 + 1 < self.floor.0 ||',
    test: 'the_edge_of_the_tail_is_exact',
  },
  {
    name: 'off by one at the edge of the tail: the store read for nothing',
    file: 'src/delivery/tail.rs',
    from: 'if cursor < self.floor ||',
    to: 'if cursor <= self.floor ||',
    test: 'a_cursor_at_the_floor_is_served_by_the_tail_and_one_below_it_by_the_store',
  },
  {
    name: 'off by one in the tail: the last entry doubled',
    file: 'src/delivery/tail.rs',
    from: 'queue.partition_point(|placed| placed.position <= after)',
    to: 'queue.partition_point(|placed| placed.position < after)',
    test: 'the_edge_of_the_tail_is_exact',
  },
  {
    name: 'an entry for two audiences of a reader sent twice',
    file: 'src/delivery/tail.rs',
    from: `                    run.at += 1;
                }`,
    to: `                    run.at += 1;
                    break;
                }`,
    test: 'gathering_is_filtering_the_log',
  },
  {
    name: 'the rest of a frame forgotten',
    file: 'src/delivery/subscriber.rs',
    from: 'if bytes > start || cursor == self.cursor {',
    to: 'if cursor == self.cursor {',
    test: 'every_interleaving_gives_exactly_the_log_after_the_cursor',
  },
  {
    name: 'a beat that is no chunk',
    file: 'src/delivery/subscriber.rs',
    from: 'batch.push_bytes(beat.framed(view.form.framing), self.cursor);',
    to: 'batch.push_bytes(beat.data(), self.cursor);',
    test: 'all_that_is_sent_is_chunks_and_an_end_in_good_order_has_the_last',
  },
  {
    name: 'a notice that is no chunk',
    file: 'src/delivery/subscriber.rs',
    from: 'batch.push_bytes(notice.framed(view.form.framing), self.cursor);',
    to: 'batch.push_bytes(notice.data(), self.cursor);',
    test: 'all_that_is_sent_is_chunks_and_an_end_in_good_order_has_the_last',
  },
  {
    name: 'an end in good order without the last chunk',
    file: 'src/delivery/subscriber.rs',
    from: 'self.owed = form.framing.last().map(Box::new);',
    to: 'let _ = form;',
    test: 'all_that_is_sent_is_chunks_and_an_end_in_good_order_has_the_last',
  },
  {
    name: 'closed before the last chunk was taken',
    file: 'src/delivery/subscriber.rs',
    from: '        if self.blocked || matches!(self.phase, Phase::Opening | Phase::Reading) {',
    to: `        if self.phase == Phase::Ending && self.blocked {
            return Output::Close(Reason::Ended);
        }
        if self.blocked || matches!(self.phase, Phase::Opening | Phase::Reading) {`,
    test: 'an_end_in_good_order_waits_for_the_sink_and_not_for_ever',
  },
  {
    name: 'the last chunk after a part of a frame',
    file: 'src/delivery/subscriber.rs',
    from: `            Input::EndNow if self.blocked => return Output::Close(Reason::Stalled),
`,
    to: `            Input::EndNow if self.blocked => {
                self.blocked = false;
                self.owed = None;
                self.end(view.form);
            }
`,
    test: 'any_other_end_does_not_look_like_one_in_good_order',
  },
  {
    name: 'what the store has read is sent after the last chunk',
    file: 'src/delivery/subscriber.rs',
    from: '            Input::Refilled { .. } if self.phase == Phase::Ending => {}\n',
    to: '',
    test: 'nothing_follows_the_last_chunk_not_even_what_the_store_was_asked_for',
  },
  {
    name: 'an answer that asks to come back has no last chunk',
    file: 'src/delivery/beginning.rs',
    from: '        answer.extend(self.framing.last());\n',
    to: '',
    suite: 'it',
    test: 'a_stream_that_can_not_begin_now_is_a_whole_answer',
  },
  {
    name: 'streams that are left when the engines stop are cut',
    file: 'src/delivery/engine.rs',
    from: '        self.drive_each(self.numbers(), || Input::EndNow);\n',
    to: '',
    test: 'a_stream_that_is_left_when_the_engines_stop_ends_in_good_order',
  },
  {
    name: 'a chunk without data, which ends the body',
    file: 'src/sse/chunk.rs',
    from: '        if size == 0 {\n            return',
    to: '        if false {\n            return',
    test: 'no_data_is_no_chunk',
  },
  {
    name: 'chunks over HTTP/1.0',
    file: 'src/listener/http1.rs',
    from: 'let is_chunked = request.version() == Version::HTTP_11;',
    to: 'let is_chunked = request.version() <= Version::HTTP_11;',
    suite: 'it',
    test: 'over_http_1_0_and_http_2_there_are_no_chunks',
  },
  {
    name: 'a blank line after a comment',
    file: 'src/sse.rs',
    from: 'bytes.put_slice(b":\\n")',
    to: 'bytes.put_slice(b":\\n\\n")',
    test: 'a_comment_is_one_line_and_ends_no_event',
  },
  {
    name: 'a heartbeat that passes over what is due',
    file: 'src/delivery/subscriber.rs',
    from: `        if self.cursor < view.tail.head() {
            let output`,
    to: `        if false {
            let output`,
    test: 'a_heartbeat_moves_no_cursor_past_what_was_not_sent',
  },
  {
    name: 'a change of membership lost to an older answer of the store',
    file: 'src/delivery/readers.rs',
    from: `        for (position, change) in reader.awaiting.iter().flat_map(|awaiting| &awaiting.changes) {
            apply(&mut reader.interest, *position, change);
        }`,
    to: '',
    test: 'leaving_while_the_store_answers_is_not_forgotten',
  },
  {
    name: 'a commit that is not synced to the disk',
    file: 'src/store/sqlite/schema.rs',
    from: 'pragma_update(None, "synchronous", "FULL")',
    to: 'pragma_update(None, "synchronous", "NORMAL")',
    test: 'a_commit_is_synced_to_the_disk',
  },
  {
    name: 'an engine that is never woken for what is not urgent',
    file: 'src/delivery/mailbox.rs',
    from: 'if self.unhurried.fetch_add(1, Ordering::Relaxed) >= UNHURRIED_MAX {',
    to: 'if false {',
    test: 'an_engine_is_woken_after_so_many_commands_at_the_latest',
  },
  {
    name: 'an engine not woken for what is for everyone',
    file: 'src/delivery.rs',
    from: 'Audience::Topic(_) | Audience::Everyone => self.engines.fill(true),',
    to: 'Audience::Topic(_) | Audience::Everyone => {}',
    test: 'the_engines_that_have_somebody_to_send_to_are_woken',
  },
  {
    name: 'a topic entered that nobody takes out again',
    file: 'src/delivery/readers.rs',
    from: '            && reader.interest.memberships.iter().any(|membership| membership.topic == *topic)',
    to: '',
    test: 'whoever_goes_before_the_store_answers_leaves_nothing_behind',
  },
  {
    name: 'an entry of the tail counted once, whatever its audiences',
    file: 'src/delivery/tail.rs',
    from: 'AUDIENCE_OVERHEAD * self.audiences.len()',
    to: 'AUDIENCE_OVERHEAD',
    test: 'an_entry_is_counted_for_each_of_its_audiences',
  },
  {
    name: 'hello carries the head instead of the cursor',
    file: 'src/delivery/beginning.rs',
    from: 'sse::hello(self.wire, ids.fresh(resumption.cursor),',
    to: 'sse::hello(self.wire, ids.fresh(registered),',
    suite: 'it',
    test: 'a_client_that_has_only_the_hello_resumes_without_a_gap',
  },
  {
    name: 'an id of another epoch accepted',
    file: 'src/event_id.rs',
    from: '(u32::from_le_bytes([e0, e1, e2, e3]) == self.epoch)',
    to: '(u32::from_le_bytes([e0, e1, e2, e3]) | self.epoch != 0)',
    test: 'an_id_of_another_epoch_or_store_is_refused',
  },
  {
    name: 'a key whose name means all that begin with it',
    file: 'src/auth/keys.rs',
    from: 'None => name == pattern,',
    to: 'None => name.starts_with(pattern),',
    test: 'a_key_gives_a_right_to_what_its_scopes_say_and_to_nothing_else',
  },
  {
    name: 'the answer to a request given to whoever sends the same',
    file: 'src/http/notifications.rs',
    from: 'owner: owner.to_owned(), key',
    to: 'owner: String::new(), key',
    suite: 'it',
    test: 'what_one_key_was_answered_is_not_told_to_another',
  },
  {
    name: 'a key that does whatever is asked of it',
    file: 'src/http/identity.rs',
    from: 'if self.0.allows(scope) { Ok(()) }',
    to: 'if true || self.0.allows(scope) { Ok(()) }',
    suite: 'it',
    test: 'every_operation_asks_for_its_scope',
  },
  {
    name: 'a key that publishes to whomever it is told',
    file: 'src/http/identity.rs',
    from: '            Some(missing) => Err(Problem::scope_missing(&missing)),\n            None => Ok(Permitted(draft)),',
    to: '            _ => Ok(Permitted(draft)),',
    suite: 'it',
    test: 'a_publish_outside_of_a_keys_scope_says_which_scope_is_missing',
  },
  {
    name: 'a token of the second of a revocation accepted',
    file: 'src/auth/revocations.rs',
    from: 'issued_at.as_second() <= through.as_second()',
    to: 'issued_at <= through',
    test: 'what_may_have_been_issued_before_a_revocation_is_covered_by_it',
  },
  {
    name: 'a token that does not say when it was issued counts as new',
    file: 'src/auth/tokens/issuing.rs',
    from: 'issued_at.unwrap_or(Timestamp::MIN)',
    to: 'issued_at.unwrap_or(Timestamp::MAX)',
    test: 'a_token_says_when_it_was_issued_or_is_as_old_as_can_be',
  },
  {
    name: 'a token from the future that no revocation covers',
    file: 'src/auth/revocations.rs',
    from: 'if rounded_up > self.ahead_s.load(Ordering::Relaxed) {',
    to: 'if false && rounded_up > 0 {',
    test: 'a_token_from_the_future_is_covered_by_a_later_revocation',
  },
  {
    name: 'a token from the future accepted',
    file: 'src/auth/tokens/issuing.rs',
    from: 'if iat.is_some_and(|iat| iat > latest) {',
    to: 'if false && iat.is_some_and(|iat| iat > latest) {',
    test: 'nbf_and_iat_may_be_ahead_by_the_leeway_and_no_further',
  },
  {
    name: 'a count of members kept though one left while it was counted',
    file: 'src/store/sqlite/member_counts.rs',
    from: 'if known.changes == looked.changes {',
    to: 'if true {',
    test: 'a_count_is_known_until_its_topic_changes_and_not_kept_if_that_happens_while_it_is_counted',
  },
  {
    name: 'an RSA key of any size taken',
    file: 'src/auth/tokens/pem.rs',
    from: 'if key.family() != AlgorithmFamily::Rsa {',
    to: 'if true {',
    test: 'a_key_that_could_check_no_token_is_refused',
  },
  {
    name: 'all wrong fields of an object told',
    file: 'src/http/error/fields.rs',
    from: 'if self.told.len() < ERRORS_MAX {',
    to: 'if true {',
    test: 'of_many_wrong_fields_the_first_are_told_and_all_are_counted',
  },
  {
    name: 'a public key taken as a secret',
    file: 'src/auth/tokens.rs',
    from: 'if pem::is_pem(text) {',
    to: 'if false {',
    test: 'a_key_in_pem_is_no_secret',
  },
  {
    name: 'a critical header parameter passed over',
    file: 'src/auth/tokens/unverified.rs',
    from: '["crit", "b64", "zip", "enc", "cty", "kid"]',
    to: '["b64", "zip", "enc", "cty", "kid"]',
    test: 'a_token_whose_header_asks_for_more_than_is_understood_is_refused',
  },
  {
    name: 'a log that is as old as the wall clock says',
    file: 'src/store/sqlite/clock.rs',
    from: 'self.at = wall.min(latest).max(self.at);',
    to: 'self.at = if latest < wall { wall } else { latest };',
    test: 'a_clock_that_is_ahead_ages_the_log_slowly_and_one_that_is_behind_not_at_all',
  },
  {
    name: 'a time learned from a clock that was ahead kept',
    file: 'src/store/sqlite/clock.rs',
    from: '            self.at = known;',
    to: '            let _ = known;',
    test: 'a_time_learned_from_a_clock_that_was_ahead_is_unlearned_once_an_entry_is_earlier',
  },
  {
    name: 'a revocation that ends no stream',
    file: 'src/delivery/engine.rs',
    from: '            self.drive_each(self.readers.connections_of(user).collect(), || Input::EndNow);',
    to: '            let _ = user;',
    suite: 'it',
    test: 'a_revocation_ends_the_streams_of_its_user',
  },
  {
    name: 'a revocation missed by a stream that is about to begin',
    file: 'src/delivery/beginning.rs',
    from: 'if revoked { Err(Reason::Ended) }',
    to: 'if revoked && false { Err(Reason::Ended) }',
    test: 'a_right_that_was_revoked_meanwhile_opens_nothing',
  },
  {
    name: 'all failures forgotten when there are too many',
    file: 'src/limits.rs',
    from: 'while self.full_at.len() >= KEYS_MAX {',
    to: 'if self.full_at.len() >= KEYS_MAX { self.forget(|_| true); } while false {',
    test: 'no_flood_of_failing_addresses_ends_the_lock_out_of_another',
  },
  {
    name: 'a form kept when nobody uses it',
    file: 'src/delivery/forms.rs',
    from: 'if used.connections == 0 {',
    to: 'if false && used.connections == 0 {',
    test: 'a_form_is_forgotten_with_its_last_connection_and_no_client_can_fill_the_table',
  },
  {
    name: 'whoever fails too often looked at all the same',
    file: 'src/limits.rs',
    from: 'self.insert(key.clone(), (before + interval).min(now + Nanos::from(buckets.all())));',
    to: 'let _ = before;',
    test: 'whoever_fails_too_often_is_shut_out_for_a_while_and_nobody_else',
  },
  {
    name: 'all that a user has too many of removed in one commit',
    file: 'src/store/sqlite/writer/upkeep.rs',
    from: 'retention::trim_user(changes.connection, &user, inbox_max)',
    to: '{ while retention::trim_user(changes.connection, &user, inbox_max)? {} Ok(false) }',
    test: 'a_user_with_many_too_many_is_trimmed_in_turns_and_others_come_between',
  },
  {
    name: 'a user who changes something as often as they like',
    file: 'src/http/identity.rs',
    from: 'if !parts.method.is_safe() {',
    to: 'if false && !parts.method.is_safe() {',
    suite: 'it',
    test: 'a_user_changes_so_much_and_another_user_or_a_server_key_as_much_again',
  },
  {
    name: 'a server key counted as the user for whom it asks',
    file: 'src/http/identity.rs',
    from: 'if self.issued_at.is_none() {',
    to: 'if false && self.issued_at.is_none() {',
    suite: 'it',
    test: 'a_user_changes_so_much_and_another_user_or_a_server_key_as_much_again',
  },
  {
    name: 'a user with as many streams as come',
    file: 'src/delivery/engine.rs',
    from: 'if self.readers.count_of(&user) >= self.shared.options.per_user_max {',
    to: 'if self.readers.count_of(&user) > 1_000_000 {',
    suite: 'it',
    test: 'a_user_has_so_many_streams_and_the_next_is_asked_to_come_back',
  },
  {
    name: 'an address believed whoever says it',
    file: 'src/http/address.rs',
    from: 'while is_trusted(trusted, &nearest) {',
    to: 'while is_trusted(trusted, &nearest) || !said.is_empty() {',
    test: 'an_address_counts_only_as_far_as_trusted_proxies_have_said_it',
  },
  {
    name: 'a reader that takes nothing closed in good order',
    file: 'src/delivery/sink.rs',
    from: 'return socket.break_off();',
    to: 'return socket.finish();',
    test: 'a_socket_that_takes_nothing_is_reset',
  },
  {
    name: 'an answer that is stuck in HTTP left there',
    file: 'src/delivery/body.rs',
    from: 'self.0.abort.abort();',
    to: '',
    test: 'an_answer_that_takes_nothing_is_ended',
  },
  {
    name: 'a body whose stream has ended left open',
    file: 'src/delivery/body.rs',
    from: 'state.finished = true;',
    to: '',
    test: 'what_was_taken_is_sent_before_the_end',
  },
  {
    name: 'a body that had no room never told of it',
    file: 'src/delivery/body.rs',
    from: 'state.bytes <= QUEUE_BYTES_MAX / 2;',
    to: 'state.bytes > QUEUE_BYTES_MAX;',
    test: 'whoever_was_refused_room_is_told_once_when_there_is_some',
  },
  {
    name: 'a stream that outlives its token',
    file: 'src/delivery/engine.rs',
    from: 'self.now.saturating_add(ticks_until(expires_at))',
    to: 'self.now.saturating_add(ticks_until(expires_at)).max(36_000)',
    suite: 'it',
    test: 'a_stream_ends_with_its_token',
  },
  {
    name: 'a token that need not expire',
    file: 'src/auth/tokens/issuing.rs',
    from: 'let exp = seconds(token, "exp")?.ok_or_else(missing)?;',
    to: 'let exp = seconds(token, "exp")?.unwrap_or(4e9);',
    test: 'a_token_that_does_not_pass_says_which_check_failed',
  },
  {
    name: 'what has expired sent all the same',
    file: 'src/delivery/tail.rs',
    from: 'if placed.expires <= telling.now {',
    to: 'if false {',
    test: 'what_has_expired_is_not_sent',
  },
  {
    name: 'what was taken back sent to those who come later',
    file: 'src/delivery/tail.rs',
    from: 'self.each_at(origin, audiences, Placed::forget);',
    to: 'let _ = audiences;',
    test: 'what_was_taken_back_or_edited_is_sent_as_it_is_now',
  },
  {
    name: 'what was an erased user\'s kept by the tail',
    file: 'src/delivery/tail.rs',
    from: 'self.by_audience.remove(&Audience::User(user.clone()));',
    to: 'if true { return; }',
    test: 'whatever_the_store_forgets_no_stream_says_again',
  },
  {
    name: 'what is written to the store logged',
    file: 'src/store/sqlite/writer.rs',
    from: '    fn apply(&mut self, appends: &[Append]) -> Result<Vec<Appended>, Failure> {\n',
    to: `    fn apply(&mut self, appends: &[Append]) -> Result<Vec<Appended>, Failure> {
        tracing::trace!(?appends);
`,
    test: 'what_was_taken_back_is_in_no_file_soon_after',
  },
  {
    name: 'what is deleted left in free pages of the file',
    file: 'src/store/sqlite/schema.rs',
    from: '"secure_delete", true',
    to: '"secure_delete", false',
    test: 'what_was_taken_back_is_in_no_file_soon_after',
  },
  {
    name: 'what was taken back left in the -wal until that is large',
    file: 'src/store/sqlite/checkpoint.rs',
    from: 'is_some_and(|at| at <= Instant::now())',
    to: 'is_some_and(|at| at <= Instant::now() && false)',
    test: 'what_was_taken_back_is_in_no_file_soon_after',
  },
  {
    name: 'what says up to where something was removed believed though it is damaged',
    file: 'src/store/sqlite/positions.rs',
    from: 'max(iif({}, trimmed, {newest}),',
    to: 'max(iif(1 OR {}, trimmed, {newest}),',
    test: 'what_says_up_to_where_something_was_removed_is_not_believed_if_it_is_damaged',
  },
  {
    name: 'nobody told that it is not known what was removed',
    file: 'src/store/sqlite/audit.rs',
    from: 'Ok(Some(is_lost)) => lost |= is_lost,',
    to: 'Ok(Some(_)) => {}',
    test: 'what_says_up_to_where_something_was_removed_is_not_believed_if_it_is_damaged',
  },
  {
    name: 'all rows of all tables looked at before the start',
    file: 'src/store/sqlite/audit.rs',
    from: 'if self.table.has_more_than(connection, rows_max)? {',
    to: 'if false && self.table.has_more_than(connection, rows_max)? {',
    test: 'of_a_long_table_no_row_is_looked_at_before_the_start_and_each_after_it',
  },
  {
    name: 'what is damaged counted',
    file: 'src/store/sqlite/feed.rs',
    from: 'let passed = expired || is_damaged ||',
    to: 'let passed = expired || (false && is_damaged) ||',
    test: 'what_is_damaged_is_not_counted_from_the_start_on_or_once_it_was_met',
  },
  {
    name: 'all of the reserve given up at once',
    file: 'src/store/sqlite/reserve.rs',
    from: 'self.give_up_a_piece(PIECE_BYTES, KEPT_FOR_STARTS_BYTES)',
    to: 'self.give_up_a_piece(self.bytes, 0)',
    suite: 'it',
    test: 'on_a_disk_that_stays_full_a_server_starts_again_and_again_and_recalls_each_time',
  },
  {
    name: 'all marks of what is gone removed at once',
    file: 'src/store/sqlite/forgetting.rs',
    from: 'if remove_marks(connection, position, MARKS_AT_ONCE)? == MARKS_AT_ONCE {',
    to: 'if remove_marks(connection, position, usize::MAX)? == MARKS_AT_ONCE {',
    test: 'marks_of_what_is_recalled_or_too_old_go_in_pieces_and_all_of_them',
  },
  {
    name: 'what was taken back left where no row is',
    file: 'src/store/sqlite/scrub.rs',
    from: 'for part in unclean(&page) {',
    to: 'for part in unclean(&page).take(0) {',
    test: 'whatever_was_taken_back_is_in_no_part_of_a_page_soon_after_nor_after_the_end',
  },
  {
    name: 'what a crash left where no row is never looked for',
    file: 'src/store/sqlite.rs',
    from: 'let mut looks = vec![scrub::look(readers.file(), writer.tasks())];',
    to: 'let mut looks = Vec::new();',
    test: 'what_is_left_from_before_the_start_goes_soon_after_it',
  },
  {
    name: 'a page whose parts overlap taken for one of rows',
    file: 'src/store/sqlite/scrub/page.rs',
    from: 'if start < at || end > page.len() {',
    to: 'if end > page.len() {',
    test: 'whatever_a_page_says_no_row_that_it_has_is_unused',
  },
  {
    name: 'what an earlier edit said kept by the tail',
    file: 'src/delivery/tail.rs',
    from: 'self.each_at(former, audiences, Placed::forget);',
    to: 'let _ = former;',
    test: 'whatever_the_store_forgets_no_stream_says_again',
  },
  {
    name: 'muted by the category of before an edit',
    file: 'src/delivery/tail.rs',
    from: 'placed.category.clone_from(&says.category);',
    to: '',
    test: 'what_is_muted_follows_an_edit_of_the_category',
  },
  {
    name: 'what the log no longer has kept by the tail',
    file: 'src/delivery/tail.rs',
    from: 'oldest.position <= through',
    to: 'oldest.position < through && false',
    test: 'what_the_log_no_longer_has_is_not_here_either',
  },
  {
    name: 'what the store had read before a recall said after it',
    file: 'src/delivery/revisions.rs',
    from: 'Some(Revision::Gone) => false,',
    to: 'Some(Revision::Gone) => true,',
    test: 'what_became_of_it_while_the_store_was_read_is_put_into_the_answer',
  },
  {
    name: 'what is muted sent all the same',
    file: 'src/delivery/tail.rs',
    from: 'if run.covers(placed.origin) && !placed.is_muted_by(interest) {',
    to: 'if run.covers(placed.origin) {',
    test: 'what_is_muted_is_not_sent',
  },
  {
    name: 'what is muted in the inbox all the same',
    file: 'src/store/sqlite/feed.rs',
    from: 'spans.is_some_and(|spans| spans.iter().any(|mute| mute.covers(position)))',
    to: 'spans.is_some_and(|_| false)',
    test: 'the_embedded_store_passes_the_suite',
  },
  {
    name: 'the search for an inbox is not bounded by what is passed over',
    file: 'src/store/sqlite/feed.rs',
    from: 'if passed_over == passed_max {',
    to: 'if passed_over == usize::MAX {',
    test: 'a_muted_category_costs_a_bounded_look_however_busy_it_is',
  },
  {
    name: 'all spans of what is muted written again',
    file: 'src/store/sqlite/spans.rs',
    from: 'if gone.remove(&(category, *since)) != Some(*until) {',
    to: 'if gone.remove(&(category, *since)) != Some(Some(Position::END)) {',
    test: 'a_change_of_what_is_muted_writes_the_difference_only',
  },
  {
    name: 'what is muted replayed all the same',
    file: 'src/store/sqlite.rs',
    from: 'entries.retain(|entry| !entry.is_muted_by(interest));',
    to: 'entries.retain(|_| true);',
    test: 'the_embedded_store_passes_the_suite',
  },
  {
    name: 'a change told to who joined later',
    file: 'src/delivery/tail.rs',
    from: 'if run.covers(placed.origin) && !placed.is_muted_by(interest) {',
    to: 'if !placed.is_muted_by(interest) {',
    test: 'a_change_is_told_to_whoever_was_a_member_when_what_it_changes_was_published',
  },
  {
    name: 'a change told to who joined later, in a replay',
    file: 'src/store/sqlite/feed.rs',
    from: 'if origins.0 < origin && origin <= origins.1 {',
    to: 'if origin <= origins.1 {',
    test: 'the_embedded_store_passes_the_suite',
  },
  {
    name: 'a watermark that wins over what was marked since',
    file: 'src/store/sqlite/feed.rs',
    from: 'self.marks.get(&position).copied().unwrap_or_else(by_watermark)',
    to: 'Some(by_watermark()).filter(|state| state.read_at.is_some()).or(self.marks.get(&position).copied()).unwrap_or_default()',
    test: 'the_embedded_store_passes_the_suite',
  },
  {
    name: 'a mark of all that leaves what has rows of its own',
    file: 'src/store/sqlite/changes.rs',
    from: 'AND position <= ?2 AND {kind} IS NULL',
    to: 'AND position <= ?2 AND {kind} IS NULL AND 0',
    test: 'the_embedded_store_passes_the_suite',
  },
  {
    name: 'what was due still scheduled',
    file: 'src/store/sqlite/changes.rs',
    from: '            self.unschedule(notification.id)?;',
    to: '',
    test: 'the_embedded_store_passes_the_suite',
  },
  {
    name: 'a repeated request done again',
    file: 'src/store/sqlite/once.rs',
    from: 'return Ok(answered.again(&asked.fingerprint));',
    to: 'drop(answered);',
    test: 'the_embedded_store_passes_the_suite',
  },
  {
    name: 'what a user has too much of removed in silence',
    file: 'src/store/sqlite/retention.rs',
    from: '.execute(params![user.as_str(), last])?;',
    to: '.execute(params![user.as_str(), Position::START])?;',
    test: 'the_embedded_store_passes_the_suite',
  },
  {
    name: 'a position given out twice',
    file: 'src/store/sqlite/retention.rs',
    from: '("given", "max(given, ?1)")',
    to: '("given", "given + 0 * ?1")',
    test: 'the_embedded_store_passes_the_suite',
  },
  {
    name: 'reads that no checkpoint waits for',
    file: 'src/store/sqlite/readers.rs',
    from: 'let passed = Arc::clone(&self.gate).read_owned().await;',
    to: 'let passed = drop(Arc::clone(&self.gate).read_owned().await);',
    test: 'the_wal_stays_within_its_bound_while_reads_overlap_all_the_time',
  },
  {
    name: 'failing maintenance that nobody is told of',
    file: 'src/store/sqlite/writer.rs',
    from: 'Ok(writer.failing())',
    to: 'Ok(Vec::new())',
    suite: 'it',
    test: 'checkpoints_that_the_disk_fails_are_said_until_one_works',
  },
  {
    name: 'a full disk at a start said like any other error',
    file: 'src/store/sqlite.rs',
    from: 'OpenError::Full(path.clone(), error)',
    to: 'OpenError::Sqlite(path.clone(), error)',
    suite: 'it',
    test: 'a_start_with_too_little_space_says_that_the_disk_is_full_and_how_much_is_enough',
  },
  {
    name: 'a reserve that publishes take',
    file: 'src/store/sqlite/writer.rs',
    from: 'Err(Failure::Full) if appends.iter().any(is_urgent) && self.reserve.give_up()',
    to: 'Err(Failure::Full) if self.reserve.give_up()',
    suite: 'it',
    test: 'a_full_disk_lets_start_read_recall_erase_and_mark_and_publish_once_there_is_room',
  },
  {
    name: 'a damaged row that stops the store',
    file: 'src/store/sqlite/failure.rs',
    from: 'None if Damaged::of(error).is_some() => Self::Damaged,',
    to: 'None if Damaged::of(error).is_some() => Self::Stopped,',
    test: 'what_is_damaged_harms_nobody_who_does_not_need_it',
  },
  {
    name: 'an unknown outcome that is said to be none',
    file: 'src/store/sqlite/failure.rs',
    from: '_ if *committing => Self::Unknown,',
    to: '_ if *committing => Self::Stopped,',
    suite: 'it',
    test: 'after_a_write_that_failed_each_answer_says_what_is_known_and_a_restart_is_asked_for',
  },
  {
    name: 'what is left of who is being erased is shown',
    file: 'src/store/sqlite/feed.rs',
    from: 'after.max(erased)',
    to: 'after',
    test: 'an_erasure_that_a_crash_cut_short_is_whole_for_everybody_and_ends_after_the_start',
  },
  {
    name: 'a change not told to who has left',
    file: 'src/store/sqlite/feed.rs',
    from: 'for Span { audience, after: since, through: last } in spans(connection, interest, Position::START, Position::END)? {',
    to: 'for Span { audience, after: since, through: last } in spans(connection, interest, after, through)? {',
    test: 'the_embedded_store_passes_the_suite',
  },
  {
    name: 'one of several replaced',
    file: 'src/store/sqlite/changes.rs',
    from: 'for id in former {',
    to: 'for id in former.into_iter().take(1) {',
    test: 'the_embedded_store_passes_the_suite',
  },
  {
    name: 'the older part of a long log never looked at',
    file: 'src/store/sqlite/audit.rs',
    from: 'Ok(Looked { through, older: looked.1, tables })',
    to: 'Ok(Looked { through, older: None, tables })',
    test: 'in_the_older_part_of_a_long_log_damage_is_found_while_the_server_serves',
  },
  {
    name: 'what is gone from the older part told to nobody',
    file: 'src/store/sqlite/audit/older.rs',
    from: 'if let Some(through) = gone {',
    to: 'if let Some(through) = gone.filter(|_| false) {',
    test: 'in_the_older_part_of_a_long_log_damage_is_found_while_the_server_serves',
  },
  {
    name: 'a scheduled notification whose user is not noted left so',
    file: 'src/store/sqlite/audit.rs',
    from: 'missing.iter().try_for_each(|(user, id)| note',
    to: 'missing.iter().take(0).try_for_each(|(user, id)| note',
    test: 'a_scheduled_notification_whose_user_is_not_noted_is_erased_all_the_same',
  },
  {
    name: 'a user who reads all at once',
    file: 'src/store/sqlite/readers.rs',
    from: 'let turn = self.turns.take(user).await;',
    to: 'let turn = self.turns.clone();',
    test: 'a_user_who_asks_for_much_at_once_leaves_connections_to_others',
  },
  {
    name: 'what an index lacks not looked for at the start',
    file: 'src/store/sqlite/audit.rs',
    from: 'PRAGMA integrity_check(20)',
    to: 'PRAGMA quick_check(20)',
    test: 'an_entry_that_an_index_lacks_is_noticed_at_the_start',
  },
  {
    name: 'all that is scheduled read to erase a user',
    file: 'src/store/sqlite/erasing.rs',
    from: 'let hers = "id IN (SELECT id FROM scheduled_user WHERE user = ?1)";',
    to: 'let hers = "instr(audiences, ?1)";',
    test: 'of_what_is_to_be_published_later_an_erasure_reads_the_users_alone',
  },
  {
    name: 'large batches committed together',
    file: 'src/server.rs',
    from: 'large_batches: Semaphore::new(1),',
    to: 'large_batches: Semaphore::new(8),',
    suite: 'it',
    test: 'of_large_batches_that_come_at_once_each_piece_is_a_commit_of_its_own',
  },
  {
    name: 'streams for which much is passed over in the way of the others',
    file: 'src/delivery/turns.rs',
    from: 'self.0[1].turns.wait(user, question);',
    to: 'self.0[0].turns.wait(user, question);',
    test: 'who_takes_much_effort_delays_nobody_who_takes_little',
  },
  {
    name: 'counts of a stream cut short',
    file: 'src/store/sqlite.rs',
    from: 'if effort == Effort::Little && inbox.is_cut_short {',
    to: 'if effort == Effort::Little && false {',
    test: 'a_stream_for_which_much_is_passed_over_begins_with_more_effort',
  },
  {
    name: 'a connection that is dropped for another counted by nothing',
    file: 'src/listener/places.rs',
    from: 'self.rules.count(reason);',
    to: '',
    test: 'the_oldest_silent_connection_is_dropped_for_a_new_one',
  },
  {
    name: 'a connection that is not let in counted by nothing',
    file: 'src/listener/places.rs',
    from: 'account.rules.count("full");',
    to: '',
    test: 'who_is_not_let_in_since_all_are_busy_is_counted',
  },
  {
    name: 'connections let in however fast they come',
    file: 'src/listener/places.rs',
    from: '&& pace.take(&address).is_err()',
    to: '&& pace.take(&address).is_err() && false',
    test: 'who_opens_connections_too_fast_is_not_let_in_and_others_are',
  },
  {
    name: 'a -wal that is emptied whenever it begins again',
    file: 'src/store/sqlite/checkpoint.rs',
    from: 'let mode = if self.is_to_be_emptied() { Mode::Empty } else { Mode::Copy };',
    to: 'let mode = if self.is_to_be_emptied() || true { Mode::Empty } else { Mode::Copy };',
    test: 'a_wal_that_begins_again_keeps_its_length_unless_a_text_was_taken_back',
  },
  {
    name: 'zeros written although another process has written since',
    file: 'src/store/sqlite/scrub.rs',
    from: 'if more { Ok(false) } else { self.write_zeros() }',
    to: 'if more && false { Ok(false) } else { self.write_zeros() }',
    test: 'nothing_is_scrubbed_if_another_process_has_written_since_the_wal_was_copied',
  },
  {
    name: 'a page of however many bytes',
    file: 'src/store/sqlite.rs',
    from: ' || bytes >= BYTES_PER_READ',
    to: ' || (bytes >= BYTES_PER_READ && false)',
    test: 'the_embedded_store_passes_the_suite',
  },
  {
    name: 'a replay of however many bytes',
    file: 'src/store/sqlite/rows.rs',
    from: 'if bytes >= BYTES_PER_READ {',
    to: 'if bytes >= BYTES_PER_READ && false {',
    test: 'the_embedded_store_passes_the_suite',
  },
  {
    name: 'an answer to a poll of however many bytes',
    file: 'src/http/poll.rs',
    from: ' || self.bytes >= BYTES_PER_READ',
    to: '',
    suite: 'it',
    test: 'what_is_large_comes_in_several_answers_to_a_poll',
  },
  {
    name: 'what a checkpoint frees on a full disk left to others',
    file: 'src/store/sqlite/writer.rs',
    from: 'writer.reserve.refill();',
    to: '',
    suite: 'it',
    test: 'what_a_checkpoint_frees_on_a_full_disk_goes_back_into_the_reserve',
  },
  {
    name: 'a disk too full to publish that nobody is told of',
    file: 'src/store/sqlite/writer/upkeep.rs',
    from: 'if self.refuses || self.reserve.is_short() {',
    to: 'if false {',
    suite: 'it',
    test: 'what_a_checkpoint_frees_on_a_full_disk_goes_back_into_the_reserve',
  },
  {
    name: 'a mark that found room taken for a publish',
    file: 'src/store/sqlite/tasks.rs',
    from: 'matches!(done, Appended::Done(_)) && append.commands.iter().any(publishes)',
    to: 'matches!(done, Appended::Done(_)) && (true || append.commands.iter().any(publishes))',
    test: 'only_a_notification_that_found_room_says_that_others_do',
  },
  {
    name: 'what has expired by the wall clock removed at a start',
    file: 'src/store/sqlite/writer/upkeep.rs',
    from: 'let expired = age.map_or(Timestamp::MIN, |age| age.read(now, newest));',
    to: 'let expired = age.map_or(Timestamp::MIN, |_| now);',
    test: 'a_start_with_the_clock_ahead_removes_nothing_that_expires_nor_drops_what_is_scheduled',
  },
  {
    name: 'what a crash left in the -wal left there',
    file: 'src/store/sqlite/checkpoint.rs',
    from: 'if left > 0 {',
    to: 'if left > 0 && false {',
    test: 'what_was_taken_back_before_a_crash_is_in_no_file_soon_after_the_next_start',
  },
  {
    name: 'a -wal that another process has copied not noticed',
    file: 'src/store/sqlite/checkpoint.rs',
    from: 'counted.began_again.store(true, Ordering::Relaxed);',
    to: '',
    test: 'what_another_process_has_copied_is_looked_through',
  },
  {
    name: 'pages not noted while another checkpoint copies',
    file: 'src/store/sqlite/checkpoint.rs',
    from: 'self.may_begin_again = self.under_way > 0;',
    to: 'self.may_begin_again = false;',
    test: 'while_another_checkpoint_copies_each_commit_notes_its_pages',
  },
  {
    name: 'a batch in one commit',
    file: 'src/http/batch.rs',
    from: '.take_while(|bytes| *bytes <= PIECE_BYTES_MAX).count()',
    to: '.count()',
    suite: 'it',
    test: 'of_large_batches_that_come_at_once_each_piece_is_a_commit_of_its_own',
  },
  {
    name: 'the last key that may make others revoked',
    file: 'src/store/sqlite/access.rs',
    from: 'key.is_admin(at) && !others',
    to: 'false && !others',
    test: 'the_embedded_store_passes_the_suite',
  },
  {
    name: 'a lasting admin key revoked since there is one that expires',
    file: 'src/store/sqlite/access.rs',
    from: 'other.is_admin(at) && other.lasts_as_long_as(key)',
    to: 'other.is_admin(at)',
    test: 'the_embedded_store_passes_the_suite',
  },
  {
    name: 'a backup that was restored taken for a loss',
    file: 'src/store/sqlite/head.rs',
    from: 'let is_restored = has_one && record.trim_ascii() == RESTORED;',
    to: 'let is_restored = false;',
    test: 'a_backup_that_is_said_to_be_restored_has_a_new_epoch_and_is_no_loss',
  },
  {
    name: 'what follows a piece of a batch that failed is tried too',
    file: 'src/http/batch.rs',
    from: 'Err(error) => return (done, Some(error)),',
    to: 'Err(error) => drop(error),',
    test: 'nothing_is_tried_after_what_fails_also_if_it_would_work',
  },
  {
    name: 'the pieces of a batch not remembered',
    file: 'src/http/batch.rs',
    from: 'let part = |number| request.as_ref().map(|request| request.part(number));',
    to: 'let part = |number| request.as_ref().filter(|_| number == 0).map(|request| request.part(number));',
    suite: 'it',
    test: 'a_batch_that_a_kill_broke_off_is_published_once_when_it_is_repeated',
  },
  {
    name: 'statements planned anew for each limit',
    file: 'src/store/sqlite/schema.rs',
    from: 'DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true',
    to: 'DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, false',
    test: 'no_statement_is_planned_anew_for_another_limit',
  },
  {
    name: 'what is scheduled for several published to who was erased',
    file: 'src/store/sqlite/erasing.rs',
    from: 'format!("{} WHERE {hers}",',
    to: 'format!("{} WHERE ?1 IS NULL AND {hers}",',
    test: 'the_embedded_store_passes_the_suite',
  },
  {
    name: 'the same epoch for a log that has lost commits',
    file: 'src/store/sqlite/head.rs',
    from: 'self.reached.epoch = u32::from_le_bytes(random);',
    to: '',
    test: 'a_file_from_before_an_entry_is_noticed',
  },
  {
    name: 'commits without an entry not counted',
    file: 'src/store/sqlite/writer.rs',
    from: 'quiet += 1;',
    to: '',
    test: 'a_commit_without_an_entry_is_missed_too',
  },
  {
    name: 'a head file that can not be written told to nobody',
    file: 'src/store/sqlite/writer.rs',
    from: 'self.maintenance.note(&self.options.metrics, "head", self.head_file.note(head, quiet).err().as_ref());',
    to: 'let _ = self.head_file.note(head, quiet);',
    test: 'a_head_file_that_cannot_be_written_is_counted_and_said_until_it_can',
  },
  {
    name: 'a head file that is never tried again',
    file: 'src/store/sqlite/head.rs',
    from: 'None => self.make(),',
    to: 'None => return Ok(()),',
    test: 'a_head_file_that_cannot_be_written_is_counted_and_said_until_it_can',
  },
  {
    name: 'damaged pages not looked for at the start',
    file: 'src/store/sqlite/audit.rs',
    from: `filter(|said| said != "ok")`,
    to: 'filter(|_| false)',
    test: 'an_entry_that_an_index_lacks_is_noticed_at_the_start',
  },
  {
    name: 'the log not held against the tables by which entries are found',
    file: 'src/store/sqlite/audit.rs',
    from: 'if astray.is_empty() {',
    to: 'if !astray.is_empty() || true {',
    test: 'damaged_files_give_no_wrong_text_and_no_gap_in_silence',
  },
  {
    name: 'each membership called wrong that the table has not',
    file: 'src/store/sqlite/audit.rs',
    from: 'AND (ends IS NULL',
    to: 'AND (TRUE OR ends IS NULL',
    test: 'a_membership_that_is_gone_is_made_again_unless_nothing_was_said_in_it',
  },
  {
    name: 'a damaged row given out',
    file: 'src/store/sqlite/checksum.rs',
    from: `"checksum IS checksum_of('{name}', {joined})"`,
    to: `"checksum IS NOT '{name} {joined}'"`,
    test: 'a_damaged_entry_is_given_to_nobody_and_whoever_has_not_seen_it_is_told_so',
  },
  {
    name: 'a damaged row named by whatever it has as its key',
    file: 'src/store/sqlite/checksum.rs',
    from: 'if is_position() || uuid::Uuid::try_parse(&key).is_ok() {',
    to: 'if is_position() || !key.is_empty() {',
    test: 'what_is_damaged_is_named_without_a_word_of_what_it_says',
  },
  {
    name: 'each damage in a line of its own, of which the log leaves out most',
    file: 'src/store/sqlite/damage.rs',
    from: 'self.unsaid.len().min(NAMED_PER_LINE_MAX)',
    to: 'self.unsaid.len().min(1)',
    test: 'each_of_many_that_are_found_at_once_is_named_in_the_log',
  },
  {
    name: 'the time of a damaged entry believed',
    file: 'src/store/sqlite/retention.rs',
    from: '"SELECT position, audiences, iif({}, at, NULL) FROM log',
    to: '"SELECT position, audiences, iif({} OR TRUE, at, NULL) FROM log',
    test: 'a_damaged_time_neither_keeps_what_is_too_old_nor_takes_an_entry_away_unseen',
  },
  {
    name: 'a damaged entry that can not be replaced',
    file: 'src/store/sqlite/changes.rs',
    from: 'Err(error) => self.damaged.push(Damaged::of(&error).ok_or(error)?),',
    to: 'Err(error) => return Err(error),',
    test: 'a_damaged_entry_can_be_replaced_and_muting_passes_over_it',
  },
  {
    name: 'a damaged address believed',
    file: 'src/store/sqlite/rows.rs',
    from: 'let is_theirs = |audience: &Audience| interest.includes(audience, position);',
    to: 'let is_theirs = |_: &Audience| true;',
    test: 'an_address_that_is_damaged_shows_nothing_to_somebody_else',
  },
  {
    name: 'told again and again that the token ends',
    file: 'src/delivery/subscriber.rs',
    from: 'notice.filter(|_| std::mem::take(&mut self.owes_notice))',
    to: 'notice.filter(|_| self.owes_notice)',
    test: 'a_stream_is_told_once_that_its_token_ends',
  },
  {
    name: 'an audience that need not be there',
    file: 'src/auth/tokens/issuing.rs',
    from: 'None if self.issuer.audience.is_none() => return Ok(()),',
    to: 'None => return Ok(()),',
    test: 'an_issuer_and_an_audience_that_are_named_must_be_those',
  },
  {
    name: 'tickets that are used up counted',
    file: 'src/auth/tickets.rs',
    from: 'keep && self.by_digest.len() < TICKETS_MAX',
    to: 'keep && self.oldest_first.len() < 96',
    test: 'whoever_uses_up_many_pushes_out_nobody_elses',
  },
  {
    name: 'a ticket that two requests use at once',
    file: 'src/auth/tickets.rs',
    from: 'ticket.is_held = true;',
    to: '',
    test: 'a_ticket_is_held_by_one_until_its_stream_begins_or_cannot',
  },
  {
    name: 'a ticket that is lost with a stream that can not begin',
    file: 'src/auth/tickets.rs',
    from: 'ticket.is_held = false;',
    to: '',
    test: 'a_ticket_is_used_up_by_a_stream_that_begins_and_by_no_other',
  },
  {
    name: 'a ticket that its stream does not use up',
    file: 'src/delivery/beginning.rs',
    from: 'ticket.use_up();',
    to: '',
    test: 'a_ticket_is_used_up_by_a_stream_that_begins_and_by_no_other',
  },
  {
    name: 'a ticket that is good for ever',
    file: 'src/auth/tickets.rs',
    from: '(!self.is_held && self.until > now && vouched).then(|| self.admission.clone())',
    to: '(!self.is_held && vouched).then(|| self.admission.clone())',
    test: 'a_ticket_is_good_once_and_for_a_minute',
  },
  {
    name: 'a ticket that outlives the key behind it',
    file: 'src/auth/tickets.rs',
    from: '(!self.is_held && self.until > now && vouched).then(|| self.admission.clone())',
    to: '(!self.is_held && self.until > now).then(|| self.admission.clone())',
    test: 'a_ticket_is_good_only_while_the_key_behind_it_is',
  },
  {
    name: 'an issuer that signs for another',
    file: 'src/auth/tokens.rs',
    from: 'let found = with(name).or_else(|| with(None));',
    to: 'let found = with(None).or_else(|| with(name));',
    test: 'auth::tokens::tests::no_issuer_signs_for_another',
  },
  {
    name: 'a key that checks what names another',
    file: 'src/auth/tokens/issuing.rs',
    from: 'id.is_none() || self.key.id.is_none() || self.key.id.as_deref() == id',
    to: 'id.is_none_or(|_| true)',
    test: 'a_token_is_checked_with_the_key_that_it_names_and_each_key_has_one_algorithm',
  },
  {
    name: 'a stream that outlives the key of its token',
    file: 'src/auth/tokens/issuing.rs',
    from: 'gone.filter_map(|old| old.checking.trust.as_ref()).map(Trust::end).count()',
    to: 'gone.filter_map(|old| old.checking.trust.as_ref()).count()',
    suite: 'it',
    test: 'a_stream_ends_when_its_key_is_gone',
  },
  {
    name: 'a slow reader who reads on without a right to it',
    file: 'src/delivery/subscriber.rs',
    from: 'saturating_add(self.pace.stall) || self.is_over(view.now);',
    to: 'saturating_add(self.pace.stall);',
    test: 'whoever_reads_slowly_does_not_read_on_when_the_right_is_over',
  },
  {
    name: 'a secret in a key set that is a key',
    file: 'src/auth/key_set.rs',
    from: 'if jwk.kty == "oct" || jwk.d.is_some() {',
    to: 'if jwk.kty == "oct" {',
    test: 'what_is_secret_weak_or_for_something_else_is_no_key',
  },
  {
    name: 'a key set that leads elsewhere',
    file: 'src/auth/jwks.rs',
    from: '.redirect(Policy::none())',
    to: '.redirect(Policy::default())',
    suite: 'it',
    test: 'what_is_no_key_set_changes_nothing_and_leads_nowhere',
  },
  {
    name: 'fetched keys that are used for ever',
    file: 'src/auth/jwks.rs',
    from: '                self.withdraw();',
    to: '',
    suite: 'it',
    test: 'keys_are_used_for_a_stated_time_and_then_no_longer',
  },
  {
    name: 'keys that can not be had refuse a stream for good',
    file: 'src/http/stream.rs',
    from: 'Err(problem) if problem.is_temporary() => None,',
    to: '',
    suite: 'it',
    test: 'keys_that_can_not_be_had_are_a_temporary_condition',
  },
  {
    name: 'a certificate with the key of another',
    file: 'src/listener/tls.rs',
    from: 'Ok(CertifiedKey::from_der(chain, key, &aws_lc_rs::default_provider())?)',
    to: 'Ok(CertifiedKey::new(chain, aws_lc_rs::default_provider().key_provider.load_private_key(key)?))',
    test: 'files_that_can_not_be_used_change_nothing',
  },
  {
    name: 'a cookie that changes what a neighbour asks for',
    file: 'src/http/identity.rs',
    from: 'Some(site) => site == "same-origin",',
    to: 'Some(site) => site != "cross-site",',
    suite: 'it',
    test: 'a_cookie_reads_and_changes_only_from_our_own_pages',
  },
  {
    name: 'a cookie for whatever connection Host names',
    file: 'src/http/outside.rs',
    from: 'Some(origin) if origin.scheme() == "https" => Self::Securely,',
    to: 'Some(origin) if origin.scheme() == "https" => Self::by_host(headers),',
    suite: 'it',
    test: 'a_session_is_for_secure_connections_as_the_browser_is_connected_whatever_host_says',
  },
  {
    name: 'X-Forwarded-Proto believed whoever says it',
    file: 'src/http/outside.rs',
    from: 'headers.get(FORWARDED_PROTO).filter(|_| client.is_behind_trusted)?',
    to: 'headers.get(FORWARDED_PROTO).filter(|_| client.is_behind_trusted || true)?',
    suite: 'it',
    test: 'a_session_is_for_secure_connections_as_the_browser_is_connected_whatever_host_says',
  },
  {
    name: 'a password for the proxy in front taken for a token',
    file: 'src/http/identity.rs',
    from: 'scheme.eq_ignore_ascii_case(b"Bearer")',
    to: '!scheme.is_empty()',
    suite: 'it',
    test: 'a_password_for_the_proxy_in_front_is_nothing_to_the_server',
  },
  {
    name: 'an old secret of the server accepted for ever',
    file: 'src/auth/tokens/own.rs',
    from: 'secret.until.is_none_or(|until| now < until)',
    to: 'secret.until.is_none_or(|until| now < until) || true',
    test: 'an_old_secret_checks_until_its_end_and_its_trust_ends_when_it_goes',
  },
  {
    name: 'memory keeps the secrets that were revoked',
    file: 'src/auth/tokens/own.rs',
    from: 'old.retain(|_| self.created_at < until);',
    to: 'old.retain(|_| true);',
    suite: 'it',
    test: 'a_rotation_leaves_old_tokens_good_and_one_that_revokes_ends_them_and_their_streams',
  },
  {
    name: 'the same audiences in another order are others',
    file: 'src/publish.rs',
    from: 'audiences.sort_unstable();',
    to: '',
    test: 'a_draft_names_each_audience_once_and_at_least_one',
  },
  {
    name: 'read without being seen',
    file: 'src/state.rs',
    from: 'let seen = if set.read == Some(true) { Some(true) } else { set.seen };',
    to: 'let seen = set.seen;',
    test: 'what_is_read_has_been_seen_and_what_is_unseen_has_not_been_read',
  },
  {
    name: 'a lone CR not seen as the end of a line',
    file: 'src/sse.rs',
    from: `.split(['\\n', '\\r'])`,
    to: `.split('\\n')`,
    test: 'any_data_comes_back_as_one_event',
  },
  {
    name: 'tab: no snapshot when it hears of another line',
    file: 'web/client/leadership.js',
    from: 'if (line !== data.line) takeSnapshot();',
    to: '',
    test: 'a tab that comes while the leader goes misses nothing, however the messages fall',
  },
  {
    name: 'tab: what its leader has told not counted as its own',
    file: 'web/client/leadership.js',
    from: `      cursor = data.cursor;\n`,
    to: '',
    test: 'when the leader goes, the next one goes on from its own cursor, and nobody takes a snapshot',
  },
  {
    name: 'tab: the old line claimed without having it',
    file: 'web/client/leadership.js',
    from: 'line ??= own;',
    to: 'line ??= "alone";',
    test: 'a newcomer that deposes a leader has no line, so whoever had one takes a snapshot',
  },
  {
    name: 'tab: its line kept while it cannot listen',
    file: 'web/client/leadership.js',
    from: 'attempt = channel = line = cursor = undefined;',
    to: 'attempt = channel = undefined;',
    test: 'a tab that was away takes a snapshot when it comes back',
  },
  {
    name: 'tab: what was heard heard again',
    file: 'web/client/leadership.js',
    from: '!id || !remembered.includes(id)',
    to: 'true',
    test: `whatever of the leader's last words the next one has not heard, everybody has once`,
  },
  {
    name: 'tab: the lock kept by what is still under way',
    file: 'web/client/leadership.js',
    from: 'Promise.race([over,',
    to: 'Promise.all([over,',
    test: 'whoever leaves lets go of the lock at once, whatever is still under way',
  },
  {
    name: 'tab: a leader that does not answer left alone',
    file: 'web/client/leadership.js',
    from: '() => stand({ steal: true })',
    to: '() => {}',
    test: 'a leader that does not answer is deposed, and stands in line again',
  },
  {
    name: 'ids that say how many were made between them',
    file: 'src/notification.rs',
    from: 'NotificationId(Uuid::new_v7(uuid::Timestamp::now(NoContext)))',
    to: 'NotificationId(Uuid::now_v7())',
    test: 'ids_do_not_say_how_many_were_made_between_them',
  },
  {
    name: "another's notifications on everybody's streams",
    file: 'src/delivery/tail.rs',
    from: 'add(self.by_audience.get(&Audience::User(interest.user.clone())), Position::START, None);',
    to: 'self.by_audience.values().for_each(|queue| add(Some(queue), Position::START, None));',
    suite: 'it',
    test: 'nobody_gets_a_byte_of_anothers',
  },
  {
    name: "another's notification by its id",
    file: 'src/store/sqlite.rs',
    from: 'Ok(index.map(|index| Item { position, notification, state: inbox.items[index].1 }))',
    to: `let state = index.map(|index| inbox.items[index].1).unwrap_or_default();
                Ok(Some(Item { position, notification, state }))`,
    suite: 'it',
    test: 'that_something_is_anothers_is_not_told',
  },
  {
    name: 'a cursor that says how much the log holds',
    file: 'src/http/inbox.rs',
    from: 'stream_cursor: ids.fresh(head).to_string(),',
    to: 'stream_cursor: format!("{:022}", head.0),',
    suite: 'it',
    test: 'a_user_is_answered_the_same_whatever_is_said_to_others',
  },
  {
    name: 'a token in the address of the next page',
    file: 'src/http/request.rs',
    from: '!without.contains(&name) && !CREDENTIALS.contains(&name)',
    to: '!without.contains(&name)',
    test: 'the_address_of_the_next_page_has_no_secret_in_it',
  },
  {
    name: 'a change by any page where nobody shows a credential',
    file: 'src/http/identity.rs',
    from: 'session.is_some() || app.options.open_user_id;',
    to: 'session.is_some();',
    suite: 'it',
    test: 'no_page_elsewhere_changes_anything_where_no_credential_is_needed',
  },
  {
    name: 'requests of all back ends in one name space',
    file: 'src/http/notifications.rs',
    from: 'owner: owner.to_owned(), key: key.to_owned()',
    to: 'owner: String::new()',
    suite: 'it',
    test: 'the_requests_of_a_back_end_are_its_own_and_stay_when_its_key_is_replaced',
  },
  {
    name: 'an edit that writes all of a notification',
    file: 'src/content.rs',
    from: 'Patch(names.iter().map(|name| (name.clone(), fields.shift_remove(name))).collect())',
    to: 'let _ = names; Patch(NAMES.iter().map(|name| ((*name).to_owned(), fields.shift_remove(*name))).collect())',
    suite: 'it',
    test: 'no_edit_is_undone_by_one_of_another_field_at_the_same_time',
  },
  {
    name: 'a name that is made to lead here',
    file: 'src/http/outside.rs',
    from: 'is_of_this_machine(headers) || host(headers).is_some_and(is_one_of_them)',
    to: 'true',
    test: 'a_name_that_only_leads_here_is_not_ours',
  },
  {
    name: 'tab: a deposed leader that goes on',
    file: 'web/client/leadership.js',
    from: `    attempt?.abort();\n    const { signal }`,
    to: '    const { signal }',
    test: 'a leader that does not answer is deposed, and stands in line again',
  },
  {
    name: 'tab: two users under one name',
    file: 'web/client/access.js',
    from: 'JSON.stringify([base, user, locale])',
    to: 'JSON.stringify([base, locale])',
    test: 'whoever differs in server, user or language has another name',
  },
  {
    name: 'tab: a page that misses what arrived meanwhile',
    file: 'web/client/inbox.js',
    from: 'become(heard.reduce(applied, { items, counts, nextCursor, loaded: true }));',
    to: 'become({ items, counts, nextCursor, loaded: true });',
    test: 'what arrives while a snapshot is under way is there once, whether the snapshot has it or not',
  },
  {
    name: 'tab: a late answer wins',
    file: 'web/client/inbox.js',
    from: 'if (!one.isHeard) apply',
    to: 'apply',
    test: 'an answer that comes late does not undo what another device has done since',
  },
  {
    name: 'tab: a mark forgotten before the stream has said it',
    file: 'web/client/inbox.js',
    from: 'if (!one.isHeard) apply({ name: "state", data: one });',
    to: '',
    test: 'a mark is shown at once, counted, and over when the stream has said it and the server has answered',
  },
  {
    name: 'tab: a mark dropped by an older snapshot',
    file: 'web/client/inbox.js',
    from: 'apply({ name: "state", data: one })',
    to: 'become(marked(base, one))',
    test: 'what the server has confirmed goes on being shown until the stream gets there, or a later snapshot',
  },
  {
    name: 'tab: what arrives marked with the rest',
    file: 'web/client/inbox.js',
    from: 'let isConcerned = !ids && !up_to;',
    to: 'let isConcerned = !ids;',
    test: 'all read races an arrival: what has arrived since stays unread',
  },
  {
    name: 'tab: a stale piece believed',
    file: 'web/client/stream.js',
    from: ' || Date.now() > silentAt) throw',
    to: ') throw',
    test: 'what comes out of a page that could not run for long is not believed, but read again',
  },
  {
    name: 'tab: silence after the greeting not noticed',
    file: 'web/client/stream.js',
    from: `        expectOne();\n`,
    to: '',
    test: 'so is one that says nothing but its greeting',
  },
  {
    name: 'elements: two users with one client',
    file: 'web/widget/connection.js',
    from: 'JSON.stringify([others, token])',
    to: 'JSON.stringify([others.server, others.locale, others.pageSize, token])',
    test: 'only what shows the same has the same client',
  },
  {
    name: 'elements: what arrived for one user shown to the next',
    file: 'web/widget/elements.js',
    from: '    this.during(() => this.#early.splice(0), signal);\n',
    to: '',
    test: 'what has arrived for one user is never shown to another',
  },
  {
    name: 'elements: what could not be loaded not asked for again',
    file: 'web/widget/elements.js',
    from: '(await this.#backoff.insist(load, signal, () => this.failed()))',
    to: '(await load())',
    test: 'a body that cannot be had is asked for again, and the page is told',
  },
  {
    name: 'elements: an archive that is old and not asked for again',
    file: 'web/widget/selection.js',
    from: `    spoil() {
      isStale = true;`,
    to: '    spoil() {',
    test: 'what is archived is asked for once, and again when something has changed',
  },
  {
    name: 'elements: asked for without end',
    file: 'web/widget/selection.js',
    from: '      hasFailed = true;',
    to: '      hasFailed = isStale = true;',
    test: 'what cannot be had is said, and not asked for without end',
  },
  {
    name: 'elements: a move that failed not taken back',
    file: 'web/widget/selection.js',
    from: `      } catch (error) {
        isStale = true;`,
    to: '      } catch (error) {',
    test: 'what is moved back leaves the archive at once, and is there again if that fails',
  },
  {
    name: 'elements: pages loaded for unread ones that are all there',
    file: 'web/widget/selection.js',
    from: 'more: more && !isWhole',
    to: 'more',
    test: 'no more is loaded for what is unread once there are as many as are counted',
  },
  {
    name: 'a form of another site',
    file: 'src/http/page.rs',
    from: 'if !identity::is_of_ours(app, asking.headers) {',
    to: 'if false {',
    suite: 'it',
    test: 'a_form_of_the_page_is_taken_from_the_page_alone',
  },
  {
    name: 'tab: a move told as a failure',
    file: 'web/client/stream.js',
    from: 'if (!isMoving) throw error;',
    to: 'throw error;',
    test: 'a better connection takes the place at once, and nobody is told',
  },
  {
    name: 'tab: the old token taken for a fresh one',
    file: 'web/client/access.js',
    from: 'if (!fresh || fresh === old) return false;',
    to: '',
    test: 'a fresh token takes the place of the one in use, and only a fresh one does',
  },
  {
    name: 'tab: a change sent before the one before it has its answer',
    file: 'web/client/client.js',
    from: 'before.then(next, next);',
    to: 'next();',
    test: 'two changes of one item keep their order',
  },
  {
    name: 'tab: a change that waits when the page is left',
    file: 'web/client/client.js',
    from: '    for (const go of turns) go();\n',
    to: '',
    test: 'a change is sent when the one before it has its answer, or when the page is left',
  },
  {
    name: 'tab: an older snapshot in the place of a newer one',
    file: 'web/client/client.js',
    from: 'if (own === wanted && !inbox',
    to: 'if (!inbox',
    test: 'a snapshot that was asked for before another one does not take its place',
  },
  {
    name: 'tab: a newer cursor than what is shown',
    file: 'web/client/client.js',
    from: `    const attempt = async () => {
      // Each attempt anew: what is shown is never older than the cursor that the stream goes on from.
      const own = (wanted = {});`,
    to: `    const own = (wanted = {});
    const attempt = async () => {`,
    test: 'the stream goes on from the snapshot that is shown, whoever has asked for it and however often',
  },
  {
    name: 'tab: good news for one of those that wait',
    file: 'web/client/backoff.js',
    from: 'for (const end of waits) end();',
    to: '[...waits].at(-1)?.();',
    test: 'good news is for all that wait',
  },
  {
    name: 'tab: an EventSource left to come back with a ticket that is used up',
    file: 'web/client/eventsource.js',
    from: 'source.addEventListener("error", end);',
    to: '',
    test: 'its first error is its end: it does not come back by itself with a ticket that is used up',
  },
  {
    name: 'tab: silence judged by heartbeats that cannot be heard',
    file: 'web/client/eventsource.js',
    from: ' * HEARTBEATS_PER_EVENT',
    to: '',
    test: 'silence is told by the heartbeats that it hears, every second one',
  },
];

const git = (...words) => execFileSync('git', words, { cwd: root, stdio: ['ignore', 'pipe', 'ignore'] }).toString().trim();

/** What git says, or null where it can't: no repository, no such commit. */
function asked(...words) {
  try {
    return git(...words);
  } catch {
    return null;
  }
}

/** The mutants of the files that changed, as far as git can tell, and a tenth of the others. */
function chosen() {
  const head = asked('rev-parse', 'HEAD');
  const main = asked('merge-base', 'HEAD', 'origin/main');
  const changed = head && asked('diff', '--name-only', main && main !== head ? main : 'HEAD~1');
  const files = new Set(changed?.split('\n'));
  const tenth = head ? Number.parseInt(head.slice(0, 8), 16) % 10 : 0;
  return mutants.filter(({ file }, number) => files.has(file) || number % 10 === tenth);
}

const [choice = ''] = process.argv.slice(2);
const wanted = choice === '' ? chosen() : choice === '--all' ? mutants : mutants.filter((mutant) => mutant.name.includes(choice));

const tracked = execFileSync('git', ['ls-files', '-z', '--cached', '--others', '--exclude-standard'], { cwd: root })
  .toString()
  .split('\0')
  .filter((file) => /^(src|tests|benches|web|crates|fuzz)\/|^Cargo|^build\.rs|^config\.default|\.toml$/.test(file));

// All of them before the first is tried: the others take minutes.
const astray = mutants.filter(({ file, from }) => readFileSync(join(root, file), 'utf8').split(from).length !== 2);
if (astray.length > 0) {
  const lines = astray.map(({ name, file }) => `${name}: the text to break does not stand exactly once in ${file}`);
  throw new Error(lines.join('\n'));
}
if (choice === '--anchors') process.exit(0);

/** A program's exit code and what it printed. */
const run = (program, words, options) =>
  new Promise((resolve) => execFile(program, words, { maxBuffer: 2 ** 26, ...options }, (error, stdout, stderr) => resolve({ status: error ? (error.code ?? 1) : 0, stdout, stderr })));

/** Breaks one after the other in a copy of its own. A compiler works on one crate with hardly more than one processor. */
class Breaker {
  constructor(number) {
    this.copy = join(folder, `${number}`);
    this.target = number === 0 ? join(root, 'target') : join(folder, `${number}-target`);
    for (const file of tracked) {
      mkdirSync(dirname(join(this.copy, file)), { recursive: true });
      cpSync(join(root, file), join(this.copy, file));
    }
    // What all depend on has been built; links to the large files take no time and no room.
    const debug = join(this.target, 'debug');
    mkdirSync(debug, { recursive: true });
    for (const part of ['deps', 'build', '.fingerprint']) {
      const built = join(root, 'target', 'debug', part);
      // What build scripts make is written in place, and would change there too.
      if (number !== 0 && existsSync(built)) execFileSync('cp', [part === 'deps' ? '-al' : '-a', built, debug]);
    }
  }

  /** Whether the test of a mutant passes all the same. */
  async survives({ file, from, to, suite, test }) {
    const path = join(this.copy, file);
    const original = readFileSync(path, 'utf8');
    writeFileSync(path, original.replace(from, () => to));
    const survives = file.startsWith('web/') ? await this.passesInClient(test) : await this.passes(suite, test);
    writeFileSync(path, original);
    return survives;
  }

  /** Runs one test of the client; true if it passed, or if there is none of that name. */
  async passesInClient(test) {
    const name = test.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
    const files = tracked.filter((file) => /^web\/tests\/.*\.test\.js$/.test(file));
    return (await run(process.execPath, ['--test', `--test-name-pattern=^${name}$`, ...files], { cwd: this.copy })).status === 0;
  }

  /** Runs one test; true if it passed or did not compile, since that shows nothing. */
  async passes(suite, test) {
    // Few random sequences may miss what many find.
    const env = { ...process.env, CARGO_TARGET_DIR: this.target, RUST_BACKTRACE: '0', PREGON_SEQUENCES: '2000' };
    // The packages that scripts/test tests together, so that nothing is built anew for this.
    const words = ['test', '--quiet', '--locked', '--workspace', '--exclude', 'pregon-fuzz', ...(suite ? ['--test', suite] : ['--lib'])];
    const cargo = (...more) => run('cargo', [...words, ...more], { cwd: this.copy, env });
    const built = await cargo('--no-run');
    if (built.status !== 0) {
      console.log(built.stderr);
      return true;
    }
    const ran = await cargo('--', test);
    if (/running 0 tests/.test(ran.stdout) && !/running 1 test\b/.test(ran.stdout)) throw new Error(`there is no test ${test}`);
    return ran.status === 0;
  }
}

rmSync(folder, { recursive: true, force: true });
const waiting = [...wanted];
let survivors = 0;

async function work(breaker) {
  for (let mutant = waiting.shift(); mutant; mutant = waiting.shift()) {
    const survives = await breaker.survives(mutant);
    survivors += survives ? 1 : 0;
    console.log(`${survives ? 'SURVIVED' : 'killed  '}  ${mutant.name}  (${mutant.test})`);
  }
}

const breakers = Array.from({ length: Math.min(2, cpus().length, wanted.length) }, (_, number) => new Breaker(number));
await Promise.all(breakers.map(work));
console.log(`${wanted.length - survivors} of ${wanted.length} mutants killed`);
process.exit(survivors === 0 && wanted.length > 0 ? 0 : 1);
