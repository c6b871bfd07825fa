// What was: the events, the certificate, earlier rollouts, and the versions that are known.

import { Facts } from './evidence.js';
import { DASH, bytes, clock, count, figure, instant, moment, ms, plain, span, stepName, titled, version } from './format.js';
import { Badge, Empty, Section, Table, html } from './ui.js';

const SHOWN = 60;

/** The rollout's own moments and what else happened meanwhile, newest first. */
export function Events({ rollout, log }) {
  const moments = (rollout?.history ?? []).map((one) => ({ ...one, type: 'rollout', at: instant(one.at) }));
  const others = log.filter((one) => one.type !== 'rollout' && one.type !== 'certificate')
    .map((one) => ({ ...one, at: instant(one.at) }));
  const all = [...moments, ...others].sort((a, b) => b.at - a.at).slice(0, SHOWN);
  return html`
    <${Section} title="Events" id="events-title">
      ${all.length
        ? html`<ol class="events" tabindex="0" aria-labelledby="events-title">${all.map((one) => html`<${Line} one=${one} />`)}</ol>`
        : html`<${Empty} part title="Nothing has happened yet" />`}
    <//>`;
}

function Line({ one }) {
  const place = one.type === 'version' ? `version ${one.version}` : one.step ? stepName(one.step) : '';
  return html`
    <li>
      <time class="num" datetime=${new Date(one.at).toISOString()}>${clock(one.at / 1000)}</time>
      <span class="what"><b>${titled(what(one))}</b>${place && html` <span class="num">${place}</span>`}
        ${why(one) && html`<span class="muted"> ${why(one)}</span>`}</span>
      <span class="by muted">${one.type === 'version' ? '' : plain(one.by ?? one.type)}</span>
    </li>`;
}

const what = (one) => (one.type === 'alert' ? `${one.alert} ${one.state}` : one.type === 'proposal' ? `tuning ${one.state}` : one.phase ?? one.asked ?? one.state ?? one.type);
const why = (one) => one.detail ?? one.sentence ?? (one.reason ? plain(one.reason) : '');

const latency = (window) => (window?.requests ? `${figure(window.p50_ms)} / ${ms(window.p99_ms)}` : null);

/** What was measured while one version took over. */
export function Certificate({ certificate, rollout }) {
  if (!certificate) {
    const later = ['rolled_back', 'failed'].includes(rollout.phase) ? 'There is none: the new version never got all traffic.'
      : 'It is written five seconds after the switch.';
    return html`<${Section} title="Certificate" id="certificate-title"><p class="muted">${later}</p><//>`;
  }
  const { requests, switch: store, memory, loading, latency: times } = certificate;
  const rows = [
    ['Outcome', html`<${Badge} word=${certificate.outcome} />`],
    ['Decided by', plain(certificate.decided_by)],
    ['Requests', count(requests?.total)],
    ['Failed', html`<b class=${requests?.failed ? 'bad-text' : 'good-text'}>${count(requests?.failed)}</b>`],
    ['Shielded', count(requests?.shielded)],
    ['Stale picks', count(store?.stale_picks)],
    ['Store', store?.store_ns ? `${(store.store_ns / 1000).toFixed(1)} µs` : null],
    ['Last acknowledgement', store ? ms(store.last_ack_ms) : null],
    ['Before, p50 / p99', latency(times?.before)],
    ['During', latency(times?.during)],
    ['After', latency(times?.after)],
    ['Load', loading?.load_seconds ? `${figure(loading.load_seconds)} s` : null],
    ['Memory before', bytes(memory?.before_bytes)],
    ['Peak', bytes(memory?.peak_bytes)],
    ['After release', bytes(memory?.after_bytes)],
  ];
  const document = `data:application/json;charset=utf-8,${encodeURIComponent(JSON.stringify(certificate, null, 2))}`;
  const save = html`<a class="link" href=${document} download=${`${certificate.rollout}.json`}>Save as JSON</a>`;
  return html`
    <${Section} title="Certificate" id="certificate-title" aside=${save}>
      <dl class="facts certificate">
        ${rows.filter(([, value]) => value && value !== DASH).map(([name, value]) => html`
          <div><dt>${name}</dt><dd class="num">${value}</dd></div>`)}
      </dl>
    <//>`;
}

/** A model's rollouts, newest first. */
export function History({ model, list, shown }) {
  const columns = [['Rollout'], ['From → to'], ['Outcome'], ['Started'], ['Took', 'n'], ['Why', 'wide']];
  return html`
    <${Section} title="History" id="history-title">
      <${Table} label="Rollouts of this model" stacked columns=${columns}>
        ${list.map((one) => html`
          <tr aria-current=${one.id === shown ? 'true' : null}>
            <th scope="row"><a href=${`#/models/${encodeURIComponent(model)}/rollouts/${one.id}`}>${one.id}</a></th>
            <td class="num">${one.from ? version(one.from) : '–'} → ${version(one.to)}</td>
            <td><${Badge} word=${one.phase} /></td>
            <td class="num">${moment(one.started)}</td>
            <td class="n">${one.ended ? span(instant(one.ended) - instant(one.started)) : ''}</td>
            <td class="wide muted">${one.detail ?? plain(one.reason)}</td>
          </tr>`)}
      <//>
    <//>`;
}

/** Every version ever seen. */
export function Versions({ model, live }) {
  const columns = [['Version'], ['Role'], ['State'], ['From'], ['Memory', 'n'], ['Note', 'wide']];
  return html`
    <${Section} title="Versions" id="versions-title">
      <${Table} label="Versions of this model" stacked columns=${columns}>
        ${model.versions.map((one) => html`
          <tr>
            <th scope="row"><span title=${one.digest}>${one.name}</span></th>
            <td>${one.role === 'none' ? '' : one.role}</td>
            <td><${Badge} word=${one.state} /></td>
            <td class="muted">${one.source}</td>
            <td class="n">${one.worker ? bytes(live?.[one.version]?.memory_bytes ?? one.worker.rss_bytes) : ''}</td>
            <td class="wide muted">${one.detail ?? plain(one.reason)}</td>
          </tr>`)}
      <//>
    <//>`;
}

/** What clients send and get. */
export const Signature = ({ model }) => html`
  <${Section} title="Interface" id="interface-title">
    <${Facts} facts=${Object.fromEntries([
      ...model.inputs.map((one) => [`input › ${one.name}`, `${one.datatype} [${one.shape.join(', ')}]`]),
      ...model.outputs.map((one) => [`output › ${one.name}`, `${one.datatype} [${one.shape.join(', ')}]`]),
    ])} />
  <//>`;
