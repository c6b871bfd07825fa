// A model's page: what serves, what is changing, why the verdict is what it is, and what was.

import { getCertificate, getRolloutById } from './api.js';
import { Alerts } from './alerts.js';
import { Charts } from './charts.js';
import { compared } from './course.js';
import { Evidence, Gates } from './evidence.js';
import { bytes, figure, instant, titled } from './format.js';
import { Certificate, Events, History, Signature, Versions } from './records.js';
import { Rollout, Serving } from './rollout.js';
import { emptySeries } from './series.js';
import { state, view } from './store.js';
import { Badge, Empty, html, useEffect, useState } from './ui.js';

export function ModelPage({ name, id, now }) {
  useEffect(() => { view(name); return () => view(null); }, [name]);
  const past = usePast(id);
  const model = state.models?.[name];
  if (!model) return html`<${Missing} name=${name} />`;
  const fixed = Boolean(id) && state.rollouts[name]?.id !== id;
  const rollout = fixed ? past.rollout : state.rollouts[name];
  const certificate = fixed ? past.certificate : rollout && state.certificates[rollout.id];
  if (fixed && past.error) return html`<${Empty} title="This rollout is not known">${past.error.message}<//>`;
  return html`
    <${Title} model=${model} />
    <${Alerts} model=${name} />
    ${rollout
      ? html`<${Rollout} rollout=${rollout} now=${now} live=${state.link.phase === 'live'} fixed=${fixed} />`
      : rollout === null && html`<${Serving} model=${model} />`}
    ${!fixed && html`<${Live} model=${model} rollout=${rollout} />`}
    ${rollout && html`
      <div class="columns">
        <div class="column wide-column"><${Evidence} rollout=${rollout} /><${Gates} gates=${rollout.gates} /></div>
        <div class="column">
          <${Events} rollout=${rollout} log=${fixed ? [] : state.log[name] ?? []} />
          <${Certificate} certificate=${certificate} rollout=${rollout} />
        </div>
      </div>
      <${History} model=${name} list=${state.lists[name] ?? []} shown=${rollout.id} />`}
    <${Versions} model=${model} live=${state.live[name]} />
    <${Signature} model=${model} />`;
}

/** An earlier rollout, read once. */
function usePast(id) {
  const [past, setPast] = useState({});
  useEffect(() => {
    let wanted = true;
    setPast({});
    if (id) {
      Promise.all([getRolloutById(id), getCertificate(id)])
        .then(([rollout, certificate]) => wanted && setPast({ rollout, certificate }))
        .catch((error) => wanted && setPast({ error }));
    }
    return () => { wanted = false; };
  }, [id]);
  return past;
}

function Missing({ name }) {
  if (!state.models) return html`<p class="muted waiting">Reading…</p>`;
  return html`<${Empty} title=${`There is no model ${name}`}><p><a href="#/">All models</a></p><//>`;
}

function Title({ model }) {
  const live = state.live[model.name]?.[model.active];
  const facts = [
    ['Requests', figure(sum(model.name, 'requests_per_s')), '/s'],
    ['p99', figure(live?.p99_ms), 'ms'],
    ['Errors', figure(sum(model.name, 'errors_per_s')), '/s'],
    ['Memory', bytes(sum(model.name, 'memory_bytes')), ''],
  ];
  return html`
    <header class="title">
      <div><h1>${model.name}</h1><${Badge} word=${model.state}>${titled(model.state)}<//></div>
      <dl class="headline">
        ${facts.map(([name, value, unit]) => html`<div><dt>${name}</dt><dd class="num">${value}<small> ${unit}</small></dd></div>`)}
      </dl>
    </header>`;
}

/** Over all versions of a model's last sample; null before there is one. */
export function sum(model, metric) {
  const versions = state.live[model];
  return versions ? Object.values(versions).reduce((total, one) => total + (one[metric] ?? 0), 0) : null;
}

function Live({ model, rollout }) {
  const marks = (rollout?.history ?? []).map((one) => instant(one.at) / 1000);
  const names = Object.fromEntries(model.versions.map((one) => [one.version, one.name]));
  const versions = compared(model, rollout);
  if (!versions.fresh) return null;
  return html`<${Charts} series=${state.series[model.name] ?? emptySeries()} versions=${versions} marks=${marks} names=${names} />`;
}
