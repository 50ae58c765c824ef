/** Who called which host: a picture of the most, and a matrix of everything. */

import { sankey, sankeyLinkHorizontal, sankeyLeft } from 'd3-sankey';
import { KINDS, Seen, isRefusal } from './data.js';
import { byId, compact, count, counted, el, visible } from './dom.js';
import { chip, kindsOf } from './kinds.js';
import { plainTable } from './table.js';

const MAX_CALLERS = 12;
const MAX_HOSTS = 18;
const SVG = 'http://www.w3.org/2000/svg';

/** The names with the most requests, of which half are those with the most refusals. */
function foremost(rows, most) {
  const by = (measure) => rows.filter((it) => measure(it) > 0).sort((a, b) => measure(b) - measure(a));
  const chosen = new Set(by((it) => it.seen.refused).slice(0, Math.floor(most / 2)));
  for (const it of by((each) => each.seen.requests)) {
    if (chosen.size >= most) break;
    chosen.add(it);
  }
  return new Set([...chosen].sort((a, b) => b.seen.requests - a.seen.requests).map((it) => it.number));
}

/** The names of callers in pictures: without what all of them have in common. */
function shortNames(model) {
  const parts = model.callers.map((it) => it?.match(/^([^/]+)\/ns\/([^/]+)\/sa\/([^/]+)$/));
  const domains = new Set(parts.filter(Boolean).map((it) => it[1]));
  return (caller) => {
    if (model.callers[caller] === null) return 'not verified';
    const short = domains.size === 1 && parts[caller] ? `${parts[caller][2]}/${parts[caller][3]}` : model.callers[caller];
    return visible(short);
  };
}

const hostName = (model, host) => (model.hosts[host] === '' ? 'no server name' : visible(model.hosts[host]));

export function startFlows(model, filter) {
  const matrix = new Matrix(model);
  const callerName = shortNames(model);
  const draw = () => showSankey(model, filter, callerName);
  filter.onChange(() => {
    draw();
    matrix.show(filter, callerName);
  });
  let width = 0;
  new ResizeObserver(() => {
    const now = byId('sankey').clientWidth;
    if (width !== 0 && now !== width) draw();
    width = now;
  }).observe(byId('sankey'));
}

function showSankey(model, { flows: found, callerRows: callers, hostRows: hosts }, callerName) {
  const place = byId('sankey');
  const table = byId('sankey-table');
  table.replaceChildren(table.firstElementChild);
  if (found.length === 0) {
    place.replaceChildren(el('p', { class: 'none' }, 'No flow to show.'));
    byId('flows-text').textContent = '';
    table.hidden = true;
    return;
  }
  table.hidden = false;
  const [few, some] = [foremost(callers, MAX_CALLERS), foremost(hosts, MAX_HOSTS)];
  const [moreCallers, moreHosts] = [callers.length - few.size, hosts.length - some.size];
  const names = new Map();
  const links = new Map();
  const node = (key, label) => {
    names.set(key, label);
    return key;
  };
  for (const at of found) {
    const [caller, host, kind] = [model.caller[at], model.host[at], model.kind[at]];
    const source = few.has(caller) ? caller : -1;
    const target = some.has(host) ? host : -1;
    const key = `${source} ${target} ${kind}`;
    const link = links.get(key);
    if (link) {
      link.value += model.requests[at];
      continue;
    }
    links.set(key, {
      source: source < 0 ? node('c', counted(moreCallers, 'other caller')) : node(`c${caller}`, callerName(caller)),
      target: target < 0 ? node('h', counted(moreHosts, 'other host')) : node(`h${host}`, hostName(model, host)),
      kind,
      value: model.requests[at],
    });
  }
  const flows = [...links.values()];
  const shownCallers = [...names.keys()].filter((key) => key[0] === 'c').length;
  const height = Math.max(shownCallers, names.size - shownCallers) * 27 + 30;
  const width = Math.max(place.clientWidth, 280);
  const gutter = Math.min(260, width * (width < 600 ? 0.4 : 0.34));
  const withNumbers = width >= 600;
  const layout = sankey().nodeId((it) => it.id).nodeAlign(sankeyLeft).nodeSort(null).nodeWidth(8).nodePadding(14)
    .extent([[gutter, 8], [width - gutter, height - 8]]);
  // The most frequent stand at the top, and all others at the bottom.
  const order = [...few].map((it) => `c${it}`).concat('c', [...some].map((it) => `h${it}`), 'h');
  const graph = layout({ nodes: order.filter((id) => names.has(id)).map((id) => ({ id })), links: flows.map((it) => ({ ...it })) });
  const refused = flows.filter((it) => isRefusal(it.kind));
  const text = `The callers at the left, the hosts at the right, the most frequent and the most refused of ${counted(callers.length, 'caller')} and ${counted(hosts.length, 'host')}. ${refused.length === 0 ? 'Nothing here is refused.' : `Of ${counted(flows.length, 'flow')} shown, ${count(refused.length)} ${refused.length === 1 ? 'is' : 'are'} refused or would be.`}`;
  byId('flows-text').textContent = text;
  place.replaceChildren(
    el('div', { class: 'legend', 'aria-hidden': 'true' }, ...kindsOf(KINDS.map((_, kind) => flows.some((it) => it.kind === kind) ? 1 : 0)).map((kind) => chip(kind))),
    picture(graph, { width, height, gutter, withNumbers }, names, text));
  table.append(plainTable('The flows of the picture', ['Caller', 'Host', 'What becomes of it', 'Requests'],
    flows.sort((a, b) => b.value - a.value).map((it) => [names.get(it.source), names.get(it.target), chip(it.kind), it.value])));
}

