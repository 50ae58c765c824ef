//! The module that is shipped as a guest, in an engine.

use std::path::Path;
use std::sync::OnceLock;

use wasmi::{
    Caller, Config, Engine, Error, Extern, ExternType, FuncType, Instance, Linker, Store, Val,
    WasmParams, WasmResults,
};

use super::guest::Guest;
use super::host::SharedHost;
use super::imports::{self, Memory};
use super::native::IMPORTS;

/// What `./build.sh` builds.
const PATH: &str = "target/egress_warden.wasm";
/// The functions of WASI that the mock host has.
const WASI_IMPORTS: &[&str] = &["environ_get", "environ_sizes_get", "fd_write", "proc_exit"];

pub struct Module {
    store: Store<SharedHost>,
    instance: Instance,
}

impl Module {
    /// Calls an export that returns something; `None` where the module does not have it.
    fn call<P: WasmParams, R: WasmResults>(&mut self, callback: &str, parameters: P) -> Option<R> {
        let function = self.instance.get_func(&self.store, callback)?;
        let function = function
            .typed::<P, R>(&self.store)
            .unwrap_or_else(|error| panic!("{callback} has another signature: {error}"));
        let result = function.call(&mut self.store, parameters);
        Some(result.unwrap_or_else(|error| {
            let lines = self.store.data().borrow().lines.clone();
            panic!("the module trapped in {callback}: {error}; log: {lines:#?}")
        }))
    }
}

impl Guest for Module {
    fn load(host: SharedHost) -> Self {
        let module = compiled();
        let mut store = Store::new(module.engine(), host);
        store.set_fuel(u64::MAX).expect("the engine counts fuel");
        let instance = linker(module)
            .instantiate_and_start(&mut store, module)
            .unwrap_or_else(|error| panic!("{PATH} does not start: {error}"));
        Self { store, instance }
    }

    fn initialize(&mut self) {
        self.call::<(), ()>("_initialize", ());
    }

    fn on_context_create(&mut self, context: u32, parent: u32) {
        self.call::<_, ()>("proxy_on_context_create", (context, parent));
    }

    fn on_vm_start(&mut self, root: u32, configuration_size: u32) -> bool {
        self.call("proxy_on_vm_start", (root, configuration_size)).is_none_or(truth)
    }

    fn on_configure(&mut self, root: u32, configuration_size: u32) -> bool {
        self.call("proxy_on_configure", (root, configuration_size)).is_none_or(truth)
    }

    fn on_request_headers(&mut self, stream: u32, count: u32, end_of_stream: bool) -> u32 {
        let parameters = (stream, count, u32::from(end_of_stream));
        self.call("proxy_on_request_headers", parameters).unwrap_or(0)
    }

    fn on_new_connection(&mut self, connection: u32) -> u32 {
        self.call("proxy_on_new_connection", connection).unwrap_or(0)
    }

    fn on_downstream_data(&mut self, connection: u32, size: u32, end_of_stream: bool) -> u32 {
        let parameters = (connection, size, u32::from(end_of_stream));
        self.call("proxy_on_downstream_data", parameters).unwrap_or(0)
    }

    fn on_upstream_data(&mut self, connection: u32, size: u32, end_of_stream: bool) -> u32 {
        let parameters = (connection, size, u32::from(end_of_stream));
        self.call("proxy_on_upstream_data", parameters).unwrap_or(0)
    }

    fn on_tick(&mut self, root: u32) {
        self.call::<_, ()>("proxy_on_tick", root);
    }

    fn on_done(&mut self, context: u32) -> bool {
        self.call("proxy_on_done", context).is_none_or(truth)
    }

    fn on_log(&mut self, context: u32) {
        self.call::<_, ()>("proxy_on_log", context);
    }

    fn on_delete(&mut self, context: u32) {
        self.call::<_, ()>("proxy_on_delete", context);
    }

    fn memory_size(&self) -> Option<u64> {
        let memory = self.instance.get_memory(&self.store, "memory")?;
        Some(memory.data_size(&self.store) as u64)
    }

    fn fuel_spent(&self) -> Option<u64> {
        self.store.get_fuel().ok().map(|left| u64::MAX - left)
    }
}

