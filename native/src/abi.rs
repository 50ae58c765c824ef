//! Envoy's interface for dynamic modules: the declarations of what is used of it, and the only unsafe code.
//!
//! All of it is from one header, `source/extensions/dynamic_modules/abi/abi.h`, by its names. Envoy calls
//! the functions `envoy_dynamic_module_on_*`, [`export`] makes them; the module calls the functions
//! `envoy_dynamic_module_callback_*`. Tried with Envoy 1.38.2, 1.39.3 and 1.40.0, which have them all, in
//! the same form.
//!
//! Above, everything is safe: what Envoy gives is borrowed for the callback that is running, and no panic
//! goes back into Envoy.

#![expect(unsafe_code, reason = "Envoy's interface is one of C")]

use std::ffi::{CStr, c_char, c_void};
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::{NonNull, null, null_mut};
use std::slice;
use std::sync::OnceLock;

/// A filter as Envoy runs it: one configuration, and streams under it.
///
/// Each function may panic: then the library or the configuration is refused, and a request goes no further.
pub(crate) trait Plugin: Send + Sync + Sized + 'static {
    /// What belongs to one stream. Envoy calls for a stream from one thread.
    type Stream;

    /// Once, when the library is loaded.
    fn load();
    /// Reads a configuration, on the main thread. `None` refuses it.
    fn configure(scope: &Scope<'_>, name: &[u8], configuration: &[u8]) -> Option<Self>;
    /// A stream begins.
    fn begin(&self) -> Self::Stream;
    /// The request's headers are there.
    fn on_request_headers(&self, stream: &Self::Stream, request: &mut Request<'_>) -> Status;
    /// A part of the request's body is there.
    fn on_request_body(&self, stream: &Self::Stream) -> Status;
    /// The request's trailers are there.
    fn on_request_trailers(&self, stream: &Self::Stream, request: &mut Request<'_>) -> Status;
    /// A callback panicked: the request must go no further. There is no stream where it panicked as it began.
    fn on_panic(&self, stream: Option<&Self::Stream>, request: &mut Request<'_>);
    /// A stream is over.
    fn end(&self, stream: Self::Stream);
}

/// What becomes of a request after a callback.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    /// It goes on to the next filter.
    Continue,
    /// It goes no further.
    Stop,
}

/// Levels of Envoy's log: `envoy_dynamic_module_type_log_level`.
#[derive(Clone, Copy, Debug)]
pub(crate) enum LogLevel {
    /// For those who debug the filter itself.
    Debug = 1,
    /// Everyday.
    Info = 2,
    /// Refusals.
    Warn = 3,
    /// What somebody must look at.
    Error = 4,
}

/// Facts about a stream: `envoy_dynamic_module_type_attribute_id`.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Attribute {
    /// `source.address`
    SourceAddress = 24,
    /// `connection.requested_server_name`. Not in 1.38, see [`tells_server_name`].
    RequestedServerName = 30,
    /// `connection.tls_version`
    TlsVersion = 31,
    /// `connection.uri_san_peer_certificate`
    UriSanPeerCertificate = 37,
}

/// Headers or trailers of a request: `envoy_dynamic_module_type_http_header_type`.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Part {
    /// The headers, pseudo-headers included.
    Headers = 0,
    /// The trailers, while they are passing.
    Trailers = 1,
}

impl Part {
    /// For messages.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Headers => "headers",
            Self::Trailers => "trailers",
        }
    }
}

/// A configuration that is being read.
#[derive(Debug)]
pub(crate) struct Scope<'a> {
    config: *mut c_void,
    during: PhantomData<&'a ()>,
}

/// A request, during a callback about it.
#[derive(Debug)]
pub(crate) struct Request<'a> {
    filter: *mut c_void,
    during: PhantomData<&'a mut ()>,
}

/// Headers or trailers where they lie in Envoy, until the next write to them.
#[derive(Debug)]
pub(crate) struct Lent<'a> {
    entries: Vec<Entry>,
    during: PhantomData<&'a ()>,
}

/// A counter's family, as Envoy numbers it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FamilyId(usize);