function picture({ nodes, links }, { width, height, gutter, withNumbers }, names, text) {
  const svg = (tag, attributes, ...children) => {
    const element = document.createElementNS(SVG, tag);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, String(value));
    element.append(...children);
    return element;
  };
  const title = (words) => svg('title', {}, words);
  const path = sankeyLinkHorizontal();
  // What is refused lies on top, and is never too thin to be seen.
  links.sort((a, b) => isRefusal(a.kind) - isRefusal(b.kind));
  const lines = links.map((link) => svg('path', {
    class: `flow kind-${link.kind}`, d: path(link), 'stroke-width': Math.max(link.width, isRefusal(link.kind) ? 2 : 1),
  }, title(`${names.get(link.source.id)} \u2192 ${names.get(link.target.id)}: ${count(link.value)}, ${KINDS[link.kind].name.toLowerCase()}`)));
  const room = Math.floor((gutter - 14) / 7.1);
  const boxes = nodes.map((node) => {
    const isCaller = node.id[0] === 'c';
    const whole = names.get(node.id);
    const number = withNumbers ? compact(node.value) : '';
    const label = svg('text', {
      x: isCaller ? node.x0 - 8 : node.x1 + 8, y: (node.y0 + node.y1) / 2, dy: '0.35em', 'text-anchor': isCaller ? 'end' : 'start',
    }, title(`${whole}: ${count(node.value)}`), svg('tspan', {}, shortened(whole, room - number.length - 1)),
    svg('tspan', { class: 'number', dx: 6 }, number));
    return svg('g', {}, svg('rect', { x: node.x0, y: node.y0, width: node.x1 - node.x0, height: Math.max(node.y1 - node.y0, 1) }), label);
  });
  return svg('svg', { id: 'sankey-picture', role: 'img', 'aria-label': `Flows. ${text}`, viewBox: `0 0 ${width} ${height}`, width, height },
    svg('g', { class: 'links' }, ...lines), svg('g', { class: 'nodes' }, ...boxes));
}

/** A text of at most so many characters, without its middle; isolated from what stands beside it. */
function shortened(text, most) {
  const characters = [...text];
  if (characters.length <= most) return `\u2068${text}\u2069`;
  const end = Math.max(4, Math.floor(most * 0.4));
  return `\u2068${characters.slice(0, Math.max(1, most - end - 1)).join('')}\u2026${characters.slice(-end).join('')}\u2069`;
}

const ROWS = 15;
const COLUMNS = 12;

