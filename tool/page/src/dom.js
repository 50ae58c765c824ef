/** Elements, and texts as people may see them. What logs say reaches the page as text only. */

/** An element with properties and children. */
export function el(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [key, value] of Object.entries(properties)) {
    if (value === undefined || value === null || value === false) continue;
    if (key === 'class') element.className = value;
    else if (key.startsWith('on')) element.addEventListener(key.slice(2), value);
    else element.setAttribute(key, value === true ? '' : value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

export const byId = (id) => document.getElementById(id);

/** A text without what is not seen, or turns the direction of what stands behind it. */
export function visible(text) {
  return text.replace(/[\p{Cc}\p{Cf}\u2028\u2029]/gu, (it) => `\\u{${it.codePointAt(0).toString(16)}}`);
}

/** A name as it was sent: cut by the width of its place, whole in its title and to copy. */
export function name(text) {
  const shown = visible(text);
  return el('bdi', { class: 'name', dir: 'auto', title: shown }, shown);
}

/** A caller; `null` is one who is not verified. */
export const caller = (text) =>
  text === null ? el('span', { class: 'none' }, 'not verified') : name(text);

/** A host; empty where a connection named none. */
export const host = (text) => (text === '' ? el('span', { class: 'none' }, 'no server name') : name(text));

const NUMBER = new Intl.NumberFormat('en');
const COMPACT = new Intl.NumberFormat('en', { notation: 'compact', maximumFractionDigits: 1 });
export const count = (number) => NUMBER.format(number);
export const compact = (number) => COMPACT.format(number);
export const counted = (number, noun) => `${count(number)} ${noun}${number === 1 ? '' : 's'}`;

/** A share in percent that is never a wrong 0 or 100. */
export function share(part, whole) {
  if (whole === 0) return '';
  const percent = (100 * part) / whole;
  if (part > 0 && percent < 0.1) return '< 0.1 %';
  if (part < whole && percent > 99.9) return '> 99.9 %';
  return `${percent.toFixed(percent < 10 && percent !== 0 ? 1 : 0)} %`;
}

/** A time as people read it, in UTC. */
export function moment(milliseconds, length = 16) {
  if (milliseconds === null || Number.isNaN(milliseconds)) return '';
  return new Date(milliseconds).toISOString().slice(0, length).replace('T', ' ');
}

/** The same as an element. */
export function time(milliseconds) {
  if (milliseconds === null || Number.isNaN(milliseconds)) return el('span', { class: 'none' }, 'unknown');
  const whole = new Date(milliseconds).toISOString();
  return el('time', { datetime: whole, title: whole }, moment(milliseconds));
}

/** Copies a text, and says so at the button. */
export function copyButton(text, label = 'Copy') {
  const button = el('button', { type: 'button', class: 'copy' }, label);
  button.addEventListener('click', async () => {
    try {
      await navigator.clipboard.writeText(text());
      button.textContent = 'Copied';
    } catch {
      button.textContent = 'Select it and copy';
    }
    setTimeout(() => { button.textContent = label; }, 1500);
  });
  return button;
}

/** Calls once after the last of many calls. */
export function settled(milliseconds, call) {
  let timer;
  return () => {
    clearTimeout(timer);
    timer = setTimeout(call, milliseconds);
  };
}