/// A local reply.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reply<'a> {
    /// HTTP status.
    pub status: u16,
    /// Names and values beside those that Envoy adds.
    pub headers: &'a [(&'a str, &'a str)],
    /// The body.
    pub body: &'a [u8],
    /// Envoy's response-code details.
    pub details: &'a str,
}

/// Whether Envoy writes lines of this level now.
pub(crate) fn is_logged(level: LogLevel) -> bool {
    envoy_dynamic_module_callback_log_enabled(level as u32)
}

/// Whether this Envoy tells a module the TLS server name. 1.38 does not, and has no function that 1.39 came with.
pub(crate) fn tells_server_name() -> bool {
    static TELLS: OnceLock<bool> = OnceLock::new();
    *TELLS
        .get_or_init(|| function(c"envoy_dynamic_module_callback_http_get_header_values").is_some())
}

/// Whether this Envoy lets a configuration set gauges. 1.38 does not.
pub(crate) fn sets_gauges() -> bool {
    set_gauge().is_some()
}

/// Writes one line to Envoy's log, under the logger `dynamic_modules`.
pub(crate) fn log(level: LogLevel, line: &str) {
    // SAFETY: Envoy reads the line during the call.
    unsafe { envoy_dynamic_module_callback_log(level as u32, Slice::of(line.as_bytes())) }
}

impl Scope<'_> {
    /// Defines a family of counters; `None` where Envoy refuses.
    pub(crate) fn define_counters(&self, name: &str, labels: &[&str]) -> Option<FamilyId> {
        let mut labels = labels.iter().map(|label| Slice::of(label.as_bytes())).collect::<Vec<_>>();
        let mut id = 0;
        // SAFETY: the configuration is Envoy's own pointer; Envoy reads name and labels during the call, and
        // writes one number to a valid place.
        let result = unsafe {
            envoy_dynamic_module_callback_http_filter_config_define_counter(
                self.config,
                Slice::of(name.as_bytes()),
                labels.as_mut_ptr(),
                labels.len(),
                &mut id,
            )
        };
        (result == SUCCESS).then_some(FamilyId(id))
    }

    /// Sets a gauge; false where Envoy refuses. Only where [`sets_gauges`].
    #[must_use]
    pub(crate) fn set_gauge(&self, name: &str, value: u64) -> bool {
        let Some(set_gauge) = set_gauge() else { return false };
        let mut id = 0;
        // SAFETY: as in `define_counters`; there are no labels.
        unsafe {
            let result = envoy_dynamic_module_callback_http_filter_config_define_gauge(
                self.config,
                Slice::of(name.as_bytes()),
                null_mut(),
                0,
                &mut id,
            );
            result == SUCCESS && set_gauge(self.config, id, null_mut(), 0, value) == SUCCESS
        }
    }
}

