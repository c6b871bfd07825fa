// preact and htm, bound to each other, and the small parts that every page uses.

import { h, render } from './vendor/preact.js';
import htm from './vendor/htm.js';
import { useEffect, useRef, useState } from './vendor/hooks.js';

export const html = htm.bind(h);
export { render, useEffect, useRef, useState };

const TONES = {
  succeeded: 'good', ready: 'good', passed: 'good', clear: 'good',
  failed: 'bad', rolled_back: 'bad', crash_loop: 'bad', unavailable: 'bad', firing: 'bad',
  rolling_back: 'warn', paused: 'warn', inconclusive: 'warn', loading: 'warn',
  shadowing: 'busy', progressing: 'busy', promoting: 'busy', watching: 'busy', validating: 'busy', waiting: 'busy',
};

/** A state in a word, with a dot whose colour only repeats it. */
export const Badge = ({ word, children }) => html`
  <span class="badge ${TONES[word] ?? 'calm'}"><i class="dot"></i>${children ?? word.replaceAll('_', ' ')}</span>`;

/** A part of a page with its heading; `aside` stands at the right of it. */
export const Section = ({ title, aside, id, children }) => html`
  <section class="card" aria-labelledby=${id}>
    <header class="card-head"><h2 id=${id}>${title}</h2>${aside && html`<div class="aside">${aside}</div>`}</header>
    ${children}
  </section>`;

/** A table that scrolls by itself where it does not fit, or is stacked there. `columns`: [name, class]. */
export const Table = ({ label, columns, stacked, children }) => html`
  <div class="scroll" tabindex="0" role="region" aria-label=${label}>
    <table class=${stacked ? 'stacked' : ''}>
      <thead><tr>${columns.map(([name, kind]) => html`<th scope="col" class=${kind ?? ''}>${name}</th>`)}</tr></thead>
      <tbody>${children}</tbody>
    </table>
  </div>`;

/** What stands where there is nothing yet; the heading of the page when it is all there is. */
export const Empty = ({ title, part, children }) => html`
  <div class="empty"><${part ? 'p' : 'h1'} class="empty-title">${title}<//>${children && html`<div class="muted">${children}</div>`}</div>`;

/** A modal dialog by the browser's own means: focus stays inside, Escape closes. */
export function Dialog({ label, onClose, children }) {
  const dialog = useRef(null);
  useEffect(() => {
    const shown = dialog.current;
    shown.showModal();
    return () => shown.close(); // which gives the focus back
  }, []);
  const outside = (event) => event.target === dialog.current && onClose();
  return html`<dialog ref=${dialog} aria-labelledby=${label} onClose=${onClose} onClick=${outside}>
    <div class="dialog">${children}</div>
  </dialog>`;
}
