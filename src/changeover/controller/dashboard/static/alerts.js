// What is wrong now: the alarms that fire, of one model or of all.

import { moment, titled } from './format.js';
import { Icon } from './icons.js';
import { state } from './store.js';
import { html } from './ui.js';

/** `model`: its own and the server's; without one all. Nothing at all where nothing fires. */
export function Alerts({ model }) {
  const firing = Object.values(state.alerts).filter((one) => !model || !one.model || one.model === model);
  if (!firing.length) return null;
  return html`
    <section class="alerts" aria-label="Alerts">
      <ul>${firing.map((one) => html`<${Alert} key=${one.key} one=${one} named=${!model} />`)}</ul>
    </section>`;
}

function Alert({ one, named }) {
  const place = [named && one.model, one.version && `version ${one.version}`].filter(Boolean).join(', ');
  const name = named && one.model ? html`<a href=${`#/models/${encodeURIComponent(one.model)}`}>${place}</a>` : place;
  return html`
    <li class=${one.severity}>
      <${Icon} name="alert" /><b>${titled(one.alert)}</b><span>${name}</span>
      <span class="alert-detail">${one.detail}</span><span class="muted num">since ${moment(one.since)}</span>
    </li>`;
}
