// The module that judges edited policies, as the page calls it:
//
//   wasm_bindgen.initSync({ module: BYTES });
//   const whatIf = new wasm_bindgen.WhatIf(BASE, ROWS, ROOT_ID);
//   JSON.parse(whatIf.judge(TEXT));
//
// A panic leaves an instance of WebAssembly as it was in the middle of its work. So nobody asks it again: `judge` throws an
// error, and asks a new instance the next time, which is made of the same module with the same rows.
globalThis.wasm_bindgen = (() => {
  'use strict';
  // What wasm-bindgen writes stands in the place of the next line; each call makes an instance of its own.
  const glue = () => {
//GLUE
    return wasm_bindgen;
  };
  let module;

  class WhatIf {
    #opened;
    #instance;

    /** `base` and `rootId` may be undefined. Throws an error where there is nothing to ask. */
    constructor(base, rows, rootId) {
      this.#opened = [base, rows, rootId];
      this.#instance = this.#open();
    }

    /** What a policy's text comes to, as JSON. */
    judge(text) {
      try {
        this.#instance ??= this.#open();
        return this.#instance.judge(text);
      } catch (error) {
        this.#instance = undefined;
        throw new Error(`the module failed, and starts again at the next edit: ${error.message}`, { cause: error });
      }
    }

    #open() {
      if (module === undefined) throw new Error('there is no module yet: call initSync first');
      const instance = glue();
      instance.initSync({ module });
      instance.open(...this.#opened);
      return instance;
    }
  }

  /** Compiles the module. */
  const initSync = ({ module: bytes }) => {
    module = new WebAssembly.Module(bytes);
  };

  return { initSync, WhatIf };
})();
