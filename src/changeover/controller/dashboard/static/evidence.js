// What the verdict rests on: both versions' counts, the judge's tests, the gates.

import { count, figure, plain, titled } from './format.js';
import { Badge, Section, Table, html } from './ui.js';
import { PROMOTED } from './course.js';

const TESTS = {
  errors: 'Errors', work_p50: 'Work, typical batch', work_p95: 'Work, slow batch', agreement: 'Agreement',
  guard: 'Latency guard', utilisation: 'Utilisation',
};

export function Evidence({ rollout }) {
  const { arms, ruling } = rollout;
  const findings = ruling?.findings ?? [];
  if (!arms?.active && !findings.length) return null;
  return html`
    <${Section} title="Verdict" id="verdict-title" aside=${ruling && html`<${Badge} word=${ruling.verdict} />`}>
      ${arms?.active && html`<${Arms} rollout=${rollout} />`}
      ${findings.length > 0 && html`<${Findings} findings=${findings} />`}
    <//>`;
}

function Arms({ rollout }) {
  const roles = PROMOTED.includes(rollout.phase) ? ['standby', 'active'] : ['active', 'candidate'];
  const columns = [['Version'], ['Role'], ['Requests', 'n'], ['Per second', 'n'], ['p50 ms', 'n'], ['p95 ms', 'n'], ['p99 ms', 'n'],
    ['Failed', 'n'], ['Shielded', 'n']];
  const rows = [[rollout.arms.active, roles[0], 'old-text'], [rollout.arms.candidate, roles[1], 'new-text']];
  return html`
    <${Table} label="Both versions at this step" columns=${columns}>
      ${rows.filter(([arm]) => arm).map(([arm, role, colour]) => html`
        <tr>
          <th scope="row" class=${colour}>${arm.version}</th><td>${role}</td>
          <td class="n">${count(arm.requests)}</td><td class="n">${figure(arm.rps)}</td>
          <td class="n">${figure(arm.p50_ms)}</td><td class="n">${figure(arm.p95_ms)}</td><td class="n">${figure(arm.p99_ms)}</td>
          <td class="n ${arm.failures ? 'bad-text' : ''}">${count(arm.failures)}</td><td class="n">${count(arm.shielded)}</td>
        </tr>`)}
    <//>`;
}

function Findings({ findings }) {
  return html`
    <${Table} label="Tests of the judge" stacked columns=${[['Test'], ['Verdict'], ['Found', 'wide'], ['Needs', 'n']]}>
      ${findings.map((one) => html`
        <tr>
          <th scope="row">${TESTS[one.test] ?? titled(one.test)}</th>
          <td><${Badge} word=${one.verdict} /></td>
          <td class="wide">${one.detail}</td>
          <td class="n">${one.need ? `${count(one.need)} more` : ''}</td>
        </tr>`)}
    <//>`;
}

export function Gates({ gates }) {
  if (!gates.length) return null;
  return html`
    <${Section} title="Gates" id="gates-title">
      <ul class="gates">
        ${gates.map((gate) => html`
          <li>
            <details>
              <summary><span class="gate-name">${titled(gate.gate)}</span><${Badge} word=${gate.result} />
                <span class="gate-detail">${gate.detail ?? ''}</span></summary>
              <${Facts} facts=${gate.evidence} />
            </details>
          </li>`)}
      </ul>
    <//>`;
}

/** Names and values of any document, nested ones by a path with dots. */
export function Facts({ facts }) {
  const rows = flat(facts ?? {});
  if (!rows.length) return html`<p class="muted">There is no more evidence.</p>`;
  return html`<dl class="facts">${rows.map(([name, value]) => html`<div><dt>${plain(name)}</dt><dd class="num">${value}</dd></div>`)}</dl>`;
}

function flat(value, path = '') {
  if (value === null || value === undefined) return [];
  if (Array.isArray(value) && value.every((one) => typeof one !== 'object')) return [[path, value.map(shown).join(', ')]];
  if (typeof value !== 'object') return [[path, shown(value)]];
  return Object.entries(value).flatMap(([name, inner]) => flat(inner, path ? `${path} › ${name}` : name));
}

function shown(value) {
  if (typeof value !== 'number') return String(value);
  return Number.isInteger(value) ? count(value) : String(Number(value.toPrecision(4)));
}
