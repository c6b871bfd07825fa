// The rollout at the top of a model's page: who takes over from whom, the split, the way, and what people can do.

import { Actions } from './actions.js';
import { buckets, over, sentence, stations } from './course.js';
import { instant, moment, part, plain, share, span, titled, version } from './format.js';
import { Icon } from './icons.js';
import { Badge, html } from './ui.js';

export function Rollout({ rollout, now, live, fixed }) {
  const ended = over(rollout);
  const took = span((ended ? instant(rollout.ended) : now) - instant(rollout.started));
  return html`
    <section class="card rollout" aria-labelledby="rollout-title">
      <header class="card-head">
        <div class="rollout-name">
          <h2 id="rollout-title">
            <span class="old-text">${rollout.from ? version(rollout.from) : 'First version'}</span>
            <span class="arrow"> → </span><span class="new-text">${version(rollout.to)}</span>
          </h2>
          <${Badge} word=${rollout.phase}>${titled(rollout.phase)}<//>
          <span class="muted num" title=${`since ${moment(rollout.started)}`}>${rollout.id} · ${took}</span>
        </div>
        ${!fixed && html`<${Actions} rollout=${rollout} live=${live} />`}
      </header>
      <${Split} rollout=${rollout} />
      <${Track} rollout=${rollout} />
      <p class="verdict">${sentence(rollout, now)}</p>
      <p class="unseen" role="status">${titled(rollout.phase)}, ${share(buckets(rollout))} to the new version</p>
      ${ended && html`<p class="muted">Decided ${moment(rollout.ended)} by ${plain(rollout.history.at(-1)?.by ?? 'plan')}${
        rollout.reason && html`, reason <code>${rollout.reason}</code>`}</p>`}
    </section>`;
}

/** The traffic as a bar: the old version from the left, the new one from the right. */
export function Split({ rollout }) {
  const fresh = buckets(rollout);
  const actual = rollout.weight?.actual;
  const shadow = rollout.phase === 'shadowing' ? 'copies only' : '';
  const measured = actual === null || actual === undefined ? shadow : `${part(actual)} measured`;
  const said = `${share(fresh)} of the traffic to the new version, ${share(10_000 - fresh)} to the old one`;
  return html`
    <div class="split">
      <div class="split-labels num">
        <span><b>${share(10_000 - fresh)}</b> <span class="muted">${rollout.from ? version(rollout.from) : ''}</span></span>
        <span><span class="muted">${measured && html`<span class="measured">${measured} · </span>`}${version(rollout.to)}</span> <b class="new-text">${share(fresh)}</b></span>
      </div>
      <div class="bar" role="img" aria-label=${said}><i class="bar-new" style=${{ width: `${fresh / 100}%` }}></i></div>
    </div>`;
}

const MARKS = { done: 'done', failed: 'failed', paused: 'paused' };
const SAID = { done: 'done', failed: 'taken back here', paused: 'paused here', current: 'under way', ahead: 'still to come' };

function Track({ rollout }) {
  const way = stations(rollout);
  return html`
    <ol class="track" aria-label="Steps">
      ${way.map((one) => html`
        <li class=${one.state} aria-current=${one.state === 'current' || one.state === 'paused' ? 'step' : null}>
          <span class="knot">${MARKS[one.state] && html`<${Icon} name=${MARKS[one.state]} />`}</span>
          <span class="station">${one.name}<span class="unseen">, ${SAID[one.state]}</span></span>
          <span class="note num">${one.note}</span>
        </li>`)}
    </ol>`;
}

/** Where no rollout is under way, what serves. */
export const Serving = ({ model }) => html`
  <section class="card quiet" aria-label="Serving">
    <p>${model.active ? html`Version <b>${model.active}</b> serves all traffic. No rollout yet.` : 'No version serves.'}</p>
  </section>`;