impl Request<'_> {
    /// All headers or trailers; `None` where Envoy has no such map. They lie in Envoy: what they borrow keeps
    /// [`Self::set`] and [`Self::remove`] from being called.
    pub(crate) fn lend(&self, part: Part) -> Option<Lent<'_>> {
        // SAFETY: the filter is Envoy's own pointer, valid during the callback.
        let size = unsafe {
            envoy_dynamic_module_callback_http_get_headers_size(self.filter, part as u32)
        };
        let mut entries = Vec::with_capacity(size);
        // SAFETY: as above; Envoy fills as many entries as it said, for which there is room.
        unsafe {
            let is_there = envoy_dynamic_module_callback_http_get_headers(
                self.filter,
                part as u32,
                entries.as_mut_ptr(),
            );
            if !is_there {
                return None;
            }
            entries.set_len(size);
        }
        Some(Lent { entries, during: PhantomData })
    }

    /// Leaves one entry under `name`, with `value`; false where Envoy has no such map.
    #[must_use]
    pub(crate) fn set(&mut self, part: Part, name: &[u8], value: &[u8]) -> bool {
        self.write(part, name, Slice::of(value))
    }

    /// Adds an entry under `name`; false where Envoy has no such map.
    #[must_use]
    pub(crate) fn add(&mut self, part: Part, name: &[u8], value: &[u8]) -> bool {
        // SAFETY: as in `write`.
        unsafe {
            envoy_dynamic_module_callback_http_add_header(
                self.filter,
                part as u32,
                Slice::of(name),
                Slice::of(value),
            )
        }
    }

    /// Removes every entry under `name`; false where Envoy has no such map.
    #[must_use]
    pub(crate) fn remove(&mut self, part: Part, name: &[u8]) -> bool {
        self.write(part, name, Slice { start: null(), length: 0 })
    }

    fn write(&mut self, part: Part, name: &[u8], value: Slice) -> bool {
        // SAFETY: as in `lend`; Envoy reads name and value during the call.
        unsafe {
            envoy_dynamic_module_callback_http_set_header(
                self.filter,
                part as u32,
                Slice::of(name),
                value,
            )
        }
    }

    /// A fact about the stream, where Envoy has it.
    pub(crate) fn attribute(&self, attribute: Attribute) -> Option<&[u8]> {
        let mut value = Slice { start: null(), length: 0 };
        // SAFETY: as in `lend`; Envoy writes one buffer to a valid place.
        let is_there = unsafe {
            envoy_dynamic_module_callback_http_filter_get_attribute_string(
                self.filter,
                attribute as u32,
                &mut value,
            )
        };
        // SAFETY: the value is Envoy's until a write, for which this borrow would have to end.
        is_there.then(|| unsafe { value.bytes() })
    }

    /// The name of the cluster that the route leads to, where it leads to one that there is.
    pub(crate) fn cluster_name(&self) -> Option<&[u8]> {
        let mut value = Slice { start: null(), length: 0 };
        // SAFETY: as in `attribute`.
        let is_there =
            unsafe { envoy_dynamic_module_callback_http_get_cluster_name(self.filter, &mut value) };
        // SAFETY: as in `attribute`.
        is_there.then(|| unsafe { value.bytes() })
    }

    /// Filter state that somebody set as text.
    pub(crate) fn filter_state(&self, key: &[u8]) -> Option<Vec<u8>> {
        let mut value = Slice { start: null(), length: 0 };
        // SAFETY: as in `attribute`; Envoy reads the key during the call.
        let is_there = unsafe {
            envoy_dynamic_module_callback_http_get_filter_state_bytes(
                self.filter,
                Slice::of(key),
                &mut value,
            )
        };
        // SAFETY: the value is Envoy's until filter state is set again, and copied before.
        is_there.then(|| unsafe { value.bytes() }.to_vec())
    }

    /// Sets filter state of the stream, once for each key; false where Envoy refuses.
    pub(crate) fn set_filter_state(&self, key: &[u8], value: &[u8]) -> bool {
        // SAFETY: as in `lend`; Envoy copies key and value during the call.
        unsafe {
            envoy_dynamic_module_callback_http_set_filter_state_bytes(
                self.filter,
                Slice::of(key),
                Slice::of(value),
            )
        }
    }

    /// Adds one to the counter of a family that has these values of its labels.
    pub(crate) fn increment<const LABELS: usize>(&self, family: FamilyId, values: [&str; LABELS]) {
        let mut values = values.map(|value| Slice::of(value.as_bytes()));
        // SAFETY: as in `lend`; Envoy reads the values during the call, and refuses a wrong number of them.
        unsafe {
            envoy_dynamic_module_callback_http_filter_increment_counter(
                self.filter,
                family.0,
                values.as_mut_ptr(),
                LABELS,
                1,
            );
        }
    }

    /// Answers the request. Envoy holds the answer back until the callback has returned.
    pub(crate) fn reply(&self, reply: &Reply<'_>) {
        let mut headers = reply.headers.iter().map(|(name, value)| Entry {
            name: Slice::of(name.as_bytes()),
            value: Slice::of(value.as_bytes()),
        });
        let mut headers = headers.by_ref().collect::<Vec<_>>();
        // SAFETY: as in `lend`; Envoy copies everything during the call.
        unsafe {
            envoy_dynamic_module_callback_http_send_response(
                self.filter,
                u32::from(reply.status),
                headers.as_mut_ptr(),
                headers.len(),
                Slice::of(reply.body),
                Slice::of(reply.details.as_bytes()),
            );
        }
    }
}

