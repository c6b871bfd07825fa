// What the charts draw: for each version of a model the samples of the last minutes, a second apart (pure but for itself).

export const WINDOW_S = 300;
export const LEAST_S = 60; // wide, so that the first samples are no wall
const KEPT_S = 2 * WINDOW_S;

export const METRICS = ['p50_ms', 'p95_ms', 'p99_ms', 'requests_per_s', 'errors_per_s', 'memory_bytes'];

export const emptySeries = () => ({ times: [], versions: {} });

/** Add one sample: `versions` as in the event, by name. A version that is not in it has a gap. */
export function append(series, at, versions) {
  const last = series.times.at(-1);
  if (last !== undefined && at <= last) return;
  if (last !== undefined && at - last > 5) add(series, last + 1, {}); // nobody listened: a gap, not a line
  add(series, at, versions);
  const keep = series.times.findIndex((time) => time > at - KEPT_S);
  if (keep > 60) cut(series, keep);
}

function add(series, at, versions) {
  const before = series.times.length;
  series.times.push(at);
  for (const version of Object.keys(versions)) {
    series.versions[version] ??= Object.fromEntries(METRICS.map((metric) => [metric, Array(before).fill(null)]));
  }
  for (const [version, columns] of Object.entries(series.versions)) {
    for (const metric of METRICS) columns[metric].push(versions[version]?.[metric] ?? null);
  }
}

function cut(series, keep) {
  series.times.splice(0, keep);
  for (const [version, columns] of Object.entries(series.versions)) {
    for (const metric of METRICS) columns[metric].splice(0, keep);
    if (columns.memory_bytes.every((value) => value === null)) delete series.versions[version];
  }
}

/** The columns of these versions for uPlot: times, then one column each; no time at all as one empty point. */
export function columns(series, metric, versions) {
  const of = (version) => series.versions[version]?.[metric] ?? series.times.map(() => null);
  return [series.times, ...versions.map(of)];
}