/** Every caller and host, a window at a time. */
class Matrix {
  constructor(model) {
    this.model = model;
    this.place = byId('matrix');
    this.row = 0;
    this.column = 0;
  }

  show(filter, callerName) {
    const byRequests = (rows) => rows.slice().sort((a, b) => b.seen.requests - a.seen.requests).map((it) => it.number);
    Object.assign(this, { callers: byRequests(filter.callerRows), hosts: byRequests(filter.hostRows), flows: filter.flows, callerName });
    this.row = 0;
    this.column = 0;
    this.draw();
  }

  /** The pairs of these callers and hosts. */
  pairs(callers, hosts) {
    const { model } = this;
    const [rows, columns] = [callers, hosts].map((numbers) => new Map(numbers.map((number, at) => [number, at])));
    const pairs = new Map();
    for (const at of this.flows) {
      const row = rows.get(model.caller[at]);
      const column = row === undefined ? undefined : columns.get(model.host[at]);
      if (column === undefined) continue;
      const key = row * COLUMNS + column;
      if (!pairs.has(key)) pairs.set(key, new Seen());
      pairs.get(key).add(model.kind[at], model.requests[at], model.first[at], model.last[at]);
    }
    return pairs;
  }

  draw() {
    const { model } = this;
    const callers = this.callers.slice(this.row, this.row + ROWS);
    const hosts = this.hosts.slice(this.column, this.column + COLUMNS);
    const pairs = this.pairs(callers, hosts);
    this.most = Math.max(1, ...[...pairs.values()].map((it) => it.requests));
    if (callers.length === 0) {
      this.place.replaceChildren(el('p', { class: 'none' }, 'No flow to show.'));
      return;
    }
    const heading = (label, text, scope) => el('th', { scope, title: text }, el('bdi', { dir: 'auto', class: 'name' }, label));
    const rows = callers.map((caller, row) => el('tr', {},
      heading(this.callerName(caller), visible(model.callers[caller] ?? 'not verified'), 'row'),
      ...hosts.map((_, column) => this.cell(pairs.get(row * COLUMNS + column)))));
    this.place.replaceChildren(
      el('div', { class: 'pages' }, this.pages('caller', 'row', ROWS, this.callers.length), this.pages('host', 'column', COLUMNS, this.hosts.length)),
      el('div', { class: 'scroll', tabindex: '0', role: 'region', 'aria-label': 'Callers and hosts' },
        el('table', { class: 'matrix', id: 'matrix-rows' },
          el('caption', {}, 'Requests of each caller (row) to each host (column). The sign and the colour show the worst that becomes of one.'),
          el('thead', {}, el('tr', {}, el('td', {}), ...hosts.map((host) => heading(hostName(model, host), hostName(model, host), 'col')))),
          el('tbody', {}, ...rows))));
  }

  cell(seen) {
    if (!seen) return el('td', { class: 'empty' });
    const kind = [2, 3, 1, 4, 0].find((each) => seen.kinds[each] > 0);
    const words = kindsOf(seen.kinds).map((each) => `${count(seen.kinds[each])} ${KINDS[each].name.toLowerCase()}`).join(', ');
    const cell = el('td', { class: `number kind-${kind}`, title: words },
      el('span', { class: 'sign' }, KINDS[kind].sign), ' ', compact(seen.requests));
    cell.style.setProperty('--depth', String(0.12 + (0.5 * Math.log1p(seen.requests)) / Math.log1p(this.most)));
    return cell;
  }

  pages(noun, position, size, all) {
    const from = this[position];
    const step = (by, sign, words) => {
      const button = el('button', { type: 'button', 'aria-label': `${words} ${noun}s` }, sign);
      button.disabled = from + by < 0 || from + by >= all;
      button.addEventListener('click', () => {
        this[position] = from + by;
        this.draw();
      });
      return button;
    };
    const text = `${noun}s ${count(from + 1)} to ${count(Math.min(from + size, all))} of ${count(all)}`;
    return el('span', { class: 'page' }, step(-size, '\u2039', 'Previous'), el('span', {}, text), step(size, '\u203a', 'Next'));
  }
}