impl egress_warden::header_map::Headers for Lent<'_> {
    fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        // SAFETY: Envoy filled the entries; they are valid for as long as they are lent.
        self.entries.iter().map(|entry| unsafe { (entry.name.bytes(), entry.value.bytes()) })
    }
}

/// `envoy_dynamic_module_type_envoy_buffer` and `envoy_dynamic_module_type_module_buffer`.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(crate) struct Slice {
    start: *const u8,
    length: usize,
}

impl Slice {
    fn of(bytes: &[u8]) -> Self {
        Self { start: bytes.as_ptr(), length: bytes.len() }
    }

    /// # Safety
    /// The bytes must be there and stay unchanged for as long as they are borrowed.
    unsafe fn bytes<'a>(self) -> &'a [u8] {
        match self.start.is_null() {
            true => &[],
            // SAFETY: by the contract of this function.
            false => unsafe { slice::from_raw_parts(self.start, self.length) },
        }
    }
}

/// `envoy_dynamic_module_type_envoy_http_header` and `envoy_dynamic_module_type_module_http_header`.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
struct Entry {
    name: Slice,
    value: Slice,
}

/// `envoy_dynamic_module_type_metrics_result_Success`
const SUCCESS: u32 = 0;

// "Common Callbacks" and "HTTP Filter Callbacks" of the header.
unsafe extern "C" {
    fn envoy_dynamic_module_callback_log(level: u32, message: Slice);
    safe fn envoy_dynamic_module_callback_log_enabled(level: u32) -> bool;
    fn envoy_dynamic_module_callback_http_filter_config_define_counter(
        config: *mut c_void,
        name: Slice,
        label_names: *mut Slice,
        label_names_length: usize,
        counter_id: *mut usize,
    ) -> u32;
    fn envoy_dynamic_module_callback_http_filter_config_define_gauge(
        config: *mut c_void,
        name: Slice,
        label_names: *mut Slice,
        label_names_length: usize,
        gauge_id: *mut usize,
    ) -> u32;
    fn envoy_dynamic_module_callback_http_filter_increment_counter(
        filter: *mut c_void,
        counter_id: usize,
        label_values: *mut Slice,
        label_values_length: usize,
        value: u64,
    ) -> u32;
    fn envoy_dynamic_module_callback_http_get_headers_size(
        filter: *mut c_void,
        header_type: u32,
    ) -> usize;
    fn envoy_dynamic_module_callback_http_get_headers(
        filter: *mut c_void,
        header_type: u32,
        headers: *mut Entry,
    ) -> bool;
    fn envoy_dynamic_module_callback_http_add_header(
        filter: *mut c_void,
        header_type: u32,
        key: Slice,
        value: Slice,
    ) -> bool;
    fn envoy_dynamic_module_callback_http_set_header(
        filter: *mut c_void,
        header_type: u32,
        key: Slice,
        value: Slice,
    ) -> bool;
    fn envoy_dynamic_module_callback_http_filter_get_attribute_string(
        filter: *mut c_void,
        attribute: u32,
        value: *mut Slice,
    ) -> bool;
    fn envoy_dynamic_module_callback_http_get_cluster_name(
        filter: *mut c_void,
        value: *mut Slice,
    ) -> bool;
    fn envoy_dynamic_module_callback_http_get_filter_state_bytes(
        filter: *mut c_void,
        key: Slice,
        value: *mut Slice,
    ) -> bool;
    fn envoy_dynamic_module_callback_http_set_filter_state_bytes(
        filter: *mut c_void,
        key: Slice,
        value: Slice,
    ) -> bool;
    fn envoy_dynamic_module_callback_http_send_response(
        filter: *mut c_void,
        status: u32,
        headers: *mut Entry,
        headers_length: usize,
        body: Slice,
        details: Slice,
    );
}

/// Not linked, as 1.38 could not load the library.
type SetGauge = unsafe extern "C" fn(
    config: *mut c_void,
    gauge_id: usize,
    label_values: *mut Slice,
    label_values_length: usize,
    value: u64,
) -> u32;

