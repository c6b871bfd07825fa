// What the page knows. Events change it; a question to the API fills in what events do not carry. Nothing is polled.

import * as api from './api.js';
import { over } from './course.js';
import { instant } from './format.js';
import { append, emptySeries } from './series.js';
import { follow } from './stream.js';

const LOG_LENGTH = 200;

export const state = {
  link: { phase: 'connecting', since: Date.now(), error: '', wait: 0 },
  access: null, // {guarded, scopes, name}
  models: null, // documents of GET /v1/models, by name
  failed: null, // why they could not be read
  live: {}, // by model: versions of the last sample
  seen: null, // server's time of the last event, seconds
  series: {},
  rollouts: {}, // by model: its present or latest rollout; null: it has had none
  lists: {}, // by model: its rollouts, newest first
  certificates: {}, // by rollout; null: not written yet
  alerts: {}, // those that fire, by what they are about
  log: {}, // by model: events, newest first
  viewed: null,
};

const listeners = new Set();
let stream = null;
let caughtUp = false; // whether what is told now happens now

export function subscribe(listener) {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

function changed(part = {}) {
  Object.assign(state, part);
  for (const listener of listeners) listener();
}

export const may = (scope) => !state.access?.guarded || state.access.scopes.includes(scope);

// -- the connection ------------------------------------------------------------------------------------------------

export function start() {
  api.onToken(() => { changed({ failed: null }); stream.again(); });
  stream = follow(`v1/events?last=${LOG_LENGTH}`, { open: opened, event: heard, present, lost });
}

export const reconnect = () => stream.retry();

function opened() {
  changed({ link: { phase: 'live', since: Date.now(), error: '', wait: 0 } });
}

/** What was missed is told; now what events do not carry. From here on each event is news. */
function present() {
  caughtUp = true;
  readAll();
}

async function lost(error, wait) {
  caughtUp = false;
  const denied = api.refused(error);
  const phase = denied ? 'denied' : 'lost';
  changed({
    link: { phase, since: state.link.phase === phase ? state.link.since : Date.now(), error: error.message, wait },
    failed: denied ? error : state.failed,
    models: denied ? null : state.models,
  });
  if (denied) await readAccess();
}

async function readAccess() {
  try {
    changed({ access: await api.getAccess() });
  } catch {
    // the stream says it when the server is away
  }
}

async function readAll() {
  try {
    const [access, models, alerts] = await Promise.all([api.getAccess(), api.getModels(), api.getAlerts()]);
    changed({ access, alerts: firing(alerts), models: Object.fromEntries(models.map((model) => [model.name, model])), failed: null });
    if (state.viewed) await read(state.viewed);
  } catch (error) {
    changed({ failed: error });
  }
}

// -- one model -----------------------------------------------------------------------------------------------------

/** Show a model: its rollouts are read now, and again whenever an event tells of it. */
export function view(model) {
  state.viewed = model;
  if (model && state.link.phase === 'live') refresh(model);
}

const running = new Map(); // model -> whether to read once more

async function refresh(model) {
  if (running.has(model)) {
    running.set(model, true);
    return;
  }
  do {
    running.set(model, false);
    await read(model).catch(() => {});
  } while (running.get(model));
  running.delete(model);
}

async function read(model) {
  if (state.viewed !== model) {
    const document = await gone(api.getModel(model));
    changed({ models: replaced(state.models, model, document) });
    return;
  }
  const [document, rollout, list] = await Promise.all(
    [api.getModel(model), api.getRollout(model), api.getRollouts(model)].map(gone),
  );
  changed({
    models: replaced(state.models, model, document),
    rollouts: { ...state.rollouts, [model]: rollout },
    lists: { ...state.lists, [model]: list ?? [] },
  });
  const written = rollout && (over(rollout) || rollout.phase === 'watching');
  if (written && !(rollout.id in state.certificates)) await readCertificate(rollout.id);
}

/** It is there some seconds after the switch, and again at the end: an event tells of both. */
async function readCertificate(id) {
  const certificate = await gone(api.getCertificate(id));
  changed({ certificates: { ...state.certificates, [id]: certificate } });
}

async function gone(asked) {
  try {
    return await asked;
  } catch (error) {
    if (error.status === 404) return null;
    throw error;
  }
}

function replaced(models, name, document) {
  const made = { ...models };
  if (document) made[name] = document;
  else delete made[name];
  return made;
}

/** Have a verb done. The answer is the rollout as it is then; an error is the caller's to show. */
export async function act(model, verb) {
  const rollout = await api.steer(model, verb);
  changed({ rollouts: { ...state.rollouts, [model]: rollout } });
}

// -- events --------------------------------------------------------------------------------------------------------

function heard(event) {
  state.seen = instant(event.at) / 1000;
  if (event.type === 'sample') {
    sampled(event);
    return;
  }
  if (event.type === 'reset') state.log = {}; // the journal has forgotten what was missed, or is another one
  if (event.type === 'alert') alarmed(event);
  const { model } = event;
  if (!model) return;
  const log = [event, ...(state.log[model] ?? [])].slice(0, LOG_LENGTH);
  changed({ log: { ...state.log, [model]: log }, ...(event.type === 'rollout' ? moved(event) : {}) });
  if (!caughtUp) return;
  if (event.type === 'certificate' && model === state.viewed) readCertificate(event.rollout);
  refresh(model);
}

function firing(alerts) {
  const keyed = alerts.map((one) => ({ ...one, key: [one.model, one.alert, one.version].join(' ') }));
  return Object.fromEntries(keyed.filter((one) => one.state !== 'resolved').map((one) => [one.key, one]));
}

/** One begins or ends; while what was missed is still told, what fires is not known yet. */
function alarmed(event) {
  const key = [event.model, event.alert, event.version].join(' ');
  const { [key]: _, ...others } = state.alerts;
  changed({ alerts: { ...others, ...firing([event]) } });
}

/** What a rollout's event says of it, shown before the rest is read. */
function moved(event) {
  const known = state.rollouts[event.model];
  if (known?.id !== event.rollout) return {};
  const told = event.weight === null || event.weight === undefined ? known.weight : { set: event.weight, actual: null };
  const now = { ...known, phase: event.phase, weight: over(event) ? null : told };
  return { rollouts: { ...state.rollouts, [event.model]: now } };
}

function sampled(event) {
  const rollouts = { ...state.rollouts };
  const models = { ...state.models };
  for (const [model, sample] of Object.entries(event.models)) {
    append((state.series[model] ??= emptySeries()), event.at, sample.versions);
    state.live[model] = sample.versions;
    if (sample.rollout && models[model]) models[model] = { ...models[model], rollout: sample.rollout };
    const known = rollouts[model];
    if (sample.rollout && known?.id === sample.rollout.id) rollouts[model] = { ...known, ...sample.rollout };
    else if (sample.rollout && model === state.viewed) refresh(model);
  }
  changed({ rollouts, models: state.models && models });
}
