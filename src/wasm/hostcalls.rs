//! The host calls that the filter makes, as safe functions that cannot panic.
//!
//! A proxy may answer any call with any status, and may leave out data that it promised. Here both
//! are values: a status other than `Ok` is an error, an absent pointer is no bytes.

#![expect(
    unsafe_code,
    reason = "host calls are foreign functions; the SDK's wrappers panic on unexpected statuses"
)]

use std::ptr::null_mut;

use proxy_wasm::types::{BufferType, LogLevel, MapType, MetricType, StreamType};

use crate::header_map::{HeaderMap, Headers as _};

/// What the host answered in place of `Ok`: the numbers of proxy-wasm's ABI 0.2.1 or any other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Status(pub(super) u32);

impl Status {
    /// The proxy has no such thing.
    pub(super) const NOT_FOUND: Self = Self(1);
    /// What the proxy gave does not have the required form.
    pub(super) const PARSE_FAILURE: Self = Self(4);
}

/// Writes one line to the proxy's log.
pub(super) fn log(level: LogLevel, line: &str) -> Result<(), Status> {
    // SAFETY: the host reads `line.len()` bytes at `line`, which outlives the call.
    check(unsafe { proxy_log(level as u32, line.as_ptr(), line.len()) })
}

/// Nanoseconds since the Unix epoch by the proxy's clock.
pub(super) fn current_time() -> Result<u64, Status> {
    let mut nanoseconds = 0;
    // SAFETY: the host writes one `u64` to a valid place.
    check(unsafe { proxy_get_current_time_nanoseconds(&mut nanoseconds) })?;
    Ok(nanoseconds)
}

/// The bytes of the plugin's configuration; there only while the plugin is being configured.
pub(super) fn plugin_configuration(size: usize) -> Result<Vec<u8>, Status> {
    returned_bytes(|data, returned_size| {
        // SAFETY: the host writes a pointer and a size to valid places.
        unsafe {
            proxy_get_buffer_bytes(
                BufferType::PluginConfiguration as u32,
                0,
                size,
                data,
                returned_size,
            )
        }
    })
}

/// The id by which the plugin names its root.
pub(super) fn plugin_root_id() -> Result<Vec<u8>, Status> {
    plugin_property("plugin_root_id")
}

/// The plugin's name.
pub(super) fn plugin_name() -> Result<Vec<u8>, Status> {
    plugin_property("plugin_name")
}

/// What the proxy says of the plugin itself. The path takes no memory, and no fault strikes here: both
/// count from the configuration on.
fn plugin_property(path: &'static str) -> Result<Vec<u8>, Status> {
    received_bytes(|data, size| {
        // SAFETY: as for `property`.
        unsafe { proxy_get_property(path.as_ptr(), path.len(), data, size) }
    })
}

/// All headers of the request. It always has some: no bytes mean that Envoy has no map.
pub(super) fn request_headers() -> Result<HeaderMap, Status> {
    header_map(MapType::HttpRequestHeaders)
}

/// All trailers of the request, which has some. Available only while they are passing.
pub(super) fn request_trailers() -> Result<HeaderMap, Status> {
    header_map(MapType::HttpRequestTrailers)
}

/// Leaves one entry under `name`, with `value`, whatever was there before.
pub(super) fn replace_request_header(name: &[u8], value: &[u8]) -> Result<(), Status> {
    // SAFETY: the host reads two slices that outlive the call.
    check(unsafe {
        proxy_replace_header_map_value(
            MapType::HttpRequestHeaders as u32,
            name.as_ptr(),
            name.len(),
            value.as_ptr(),
            value.len(),
        )
    })
}

/// Adds an entry under `name`, beside those that are there.
pub(super) fn add_request_header(name: &[u8], value: &[u8]) -> Result<(), Status> {
    // SAFETY: the host reads two slices that outlive the call.
    check(unsafe {
        proxy_add_header_map_value(
            MapType::HttpRequestHeaders as u32,
            name.as_ptr(),
            name.len(),
            value.as_ptr(),
            value.len(),
        )
    })
}

/// Removes every entry under `name`.
pub(super) fn remove_request_header(name: &[u8]) -> Result<(), Status> {
    remove(MapType::HttpRequestHeaders, name)
}

