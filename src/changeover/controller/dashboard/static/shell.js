// The frame of every page: where one is, whether what is seen is live, and who one is.

import { getAccess, refused, setToken, token } from './api.js';
import { clock } from './format.js';
import { Icon, Mark } from './icons.js';
import { reconnect, state } from './store.js';
import { Dialog, Empty, html, useState } from './ui.js';

export function Shell({ model, children }) {
  const [asking, setAsking] = useState(false);
  const denied = state.link.phase === 'denied' || (state.failed && refused(state.failed));
  return html`
    <a class="skip" href="#main" onClick=${toMain}>Skip to the content</a>
    <header class="top">
      <a class="brand" href="#/"><${Mark} />Changeover</a>
      ${model && html`<nav aria-label="Place"><a href="#/">Models</a><span aria-hidden="true">/</span><span aria-current="page">${model}</span></nav>`}
      <div class="top-right">
        <${Link} />
        ${(state.access?.guarded || denied) && html`
          <button class="button quiet" onClick=${() => setAsking(true)}><${Icon} name="key" />${who()}</button>`}
      </div>
    </header>
    <${Lost} />
    <main id="main" tabindex="-1">
      ${denied ? html`<${Locked} onAsk=${() => setAsking(true)} />` : state.failed && !state.models ? html`<${Failed} />` : children}
    </main>
    ${asking && html`<${Access} onClose=${() => setAsking(false)} />`}`;
}

function toMain(event) {
  event.preventDefault();
  document.getElementById('main').focus();
}

function who() {
  const scopes = state.access?.scopes ?? [];
  if (scopes.includes('admin')) return 'Admin';
  return scopes.includes('read') ? 'Read only' : 'Enter token';
}

const LINKS = { live: 'Live', connecting: 'Connecting', lost: 'Disconnected', denied: 'No access' };

const Link = () => html`
  <span class="link-state ${state.link.phase}" role="status"><i class="dot"></i>${LINKS[state.link.phase]}</span>`;

/** What is seen is old: since when, and that it is tried again. */
function Lost() {
  if (state.link.phase !== 'lost') return null;
  const seen = state.seen ? `What you see is from ${clock(state.seen)}.` : 'What you see may be old.';
  const since = state.models ? seen : 'Nothing was read yet.';
  return html`
    <div class="banner" role="alert">
      <${Icon} name="alert" /><span><b>${state.link.error}</b> ${since} It is tried again by itself.</span>
      <button class="button" onClick=${reconnect}>Try now</button>
    </div>`;
}

const Failed = () => html`
  <${Empty} title="The models cannot be read"><p>${state.failed.message}</p><p><code>${state.failed.reason}</code></p><//>`;

const Locked = ({ onAsk }) => html`
  <${Empty} title=${token() ? 'This token does not open this page' : 'This server asks for a token'}>
    <p>${state.failed?.message}</p>
    <p>Looking takes a token with the scope <code>read</code> or <code>admin</code>, acting one with <code>admin</code>.</p>
    <p><button class="button primary" onClick=${onAsk}>Enter a token</button></p>
  <//>`;

/** A token is tried before it is kept: for this tab only, until it is closed. */
function Access({ onClose }) {
  const [state_, setState] = useState({ busy: false, problem: '' });
  const use = async (event) => {
    event.preventDefault();
    const secret = new FormData(event.target).get('token').trim();
    setState({ busy: true, problem: '' });
    try {
      const { scopes } = await getAccess(secret);
      if (!scopes.length) throw new Error('The server does not know this token.');
      setToken(secret);
      onClose();
    } catch (error) {
      setState({ busy: false, problem: error.message });
    }
  };
  const forget = () => { setToken(null); onClose(); };
  return html`<${Dialog} label="access-title" onClose=${onClose}>
    <form onSubmit=${use}>
      <h2 id="access-title">Access token</h2>
      <p class="muted">Kept in this tab only, and forgotten when it is closed.</p>
      <label class="label" for="token">Token</label>
      <input class="field" id="token" name="token" type="password" autocomplete="off" spellcheck="false" required
        aria-invalid=${state_.problem ? 'true' : null} aria-describedby=${state_.problem ? 'token-problem' : null} />
      ${state_.problem && html`<p class="problem" role="alert" id="token-problem">${state_.problem}</p>`}
      <div class="dialog-foot">
        ${token() && html`<button type="button" class="button" data-forget onClick=${forget}>Forget it</button>`}
        <button type="button" class="button" onClick=${onClose}>Cancel</button>
        <button class="button primary" disabled=${state_.busy}>Use it</button>
      </div>
    </form>
  <//>`;
}
