/** How the kinds of requests are shown: a sign, a word and a colour, never a colour alone. */

import { KINDS } from './data.js';
import { el } from './dom.js';

/** A mark with the name of a kind. */
export function chip(kind) {
  const { name, sign } = KINDS[kind];
  return el('span', { class: `chip kind-${kind}` }, el('span', { class: 'sign', 'aria-hidden': 'true' }, sign), name);
}

/** A decision as a word, with its sign. */
export function decision(word) {
  const kind = word === 'deny' ? 2 : 0;
  return el('span', { class: `kind-${kind}` }, el('span', { class: 'sign', 'aria-hidden': 'true' }, KINDS[kind].sign), word);
}

/** The kinds of which there is a request. */
export const kindsOf = (counts) => counts.map((_, kind) => kind).filter((kind) => counts[kind] > 0);

/** A bar with the share of each kind. */
export function shares(counts) {
  const bar = el('span', { class: 'share', 'aria-hidden': 'true' });
  counts.forEach((requests, kind) => {
    if (requests === 0) return;
    const part = el('span', { class: `kind-${kind}` });
    part.style.flexGrow = String(requests);
    bar.append(part);
  });
  return bar;
}
