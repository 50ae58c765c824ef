/** What a reader must know first: what was read, and what became of it. */

import { KINDS } from './data.js';
import { byId, count, counted, el, moment, share, visible } from './dom.js';
import { kindsOf } from './kinds.js';

export function showSummary({ head, leftOut }) {
  const period = head.time ? `${moment(head.time[0])} to ${moment(head.time[1])} UTC` : 'at unknown times';
  const logs = head.logs.length === 1 ? visible(head.logs[0]) : `${head.logs.length} logs`;
  byId('subtitle').append(el('bdi', {}, logs), head.requests > 0 ? `, ${period}` : '');
  const banner = (kind, text) => byId('banners').append(el('p', { class: `banner ${kind}` }, visible(text)));
  if (head.empty) banner('bad', `No request was read. ${head.empty}`);
  else if (head.caveat) banner('bad', head.caveat);
  if (leftOut > 0) {
    banner('note', `${count(leftOut)} of ${counted(head.requests, 'request')} are in the totals and in the timeline, and not in the flows, refusals and tables: there are too many kinds of them for one page.`);
  }
  if (!head.policy && head.classes[4] > 0) {
    banner('note', `The log has no verdict on ${counted(head.classes[4], 'request')}. Give a policy with --policy to judge them.`);
  }
  const connections = head.connections > 0 ? ` ${count(head.connections)} of them are TLS connections.` : '';
  const by = head.policy
    ? [el('span', {}, ' judged by '), el('bdi', { class: 'mono' }, visible(head.policy.revision)),
      head.policy.enforces ? '' : ' (mode: monitor, nothing is refused)']
    : [' with the verdicts of the log'];
  byId('summary-text').append(counted(head.requests, 'request'), ...by, '.', connections);
  showTotals(head);
}

function showTotals({ classes, requests }) {
  const bar = byId('summary-bar');
  const list = byId('summary-totals');
  list.append(total('all', 'Requests', count(requests), ''));
  const always = [0, 2];
  for (const kind of KINDS.keys()) {
    const number = classes[kind];
    if (number === 0 && !always.includes(kind)) continue;
    list.append(total(`kind-${kind}`, KINDS[kind].name, count(number), share(number, requests), KINDS[kind].sign));
  }
  for (const kind of kindsOf(classes)) {
    const part = el('span', { class: `kind-${kind}` });
    part.style.flexGrow = String(classes[kind]);
    bar.append(part);
  }
}

function total(id, label, number, of, sign) {
  return el('li', { id: `total-${id}`, class: id },
    el('span', { class: 'label' }, sign ? el('span', { class: 'sign', 'aria-hidden': 'true' }, sign) : null, label),
    el('span', { class: 'value' }, number), el('span', { class: 'of' }, of));
}

export function showAbout({ head }) {
  const item = (label, ...values) => [el('dt', {}, label), ...values.map((value) => el('dd', {}, value))];
  const name = (text) => el('bdi', { class: 'name', dir: 'auto' }, visible(text));
  byId('about-text').append(
    el('dl', {}, ...item('Logs', ...head.logs.map(name)),
      ...(head.requests > 0 ? item('Read', visible(head.origin)) : []),
      ...(head.notes.length > 0 ? item('Notes', ...head.notes.map(name)) : []),
      ...(head.policy ? item('Policy', name(head.policy.file), name(head.policy.revision)) : []),
      ...item('Queries', head.queries ? 'The page holds the queries of requests.' : 'The page holds no queries of requests.'),
      ...item('Written by', `egress-warden ${head.version}`)),
    el('p', { class: 'note' }, 'This page loads nothing and sends nothing. Times are in UTC.'));
}
