// A rollout's way as stations (pure): gates, the plan's steps, the undo window; what became of each, and what it lacks.

import { duration, instant, plain, share, span, stepName } from './format.js';

const UNDER_WAY = ['shadowing', 'progressing', 'paused'];
export const ENDED = ['succeeded', 'rolled_back', 'failed'];
export const PROMOTED = ['watching', 'succeeded'];

export const over = (rollout) => ENDED.includes(rollout.phase);
export const comparing = (rollout) => UNDER_WAY.includes(rollout.phase);

/** The new version's buckets of 10,000 as they are to be now. */
export function buckets(rollout) {
  if (rollout.weight) return rollout.weight.set;
  return rollout.phase === 'succeeded' ? 10_000 : 0;
}

/** Stations in order: {name, state: done | current | paused | failed | ahead, note}. */
export function stations(rollout) {
  const steps = rollout.from ? rollout.steps : rollout.steps.slice(-1); // a first version has nobody to share with
  const names = ['gates', ...steps, ...(hasWindow(rollout) ? ['undo window'] : [])];
  const [at, there] = place(rollout, names.length, steps.length);
  return names.map((name, position) => {
    const state = position < at ? 'done' : position === at ? there : 'ahead';
    return { name: stepName(name), state, note: note(rollout, name, position, state) };
  });
}

function hasWindow(rollout) {
  return Boolean(rollout.from) && rollout.plan?.rollout?.undo_window !== 0;
}

function place(rollout, total, steps) {
  const { phase, step } = rollout;
  const sign = { paused: 'paused', failed: 'failed', rolled_back: 'failed', rolling_back: 'failed' }[phase] ?? 'current';
  if (phase === 'succeeded') return [total, 'done'];
  if (phase === 'promoting') return [steps, 'current'];
  if (phase === 'watching' || rollout.history.some((one) => one.phase === 'watching')) {
    return hasWindow(rollout) ? [total - 1, sign] : [total, 'done'];
  }
  return [step && phase !== 'validating' ? step.index : 0, sign];
}

function note(rollout, name, position, state) {
  if (position === 0) return gatesNote(rollout, state);
  if (name === 'undo window') return windowNote(rollout, state);
  if (state === 'current' || state === 'paused') return lacks(rollout.step);
  if (state === 'failed') return plain(rollout.reason) || 'taken back';
  if (state === 'done') return verdict(rollout, name);
  return over(rollout) ? '' : wants(rollout, position - 1);
}

function gatesNote(rollout, state) {
  if (state === 'current') return rollout.phase === 'pending' ? 'waits for its turn' : 'being proven';
  if (state === 'failed') return plain(rollout.reason);
  const passed = rollout.gates.filter((gate) => gate.result === 'passed').length;
  return passed ? `${passed} passed` : 'passed';
}

function windowNote(rollout, state) {
  const seconds = rollout.plan?.rollout?.undo_window;
  if (state === 'current') return rollout.undo_until ? 'can be undone' : 'ends now';
  if (state === 'failed') return plain(rollout.reason) || 'undone';
  if (state === 'done') return 'over';
  return seconds && !over(rollout) ? duration(seconds) : '';
}

/** What the step that a rollout is at still lacks. */
export function lacks(step) {
  if (!step || step.held_s === null || step.held_s === undefined) return '';
  const words = [];
  const seconds = (step.hold_s ?? 0) - step.held_s;
  const requests = (step.min_requests ?? 0) - (step.requests ?? 0);
  if (seconds > 0.5) words.push(span(Math.ceil(seconds) * 1000));
  if (requests > 0) words.push(`${requests.toLocaleString('en-US')} requests`);
  return words.length ? `needs ${words.join(', ')}` : 'held long enough';
}

function wants(rollout, index) {
  const plan = rollout.plan?.rollout;
  const step = plan?.strategy === 'canary' ? plan.steps[index] : null;
  if (!step || index >= rollout.steps.length - 1) return '';
  const hold = step.hold ?? plan.hold;
  return hold ? `${duration(hold)} at least` : '';
}

/** How a step behind ended: the word of the machine for what led out of it. */
function verdict(rollout, name) {
  const moments = rollout.history;
  const left = moments.findIndex((one, i) => moments[i - 1]?.step === name && one.step !== name);
  if (left < 0) return name === '100%' ? 'all traffic' : 'skipped';
  const words = { step_clear: 'clear', step_inconclusive: 'inconclusive', promote_asked: 'by hand', weight_asked: 'by hand' };
  return words[moments[left].event] ?? plain(moments[left].by);
}

const NAMES = { old: (rollout) => rollout.from?.version ?? null, fresh: (rollout) => rollout.to.version };

/** The versions that the charts show: the one that served first, the new one second. */
export function compared(model, rollout) {
  const old = rollout ? NAMES.old(rollout) : null;
  const fresh = rollout ? NAMES.fresh(rollout) : null;
  if (rollout && old && (!over(rollout) || recent(rollout))) return { old, fresh };
  return { old: null, fresh: model?.active ?? fresh };
}

const recent = (rollout) => rollout.ended && Date.now() - instant(rollout.ended) < 300_000;

/** The rollout in one sentence. */
export function sentence(rollout, now) {
  const { phase, step, ruling } = rollout;
  if (phase === 'pending') return 'Waits for its turn: one rollout of a model goes on at a time.';
  if (phase === 'validating') return 'The new version is being loaded and goes through its gates. It has no traffic.';
  if (phase === 'paused') return `Its share stays at ${share(buckets(rollout))} until somebody resumes, promotes or aborts it.`;
  if (phase === 'promoting') return 'All traffic is being given to the new version.';
  if (phase === 'watching') {
    const left = rollout.undo_until ? span(instant(rollout.undo_until) - now) : '0 s';
    return `The new version has the traffic. The old one is kept warm for ${left} more.`;
  }
  if (phase === 'succeeded') return `The new version has all traffic${rollout.from ? ', and the old one was released' : ''}.`;
  if (phase === 'rolling_back') return 'The traffic is being given back to the version that served before.';
  if (over(rollout)) return rollout.detail ? capital(rollout.detail) : 'The version that served before has all traffic.';
  if (ruling) return `${capital(ruling.verdict)}: ${ruling.detail}.`;
  return step ? `At ${stepName(step.name)}. The judge has nothing to say yet.` : '';
}

const capital = (text) => text.replace(/^./, (letter) => letter.toUpperCase());
