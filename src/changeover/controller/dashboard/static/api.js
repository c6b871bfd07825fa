// The control port's API: one fetch with the token, and errors as sentences with a stable reason.

const KEY = 'changeover.token';
let listener = () => {};

export const token = () => sessionStorage.getItem(KEY);

/** Keep a token for this tab, or forget it (null). Whoever listens connects again. */
export function setToken(value) {
  if (value) sessionStorage.setItem(KEY, value);
  else sessionStorage.removeItem(KEY);
  listener();
}

export const onToken = (heard) => { listener = heard; };

/** An answer that is no good one. `status` 0: nobody answered. */
export class Refusal extends Error {
  constructor(status, message, reason) {
    super(message);
    this.status = status;
    this.reason = reason;
  }
}

export const headers = (secret = token()) => (secret ? { authorization: `Bearer ${secret}` } : {});

/** What may be shown at all: 401 and 403 are no faults, but want another token. */
export const refused = (error) => error.status === 401 || error.status === 403;

export async function ask(method, path, { secret = token(), body } = {}) {
  let answer;
  try {
    answer = await fetch(path, { method, body, headers: headers(secret), cache: 'no-store' });
  } catch {
    throw new Refusal(0, 'The server does not answer.', 'unreachable');
  }
  const told = await answer.json().catch(() => null);
  if (!answer.ok) throw failure(answer.status, told);
  return told;
}

export function failure(status, told) {
  return new Refusal(status, told?.error ?? `The server answered ${status}.`, told?.reason ?? `http_${status}`);
}

const name = encodeURIComponent;

export const getAccess = (secret) => ask('GET', 'v1/access', { secret });
export const getModels = async () => (await ask('GET', 'v1/models')).models;
export const getAlerts = async () => (await optional(ask('GET', 'v1/alerts'), 'path_not_found'))?.alerts ?? [];
export const getModel = (model) => ask('GET', `v1/models/${name(model)}`);
export const getRollout = (model) => optional(ask('GET', `v1/models/${name(model)}/rollout`), 'rollout_not_found');
export const getRollouts = async (model) => (await ask('GET', `v1/models/${name(model)}/rollouts`)).rollouts;
export const getRolloutById = (id) => ask('GET', `v1/rollouts/${name(id)}`);
export const getCertificate = (id) => optional(ask('GET', `v1/rollouts/${name(id)}/certificate`), 'certificate_not_ready');
export const steer = (model, verb) => ask('POST', `v1/models/${name(model)}/rollout/${verb}`);

async function optional(asked, reason) {
  try {
    return await asked;
  } catch (error) {
    if (error.reason === reason) return null;
    throw error;
  }
}
