// The few signs of the page, drawn in the colour of the text around them.

import { html } from './ui.js';

const PATHS = {
  done: 'M4.5 8.5l2.4 2.4 4.6-5',
  failed: 'M5.2 5.2l5.6 5.6M10.8 5.2l-5.6 5.6',
  paused: 'M6.2 5.2v5.6M9.8 5.2v5.6',
  back: 'M9.8 4.6L6.4 8l3.4 3.4',
  key: 'M7.3 8.7L13 3M10.6 5.4l2 2M5.5 13a2.5 2.5 0 1 0 0-5 2.5 2.5 0 0 0 0 5',
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
