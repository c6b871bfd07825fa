// All models: what serves, what is changing, and whether anything is wrong.

import { Alerts } from './alerts.js';
import { buckets } from './course.js';
import { bytes, figure, moment, share, stepName, titled, version } from './format.js';
import { sum } from './model.js';
import { state } from './store.js';
import { Badge, Empty, html, useState } from './ui.js';

const FILTERED_FROM = 8;
const UNDER_WAY = ['pending', 'validating', 'shadowing', 'progressing', 'paused', 'promoting', 'rolling_back'];

export function ModelsPage() {
  const [wanted, setWanted] = useState('');
  if (!state.models) return html`<p class="muted waiting">Reading…</p>`;
  const models = Object.values(state.models).sort((a, b) => a.name.localeCompare(b.name));
  if (!models.length) return html`<${Nothing} />`;
  const shown = models.filter((model) => model.name.toLowerCase().includes(wanted.trim().toLowerCase()));
  return html`
    <header class="title">
      <div><h1>Models</h1><span class="muted num">${summary(models)}</span></div>
      ${models.length >= FILTERED_FROM && html`
        <input class="field" type="search" placeholder="Filter" aria-label="Filter models by name" value=${wanted}
          onInput=${(event) => setWanted(event.target.value)} />`}
    </header>
    <${Alerts} />
    <section class="card list" aria-label="Models">
      <div class="scroll" tabindex="0" role="region" aria-label="Table of models">
        <table class="models">
          <thead><tr>
            <th scope="col">Model</th><th scope="col">State</th><th scope="col">Version</th><th scope="col">Rollout</th>
            <th scope="col" class="n">Requests/s</th><th scope="col" class="n">p99 ms</th><th scope="col" class="n">Errors/s</th>
            <th scope="col" class="n">Memory</th>
          </tr></thead>
          <tbody>${shown.map((model) => html`<${Row} key=${model.name} model=${model} />`)}</tbody>
        </table>
      </div>
      ${!shown.length && html`<p class="muted waiting">No model has “${wanted}” in its name.</p>`}
    </section>`;
}

function summary(models) {
  const moving = models.filter((model) => UNDER_WAY.includes(model.rollout?.phase)).length;
  const troubled = models.filter((model) => model.state !== 'ready').length;
  return [
    `${models.length} served`,
    moving ? `${moving} ${moving === 1 ? 'rollout' : 'rollouts'} under way` : '',
    troubled ? `${troubled} not ready` : '',
  ].filter(Boolean).join(' · ');
}

function Row({ model }) {
  const { name, rollout } = model;
  const live = state.live[name]?.[model.active];
  const errors = sum(name, 'errors_per_s');
  return html`
    <tr>
      <th scope="row"><a class="row-link" href=${`#/models/${encodeURIComponent(name)}`}>${name}</a></th>
      <td><${Badge} word=${model.state}>${titled(model.state)}<//></td>
      <td class="num">${called(model)}</td>
      <td class="traffic"><${Traffic} rollout=${current(name, rollout)} /></td>
      <td class="n">${figure(sum(name, 'requests_per_s'))}</td>
      <td class="n">${figure(live?.p99_ms)}</td>
      <td class="n ${errors > 0 ? 'bad-text' : ''}">${figure(errors)}</td>
      <td class="n">${bytes(sum(name, 'memory_bytes'))}</td>
    </tr>`;
}

const current = (name, rollout) => (rollout && state.rollouts[name]?.id === rollout.id ? state.rollouts[name] : rollout);
const called = (model) => model.versions.find((one) => one.version === model.active)?.name ?? '–';

function Traffic({ rollout }) {
  if (!rollout || !UNDER_WAY.includes(rollout.phase)) {
    return html`<span class="muted num">${rollout?.ended ? `${titled(rollout.phase)} · ${moment(rollout.ended)}` : titled(rollout?.phase)}</span>`;
  }
  const fresh = buckets(rollout);
  const place = rollout.step ? stepName(rollout.step.name) : '';
  return html`
    <span class="mini">
      <span class="num"><${Badge} word=${rollout.phase}>${titled(rollout.phase)}<//> <span class="muted">${place}</span></span>
      <span class="bar small" role="img" aria-label=${`${share(fresh)} of the traffic to ${version(rollout.to)}`}>
        <i class="bar-new" style=${{ width: `${fresh / 100}%` }}></i></span>
    </span>`;
}

const Nothing = () => html`
  <${Empty} title="No model is served yet">
    <p>Push one:</p><pre>changeover push NAME model.onnx</pre>
    <p>or put a folder <code>NAME/1/model.onnx</code> into the repository. It appears here by itself.</p>
  <//>`;