/// Removes every trailer under `name`.
pub(super) fn remove_request_trailer(name: &[u8]) -> Result<(), Status> {
    remove(MapType::HttpRequestTrailers, name)
}

/// A property as Envoy serializes it: strings and bytes as they are, numbers little-endian.
pub(super) fn property(path: &[&str]) -> Result<Vec<u8>, Status> {
    let path = path.join("\0");
    returned_bytes(|data, size| {
        // SAFETY: the host reads a string that outlives the call and writes a pointer and a size
        // to valid places.
        unsafe { proxy_get_property(path.as_ptr(), path.len(), data, size) }
    })
}

/// Sets a property of one name; Envoy keeps it as filter state `wasm.{name}`.
pub(super) fn set_property(name: &str, value: &[u8]) -> Result<(), Status> {
    // SAFETY: the host reads two slices that outlive the call.
    check(unsafe { proxy_set_property(name.as_ptr(), name.len(), value.as_ptr(), value.len()) })
}

/// Has filter state `wasm.{name}` outlive a redirect that Envoy makes itself. For the root that is
/// being configured, and what begins under it.
pub(super) fn keep_property(name: &str) -> Result<(), Status> {
    const FUNCTION: &str = "declare_property";
    /// Of Envoy's message `DeclarePropertyArguments`: field 1, a text; field 5, how long it lives, here
    /// as long as the downstream request.
    const NAME: u8 = 1 << 3 | 2;
    const LIVES_AS_LONG_AS_THE_REQUEST: [u8; 2] = [5 << 3, 1];
    let length = u8::try_from(name.len()).map_err(|_| Status::PARSE_FAILURE)?;
    let arguments = [&[NAME, length], name.as_bytes(), &LIVES_AS_LONG_AS_THE_REQUEST].concat();
    // SAFETY: the host reads two slices that outlive the call and writes a pointer and a size to valid
    // places.
    received_bytes(|data, size| unsafe {
        proxy_call_foreign_function(
            FUNCTION.as_ptr(),
            FUNCTION.len(),
            arguments.as_ptr(),
            arguments.len(),
            data,
            size,
        )
    })
    .map(drop)
}

/// Answers the request; Envoy then stops it whatever the callback returns.
pub(super) fn send_local_response(
    status: u16,
    details: &str,
    headers: &HeaderMap,
    body: &[u8],
    grpc_status: Option<u32>,
) -> Result<(), Status> {
    let headers = headers.as_bytes();
    let grpc_status = grpc_status.and_then(|status| i32::try_from(status).ok()).unwrap_or(-1);
    // SAFETY: the host reads three slices that outlive the call.
    check(unsafe {
        proxy_send_local_response(
            u32::from(status),
            details.as_ptr(),
            details.len(),
            body.as_ptr(),
            body.len(),
            headers.as_ptr(),
            headers.len(),
            grpc_status,
        )
    })
}

/// Closes the connection to the caller.
pub(super) fn close_downstream() -> Result<(), Status> {
    check(proxy_close_stream(StreamType::Downstream as u32))
}

/// Makes the proxy call back the root of the running context every so many milliseconds; 0 stops it.
pub(super) fn set_tick_period(milliseconds: u32) -> Result<(), Status> {
    check(proxy_set_tick_period_milliseconds(milliseconds))
}

/// Makes the host calls that follow in this callback apply to another context.
pub(super) fn set_effective_context(context: u32) -> Result<(), Status> {
    check(proxy_set_effective_context(context))
}

/// Defines a metric and returns its id. Every definition takes a new id, also of a known name.
pub(super) fn define_metric(metric_type: MetricType, name: &str) -> Result<u32, Status> {
    let mut id = 0;
    // SAFETY: the host reads a string that outlives the call and writes one `u32` to a valid place.
    check(unsafe { proxy_define_metric(metric_type as u32, name.as_ptr(), name.len(), &mut id) })?;
    Ok(id)
}

/// Adds one to a counter.
pub(super) fn increment_counter(id: u32) -> Result<(), Status> {
    check(proxy_increment_metric(id, 1))
}

/// Sets a gauge.
pub(super) fn record_metric(id: u32, value: u64) -> Result<(), Status> {
    check(proxy_record_metric(id, value))
}

