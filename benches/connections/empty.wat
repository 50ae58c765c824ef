;; The least that Envoy calls for a connection of a Wasm filter: what it costs is the price of having one at all.
(module
  (memory (export "memory") 1)
  (func (export "proxy_abi_version_0_2_1"))
  ;; Envoy allocates only for data that the module asks for, and this one asks for none.
  (func (export "proxy_on_memory_allocate") (param i32) (result i32) (i32.const 0))
  (func (export "proxy_on_context_create") (param i32 i32))
  ;; 0 is Continue.
  (func (export "proxy_on_new_connection") (param i32) (result i32) (i32.const 0)))
