// The abuses of scripts/neighbours.mjs, and their table.
import { described, median, plain, shown } from './report.mjs';

/** By their names in `pregon-load neighbours`, in the order of the table. */
export const abuses = {
  'control': '*not an abuse:* 1,000 requests/s for `/healthz`',
  'mutes': 'mutes: 100 categories, on and off, on one connection, by a user with a long history of it',
  'streams': 'streams: opened and closed, 600 at a time',
  'abandoned': 'streams: left before they begin, 600 at a time, by a user with a long history of mutes',
  'returning': 'streams of 200 users who mute the category of 300,000 broadcasts, all at once',
  'marks': 'marks: read and unread one by one, and all, on 4 connections',
  'polls': 'polls: 100 events each, on 100 connections',
  'pages': 'pages of the inbox by category, topic and status, on 8 connections',
  'batches': 'batches of 1,000, one after the other, by a server key of its own',
  'large-batches': 'batches of 3.7 MB, 16 at once, by a server key of its own',
  'slow-bodies': 'slow bodies: 5,000, a byte a second each',
  'silent-sockets': 'silent sockets: 5,000',
  'lingering': 'refused streams whose connections are kept: 6,000 connections',
  'languages': 'languages: a new combination with each stream',
  'tickets': 'tickets that nobody uses, on 8 connections',
};

/** What is promised to everybody else. */
export const LIMITS = { publish_p99_ratio: 1.5, stream_p95_ratio: 2 };

/** The median of a figure over the runs that did not fail, found by its path. */
function figure(runs, ...path) {
  const found = runs.filter((run) => !run.failed).map((run) => path.reduce((value, name) => value?.[name], run));
  const numbers = found.filter((value) => typeof value === 'number');
  return numbers.length > 0 ? median(numbers) : undefined;
}

/** `measured` has for each abuse its meta and its runs. */
export function neighboursTable(measured) {
  const heads = ['one client does', 'publish p99 ms: alone', 'beside it', '×', 'stream p95 ms: alone', 'beside it', '×', 'slowest ms', 'errors', 'cores', 'MiB', 'its requests/s', 'refused'];
  const lines = [`| ${heads.join(' | ')} |`, `|---${'|---:'.repeat(heads.length - 1)}|`];
  const notes = [];
  const metas = new Map();
  for (const name of Object.keys(abuses).filter((name) => measured[name])) {
    const { meta, runs } = measured[name];
    const failed = runs.filter((run) => run.failed);
    const of = (...path) => shown(figure(runs, ...path));
    const ratio = (wanted) => {
      const value = figure(runs, wanted);
      return value > LIMITS[wanted] ? `**${shown(value)}**` : shown(value);
    };
    const all = runs.filter((run) => !run.failed);
    const worst = (count) => Math.max(0, ...all.map(count));
    const errors = worst((run) => run.errors);
    const slowest = worst(({ phases: { abused } }) => Math.max(abused.publish_max_ms ?? 0, abused.stream_max_ms ?? 0));
    const begun = figure(runs, 'abuser', 'begun');
    const refused = figure(runs, 'abuser', 'refused') + figure(runs, 'abuser', 'broken');
    lines.push(`| ${[
      abuses[name],
      of('phases', 'alone', 'publish_p99_ms'), of('phases', 'abused', 'publish_p99_ms'), ratio('publish_p99_ratio'),
      of('phases', 'alone', 'stream_p95_ms'), of('phases', 'abused', 'stream_p95_ms'), ratio('stream_p95_ratio'),
      shown(Math.round(slowest)), errors > 0 ? `**${shown(errors)}**` : 0, of('phases', 'abused', 'server_cores'), shown(Math.round(figure(runs, 'peak_mib'))),
      shown(Math.round(begun / figure(runs, 'abused_s'))), begun > 0 ? `${Math.round((100 * refused) / begun)} %` : shown(undefined),
    ].join(' | ')} |`);
    const example = all.flatMap(({ phases }) => Object.values(phases)).find((phase) => phase.example)?.example;
    if (example) notes.push(`${name}: ${plain(example)}`);
    if (failed.length > 0) notes.push(`${name}: **${failed.length} of ${runs.length} runs failed**: ${plain(failed[0].failed)}`);
    metas.set(described(meta), [...(metas.get(described(meta)) ?? []), name]);
  }
  const when = [...metas].map(([meta, names]) => (metas.size === 1 ? meta : `${names.join(', ')}: ${meta}`));
  return [...lines, '', ...notes.map((note) => `* ${note}`), ...(notes.length > 0 ? [''] : []), `<sub>${when.join('; ')}</sub>`].join('\n');
}
