// Server-sent events by fetch: EventSource cannot send an Authorization header. The stream is taken up again after the
// last event seen, so nothing is lost or told twice while the server is away.

import { failure, headers } from './api.js';

const SILENCE_MS = 25_000; // the server says something every 10 s
const FIRST_WAIT_MS = 250;
const LONGEST_WAIT_MS = 5_000;

/**
 * Cut server-sent text into events (pure but for its rest).
 * Returns a function that takes a piece of text and gives the whole events in it: [{id, data}]. The comment `present`,
 * after which follows what happens from now on, comes as {present: true}.
 */
export function cutter() {
  let rest = '';
  return (text) => {
    const blocks = (rest + text).replaceAll('\r\n', '\n').split('\n\n');
    rest = blocks.pop();
    return blocks.map(parsed).filter((event) => event.present || event.data !== '');
  };
}

function parsed(block) {
  const event = { id: null, data: '', present: block.startsWith(': present') };
  for (const line of block.split('\n')) {
    const at = line.indexOf(':');
    if (at < 1) continue; // a comment, or no field
    const value = line.slice(at + 1).replace(/^ /, '');
    if (line.startsWith('data')) event.data += (event.data && '\n') + value;
    else if (line.startsWith('id')) event.id = value;
  }
  return event;
}

/**
 * Follow the events until `stop()`.
 * `told.open()` when the server answers, `told.event(value)` for each event, `told.present()` when all that was missed is
 * told, `told.lost(error, wait_ms)` when the server is gone.
 */
export function follow(path, told) {
  const follower = { last: null, stopped: false, controller: null, wake: null, wait: FIRST_WAIT_MS };
  const run = async () => {
    while (!follower.stopped) {
      const error = await once(path, follower, told);
      if (follower.stopped) return;
      const wait = error.status === 401 || error.status === 403 ? Infinity : follower.wait;
      told.lost(error, wait);
      await pause(follower, wait);
      follower.wait = Math.min(follower.wait * 2, LONGEST_WAIT_MS);
    }
  };
  run();
  return {
    retry: () => follower.wake?.(),
    again: () => { follower.wait = FIRST_WAIT_MS; follower.wake ? follower.wake() : follower.controller?.abort(); },
    stop: () => { follower.stopped = true; follower.controller?.abort(); follower.wake?.(); },
  };
}

function pause(follower, wait) {
  return new Promise((done) => {
    const timer = wait === Infinity ? null : setTimeout(() => follower.wake(), wait * (0.8 + 0.4 * Math.random()));
    follower.wake = () => { clearTimeout(timer); follower.wake = null; done(); };
  });
}

/** One connection, to its end; returns why it ended. */
async function once(path, follower, told) {
  const controller = follower.controller = new AbortController();
  let silence;
  const heard = () => {
    clearTimeout(silence);
    silence = setTimeout(() => controller.abort(), SILENCE_MS);
  };
  try {
    heard();
    const resume = follower.last === null ? {} : { 'last-event-id': follower.last };
    const sent = { accept: 'text/event-stream', ...headers(), ...resume };
    const answer = await fetch(path, { headers: sent, cache: 'no-store', signal: controller.signal });
    if (!answer.ok) return failure(answer.status, await answer.json().catch(() => null));
    follower.wait = FIRST_WAIT_MS;
    told.open();
    const cut = cutter();
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return new Error('The server is away.');
      heard();
      for (const event of cut(value)) {
        if (event.id !== null) follower.last = event.id;
        if (event.present) told.present();
        else told.event(JSON.parse(event.data));
      }
    }
  } catch {
    return new Error('The server does not answer.');
  } finally {
    clearTimeout(silence);
    controller.abort();
  }
}
