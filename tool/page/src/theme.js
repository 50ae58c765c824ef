/** Light and dark: the system's choice, until somebody chooses. */

import { byId } from './dom.js';

const changed = new Set();

/** Calls when the colours have changed, for what is drawn and does not follow by itself. */
export const onTheme = (call) => changed.add(call);

/** The colour of a kind, or of another name in the style, as it is now. */
export function colour(name) {
  const probe = document.createElement('span');
  probe.style.color = `var(--${name})`;
  document.body.append(probe);
  const { color } = getComputedStyle(probe);
  probe.remove();
  return color;
}

export function startTheme() {
  const tell = () => changed.forEach((call) => call());
  byId('theme').addEventListener('change', (event) => {
    document.documentElement.dataset.theme = event.target.value;
    tell();
  });
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', tell);
}