fn set_gauge() -> Option<SetGauge> {
    let function = function(c"envoy_dynamic_module_callback_http_filter_config_set_gauge")?;
    // SAFETY: what Envoy has under this name is of this type.
    Some(unsafe { std::mem::transmute::<NonNull<c_void>, SetGauge>(function) })
}

/// A function of Envoy's that not all versions have.
fn function(name: &CStr) -> Option<NonNull<c_void>> {
    // SAFETY: a null handle stands for everything that is loaded, and the name ends in NUL.
    NonNull::new(unsafe { dlsym(null_mut(), name.as_ptr()) })
}

// POSIX.
unsafe extern "C" {
    fn dlsym(handle: *mut c_void, symbol: *const c_char) -> *mut c_void;
}

/// What a stream needs in its callbacks, behind the pointer that Envoy holds. The configuration outlives its
/// streams in Envoy.
struct Running<P: Plugin> {
    plugin: NonNull<P>,
    /// None where it panicked when it began.
    stream: Option<P::Stream>,
}

/// # Safety
/// As Envoy calls it: `config` is Envoy's own, `name` and `text` are readable during the call.
pub(crate) unsafe fn configure<P: Plugin>(
    config: *mut c_void,
    name: Slice,
    text: Slice,
) -> *const c_void {
    let configured = catch_unwind(AssertUnwindSafe(|| {
        let scope = Scope { config, during: PhantomData };
        // SAFETY: by the contract of this function.
        let (name, text) = unsafe { (name.bytes(), text.bytes()) };
        P::configure(&scope, name, text)
    }));
    match configured {
        Ok(Some(plugin)) => Box::into_raw(Box::new(plugin)).cast_const().cast(),
        Ok(None) | Err(_) => null(),
    }
}

/// # Safety
/// `plugin` is from [`configure`]; it is not used again.
pub(crate) unsafe fn forget<P: Plugin>(plugin: *const c_void) {
    let _ = catch_unwind(AssertUnwindSafe(|| {
        // SAFETY: by the contract of this function.
        drop(unsafe { Box::from_raw(plugin.cast_mut().cast::<P>()) });
    }));
}

/// # Safety
/// `plugin` is from [`configure`], and outlives the stream.
pub(crate) unsafe fn begin<P: Plugin>(plugin: *const c_void) -> *const c_void {
    let Some(plugin) = NonNull::new(plugin.cast_mut().cast::<P>()) else { return null() };
    // SAFETY: by the contract of this function. Threads share it.
    let shared = unsafe { plugin.as_ref() };
    let stream = catch_unwind(AssertUnwindSafe(|| shared.begin())).ok();
    Box::into_raw(Box::new(Running { plugin, stream })).cast_const().cast()
}