fn truth(value: u32) -> bool {
    value != 0
}

/// The module, compiled once for all tests of the process.
fn compiled() -> &'static wasmi::Module {
    static MODULE: OnceLock<wasmi::Module> = OnceLock::new();
    MODULE.get_or_init(|| {
        let bytes = std::fs::read(Path::new(crate::REPOSITORY).join(PATH))
            .unwrap_or_else(|error| panic!("{PATH}: {error}; `./build.sh` builds it"));
        wasmi::Module::new(&Engine::new(Config::default().consume_fuel(true)), bytes)
            .unwrap_or_else(|error| panic!("{PATH} is not a module: {error}"))
    })
}

/// Gives the module each of its imports, at the signature that it asks for. Like Envoy it refuses
/// a module with an import that it does not know.
fn linker(module: &wasmi::Module) -> Linker<SharedHost> {
    let mut linker = Linker::new(module.engine());
    for import in module.imports() {
        let (space, name) = (import.module(), import.name());
        let ExternType::Func(signature) = import.ty() else {
            panic!("{PATH} imports {space}.{name}, which is no function");
        };
        let answer: Answer = match space {
            "env" if IMPORTS.contains(&name) => imports::call,
            "wasi_snapshot_preview1" if WASI_IMPORTS.contains(&name) => imports::call_wasi,
            _ => panic!("{PATH} imports {space}.{name}, which the host does not have"),
        };
        define(&mut linker, space, name, signature.clone(), answer);
    }
    linker
}

type Answer = fn(&SharedHost, &mut dyn Memory, &str, &[u64]) -> u32;

fn define(
    linker: &mut Linker<SharedHost>,
    space: &str,
    name: &str,
    signature: FuncType,
    answer: Answer,
) {
    let import = name.to_owned();
    let function = move |caller: Caller<'_, SharedHost>,
                         parameters: &[Val],
                         results: &mut [Val]|
          -> Result<(), Error> {
        if import == "proc_exit" {
            return Err(Error::new("proc_exit"));
        }
        let arguments: Vec<u64> = parameters.iter().map(bits).collect();
        let host = SharedHost::clone(caller.data());
        let status = answer(&host, &mut Linear(caller), &import, &arguments);
        if let Some(result) = results.first_mut() {
            *result = Val::I32(status.cast_signed());
        }
        Ok(())
    };
    linker.func_new(space, name, signature, function).expect("every import is listed once");
}

fn bits(value: &Val) -> u64 {
    match value {
        Val::I32(value) => u64::from(value.cast_unsigned()),
        Val::I64(value) => value.cast_unsigned(),
        other => panic!("the ABI passes integers only, not {other:?}"),
    }
}

/// The linear memory of the module that is calling.
struct Linear<'a>(Caller<'a, SharedHost>);

impl Linear<'_> {
    fn memory(&self) -> Option<wasmi::Memory> {
        self.0.get_export("memory").and_then(Extern::into_memory)
    }
}

impl Memory for Linear<'_> {
    fn read(&self, address: u64, size: u64) -> Option<Vec<u8>> {
        let start = usize::try_from(address).ok()?;
        let end = start.checked_add(usize::try_from(size).ok()?)?;
        Some(self.memory()?.data(&self.0).get(start..end)?.to_vec())
    }

    fn write(&mut self, address: u64, bytes: &[u8]) -> Option<()> {
        let start = usize::try_from(address).ok()?;
        let end = start.checked_add(bytes.len())?;
        let memory = self.memory()?;
        memory.data_mut(&mut self.0).get_mut(start..end)?.copy_from_slice(bytes);
        Some(())
    }

    fn allocate(&mut self, size: usize) -> Option<u64> {
        let export = self.0.get_export("proxy_on_memory_allocate")?.into_func()?;
        let allocate = export.typed::<u32, u32>(&self.0).ok()?;
        allocate.call(&mut self.0, u32::try_from(size).ok()?).ok().map(u64::from)
    }

    fn pointer_bytes(&self, pointer: u64) -> Vec<u8> {
        (pointer as u32).to_le_bytes().to_vec()
    }
}
