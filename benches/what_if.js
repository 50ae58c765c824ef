// What an edit of a policy costs in the page that `egress-warden report` writes: the module in V8, as the page calls it.
//
// `./build.sh bench what-if` runs it. The policy has 10,000 hosts in 100 rules, which ask for the caller, the port, the method
// and the path; the page has 100,000 rows. Time is that of the process, so that others on the machine count less; the best of
// the runs is told. With --quick it is smaller, and only asks whether the benchmark works.

import { readFileSync } from 'node:fs';

const isQuick = process.argv.includes('--quick');
const [HOSTS, ROWS, RUNS] = isQuick ? [1_000, 1_000, 2] : [10_000, 100_000, 15];
const HOSTS_OF_RULE = 100;
const PAGE = new URL('../target/page/', import.meta.url);

(0, eval)(readFileSync(new URL('what_if.js', PAGE), 'utf8'));
globalThis.wasm_bindgen.initSync({ module: readFileSync(new URL('what_if.wasm', PAGE)) });

const hosts = Array.from({ length: HOSTS }, (_, at) => `api${at}.team${at % 97}.example${at % 13}.com`);
const rules = Array.from({ length: HOSTS / HOSTS_OF_RULE }, (_, at) => ({
  id: `rule-${at}`,
  action: 'allow',
  from: [{ principals: [`cluster.local/ns/ns${at}/*`] }],
  to: [{
    hosts: hosts.slice(at * HOSTS_OF_RULE, (at + 1) * HOSTS_OF_RULE),
    ports: [443],
    methods: ['GET', 'POST'],
    paths: ['/v1/*'],
  }],
}));
const json = JSON.stringify({ policy: 'big', default: 'deny', rules });
const yaml = ['policy: big', 'default: deny', 'rules:', ...rules.flatMap(({ id, from, to: [to] }) => [
  `- id: ${id}`,
  '  action: allow',
  `  from: [{principals: ["${from[0].principals[0]}"]}]`,
  '  to:',
  '  - hosts:',
  ...to.hosts.map((host) => `    - ${host}`),
  '    ports: [443]',
  '    methods: [GET, POST]',
  '    paths: ["/v1/*"]',
])].join('\n');

/** Each host as often as the next; every tenth request is refused. */
const rows = JSON.stringify(Array.from({ length: ROWS }, (_, at) => {
  const host = (at * 7919) % HOSTS;
  const rule = Math.floor(host / HOSTS_OF_RULE);
  const first = 1_795_564_800_000 + at;
  return [1 + (at % 50), first, first + 3_600_000, {
    log: 'access_log',
    ending: 'passed_on',
    authority: hosts[host],
    method: at % 2 ? 'GET' : 'POST',
    path: at % 10 ? `/v1/charges/${at}` : `/v2/charges/${at}`,
    source_principal: `spiffe://cluster.local/ns/ns${rule}/sa/api`,
    requested_server_name: hosts[host],
    upstream_cluster: `outbound|443||${hosts[host]}`,
    egress_decision: 'allow',
    egress_rule: `rule-${rule}`,
    egress_policy: 'big@0123456789ab',
  }];
}));

/** Milliseconds that a call takes of the process. */
function cost(call) {
  const before = process.cpuUsage();
  call();
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1000;
}

/** The same of the first of several calls, and of the best. */
function costs(call) {
  const times = Array.from({ length: RUNS }, (_, run) => cost(() => call(run)));
  return `${times[0].toFixed(0).padStart(5)} ms the first time, ${Math.min(...times).toFixed(0).padStart(4)} ms at best`;
}

const opened = (base, given) => new globalThis.wasm_bindgen.WhatIf(base, given);
/** The text with another edit each time. */
const edited = (text, run) => text.replace('rule-7', `rule-x${run}`);
const judged = (whatIf, text) => (run) => {
  const { requests, errors } = JSON.parse(whatIf.judge(edited(text, run)));
  if (errors !== undefined || requests === undefined) throw new Error(`no answer: ${JSON.stringify(errors)}`);
};

console.log(`${HOSTS} hosts, ${ROWS} rows of ${Math.round(rows.length / ROWS)} bytes, policy of ${yaml.length} bytes`);
const empty = opened(undefined, '[]');
console.log(`read YAML            ${costs(judged(empty, yaml))}`);
console.log(`read the same JSON   ${costs(judged(empty, json))}`);
let whatIf;
const open = cost(() => { whatIf = opened(yaml, rows); });
console.log(`open the rows        ${open.toFixed(0).padStart(5)} ms`);
console.log(`an edit, in YAML     ${costs(judged(whatIf, yaml))}`);
