#!/usr/bin/env node
// Breaks one invariant at a time in a copy of the tree and checks that its test notices. A test that stays green
// guards nothing. Run: scripts/mutants.mjs [part of a name]
import { execFileSync, spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const copy = join(root, 'target', 'mutants');

/** What is broken, where, how, and the test that must fail. `suite` is the test binary: the library's own, or `it`. */
const mutants = [
  {
    name: 'wake before commit',
    file: 'src/store/sqlite/writer.rs',
    from: `        if failed.is_none() {
            failed = self.connection.execute_batch("COMMIT").err();
        }`,
    to: `        if failed.is_none() {
            for follower in &self.followers {
                follower.committed(before, &entries);
            }
            failed = self.connection.execute_batch("COMMIT").err();
            entries.clear();
        }`,
    test: 'the_embedded_store_passes_the_suite',
  },
  {
    name: 'acknowledge before the follower is told',
    file: 'src/store/sqlite/writer.rs',
    from: `        if !entries.is_empty() {
            for follower in &self.followers {
                follower.committed(before, &entries);
            }
        }
        for Appended { positions, answer } in appended {
            // A publisher that has gone away no longer waits; the entry stays.
            let _ = answer.send(Ok(positions));
        }`,
    to: `        for Appended { positions, answer } in appended {
            let _ = answer.send(Ok(positions));
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
        if !entries.is_empty() {
            for follower in &self.followers {
                follower.committed(before, &entries);
            }
        }`,
    test: 'the_embedded_store_passes_the_suite',
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
    file: 'src/store/sqlite.rs',
    from: 'let positions = positions(connection, &interest, after, through, limit, Order::Rising)?;',
    to: 'let positions = positions(connection, &interest, after, END, limit, Order::Rising)?;',
    test: 'the_embedded_store_passes_the_suite',
  },
  {
    name: 'off by one at the edge of the tail: one entry lost',
    file: 'src/delivery/tail.rs',
    from: 'if cursor < self.floor {',
    to: 'if cursor.0 + 1 < self.floor.0 {',
    test: 'the_edge_of_the_tail_is_exact',
  },
  {
    name: 'off by one at the edge of the tail: the store read for nothing',
    file: 'src/delivery/tail.rs',
    from: 'if cursor < self.floor {',
    to: 'if cursor <= self.floor {',
    test: 'a_cursor_at_the_floor_is_served_by_the_tail_and_one_below_it_by_the_store',
  },
  {
    name: 'off by one in the tail: the last entry doubled',
    file: 'src/delivery/tail.rs',
    from: 'queue.partition_point(|(position, _)| *position <= after)',
    to: 'queue.partition_point(|(position, _)| *position < after)',
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
    file: 'src/store/sqlite.rs',
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
    from: 'if reader.interest.memberships.iter().any(|membership| membership.topic == *topic) {',
    to: 'if true {',
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
    from: 'sse::hello(ids.fresh(resumption.cursor),',
    to: 'sse::hello(ids.fresh(registered),',
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
    from: 'pace.end = pace.end.min(self.now.saturating_add(ticks_until(expires_at)));',
    to: 'let _ = ticks_until(expires_at);',
    suite: 'it',
    test: 'a_stream_ends_with_its_token',
  },
  {
    name: 'a token that need not expire',
    file: 'src/auth.rs',
    from: 'validation.set_required_spec_claims(&["exp", "sub"]);',
    to: 'validation.set_required_spec_claims(&["sub"]); validation.validate_exp = false;',
    test: 'a_token_that_does_not_pass_says_which_check_failed',
  },
  {
    name: 'a lone CR not seen as the end of a line',
    file: 'src/sse.rs',
    from: `.split(['\\n', '\\r'])`,
    to: `.split('\\n')`,
    test: 'any_data_comes_back_as_one_event',
  },
];

const wanted = mutants.filter((mutant) => mutant.name.includes(process.argv[2] ?? ''));

rmSync(copy, { recursive: true, force: true });
mkdirSync(copy, { recursive: true });
const tracked = execFileSync('git', ['ls-files', '-z', '--cached', '--others', '--exclude-standard'], { cwd: root })
  .toString()
  .split('\0')
  .filter((file) => /^(src|tests|web|crates)\/|^Cargo|^config\.default|\.toml$/.test(file));
for (const file of tracked) {
  mkdirSync(dirname(join(copy, file)), { recursive: true });
  cpSync(join(root, file), join(copy, file));
}

/** Runs one test in the copy; true if it passed. Building must succeed: a mutant that does not compile shows nothing. */
function passes({ suite, test }) {
  const target = suite ? ['--test', suite] : ['--lib'];
  const environment = { ...process.env, CARGO_TARGET_DIR: join(root, 'target'), RUST_BACKTRACE: '0' };
  const cargo = (...more) =>
    spawnSync('cargo', ['test', '--quiet', '--locked', ...target, ...more], { cwd: copy, env: environment, encoding: 'utf8' });
  const built = cargo('--no-run');
  if (built.status !== 0) throw new Error(`it does not compile:\n${built.stderr}`);
  const ran = cargo('--', test);
  if (/running 0 tests/.test(ran.stdout) && !/running 1 test\b/.test(ran.stdout)) throw new Error(`there is no test ${test}`);
  return ran.status === 0;
}

let survivors = 0;
for (const mutant of wanted) {
  const path = join(copy, mutant.file);
  const original = readFileSync(path, 'utf8');
  if (original.split(mutant.from).length !== 2) {
    throw new Error(`${mutant.name}: the text to break does not stand exactly once in ${mutant.file}`);
  }
  writeFileSync(path, original.replace(mutant.from, () => mutant.to));
  const survived = passes(mutant);
  writeFileSync(path, original);
  survivors += survived ? 1 : 0;
  console.log(`${survived ? 'SURVIVED' : 'killed  '}  ${mutant.name}  (${mutant.test})`);
}
console.log(`${wanted.length - survivors} of ${wanted.length} mutants killed`);
process.exit(survivors === 0 && wanted.length > 0 ? 0 : 1);
