// Loads policies into the module in V8, the engine that Envoy has, and prints as JSON what that took.
//
//   node load.mjs MODULE POLICY POLICY
//
// The first policy goes into a fresh VM; then the second and the first take turns in it, as reloads do in Envoy: a new
// root is configured, and the one before it deleted.

import { readFileSync } from "node:fs";

const RELOADS = 50;
/** Reloads after which the memory is looked at. */
const LOOKS = [0, 2, 10, RELOADS];

const OK = 0;
const NOT_FOUND = 1;
const PLUGIN_CONFIGURATION = 7;

const [modulePath, ...policyPaths] = process.argv.slice(2);
const policies = policyPaths.map((path) => readFileSync(path));

let policy = policies[0];
let metrics = 0;
let vm;

const view = () => new DataView(vm.memory.buffer);

/** What the module calls while it loads a policy. Calls of anything else end the program. */
const host = {
  proxy_get_buffer_bytes(type, start, size, data, returnedSize) {
    if (type !== PLUGIN_CONFIGURATION || start !== 0 || size !== policy.length) {
      throw new Error(`the module asks for ${size} bytes at ${start} of the buffer ${type}`);
    }
    const place = vm.proxy_on_memory_allocate(size);
    new Uint8Array(vm.memory.buffer).set(policy, place);
    view().setUint32(data, place, true);
    view().setUint32(returnedSize, size, true);
    return OK;
  },
  // The root id, among others: a plugin without one judges requests.
  proxy_get_property: () => NOT_FOUND,
  // What is declared of filter state means nothing where there are no requests.
  proxy_call_foreign_function: () => OK,
  proxy_define_metric(type, name, size, id) {
    metrics += 1;
    view().setUint32(id, metrics, true);
    return OK;
  },
  // The gauges of the policy.
  proxy_record_metric: () => OK,
  proxy_log(level, line, size) {
    console.error(Buffer.from(vm.memory.buffer, line, size).toString());
    return OK;
  },
  environ_sizes_get(count, size) {
    view().setUint32(count, 0, true);
    view().setUint32(size, 0, true);
    return OK;
  },
  environ_get: () => OK,
};

function milliseconds(work) {
  const started = performance.now();
  work();
  return performance.now() - started;
}

function configure(root) {
  vm.proxy_on_context_create(root, 0);
  if (!vm.proxy_on_configure(root, policy.length)) {
    throw new Error("the module refuses the policy");
  }
}

const bytes = readFileSync(modulePath);
const started = performance.now();
const module = new WebAssembly.Module(bytes);
const imports = {};
for (const { module: from, name } of WebAssembly.Module.imports(module)) {
  const missing = () => {
    throw new Error(`the module calls ${from}.${name}`);
  };
  imports[from] = { ...imports[from], [name]: host[name] ?? missing };
}
vm = new WebAssembly.Instance(module, imports).exports;
vm._initialize?.();
const vmMilliseconds = performance.now() - started;

const memory = () => vm.memory.buffer.byteLength / 2 ** 20;
const loadMilliseconds = milliseconds(() => configure(1));
const memoryMebibytes = [[0, memory()]];
const reloadMilliseconds = [];
for (let reload = 1; reload <= RELOADS; reload += 1) {
  policy = policies[reload % policies.length];
  reloadMilliseconds.push(milliseconds(() => configure(reload + 1)));
  vm.proxy_on_delete(reload);
  if (LOOKS.includes(reload)) {
    memoryMebibytes.push([reload, memory()]);
  }
}

console.log(JSON.stringify({ vmMilliseconds, loadMilliseconds, reloadMilliseconds, memoryMebibytes }));
