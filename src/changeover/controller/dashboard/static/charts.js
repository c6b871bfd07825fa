// Live charts: six small ones with one time axis and one cursor; the old version in grey, the new one in colour.

import { clock, figure } from './format.js';
import { LEAST_S, WINDOW_S, columns } from './series.js';
import { html, useEffect, useRef, useState } from './ui.js';
import uPlot from './vendor/uplot.js';

const MIB = 1 << 20;
const mib = (value) => (value === null || value === undefined ? null : value / MIB);

const CHARTS = [
  { metric: 'p50_ms', title: 'Latency p50', unit: 'ms' },
  { metric: 'p95_ms', title: 'Latency p95', unit: 'ms' },
  { metric: 'p99_ms', title: 'Latency p99', unit: 'ms' },
  { metric: 'requests_per_s', title: 'Requests', unit: '/s' },
  { metric: 'errors_per_s', title: 'Errors', unit: '/s', least: 1 },
  { metric: 'memory_bytes', title: 'Memory', unit: 'MiB', of: mib },
];
const HEIGHT = 132;
const cursor = uPlot.sync('time');

/** `versions`: {old, fresh}, of which `old` may be null; `marks`: times of the rollout's moments, in seconds. */
export function Charts({ series, versions, marks, names }) {
  const shown = [versions.old, versions.fresh].filter(Boolean);
  const both = shown.length === 2;
  return html`
    <section class="card" aria-labelledby="charts-title">
      <header class="card-head">
        <h2 id="charts-title">Traffic <small>last 5 minutes</small></h2>
        <div class="legend num">
          ${both && html`<span><i class="line old"></i>${names[versions.old] ?? versions.old}</span>`}
          <span><i class="line new"></i>${names[versions.fresh] ?? versions.fresh}</span>
        </div>
      </header>
      ${series.times.length < 2
        ? html`<p class="muted waiting">The first samples come within seconds.</p>`
        : html`<div class="charts">
            ${CHARTS.map((chart) => html`<${Chart} key=${chart.metric} chart=${chart} series=${series} versions=${versions} marks=${marks} />`)}
          </div>`}
    </section>`;
}

function Chart({ chart, series, versions, marks }) {
  const place = useRef(null);
  const plot = useRef(null);
  const latest = useRef(null);
  const [hovered, setHovered] = useState(null);
  const shown = [versions.old, versions.fresh].filter(Boolean);
  const data = columns(series, chart.metric, shown).map((column, i) => (i && chart.of ? column.map(chart.of) : column));
  latest.current = marks;
  useEffect(() => {
    const redraw = () => {
      plot.current?.destroy();
      plot.current = new uPlot(options(chart, shown.length, place.current, latest, setHovered), data, place.current);
    };
    redraw();
    const size = new ResizeObserver(() => plot.current?.setSize({ width: place.current.clientWidth, height: HEIGHT }));
    size.observe(place.current);
    const dark = matchMedia('(prefers-color-scheme: dark)');
    dark.addEventListener('change', redraw);
    return () => { size.disconnect(); dark.removeEventListener('change', redraw); plot.current.destroy(); };
  }, [shown.join()]);
  useEffect(() => { plot.current?.setData(data); });
  const at = hovered ?? series.times.length - 1;
  const values = data.slice(1).map((column) => column[at] ?? null);
  const said = shown.map((version, i) => `version ${version} ${figure(values[i])} ${chart.unit}`).join(', ');
  return html`
    <figure class="chart">
      <figcaption>
        <span class="chart-title">${chart.title}<span class="muted"> ${chart.unit}</span></span>
        <span class="values num">
          ${values.map((value, i) => html`<b class=${i === values.length - 1 ? 'new-text' : 'old-text'}>${figure(value)}</b>`)}
        </span>
      </figcaption>
      <div class="plot" ref=${place} role="img" aria-label=${`${chart.title}: ${said}`}></div>
    </figure>`;
}

function options(chart, lines, place, marks, setHovered) {
  const css = getComputedStyle(document.documentElement);
  const colour = (name) => css.getPropertyValue(name).trim();
  const font = `11px ${css.getPropertyValue('--font')}`;
  const axis = { stroke: colour('--muted'), font, ticks: { show: false }, border: { show: false } };
  const line = (fresh) => {
    const stroke = colour(fresh ? '--accent' : '--old');
    return { stroke, width: fresh ? 2 : 1.5, points: { show: true, size: 4, fill: stroke, width: 0, filter: alone } };
  };
  return {
    width: place.clientWidth,
    height: HEIGHT,
    padding: [8, 4, 0, 0],
    legend: { show: false },
    cursor: { sync: { key: cursor.key }, drag: { x: false, y: false }, points: { size: 6 }, y: false },
    scales: {
      x: { range: (_, first, newest) => [Math.min(newest - LEAST_S, Math.max(first, newest - WINDOW_S)), newest] },
      y: { range: (_, __, most) => [0, Math.max((most ?? 0) * 1.15, chart.least ?? (most ? 0 : 1))] },
    },
    axes: [
      { ...axis, grid: { show: false }, size: 22, gap: 4, splits: times, values: (_, ticks) => ticks.map(told) },
      { ...axis, grid: { stroke: colour('--line'), width: 1 }, size: 44, gap: 6, space: 36, values: (_, ticks) => ticks.map(short) },
    ],
    series: [{}, ...(lines === 2 ? [line(false)] : []), line(true)],
    hooks: {
      setCursor: [(plot) => setHovered(plot.cursor.idx ?? null)],
      drawClear: [(plot) => drawMarks(plot, marks.current, colour('--mark'))],
    },
  };
}

const short = (value) => (value >= 1000 ? `${Number((value / 1000).toPrecision(3))}k` : String(Number(value.toPrecision(3))));

/** Samples without a neighbour: no line would show them. */
function alone(plot, series) {
  const column = plot.data[series];
  const has = (i) => column[i] !== null && column[i] !== undefined;
  return column.flatMap((_, i) => (has(i) && !has(i - 1) && !has(i + 1) ? [i] : []));
}

/** Whole minutes, or parts of them where there are few: up to five fit. */
function times(_, __, least, most) {
  const step = most - least > 150 ? 60 : 30;
  const found = [];
  const edge = (most - least) * 0.06; // a text there would be cut
  for (let at = Math.ceil((least + edge) / step) * step; at < most - edge; at += step) found.push(at);
  return found;
}

/** Hours and minutes, and the seconds of what is no whole minute. */
const told = (at) => (at % 60 ? clock(at) : clock(at).slice(0, 5));

/** A line where the rollout moved. */
function drawMarks(plot, marks, colour) {
  const { ctx, bbox } = plot;
  ctx.save();
  ctx.strokeStyle = colour;
  ctx.lineWidth = devicePixelRatio;
  ctx.setLineDash([3 * devicePixelRatio, 3 * devicePixelRatio]);
  for (const at of marks) {
    if (at < plot.scales.x.min || at > plot.scales.x.max) continue;
    const x = Math.round(plot.valToPos(at, 'x', true)) + 0.5;
    ctx.beginPath();
    ctx.moveTo(x, bbox.top);
    ctx.lineTo(x, bbox.top + bbox.height);
    ctx.stroke();
  }
  ctx.restore();
}
