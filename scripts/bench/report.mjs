// Tables and bars of what has been measured.

export const median = (numbers) => [...numbers].sort((a, b) => a - b)[Math.floor((numbers.length - 1) / 2)];
export const shown = (value) => (value === null || value === undefined || Number.isNaN(value) ? '–' : value.toLocaleString('en', { maximumFractionDigits: Math.abs(value) >= 100 ? 0 : 3 }));
export const plain = (text) => text.replaceAll('|', '\\|').replaceAll('<', '&lt;').slice(0, 200);
const good = (runs) => runs.filter((figures) => !figures.failed);

/** The median over the runs that did not fail; nothing if there is none, or one of them has no such figure. */
export function figure(runs, name) {
  const values = good(runs).map((figures) => figures[name]);
  return values.length > 0 && values.every((value) => typeof value === 'number') ? median(values) : undefined;
}

/** The median of what a figure is in units of another row's, round by round: what the machine does in a round falls on
 * both. Rounds of other days can't be paired: then it is the quotient of the medians. */
function quotient(runs, others, name) {
  const pairs = runs.map((figures, round) => [figures, others[round]]).filter(([one, other]) => one && other && !one.failed && !other.failed);
  const values = pairs.map(([one, other]) => one[name] / other[name]).filter(Number.isFinite);
  return runs.length === others.length && values.length > 0 ? median(values) : figure(runs, name) / figure(others, name);
}

export const described = ({ date, commit, machine, runs }) => `${date}, commit ${commit}, ${machine}, ${runs === 1 ? 'one run' : `median of ${runs} runs`}`;

/** The table of a load; `measured` has for each row its meta and its runs. */
export function table(load, measured) {
  const names = load.rows.map((row) => row.name ?? row).filter((name) => measured[name]);
  const ratios = (load.ratios ?? []).filter(({ to }) => measured[to]);
  const heads = [...load.figures, ...ratios.map(({ of, to }) => `${of} × ${to}`)].map((name) => name.replaceAll('_', ' '));
  // The title is that of what was measured: a load's length may have been another one.
  const lines = [`### ${measured[names[0]].meta.title}`, '', `| | ${heads.join(' | ')} |`, `|---${'|---'.repeat(heads.length)}|`];
  const notes = [];
  for (const name of names) {
    const { runs } = measured[name];
    const failed = runs.filter((figures) => figures.failed);
    const value = (wanted) => (failed.length === runs.length ? '**failed**' : shown(figure(runs, wanted)));
    const ratio = ({ of, to }) => shown(quotient(runs, measured[to].runs, of));
    lines.push(`| ${name} | ${[...load.figures.map(value), ...ratios.map(ratio)].join(' | ')} |`);
    if (failed.length > 0) notes.push(`${name}: **${failed.length} of ${runs.length} runs failed**: ${plain(failed[0].failed)}`);
    for (const unseen of ['lost', 'doubled', 'closed']) {
      const worst = Math.max(0, ...good(runs).map((figures) => figures[unseen] ?? 0));
      if (worst > 0) notes.push(`${name}: **${worst.toLocaleString('en')} ${unseen}** in the worst run`);
    }
  }
  const metas = grouped(names, (name) => described(measured[name].meta));
  const when = [...metas].map(([meta, which]) => (metas.size === 1 ? meta : `${which.join(', ')}: ${meta}`));
  return [...lines, '', ...notes.map((note) => `* ${note}`), ...(notes.length > 0 ? [''] : []), `<sub>${when.join('; ')}</sub>`].join('\n');
}

function grouped(names, key) {
  const groups = new Map();
  for (const name of names) groups.set(key(name), [...(groups.get(key(name)) ?? []), name]);
  return groups;
}

/** The figures that are drawn. */
export const plots = [
  { file: 'bench-bytes.svg', load: 'idle', figure: 'bytes_per_connection', title: 'Memory per idle connection, bytes', better: 'less' },
  { file: 'bench-cpu.svg', load: 'steady-10000', figure: 'cpu_s_per_million', title: 'Processor time per million deliveries, s', better: 'less' },
  { file: 'bench-p99.svg', load: 'fast-10000', figure: 'p99_ms', title: 'p99 at 100,000 deliveries/s to 10,000, ms', better: 'less' },
  { file: 'bench-burst.svg', load: 'burst', figure: 'deliveries_per_s', title: 'Deliveries/s under a burst', better: 'more' },
  { file: 'bench-publishes.svg', load: 'users', figure: 'publishes_per_s', title: 'Publishes/s, each to one user', better: 'more' },
];

/** So much wider than the narrowest may the widest bar be; beyond it, the scale is logarithmic. */
const LINEAR_RATIO_MAX = 20;
const WIDTH = 640;
const [LEFT, RIGHT, TOP, BAR, GAP] = [100, 90, 44, 20, 8];
// Both stand out from white and from black: a picture cannot know on which of them it is shown.
const [TEXT, OURS, OTHERS] = ['#7a828b', '#e0701c', '#8fa3b8'];

/** Bars, as SVG; `bars` are names and values. */
export function bars(title, better, bars) {
  const known = bars.filter(([, value]) => value > 0);
  const [least, most] = [Math.min(...known.map(([, value]) => value)), Math.max(...known.map(([, value]) => value))];
  const logarithmic = most / least > LINEAR_RATIO_MAX;
  // A logarithmic scale begins at the power of ten below half the least, so that the shortest bar can be seen.
  const origin = 10 ** Math.floor(Math.log10(least / 2));
  const share = (value) => (logarithmic ? Math.log(value / origin) / Math.log(most / origin) : value / most);
  const row = ([name, value], at) => {
    const y = TOP + at * (BAR + GAP);
    const width = Math.round(share(value) * (WIDTH - LEFT - RIGHT));
    const middle = y + BAR / 2 + 4.5;
    return `  <text x="${LEFT - 8}" y="${middle}" text-anchor="end">${name}</text>
  <rect x="${LEFT}" y="${y}" width="${width}" height="${BAR}" rx="2" fill="${name.startsWith('pregon') ? OURS : OTHERS}"/>
  <text x="${LEFT + width + 6}" y="${middle}">${shown(value)}</text>`;
  };
  const subtitle = `${better} is better${logarithmic ? ', logarithmic scale' : ''}`;
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${TOP + known.length * (BAR + GAP)}" width="${WIDTH}" role="img" aria-label="${title}" font-family="system-ui, sans-serif" font-size="13" fill="${TEXT}">
  <text x="0" y="16" font-size="15" font-weight="600">${title}</text>
  <text x="0" y="34" font-size="12">${subtitle}</text>
${known.map(row).join('\n')}
</svg>
`;
}
