// The beginning: routes by the part of the address after #, drawn anew whenever what is known changes.

import { decoded } from './format.js';
import { ModelPage } from './model.js';
import { ModelsPage } from './models.js';
import { Shell } from './shell.js';
import { start, state, subscribe } from './store.js';
import { html, render, useEffect, useState } from './ui.js';

const MODEL = /^#\/models\/([^/]+)(?:\/rollouts\/([^/]+))?$/;

function place() {
  const [, name, id] = MODEL.exec(location.hash) ?? [];
  return { name: name && decoded(name), id: id && decoded(id) };
}

function App() {
  const [, draw] = useState(0);
  const { name, id } = place();
  useEffect(() => {
    const again = () => draw((times) => times + 1);
    const moved = () => { again(); scrollTo(0, 0); document.getElementById('main').focus({ preventScroll: true }); };
    addEventListener('hashchange', moved);
    const stop = subscribe(again);
    return () => { removeEventListener('hashchange', moved); stop(); };
  }, []);
  useEffect(() => { document.title = name ? `${name} · Changeover` : 'Changeover'; }, [name]);
  const now = (state.seen ?? Date.now() / 1000) * 1000; // the server's clock, which the times of its documents are of
  return html`<${Shell} model=${name}>
    ${name ? html`<${ModelPage} key=${name} name=${name} id=${id} now=${now} />` : html`<${ModelsPage} />`}
  <//>`;
}

const root = document.getElementById('root');
root.textContent = '';
render(html`<${App} />`, root);
start();
