//! What a proxy calls in a filter.

use super::host::SharedHost;

/// A filter in its VM: the callbacks of Proxy-Wasm 0.2.1 for the life of a root, of an HTTP
/// stream and of a connection. As in Envoy, a callback that the guest does not have is skipped.
///
/// # Panics
///
/// Every callback panics where the guest traps: a scenario in which that happens has failed.
pub trait Guest: Sized {
    /// A fresh guest whose host calls go to `host`.
    fn load(host: SharedHost) -> Self;

    fn initialize(&mut self);
    /// A root has the parent 0.
    fn on_context_create(&mut self, context: u32, parent: u32);
    fn on_vm_start(&mut self, root: u32, configuration_size: u32) -> bool;
    fn on_configure(&mut self, root: u32, configuration_size: u32) -> bool;
    /// Returns the action's number: 0 is to go on.
    fn on_request_headers(&mut self, stream: u32, count: u32, end_of_stream: bool) -> u32;
    /// The same for a connection.
    fn on_new_connection(&mut self, connection: u32) -> u32;
    /// The same for bytes from its caller.
    fn on_downstream_data(&mut self, connection: u32, size: u32, end_of_stream: bool) -> u32;
    /// The same for bytes to its caller.
    fn on_upstream_data(&mut self, connection: u32, size: u32, end_of_stream: bool) -> u32;
    fn on_tick(&mut self, root: u32);
    /// Whether the context may be deleted at once.
    fn on_done(&mut self, context: u32) -> bool;
    fn on_log(&mut self, context: u32);
    fn on_delete(&mut self, context: u32);

    /// Bytes of linear memory, where the guest has such a thing.
    fn memory_size(&self) -> Option<u64>;

    /// What the guest's instructions have cost so far, where something counts them: about one for
    /// each, the same in every build profile of the host.
    fn fuel_spent(&self) -> Option<u64>;
}
