/** The filter of flows: by a text, and by what becomes of requests. */

import { KINDS, Seen } from './data.js';
import { byId, count, el, settled } from './dom.js';
import { kindsOf } from './kinds.js';

export class Filter {
  constructor(model) {
    this.model = model;
    this.listeners = [];
    const lower = (text) => (text ?? 'not verified').toLowerCase();
    this.callers = model.callers.map(lower);
    this.hosts = model.hosts.map(lower);
    const words = (judgement) => (judgement ? `${judgement[1]} ${judgement[2] ?? ''}` : '');
    this.outcomes = model.outcomes.map((it) => `${words(it.verdict)} ${words(it.would)}`.toLowerCase());
    this.kinds = new Set(KINDS.keys());
    this.text = byId('filter-text');
    this.text.addEventListener('input', settled(150, () => this.apply()));
    this.boxes = kindsOf(model.head.classes).map((kind) => {
      const box = el('input', { type: 'checkbox', id: `filter-kind-${kind}`, checked: true });
      box.addEventListener('change', () => {
        if (box.checked) this.kinds.add(kind);
        else this.kinds.delete(kind);
        this.apply();
      });
      byId('filter-classes').append(el('label', { class: `kind-${kind}` }, box,
        el('span', { class: 'sign', 'aria-hidden': 'true' }, KINDS[kind].sign), KINDS[kind].name));
      return box;
    });
    byId('filter-reset').addEventListener('click', () => {
      this.text.value = '';
      this.kinds = new Set(KINDS.keys());
      this.boxes.forEach((box) => { box.checked = true; });
      this.apply();
      this.text.focus();
    });
  }

  get isActive() {
    return this.text.value.trim() !== '' || this.kinds.size < KINDS.length;
  }

  onChange(call) {
    this.listeners.push(call);
  }

  /** Counts what belongs to each caller and to each host. */
  countNames() {
    const { model } = this;
    const [callers, hosts] = [[], []];
    const pairs = new Set();
    const row = (rows, number) => (rows[number] ??= { number, seen: new Seen(), others: 0 });
    for (const at of this.flows) {
      const [caller, host] = [model.caller[at], model.host[at]];
      const both = [row(callers, caller), row(hosts, host)];
      for (const it of both) it.seen.add(model.kind[at], model.requests[at], model.first[at], model.last[at]);
      const pair = caller * model.hosts.length + host;
      if (pairs.has(pair)) continue;
      pairs.add(pair);
      both.forEach((it) => { it.others += 1; });
    }
    this.callerRows = callers.filter(Boolean);
    this.hostRows = hosts.filter(Boolean);
  }

  /** Finds the flows, most frequent first, and tells everybody. */
  apply() {
    const { model } = this;
    const wanted = this.text.value.trim().toLowerCase();
    const has = (texts) => Uint8Array.from(texts, (text) => (text.includes(wanted) ? 1 : 0));
    const [callers, hosts, outcomes] = [this.callers, this.hosts, this.outcomes].map(has);
    const kinds = Uint8Array.from(KINDS, (_, kind) => (this.kinds.has(kind) ? 1 : 0));
    const found = new Int32Array(model.size);
    let size = 0;
    let requests = 0;
    for (let at = 0; at < model.size; at += 1) {
      if (!kinds[model.kind[at]]) continue;
      if (!callers[model.caller[at]] && !hosts[model.host[at]] && !outcomes[model.outcome[at]]) continue;
      found[size] = at;
      size += 1;
      requests += model.requests[at];
    }
    this.flows = found.subarray(0, size);
    this.countNames();
    byId('filter-reset').disabled = !this.isActive;
    byId('filter-status').textContent = this.isActive ? `${count(requests)} requests in ${count(size)} flows` : '';
    this.listeners.forEach((call) => call(this));
  }
}
