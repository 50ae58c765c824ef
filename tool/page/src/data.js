/**
 * The data of the page: unpacked, and held in columns, so that a hundred thousand flows are quick.
 *
 * @typedef {[decision: string, reason: string, rule: string | null]} Judgement
 * @typedef {{verdict: Judgement | null, would: Judgement | null, requests: number,
 *   first: number | null, last: number | null, kind: number}} Outcome
 */

/** What becomes of requests. The order is that of the data. */
export const KINDS = [
  { name: 'Allowed', sign: '\u2713' },
  { name: 'Would be refused', sign: '\u25b3' },
  { name: 'Refused', sign: '\u2715' },
  { name: 'Refused, would be allowed', sign: '\u25bd' },
  { name: 'No verdict', sign: '?' },
];

/** Kinds of which something is refused, or would be. */
export const isRefusal = (kind) => kind >= 1 && kind <= 3;

/** The bytes of a block of the page, which stands in it as gzip in base64. */
async function bytesOf(id) {
  const text = atob(document.getElementById(id).textContent);
  const packed = new Uint8Array(text.length);
  for (let at = 0; at < text.length; at += 1) packed[at] = text.charCodeAt(at);
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream('gzip'));
  return new Response(stream).arrayBuffer();
}

/** The module by which an edited policy is judged. */
export const moduleBytes = () => bytesOf('module');

/** The distinct requests, as JSON. */
export const rowsText = async () => new TextDecoder().decode(await bytesOf('rows'));

/** How many requests are not among the distinct ones. */
export const rowsLeftOut = () => Number(document.getElementById('rows').dataset.leftOut);

/** The kind of an outcome: its place in `KINDS`. */
function kindOf(verdict, would) {
  if (!verdict) return 4;
  if (verdict[0] === 'deny') return would?.[0] === 'allow' ? 3 : 2;
  return would?.[0] === 'deny' ? 1 : 0;
}

/** Reads the data. */
export async function read() {
  const { head, outcomes, flows, left_out: leftOut } = JSON.parse(
    new TextDecoder().decode(await bytesOf('data')),
  );
  const n = flows.length;
  const model = {
    head,
    leftOut,
    /** @type {Outcome[]} */
    outcomes: outcomes.map(([verdict, would, requests, first, last]) => ({
      verdict, would, requests, first, last, kind: kindOf(verdict, would),
    })),
    /** The last of them stands for callers who are not verified. */
    callers: [],
    hosts: [],
    size: n,
    caller: new Int32Array(n),
    host: new Int32Array(n),
    port: new Int32Array(n),
    connection: new Uint8Array(n),
    outcome: new Int32Array(n),
    kind: new Uint8Array(n),
    requests: new Float64Array(n),
    first: new Float64Array(n),
    last: new Float64Array(n),
    /** A rule as text, or in a list why there is none. */
    opening: new Array(n),
  };
  const number = (names, item) => (typeof item === 'string' ? names.push(item) - 1 : item);
  for (let at = 0; at < n; at += 1) {
    const [caller, host, port, connection, outcome, requests, first, last, opening] = flows[at];
    model.caller[at] = caller === null ? -1 : number(model.callers, caller);
    model.host[at] = number(model.hosts, host);
    model.port[at] = port ?? -1;
    model.connection[at] = connection;
    model.outcome[at] = outcome;
    model.kind[at] = model.outcomes[outcome].kind;
    model.requests[at] = requests;
    model.first[at] = first ?? NaN;
    model.last[at] = last ?? NaN;
    model.opening[at] = opening;
  }
  const unverified = model.callers.push(null) - 1;
  for (let at = 0; at < n; at += 1) if (model.caller[at] < 0) model.caller[at] = unverified;
  return model;
}

/** Counts that belong to one name. */
export class Seen {
  constructor() {
    this.kinds = [0, 0, 0, 0, 0];
    this.requests = 0;
    this.first = NaN;
    this.last = NaN;
  }

  add(kind, requests, first, last) {
    this.kinds[kind] += requests;
    this.requests += requests;
    if (!(first >= this.first)) this.first = Number.isNaN(first) ? this.first : first;
    if (!(last <= this.last)) this.last = Number.isNaN(last) ? this.last : last;
  }

  get refused() {
    return this.kinds[1] + this.kinds[2] + this.kinds[3];
  }
}
