/** The box in which the policy is edited, and which shows what the edited policy would have decided. */

import { moduleBytes, rowsLeftOut, rowsText } from './data.js';
import { byId, copyButton, count, counted, el, name, settled, time, visible } from './dom.js';
import { decision } from './kinds.js';
import { Table } from './table.js';

const EXAMPLE = 'policy: draft\ndefault: deny\nrules: []\n';
/** Most errors that are listed. */
const MAX_ERRORS = 50;

/** Loads the module and the requests, when somebody first asks. */
async function load(base, rootId) {
  const [bytes, rows] = await Promise.all([moduleBytes(), rowsText()]);
  if (bytes.byteLength === 0 || !globalThis.wasm_bindgen) throw new Error('this page was built without the module');
  globalThis.wasm_bindgen.initSync({ module: bytes });
  return { engine: new globalThis.wasm_bindgen.WhatIf(base, rows, rootId), rows: JSON.parse(rows) };
}

export function startWhatIf({ head }) {
  const box = byId('what-if-policy');
  const status = byId('what-if-status');
  const base = head.policy?.text ?? undefined;
  if (head.policy && base === undefined) {
    byId('what-if-text').textContent = 'The policy is too long to be edited in a page. Use replay and diff.';
    byId('what-if-box').hidden = true;
    return;
  }
  const left = rowsLeftOut();
  byId('what-if-text').textContent = [
    base === undefined
      ? 'Write a policy, and see what it would have decided of the logged requests.'
      : 'Edit the policy, and see which of the logged requests it decides otherwise.',
    'It is judged here, by the code of the filter.',
    left > 0 ? `${counted(left, 'request')} of ${count(head.requests)} ${left === 1 ? 'is' : 'are'} not in this page, since there are too many kinds of them: the numbers here are about the others.` : '',
    head.queries ? '' : 'Queries are not in this page.',
  ].filter(Boolean).join(' ');
  box.value = base ?? EXAMPLE;
  const lines = new Lines(box);
  const answer = new Answer();
  let loading;
  const judge = async () => {
    try {
      if (!loading) status.textContent = 'Loading\u2026';
      loading ??= load(base, head.root_id);
      const { engine, rows } = await loading;
      const started = performance.now();
      const result = JSON.parse(engine.judge(box.value));
      answer.milliseconds = performance.now() - started;
      lines.mark(result.errors ?? []);
      answer.show(result, rows, base !== undefined);
    } catch (error) {
      status.textContent = `It cannot be judged: ${error.message ?? error}`;
    }
  };
  const reset = byId('what-if-reset');
  const edited = settled(150, judge);
  box.addEventListener('input', () => {
    reset.disabled = box.value === (base ?? EXAMPLE);
    lines.number();
    edited();
  });
  box.addEventListener('focus', () => { if (!loading) judge(); });
  reset.addEventListener('click', () => {
    box.value = base ?? EXAMPLE;
    reset.disabled = true;
    lines.number();
    judge();
    box.focus();
  });
  const copy = copyButton(() => box.value, 'Copy the policy');
  copy.id = 'what-if-copy';
  byId('what-if-copy').replaceWith(copy);
}

/** The numbers of the lines beside the box, and the errors at them. */
class Lines {
  constructor(box) {
    this.box = box;
    this.place = byId('what-if-lines');
    this.list = byId('what-if-errors');
    this.wrong = new Set();
    box.addEventListener('scroll', () => { this.place.scrollTop = box.scrollTop; });
    this.number();
  }

  number() {
    const all = this.box.value.split('\n').length;
    // One element for a run of lines without an error: a policy may have 100,000 lines.
    const parts = [];
    let from = 1;
    const run = (to) => {
      if (to >= from) parts.push(Array.from({ length: to - from + 1 }, (_, at) => from + at).join('\n') + '\n');
    };
    for (const line of [...this.wrong].filter((it) => it <= all).sort((a, b) => a - b)) {
      run(line - 1);
      parts.push(el('span', { class: 'wrong' }, `\u2715 ${line}\n`));
      from = line + 1;
    }
    run(all);
    this.place.replaceChildren(...parts);
    this.place.scrollTop = this.box.scrollTop;
  }

  /** Shows these errors, and no other. */
  mark(errors) {
    this.wrong = new Set(errors.map((error) => error.line));
    this.number();
    this.list.hidden = errors.length === 0;
    this.box.setAttribute('aria-invalid', String(errors.length > 0));
    const items = errors.slice(0, MAX_ERRORS).map((error) => el('li', {},
      el('button', { type: 'button', onclick: () => this.go(error) }, `Line ${error.line}, column ${error.column}`),
      ' ', el('code', {}, visible(error.path)), ': ', visible(error.message),
      error.remedy ? el('span', { class: 'remedy' }, `: ${visible(error.remedy)}`) : ''));
    const more = errors.length - MAX_ERRORS;
    if (more > 0) items.push(el('li', {}, `and ${count(more)} more`));
    this.list.replaceChildren(...items);
  }

