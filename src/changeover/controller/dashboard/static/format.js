// Numbers, times and names as people read them (pure). A dash stands for what is not known.

export const DASH = '–';

const grouped = new Intl.NumberFormat('en-US', { maximumFractionDigits: 0 });
const known = (value) => value !== null && value !== undefined && Number.isFinite(value);

export const count = (value) => (known(value) ? grouped.format(value) : DASH);

/** Three figures that matter, never more than two decimals. */
export function figure(value) {
  if (!known(value)) return DASH;
  if (value === 0) return '0';
  const size = Math.abs(value);
  if (size >= 100) return grouped.format(value);
  return value.toFixed(size >= 10 ? 1 : 2);
}

export const ms = (value) => (known(value) ? `${figure(value)} ms` : DASH);
export const rate = (value) => (known(value) ? `${figure(value)}/s` : DASH);

export function bytes(value) {
  if (!known(value)) return DASH;
  if (value >= 1 << 30) return `${(value / (1 << 30)).toFixed(2)} GiB`;
  return `${(value / (1 << 20)).toFixed(value >= 100 << 20 ? 0 : 1)} MiB`;
}

/** Buckets of 10,000 as a percentage. */
export const share = (buckets) => (known(buckets) ? `${Number((buckets / 100).toFixed(2))}\u202f%` : DASH);
export const part = (fraction, digits = 2) => (known(fraction) ? `${(fraction * 100).toFixed(digits)}\u202f%` : DASH);

/** A step's name as the plan spells it, with the space that percentages have. */
export const stepName = (name) => name.replace(/(\d)%/, '$1\u202f%');

const two = (number) => String(number).padStart(2, '0');

/** Seconds since 1970, or RFC 3339, as milliseconds. */
export const instant = (value) => (typeof value === 'number' ? value * 1000 : Date.parse(value));

export function clock(value) {
  const at = new Date(instant(value));
  return Number.isNaN(at.getTime()) ? DASH : `${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`;
}

/** The time of today, else the day with it. */
export function moment(value, now = Date.now()) {
  const at = new Date(instant(value));
  if (Number.isNaN(at.getTime())) return DASH;
  const today = new Date(now).toDateString() === at.toDateString();
  return today ? clock(value) : `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())} ${clock(value)}`;
}

/** How long something takes, in the two largest units. */
export function span(milliseconds) {
  if (!known(milliseconds)) return DASH;
  const seconds = Math.max(0, Math.round(milliseconds / 1000));
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${two(seconds % 60)} s`;
  if (seconds < 86_400) return `${Math.floor(seconds / 3600)} h ${two(Math.floor((seconds % 3600) / 60))} min`;
  return `${Math.floor(seconds / 86_400)} d ${Math.floor((seconds % 86_400) / 3600)} h`;
}

/** A duration of a plan, as short as it can be said. */
export function duration(seconds) {
  const parts = [[Math.floor(seconds / 3600), 'h'], [Math.floor((seconds % 3600) / 60), 'min'], [Math.round(seconds % 60), 's']];
  return parts.filter(([number]) => number).map(([number, unit]) => `${number} ${unit}`).join(' ') || '0 s';
}

/** `4@ab12`; nothing served before a model's first version. */
export const version = (reference) => (reference ? `${reference.version}@${reference.digest.slice(0, 4)}` : 'nothing');

export const plain = (word) => (word ?? '').replaceAll('_', ' ');
export const titled = (word) => plain(word).replace(/^./, (letter) => letter.toUpperCase());

// Part of an address. What somebody typed need not be encoded right: it is taken as it stands, and no model is named so.
export function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
