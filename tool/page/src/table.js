/** Tables that sort and filter, and that render only what is looked at. */

import { count, counted, el, settled } from './dom.js';

const FIRST = 10;
const MORE = 100;

/**
 * @typedef {{label: string, numeric?: boolean, order?: (row: any) => (string | number), cell: (row: any) => (Node | string)}} Column
 * `order` is what a column is sorted by; without it, it is not.
 */

export class Table {
  /**
   * @param {HTMLElement} place
   * @param {{id: string, caption: string, noun: string, columns: Column[], text?: (row: any) => string, sort?: number,
   *   empty?: string}} settings `text` is what the table's own filter looks at, in lower case.
   */
  constructor(place, { id, caption, noun, columns, text, sort = 1, empty = 'Nothing to show.' }) {
    Object.assign(this, { noun, columns, text, empty, sort, down: columns[sort]?.numeric ?? false });
    this.rows = [];
    this.shown = FIRST;
    this.headings = columns.map((column, at) => this.heading(column, at));
    this.body = el('tbody');
    this.status = el('p', { class: 'status', role: 'status' });
    this.more = el('button', { type: 'button', class: 'more', onclick: () => this.show(this.shown + MORE) });
    this.table = el('table', { id: `${id}-rows` }, el('caption', {}, caption),
      el('thead', {}, el('tr', {}, ...this.headings)), this.body);
    const tools = el('div', { class: 'tools' });
    if (text) {
      this.input = el('input', { type: 'search', id: `${id}-filter`, autocomplete: 'off', spellcheck: 'false' });
      this.input.addEventListener('input', settled(120, () => this.update()));
      tools.append(el('label', {}, `Filter these ${noun}s `, this.input));
    }
    tools.append(this.status);
    const frame = el('div', { class: 'scroll', tabindex: '0', role: 'region', 'aria-label': caption }, this.table);
    place.replaceChildren(tools, frame, this.more);
  }

  heading(column, at) {
    const heading = el('th', { scope: 'col', class: column.numeric ? 'number' : null });
    if (!column.order) {
      heading.append(column.label);
      return heading;
    }
    heading.append(el('button', { type: 'button', onclick: () => this.sortBy(at) }, column.label));
    return heading;
  }

  sortBy(at) {
    this.down = this.sort === at ? !this.down : this.columns[at].numeric ?? false;
    this.sort = at;
    this.update();
  }

  /** Other rows, in any order. */
  setRows(rows) {
    this.rows = rows;
    this.shown = FIRST;
    this.update();
  }

  update() {
    const wanted = this.input?.value.trim().toLowerCase() ?? '';
    this.found = wanted === '' ? this.rows.slice() : this.rows.filter((row) => this.text(row).includes(wanted));
    const order = this.columns[this.sort]?.order;
    if (order) {
      const keys = this.found.map(order);
      const sign = this.down ? -1 : 1;
      const places = Uint32Array.from(keys, (_, at) => at).sort((a, b) => {
        if (keys[a] < keys[b]) return -sign;
        return keys[a] > keys[b] ? sign : a - b;
      });
      this.found = Array.from(places, (at) => this.found[at]);
    }
    this.headings.forEach((heading, at) => {
      if (!this.columns[at].order) return;
      const direction = this.down ? 'descending' : 'ascending';
      heading.setAttribute('aria-sort', at === this.sort ? direction : 'none');
    });
    this.show(this.shown);
  }

  show(shown) {
    this.shown = shown;
    const rows = this.found.slice(0, shown).map((row) => {
      const line = el('tr');
      this.columns.forEach((column, at) => {
        const cell = el(at === 0 ? 'th' : 'td', { scope: at === 0 ? 'row' : null, class: column.numeric ? 'number' : null });
        cell.append(column.cell(row, line));
        line.append(cell);
      });
      return line;
    });
    if (rows.length === 0) {
      rows.push(el('tr', {}, el('td', { colspan: String(this.columns.length), class: 'none' }, this.empty)));
    }
    this.body.replaceChildren(...rows);
    const left = this.found.length - Math.min(shown, this.found.length);
    this.more.hidden = left === 0;
    this.more.textContent = `Show ${count(Math.min(MORE, left))} more`;
    const of = this.found.length === this.rows.length ? '' : ` of ${count(this.rows.length)}`;
    const first = left > 0 ? `, the first ${count(shown)} shown` : '';
    this.status.textContent = of
      ? `${count(this.found.length)}${of} ${this.noun}s${first}`
      : `${counted(this.found.length, this.noun)}${first}`;
  }
}

/** A table without tools, behind a picture. */
export function plainTable(caption, labels, rows) {
  return el('div', { class: 'scroll', tabindex: '0', role: 'region', 'aria-label': caption },
    el('table', {}, el('caption', {}, caption),
      el('thead', {}, el('tr', {}, ...labels.map((label, at) => el('th', { scope: 'col', class: at ? 'number' : null }, label)))),
      el('tbody', {}, ...rows.map((row) => el('tr', {}, ...row.map((cell, at) =>
        el(at === 0 ? 'th' : 'td', { scope: at === 0 ? 'row' : null, class: typeof cell === 'number' ? 'number' : null },
          typeof cell === 'number' ? count(cell) : cell)))))));
}