/// Runs a callback about a request. If it panics, or the stream did before, the request is refused.
///
/// # Safety
/// `filter` is Envoy's own, `running` is from [`begin`].
pub(crate) unsafe fn run<P: Plugin>(
    filter: *mut c_void,
    running: *const c_void,
    callback: impl FnOnce(&P, &P::Stream, &mut Request<'_>) -> Status,
) -> Status {
    // SAFETY: by the contract of this function. Envoy may call again meanwhile, as for a local reply: so it
    // is shared.
    let Some(running) = (unsafe { running.cast::<Running<P>>().as_ref() }) else {
        return Status::Stop;
    };
    // SAFETY: the configuration outlives its streams.
    let plugin = unsafe { running.plugin.as_ref() };
    let mut request = Request { filter, during: PhantomData };
    let ran = running
        .stream
        .as_ref()
        .map(|stream| catch_unwind(AssertUnwindSafe(|| callback(plugin, stream, &mut request))));
    if let Some(Ok(status)) = ran {
        return status;
    }
    let _ = catch_unwind(AssertUnwindSafe(|| {
        plugin.on_panic(running.stream.as_ref(), &mut request);
    }));
    Status::Stop
}

/// # Safety
/// `running` is from [`begin`]; it is not used again.
pub(crate) unsafe fn end<P: Plugin>(running: *const c_void) {
    let _ = catch_unwind(AssertUnwindSafe(|| {
        // SAFETY: by the contract of this function.
        let running = unsafe { Box::from_raw(running.cast_mut().cast::<Running<P>>()) };
        if let Some(stream) = running.stream {
            // SAFETY: the configuration outlives its streams.
            unsafe { running.plugin.as_ref() }.end(stream);
        }
    }));
}

/// The library is loaded. The version that Envoy is told is that of Envoy 1.38 and 1.39; 1.40 takes it too, and
/// says that it is old.
pub(crate) fn load<P: Plugin>() -> *const c_char {
    const VERSION: &CStr = c"v0.1.0";
    match catch_unwind(P::load) {
        Ok(()) => VERSION.as_ptr(),
        Err(_) => null(),
    }
}

/// Makes the functions that Envoy calls, for one [`Plugin`]: "Common Event Hooks" and "HTTP Filter Event Hooks"
/// of the header. All but the last are those that Envoy 1.38.2 to 1.40.0 demand of a module.
macro_rules! export {
    ($plugin:ty) => {
        #[expect(unsafe_code, reason = "Envoy's interface is one of C")]
        mod exported {
            use std::ffi::{c_char, c_void};
            use $crate::abi::{self, Plugin as _, Slice, Status};

            #[unsafe(no_mangle)]
            extern "C" fn envoy_dynamic_module_on_program_init() -> *const c_char {
                abi::load::<$plugin>()
            }

            #[unsafe(no_mangle)]
            unsafe extern "C" fn envoy_dynamic_module_on_http_filter_config_new(
                config: *mut c_void,
                name: Slice,
                text: Slice,
            ) -> *const c_void {
                // SAFETY: Envoy calls it as its header says.
                unsafe { abi::configure::<$plugin>(config, name, text) }
            }

            #[unsafe(no_mangle)]
            unsafe extern "C" fn envoy_dynamic_module_on_http_filter_config_destroy(
                plugin: *const c_void,
            ) {
                // SAFETY: as above.
                unsafe { abi::forget::<$plugin>(plugin) }
            }

            #[unsafe(no_mangle)]
            unsafe extern "C" fn envoy_dynamic_module_on_http_filter_new(
                plugin: *const c_void,
                _filter: *mut c_void,
            ) -> *const c_void {
                // SAFETY: as above.
                unsafe { abi::begin::<$plugin>(plugin) }
            }

            #[unsafe(no_mangle)]
            unsafe extern "C" fn envoy_dynamic_module_on_http_filter_request_headers(
                filter: *mut c_void,
                running: *const c_void,
                _end_of_stream: bool,
            ) -> u32 {
                // SAFETY: as above.
                let status = unsafe {
                    abi::run(filter, running, |plugin: &$plugin, stream, request| {
                        plugin.on_request_headers(stream, request)
                    })
                };
                match status {
                    Status::Continue => 0,
                    // StopIteration
                    Status::Stop => 1,
                }
            }

            #[unsafe(no_mangle)]
            unsafe extern "C" fn envoy_dynamic_module_on_http_filter_request_body(
                filter: *mut c_void,
                running: *const c_void,
                _end_of_stream: bool,
            ) -> u32 {
                // SAFETY: as above.
                let status = unsafe {
                    abi::run(filter, running, |plugin: &$plugin, stream, _| {
                        plugin.on_request_body(stream)
                    })
                };
                match status {
                    Status::Continue => 0,
                    // StopIterationNoBuffer
                    Status::Stop => 3,
                }
            }

            #[unsafe(no_mangle)]
            unsafe extern "C" fn envoy_dynamic_module_on_http_filter_request_trailers(
                filter: *mut c_void,
                running: *const c_void,
            ) -> u32 {
                // SAFETY: as above.
                let status = unsafe {
                    abi::run(filter, running, |plugin: &$plugin, stream, request| {
                        plugin.on_request_trailers(stream, request)
                    })
                };
                match status {
                    Status::Continue => 0,
                    // StopIteration
                    Status::Stop => 1,
                }
            }

            /// Responses pass as they are.
            #[unsafe(no_mangle)]
            extern "C" fn envoy_dynamic_module_on_http_filter_response_headers(
                _filter: *mut c_void,
                _running: *const c_void,
                _end_of_stream: bool,
            ) -> u32 {
                0
            }

            #[unsafe(no_mangle)]
            extern "C" fn envoy_dynamic_module_on_http_filter_response_body(
                _filter: *mut c_void,
                _running: *const c_void,
                _end_of_stream: bool,
            ) -> u32 {
                0
            }

            #[unsafe(no_mangle)]
            extern "C" fn envoy_dynamic_module_on_http_filter_response_trailers(
                _filter: *mut c_void,
                _running: *const c_void,
            ) -> u32 {
                0
            }

            #[unsafe(no_mangle)]
            extern "C" fn envoy_dynamic_module_on_http_filter_stream_complete(
                _filter: *mut c_void,
                _running: *const c_void,
            ) {
            }

            #[unsafe(no_mangle)]
            unsafe extern "C" fn envoy_dynamic_module_on_http_filter_destroy(
                running: *const c_void,
            ) {
                // SAFETY: as above.
                unsafe { abi::end::<$plugin>(running) }
            }

            /// Never called: the filter calls nobody.
            #[unsafe(no_mangle)]
            extern "C" fn envoy_dynamic_module_on_http_filter_http_callout_done(
                _filter: *mut c_void,
                _running: *const c_void,
                _callout: u64,
                _result: u32,
                _headers: *const c_void,
                _headers_length: usize,
                _body: *const c_void,
                _body_length: usize,
            ) {
            }

            #[unsafe(no_mangle)]
            extern "C" fn envoy_dynamic_module_on_http_filter_http_stream_headers(
                _filter: *mut c_void,
                _running: *const c_void,
                _stream: u64,
                _headers: *const c_void,
                _headers_length: usize,
                _end_of_stream: bool,
            ) {
            }

            #[unsafe(no_mangle)]
            extern "C" fn envoy_dynamic_module_on_http_filter_http_stream_data(
                _filter: *mut c_void,
                _running: *const c_void,
                _stream: u64,
                _data: *const c_void,
                _data_length: usize,
                _end_of_stream: bool,
            ) {
            }

            #[unsafe(no_mangle)]
            extern "C" fn envoy_dynamic_module_on_http_filter_http_stream_trailers(
                _filter: *mut c_void,
                _running: *const c_void,
                _stream: u64,
                _trailers: *const c_void,
                _trailers_length: usize,
            ) {
            }

            #[unsafe(no_mangle)]
            extern "C" fn envoy_dynamic_module_on_http_filter_http_stream_complete(
                _filter: *mut c_void,
                _running: *const c_void,
                _stream: u64,
            ) {
            }

            #[unsafe(no_mangle)]
            extern "C" fn envoy_dynamic_module_on_http_filter_http_stream_reset(
                _filter: *mut c_void,
                _running: *const c_void,
                _stream: u64,
                _reason: u32,
            ) {
            }

            #[unsafe(no_mangle)]
            extern "C" fn envoy_dynamic_module_on_http_filter_scheduled(
                _filter: *mut c_void,
                _running: *const c_void,
                _event: u64,
            ) {
            }

            #[unsafe(no_mangle)]
            extern "C" fn envoy_dynamic_module_on_http_filter_downstream_above_write_buffer_high_watermark(
                _filter: *mut c_void,
                _running: *const c_void,
            ) {
            }

            #[unsafe(no_mangle)]
            extern "C" fn envoy_dynamic_module_on_http_filter_downstream_below_write_buffer_low_watermark(
                _filter: *mut c_void,
                _running: *const c_void,
            ) {
            }

            /// A route cannot choose another policy, nor none: every configuration of a route is refused.
            #[unsafe(no_mangle)]
            extern "C" fn envoy_dynamic_module_on_http_filter_per_route_config_new(
                _name: Slice,
                _text: Slice,
            ) -> *const c_void {
                std::ptr::null()
            }

            #[unsafe(no_mangle)]
            extern "C" fn envoy_dynamic_module_on_http_filter_per_route_config_destroy(
                _plugin: *const c_void,
            ) {
            }
        }
    };
}
pub(crate) use export;