fn header_map(map: MapType) -> Result<HeaderMap, Status> {
    let serialized = returned_bytes(|data, size| {
        // SAFETY: the host writes a pointer and a size to valid places.
        unsafe { proxy_get_header_map_pairs(map as u32, data, size) }
    })?;
    let headers = HeaderMap::from_serialized(serialized);
    headers.filter(|headers| headers.iter().next().is_some()).ok_or(Status::PARSE_FAILURE)
}

fn remove(map: MapType, name: &[u8]) -> Result<(), Status> {
    // SAFETY: the host reads a slice that outlives the call.
    check(unsafe { proxy_remove_header_map_value(map as u32, name.as_ptr(), name.len()) })
}

fn check(status: u32) -> Result<(), Status> {
    match status {
        0 => Ok(()),
        status => Err(Status(status)),
    }
}

/// Makes a call that returns bytes by the two places it is given.
fn returned_bytes(call: impl FnOnce(*mut *mut u8, *mut usize) -> u32) -> Result<Vec<u8>, Status> {
    #[cfg(egress_fault)]
    super::fault::strike(super::fault::Callback::MemoryAllocate);
    received_bytes(call)
}

fn received_bytes(call: impl FnOnce(*mut *mut u8, *mut usize) -> u32) -> Result<Vec<u8>, Status> {
    let mut data = null_mut();
    let mut size = 0;
    check(call(&mut data, &mut size))?;
    if data.is_null() {
        return Ok(Vec::new());
    }
    // SAFETY: the host took `size` bytes from `proxy_on_memory_allocate`, which leaks a boxed slice
    // of that length from the global allocator, filled them and handed over the only pointer.
    Ok(unsafe { Vec::from_raw_parts(data, size, size) })
}

#[link(wasm_import_module = "env")]
unsafe extern "C" {
    fn proxy_log(level: u32, message_data: *const u8, message_size: usize) -> u32;
    fn proxy_get_current_time_nanoseconds(time: *mut u64) -> u32;
    fn proxy_get_buffer_bytes(
        buffer_type: u32,
        start: usize,
        max_size: usize,
        data: *mut *mut u8,
        size: *mut usize,
    ) -> u32;
    fn proxy_get_header_map_pairs(map_type: u32, data: *mut *mut u8, size: *mut usize) -> u32;
    fn proxy_replace_header_map_value(
        map_type: u32,
        key_data: *const u8,
        key_size: usize,
        value_data: *const u8,
        value_size: usize,
    ) -> u32;
    fn proxy_add_header_map_value(
        map_type: u32,
        key_data: *const u8,
        key_size: usize,
        value_data: *const u8,
        value_size: usize,
    ) -> u32;
    fn proxy_remove_header_map_value(map_type: u32, key_data: *const u8, key_size: usize) -> u32;
    fn proxy_get_property(
        path_data: *const u8,
        path_size: usize,
        data: *mut *mut u8,
        size: *mut usize,
    ) -> u32;
    fn proxy_set_property(
        path_data: *const u8,
        path_size: usize,
        value_data: *const u8,
        value_size: usize,
    ) -> u32;
    fn proxy_send_local_response(
        status_code: u32,
        details_data: *const u8,
        details_size: usize,
        body_data: *const u8,
        body_size: usize,
        headers_data: *const u8,
        headers_size: usize,
        grpc_status: i32,
    ) -> u32;
    fn proxy_call_foreign_function(
        function_data: *const u8,
        function_size: usize,
        arguments_data: *const u8,
        arguments_size: usize,
        data: *mut *mut u8,
        size: *mut usize,
    ) -> u32;
    safe fn proxy_set_tick_period_milliseconds(milliseconds: u32) -> u32;
    safe fn proxy_set_effective_context(context: u32) -> u32;
    safe fn proxy_close_stream(stream_type: u32) -> u32;
    fn proxy_define_metric(
        metric_type: u32,
        name_data: *const u8,
        name_size: usize,
        id: *mut u32,
    ) -> u32;
    safe fn proxy_increment_metric(id: u32, offset: i64) -> u32;
    safe fn proxy_record_metric(id: u32, value: u64) -> u32;
}
