/** Callers, hosts, rules, reasons, refusals, and rules that are not used. */

import { KINDS, Seen, isRefusal } from './data.js';
import { byId, caller, copyButton, count, counted, el, host, name, time, visible } from './dom.js';
import { chip, decision, kindsOf, shares } from './kinds.js';
import { Table } from './table.js';

const first = { label: 'First seen', order: (it) => it.seen.first || Infinity, cell: (it) => time(it.seen.first) };
const last = { label: 'Last seen', numeric: false, order: (it) => it.seen.last || 0, cell: (it) => time(it.seen.last) };
const requests = { label: 'Requests', numeric: true, order: (it) => it.seen.requests, cell: (it) => count(it.seen.requests) };

/** Columns of the kinds of which there is a request in the whole page. */
function columnsOfKinds(model) {
  const kinds = kindsOf(model.head.classes);
  const parts = kinds.length < 2 ? [] : kinds.map((kind) => ({
    label: KINDS[kind].name, numeric: true, order: (it) => it.seen.kinds[kind],
    cell: (it) => (it.seen.kinds[kind] ? count(it.seen.kinds[kind]) : el('span', { class: 'zero' }, '0')),
  }));
  return [requests, { label: 'Share', cell: (it) => shares(it.seen.kinds) }, ...parts];
}

export function startTables(model, filter) {
  const kinds = columnsOfKinds(model);
  const number = (label, key) => ({ label, numeric: true, order: (it) => it[key], cell: (it) => count(it[key]) });
  const callers = new Table(byId('callers'), {
    id: 'callers', caption: 'Callers', noun: 'caller', text: (it) => filter.callers[it.number],
    columns: [{ label: 'Caller', order: (it) => filter.callers[it.number], cell: (it) => caller(model.callers[it.number]) }, ...kinds, number('Hosts', 'others'), first, last],
  });
  const hosts = new Table(byId('hosts'), {
    id: 'hosts', caption: 'Hosts', noun: 'host', text: (it) => filter.hosts[it.number],
    columns: [{ label: 'Host', order: (it) => filter.hosts[it.number], cell: (it) => host(model.hosts[it.number]) }, ...kinds, number('Callers', 'others'), first, last],
  });
  const judged = [
    { label: 'Requests', numeric: true, order: (it) => it.seen.requests, cell: (it) => count(it.seen.requests) },
    { label: 'Would-be', numeric: true, order: (it) => it.would, cell: (it) => (it.would ? count(it.would) : el('span', { class: 'zero' }, '0')) }, first, last,
  ];
  const rules = new Table(byId('rules'), {
    id: 'rules', caption: 'Rules that a verdict names', noun: 'rule', sort: 2, text: (it) => it.name.toLowerCase(), empty: 'No verdict names a rule.',
    columns: [{ label: 'Rule', order: (it) => it.name, cell: (it) => name(it.name) }, { label: 'Action', order: (it) => it.decision, cell: (it) => decision(it.decision) }, ...judged],
  });
  const reasons = new Table(byId('reasons'), {
    id: 'reasons', caption: 'Reasons of verdicts', noun: 'reason', sort: 2, text: (it) => it.name.toLowerCase(), empty: 'There is no verdict.',
    columns: [{ label: 'Reason', order: (it) => it.name, cell: (it) => name(it.name) }, { label: 'Decision', order: (it) => it.decision, cell: (it) => decision(it.decision) }, ...judged],
  });
  filter.onChange(() => {
    callers.setRows(filter.callerRows);
    hosts.setRows(filter.hostRows);
    const judgements = judgementsOf(model, filter);
    rules.setRows(judgements.rules);
    reasons.setRows(judgements.reasons);
  });
}

/** How often each rule and each reason is named: of all requests, or of the flows of the filter. */
function judgementsOf(model, filter) {
  const maps = { rules: new Map(), reasons: new Map() };
  const entry = (map, word, decision) => {
    const key = `${decision} ${word}`;
    let it = map.get(key);
    if (!it) map.set(key, it = { name: word, decision, seen: new Seen(), would: 0 });
    return it;
  };
  const add = (outcome, number, from, to) => {
    const { verdict, would, kind } = outcome;
    for (const [judgement, isWould] of [[verdict, false], [would, true]]) {
      if (!judgement) continue;
      const [decision, reason, rule] = judgement;
      const named = [entry(maps.reasons, reason, decision)];
      if (rule !== null) named.push(entry(maps.rules, rule, decision));
      for (const it of named) {
        it.seen.add(kind, isWould ? 0 : number, from, to);
        if (isWould) it.would += number;
      }
    }
  };
  if (filter.isActive) {
    for (const at of filter.flows) add(model.outcomes[model.outcome[at]], model.requests[at], model.first[at], model.last[at]);
  } else {
    for (const it of model.outcomes) add(it, it.requests, it.first ?? NaN, it.last ?? NaN);
  }
  return { rules: [...maps.rules.values()], reasons: [...maps.reasons.values()] };
}