  /** Puts the cursor where an error is. */
  go(error) {
    const offset = (line, column) => {
      let at = 0;
      for (let left = line - 1; left > 0; left -= 1) at = this.box.value.indexOf('\n', at) + 1;
      return at + [...this.box.value.slice(at, at + 4096)].slice(0, column - 1).join('').length;
    };
    this.box.focus();
    const from = offset(error.line, error.column);
    this.box.setSelectionRange(from, Math.max(from, offset(error.end_line, error.end_column)));
    const height = parseFloat(getComputedStyle(this.box).lineHeight);
    this.box.scrollTop = Math.max(0, (error.line - 4) * height);
  }
}

const word = (judgement) => {
  if (!judgement) return el('span', { class: 'none' }, 'none');
  const { reason, rule } = judgement;
  const shown = el('span', {}, decision(judgement.decision), ' ');
  if (rule && reason === 'rule') shown.append('by rule ', name(rule));
  else if (rule) shown.append(name(reason), ' (', name(rule), ')');
  else shown.append(name(reason));
  return shown;
};

const KIND_WORDS = { opens: 'opens', closes: 'closes', announces: 'announces', renames: 'other reason or rule' };

/** What the edited policy comes to. */
class Answer {
  constructor() {
    this.place = byId('what-if-answer');
  }

  show(result, rows, hasBase) {
    const status = byId('what-if-status');
    if (result.errors?.length > 0) {
      status.textContent = `${counted(result.errors.length, 'error')}: nothing is judged.`;
      this.place.classList.add('stale');
      return;
    }
    this.place.classList.remove('stale');
    status.textContent = `Judged ${counted(result.requests, 'request')} in ${Math.max(1, Math.round(this.milliseconds))} ms.`;
    this.build();
    const item = (id, label, number) => el('li', { id: `what-if-${id}` }, el('span', { class: 'label' }, label), el('span', { class: 'value' }, count(number)));
    const { log, base } = result;
    this.totals.replaceChildren(
      item('allowed', 'Allowed', result.allowed), item('denied', 'Denied', result.denied),
      ...(result.undecided > 0 ? [item('undecided', 'Depends on the time or a query', result.undecided)] : []),
      ...(base ? [item('opens', 'Opened', base.opens ?? 0), item('closes', 'Closed', base.closes ?? 0)] : []));
    const compared = (label, it) => el('p', {}, `${label}: ${counted(it.same, 'request')} the same, ${count(it.other_reason)} for another reason, ${count(it.other_decision)} another decision${it.none === undefined ? '' : `, ${count(it.none)} not in the log`}.`);
    this.text.replaceChildren(
      el('p', {}, 'Policy ', el('bdi', { class: 'mono' }, visible(result.policy)), '.'),
      ...(base ? [compared('Against the policy before', base)] : []), compared('Against the verdicts of the log', log));
    const against = hasBase ? 'base' : 'log';
    const changes = result.changes.filter((change) => change.against === against);
    this.table.setRows(changes.map((change, at) => ({ ...change, at, row: rows[change.row] })));
    const more = result.more?.[against] ?? 0;
    this.more.textContent = more > 0 ? `${count(more)} kinds of requests more change.` : '';
  }

  /** The empty answer, once. */
  build() {
    if (this.table) return;
    this.totals = el('ul', { class: 'totals small', id: 'what-if-totals' });
    this.text = el('div', { id: 'what-if-compared', class: 'note' });
    const place = el('div', { id: 'what-if-changes' });
    this.more = el('p', { class: 'note' });
    this.place.replaceChildren(this.totals, this.text, place, this.more);
    const record = (it) => it.row[it.row.length - 1];
    const request = (it) => {
      const { method, authority, path, requested_server_name: serverName } = record(it);
      const text = record(it).connection ? `TLS ${serverName ?? '(no server name)'}` : `${method ?? ''} ${authority ?? ''}${path ?? ''}`;
      return name(text);
    };
    this.table = new Table(place, {
      id: 'what-if-changes', caption: 'Requests that change', noun: 'change', sort: 0, empty: 'No request changes.',
      columns: [
        { label: 'Requests', numeric: true, order: (it) => it.row[0], cell: (it) => count(it.row[0]) },
        { label: 'Request', order: (it) => JSON.stringify(record(it)), cell: request },
        { label: 'Caller', cell: (it) => (record(it).source_principal ? name(record(it).source_principal.replace(/^spiffe:\/\//, '')) : el('span', { class: 'none' }, 'not verified')) },
        { label: 'Before', cell: (it) => word(it.before) },
        { label: 'Now', cell: (it) => word(it.now) },
        { label: 'Effect', order: (it) => it.kind, cell: (it) => KIND_WORDS[it.kind] ?? it.kind },
        { label: 'Last seen', cell: (it) => time(it.row[2]) },
      ],
    });
  }
}
