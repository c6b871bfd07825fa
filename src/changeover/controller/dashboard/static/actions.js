// What people can ask of a rollout: the buttons that make sense now, and what each will do, said before it is done.

import { act, may } from './store.js';
import { buckets, comparing } from './course.js';
import { clock, duration, share, stepName, version } from './format.js';
import { Dialog, html, useState } from './ui.js';

const RIGHT = 'Your token may look, not act: this needs the scope admin.';

/** The verbs of a phase: [verb, why it is not possible now or '']. */
export function verbs(rollout) {
  const { phase } = rollout;
  const hand = rollout.plan?.rollout?.strategy === 'manual';
  if (phase === 'pending' || phase === 'validating') {
    const proven = 'The gates have to pass first.';
    return [['pause', proven], ['promote', proven], ['abort', '']];
  }
  if (phase === 'paused') return [['resume', hand ? 'This plan goes by hand: set a weight.' : ''], ['promote', ''], ['abort', '']];
  if (comparing(rollout)) return [['pause', ''], ['promote', ''], ['abort', '']];
  return rollout.undo_until ? [['undo', '']] : [];
}

const EFFECTS = {
  promote: {
    title: (r) => `Promote ${version(r.to)}?`,
    says: (r) => [
      `All traffic of ${r.model} goes to ${version(r.to)} at once.`,
      skipped(r),
      warm(r),
    ],
  },
  pause: {
    title: () => 'Pause this rollout?',
    says: (r) => [
      `The new version keeps its ${share(buckets(r))} of the traffic, and nothing goes up by itself.`,
      'It is judged all the same: if it fails, everything is taken back.',
    ],
  },
  resume: {
    title: () => 'Resume this rollout?',
    says: () => ['The plan goes on at the first step that is not below the present share.'],
  },
  abort: {
    title: (r) => `Abort the rollout of ${version(r.to)}?`,
    says: (r) => [
      r.from ? `All traffic stays on or returns to ${version(r.from)}, in one switch.` : 'The model stays without a version.',
      `${version(r.to)} is let go. The rollout ends; it cannot be taken up again.`,
    ],
  },
  undo: {
    title: (r) => `Undo: back to ${version(r.from)}?`,
    says: (r) => [
      `All traffic of ${r.model} returns to ${version(r.from)}, which is kept warm until ${clock(r.undo_until)}.`,
      `${version(r.to)} is let go. No request is lost.`,
    ],
  },
};

function skipped(rollout) {
  const left = rollout.steps.slice(rollout.step?.index ?? 0, -1).map(stepName);
  return left.length ? `What is left of the plan is skipped: ${left.join(', ')}.` : 'No step of the plan is left.';
}

function warm(rollout) {
  const seconds = rollout.plan?.rollout?.undo_window;
  if (!rollout.from || !seconds) return 'There is no undo window: the old version is released.';
  return `${version(rollout.from)} is kept warm for ${duration(seconds)}, and can take everything back.`;
}

const label = (verb) => verb[0].toUpperCase() + verb.slice(1);

export function Actions({ rollout, live }) {
  const [asked, setAsked] = useState(null);
  const offered = verbs(rollout);
  if (!offered.length) return null;
  const barred = may('admin') ? (live ? '' : 'The server is not connected.') : RIGHT;
  return html`
    <div class="actions" role="group" aria-label="Actions">
      ${offered.map(([verb, because]) => html`<${Act} verb=${verb} because=${barred || because} onAsk=${() => setAsked(verb)} />`)}
    </div>
    ${asked && html`<${Confirm} verb=${asked} rollout=${rollout} onClose=${() => setAsked(null)} />`}`;
}

/** A button; one that is not possible says why, and can still be reached by keyboard to hear it. */
function Act({ verb, because, onAsk }) {
  const id = `why-${verb}`;
  const kind = { promote: 'primary', abort: 'danger', undo: 'danger' }[verb] ?? '';
  return html`<span class="act">
    <button class="button ${kind}" data-verb=${verb} aria-disabled=${because ? 'true' : null}
      aria-describedby=${because ? id : null} onClick=${() => because || onAsk()}>${label(verb)}</button>
    ${because && html`<span class="why" role="tooltip" id=${id}>${because}</span>`}
  </span>`;
}

/** Says what will happen, does it, and shows why when it could not be done. */
function Confirm({ verb, rollout, onClose }) {
  const [state, setState] = useState({ busy: false, error: null });
  const effect = EFFECTS[verb];
  const go = async () => {
    setState({ busy: true, error: null });
    try {
      await act(rollout.model, verb);
      onClose();
    } catch (error) {
      setState({ busy: false, error });
    }
  };
  return html`<${Dialog} label="confirm-title" onClose=${onClose}>
    <h2 id="confirm-title">${effect.title(rollout)}</h2>
    <ul class="effects">${effect.says(rollout).map((line) => html`<li>${line}</li>`)}</ul>
    ${state.error && html`<p class="problem" role="alert">${state.error.message} <code>${state.error.reason}</code></p>`}
    <div class="dialog-foot">
      <button class="button" onClick=${onClose}>Cancel</button>
      <button class="button ${verb === 'abort' || verb === 'undo' ? 'danger solid' : 'primary'}" data-confirm=${verb}
        disabled=${state.busy} onClick=${go}>${state.busy ? 'Working…' : label(verb)}</button>
    </div>
  <//>`;
}
