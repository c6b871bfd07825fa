// The few signs of the page, drawn in the colour of the text around them.

import { html } from './ui.js';

const PATHS = {
  done: 'M4.5 8.5l2.4 2.4 4.6-5',
  failed: 'M5.2 5.2l5.6 5.6M10.8 5.2l-5.6 5.6',
  paused: 'M6.2 5.2v5.6M9.8 5.2v5.6',
  back: 'M9.8 4.6L6.4 8l3.4 3.4',
  key: 'M10.6 3a2.9 2.9 0 1 0-2.5 4.4L4 11.5V13h1.8v-1.4h1.5v-1.4h1.3l.7-2.9',
  alert: 'M8 2.6l6 10.6H2L8 2.6zM8 6.6v3M8 11.4v.2',
};

/** `name` of a path above; without a label it is decoration, and not read aloud. */
export function Icon({ name, label }) {
  const said = label ? { role: 'img', 'aria-label': label } : { 'aria-hidden': 'true' };
  return html`<svg class="icon" viewBox="0 0 16 16" ...${said}><path d=${PATHS[name]} /></svg>`;
}

/** Two circles, one taking over from the other. */
export const Mark = () => html`
  <svg class="mark" viewBox="0 0 24 24" aria-hidden="true">
    <circle class="old" cx="9" cy="12" r="6.25" /><circle class="new" cx="15" cy="12" r="6.25" />
  </svg>`;