/** What is refused, or would be, and how it is opened. */
export function startRefusals(model, filter) {
  const refusal = (at) => {
    const { verdict, would } = model.outcomes[model.outcome[at]];
    return verdict?.[0] === 'deny' ? verdict : would;
  };
  const hostOf = (at) => {
    const port = model.port[at] < 0 ? '' : `:${model.port[at]}`;
    return el('span', { class: 'host' }, host(model.hosts[model.host[at]]), el('span', { class: 'port' }, port));
  };
  const table = new Table(byId('refusals-table'), {
    id: 'refusals', caption: 'Flows that are refused, or would be', noun: 'refusal', sort: 4, empty: 'Nothing is refused.',
    text: (at) => `${filter.callers[model.caller[at]]} ${filter.hosts[model.host[at]]} ${filter.outcomes[model.outcome[at]]}`,
    columns: [
      { label: 'Caller', order: (at) => filter.callers[model.caller[at]], cell: (at) => caller(model.callers[model.caller[at]]) },
      { label: 'Host', order: (at) => filter.hosts[model.host[at]], cell: hostOf },
      { label: 'What becomes of it', order: (at) => model.kind[at], cell: (at) => chip(model.kind[at]) },
      { label: 'Reason', order: (at) => refusal(at)[1], cell: (at) => reason(refusal(at)) },
      { label: 'Requests', numeric: true, order: (at) => model.requests[at], cell: (at) => count(model.requests[at]) },
      { label: 'First seen', order: (at) => model.first[at] || Infinity, cell: (at) => time(model.first[at]) },
      { label: 'Last seen', order: (at) => model.last[at] || 0, cell: (at) => time(model.last[at]) },
      { label: 'How to open', cell: (at, line) => opening(model.opening[at], line) },
    ],
  });
  filter.onChange(() => table.setRows(Array.from(filter.flows).filter((at) => isRefusal(model.kind[at]))));
}

function reason([, word, rule]) {
  const shown = name(word);
  return rule === null ? shown : el('span', {}, shown, ' (', name(rule), ')');
}

/** Shows below a line of the table the rule that opens it, or says why there is none. */
function opening(answer, line) {
  if (!answer) return el('span', { class: 'none' }, 'see explain');
  const isRule = typeof answer === 'string';
  const label = isRule ? 'Show rule' : 'Why not';
  let below;
  const button = el('button', { type: 'button', class: 'open', 'aria-expanded': 'false' }, label);
  button.addEventListener('click', () => {
    const isOpen = below !== undefined;
    button.setAttribute('aria-expanded', String(!isOpen));
    button.textContent = isOpen ? label : 'Close';
    if (isOpen) {
      below.remove();
      below = undefined;
      return;
    }
    const text = isRule
      ? [el('pre', { tabindex: '0' }, answer), copyButton(() => answer, 'Copy the rule')]
      : [el('p', {}, visible(answer[0]))];
    below = el('tr', { class: 'below' }, el('td', { colspan: String(line.childElementCount) }, ...text));
    line.after(below);
  });
  return button;
}

/** Rules of the policy that no verdict names. */
export function showUnused({ head }) {
  const text = byId('unused-text');
  if (!head.policy) {
    text.textContent = 'The logs were not judged by a policy. Give one with --policy to see its rules that are not used.';
    return;
  }
  const { rules, unused, unused_rules: all } = head.policy;
  const more = all > unused.length ? ` The first ${count(unused.length)} are listed.` : '';
  text.textContent = all === 0
    ? `Every one of ${counted(rules, 'rule')} is named by a verdict.`
    : `${count(all)} of ${counted(rules, 'rule')}: no verdict or would-be verdict on these logs names them. Where several rules match, the most specific is named, so a rule may match and not be named.${more}`;
  if (all === 0) return;
  const table = new Table(byId('unused-table'), {
    id: 'unused', caption: 'Unused rules', noun: 'rule', sort: 0, text: (it) => it.id,
    columns: [
      { label: 'Rule', order: (it) => it.id, cell: (it) => name(it.id) },
      { label: 'Action', order: (it) => it.action, cell: (it) => it.action },
      { label: 'State', order: (it) => it.state ?? '', cell: (it) => it.state ?? 'active' },
      { label: 'Until', order: (it) => it.until ?? '', cell: (it) => it.until ?? '' },
      { label: 'Place', cell: (it) => name(it.place) },
    ],
  });
  table.setRows(unused);
}
