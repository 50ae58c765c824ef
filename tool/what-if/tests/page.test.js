// What the page loads, in Node: `./build.sh page` builds it, and `./build.sh test` runs this.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';

const PAGE = new URL('../../../target/page/', import.meta.url);
const SCRIPT = readFileSync(new URL('what_if.js', PAGE), 'utf8');
const MODULE = readFileSync(new URL('what_if.wasm', PAGE));
const POLICY = 'policy: p\ndefault: deny\nrules:\n- id: a\n  action: allow\n  to: [{hosts: [a.test]}]\n';
const RECORD = { log: 'access_log', ending: 'passed_on', authority: 'a.test', method: 'GET' };
const ROWS = JSON.stringify([[3, 1_795_564_800_000, 1_795_564_800_000, RECORD]]);

/** The script as a page runs it, and the memory of each instance that it makes. */
function loaded() {
  const memories = [];
  const { Instance } = WebAssembly;
  WebAssembly.Instance = class extends Instance {
    constructor(...given) {
      super(...given);
      memories.push(this.exports.memory);
    }
  };
  (0, eval)(SCRIPT);
  globalThis.wasm_bindgen.initSync({ module: MODULE });
  return memories;
}

test('a policy is judged, and its errors are told', () => {
  loaded();
  const whatIf = new globalThis.wasm_bindgen.WhatIf(undefined, ROWS);
  assert.equal(JSON.parse(whatIf.judge(POLICY)).allowed, 3);
  assert.equal(JSON.parse(whatIf.judge('policy: p')).errors[0].line, 1);
});

test('what cannot be opened is an error that says why', () => {
  loaded();
  const open = (...given) => () => new globalThis.wasm_bindgen.WhatIf(...given);
  assert.throws(open(undefined, '[[1]]'), /the rows/);
  assert.throws(open('polcy: p', ROWS), /the policy:1:1/);
  assert.throws(open(undefined, ROWS, 'x'), /the root id/);
});

test('an instance that fails is an error, and the next edit has a new one', () => {
  const memories = loaded();
  const whatIf = new globalThis.wasm_bindgen.WhatIf(POLICY, ROWS);
  for (let times = 1; times <= 3; times += 1) {
    assert.equal(JSON.parse(whatIf.judge(POLICY)).allowed, 3);
    assert.equal(memories.length, times);
    // All that it keeps is spoilt, so that it traps or panics wherever it reads.
    new Uint8Array(memories.at(-1).buffer).fill(0xa5);
    assert.throws(() => whatIf.judge(POLICY), /the module failed, and starts again at the next edit/);
  }
  assert.equal(JSON.parse(whatIf.judge(POLICY)).allowed, 3);
});
