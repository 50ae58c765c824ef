//! The host calls by name: arguments and memory of a guest in, statuses out.
//!
//! Both guests come through [`call`], so that each import is described once.

use super::host::{Headers, Level, LocalReply, SharedHost, Status};
use super::misbehaviour::Misbehaviour;

/// A guest's memory. Addresses and sizes are as wide as the guest's pointers.
pub trait Memory {
    fn read(&self, address: u64, size: u64) -> Option<Vec<u8>>;
    fn write(&mut self, address: u64, bytes: &[u8]) -> Option<()>;
    /// Memory from the guest's own allocator.
    fn allocate(&mut self, size: usize) -> Option<u64>;
    fn pointer_bytes(&self, pointer: u64) -> Vec<u8>;
}

/// Answers one call of an import of `env`. Every call of every guest passes here.
pub fn call(host: &SharedHost, memory: &mut dyn Memory, import: &str, arguments: &[u64]) -> u32 {
    *host.borrow_mut().calls.entry(import.to_owned()).or_default() += 1;
    let misbehaviour = host.borrow().misbehaviour.clone();
    let subject = || subject(memory, import, arguments);
    let result = match misbehaviour.filter(|(calls, _)| calls.contain(import, subject)) {
        Some((_, Misbehaviour::Status(status))) => return status,
        Some((_, misbehaviour)) => return_falsely(memory, import, arguments, &misbehaviour),
        None => answer(host, memory, import, arguments),
    };
    match result {
        Ok(()) => 0,
        Err(status) => status as u32,
    }
}

/// What a call is about, where the ABI has a name for it.
fn subject(memory: &dyn Memory, import: &str, arguments: &[u64]) -> Option<Vec<u8>> {
    match (import, arguments) {
        (
            "proxy_get_property" | "proxy_set_property" | "proxy_call_foreign_function",
            &[name, size, ..],
        )
        | (
            "proxy_get_header_map_value"
            | "proxy_add_header_map_value"
            | "proxy_replace_header_map_value"
            | "proxy_remove_header_map_value"
            | "proxy_define_metric",
            &[_, name, size, ..],
        ) => memory.read(name, size),
        _ => None,
    }
}

/// Returns data that is not what was asked for. A call that returns none succeeds, and is not done.
fn return_falsely(
    memory: &mut dyn Memory,
    import: &str,
    arguments: &[u64],
    misbehaviour: &Misbehaviour,
) -> Result<(), Status> {
    let (data, size) = match (import, arguments) {
        (
            "proxy_get_buffer_bytes"
            | "proxy_get_header_map_pairs"
            | "proxy_get_header_map_value"
            | "proxy_get_property",
            &[.., data, size],
        ) => (data, size),
        _ => return Ok(()),
    };
    match misbehaviour {
        Misbehaviour::Bytes(bytes) => give(memory, bytes, data, size),
        &Misbehaviour::NullPointer { size: said } => point(memory, 0, said, data, size),
        Misbehaviour::NoSize => {
            let pointer = memory.allocate(1).ok_or(Status::InvalidMemoryAccess)?;
            point(memory, pointer, 0, data, size)
        }
        Misbehaviour::Status(_) => Ok(()),
    }
}

fn answer(
    host: &SharedHost,
    memory: &mut dyn Memory,
    import: &str,
    arguments: &[u64],
) -> Result<(), Status> {
    match (import, arguments) {
        ("proxy_log", &[level, data, size]) => {
            let text = read(memory, data, size)?;
            host.borrow_mut().log(level as u32, &text)
        }
        ("proxy_get_log_level", &[level]) => {
            let number = host.borrow().log_level as u32;
            write(memory, level, &number.to_le_bytes())
        }
        ("proxy_get_current_time_nanoseconds", &[time]) => {
            let clock = host.borrow().current_time()?;
            write(memory, time, &clock.to_le_bytes())
        }
        ("proxy_get_buffer_bytes", &[kind, start, max_size, data, size]) => {
            // `usize::MAX`, which the SDK asks for, is cut to the ABI's width.
            let bytes = host.borrow().buffer(kind as u32, start as u32, max_size as u32)?;
            give(memory, &bytes, data, size)
        }
        ("proxy_get_header_map_pairs", &[map, data, size]) => {
            let pairs = host.borrow().header_pairs(map as u32)?;
            let serialized = serialize(&pairs);
            give(memory, &serialized, data, size)
        }
        ("proxy_set_header_map_pairs", &[map, data, size]) => {
            let pairs = deserialize(&read(memory, data, size)?);
            host.borrow_mut().set_header_pairs(map as u32, pairs)
        }
        ("proxy_get_header_map_value", &[map, name, name_size, data, size]) => {
            let name = read(memory, name, name_size)?;
            let value = host.borrow().header_value(map as u32, &name)?;
            give(memory, &value, data, size)
        }
        ("proxy_add_header_map_value", &[map, name, name_size, value, value_size]) => {
            let (name, value) = (read(memory, name, name_size)?, read(memory, value, value_size)?);
            host.borrow_mut().add_header(map as u32, &name, &value)
        }
        ("proxy_replace_header_map_value", &[map, name, name_size, value, value_size]) => {
            let (name, value) = (read(memory, name, name_size)?, read(memory, value, value_size)?);
            host.borrow_mut().replace_header(map as u32, &name, &value)
        }
        ("proxy_remove_header_map_value", &[map, name, name_size]) => {
            let name = read(memory, name, name_size)?;
            host.borrow_mut().remove_header(map as u32, &name)
        }
        ("proxy_get_property", &[path, path_size, data, size]) => {
            let path = read(memory, path, path_size)?;
            let value = host.borrow().property(&path)?;
            give(memory, &value, data, size)
        }
        ("proxy_set_property", &[path, path_size, value, value_size]) => {
            let (path, value) = (read(memory, path, path_size)?, read(memory, value, value_size)?);
            host.borrow_mut().set_property(&path, &value)
        }
        (
            "proxy_send_local_response",
            &[status, details, details_size, body, body_size, headers, headers_size, grpc_status],
        ) => {
            let details = read(memory, details, details_size)?;
            let reply = LocalReply {
                status: status as u32,
                details: String::from_utf8_lossy(&details).into_owned(),
                headers: deserialize(&read(memory, headers, headers_size)?),
                body: read(memory, body, body_size)?,
                grpc_status: u32::try_from(grpc_status as i32).ok(),
            };
            host.borrow_mut().send_local_reply(reply)
        }
        (
            "proxy_call_foreign_function",
            &[name, name_size, arguments, arguments_size, data, size],
        ) => {
            let name = read(memory, name, name_size)?;
            let arguments = read(memory, arguments, arguments_size)?;
            host.borrow_mut().call_foreign_function(&name, &arguments)?;
            give(memory, &[], data, size)
        }
        ("proxy_set_tick_period_milliseconds", &[period]) => {
            host.borrow_mut().set_tick_period(period as u32)
        }
        ("proxy_set_effective_context", &[context]) => {
            host.borrow_mut().set_effective_context(context as u32)
        }
        ("proxy_close_stream", &[kind]) => host.borrow_mut().close_stream(kind as u32),
        ("proxy_define_metric", &[kind, name, name_size, id]) => {
            let name = read(memory, name, name_size)?;
            let defined = host.borrow_mut().define_metric(kind as u32, &name)?;
            write(memory, id, &defined.to_le_bytes())
        }
        ("proxy_increment_metric", &[id, offset]) => {
            host.borrow_mut().increment_metric(id as u32, offset as i64)
        }
        ("proxy_record_metric", &[id, value]) => host.borrow_mut().record_metric(id as u32, value),
        _ => Err(Status::Unimplemented),
    }
}

/// Answers one call of an import of `wasi_snapshot_preview1`: those that Rust's standard library
/// brings into the module. Envoy writes standard error to its log at level error, too.
pub fn call_wasi(
    host: &SharedHost,
    memory: &mut dyn Memory,
    import: &str,
    arguments: &[u64],
) -> u32 {
    const BAD_FILE_DESCRIPTOR: u32 = 8;
    const FAULT: u32 = 21;
    const NOT_SUPPORTED: u32 = 52;
    let done = match (import, arguments) {
        ("environ_sizes_get", &[count, size]) => {
            let variables = environment();
            let bytes: usize = variables.iter().map(Vec::len).sum();
            write(memory, count, &(variables.len() as u32).to_le_bytes()).and(write(
                memory,
                size,
                &(bytes as u32).to_le_bytes(),
            ))
        }
        ("environ_get", &[pointers, texts]) => {
            let mut text = texts;
            (pointers..).step_by(4).zip(environment()).try_for_each(|(pointer, variable)| {
                write(memory, pointer, &(text as u32).to_le_bytes())?;
                write(memory, text, &variable)?;
                text += variable.len() as u64;
                Ok(())
            })
        }
        ("fd_write", &[descriptor, vectors, count, written]) => {
            let level = match descriptor {
                1 => Level::Info,
                2 => Level::Error,
                _ => return BAD_FILE_DESCRIPTOR,
            };
            gather(memory, vectors, count).and_then(|text| {
                host.borrow_mut().log(level as u32, &text)?;
                write(memory, written, &(text.len() as u32).to_le_bytes())
            })
        }
        _ => return NOT_SUPPORTED,
    };
    if done.is_ok() { 0 } else { FAULT }
}

/// What the module finds in its environment: what natively the library finds in that of the test. Each
/// ends with a zero byte.
fn environment() -> Vec<Vec<u8>> {
    let name = "CARGO_PKG_NAME";
    let value = std::env::var(name).ok();
    value.iter().map(|value| format!("{name}={value}\0").into_bytes()).collect()
}

/// The bytes that a list of 32-bit addresses and sizes points to.
fn gather(memory: &dyn Memory, vectors: u64, count: u64) -> Result<Vec<u8>, Status> {
    let mut gathered = Vec::new();
    for vector in read(memory, vectors, count * 8)?.chunks_exact(8) {
        let number = |at: usize| {
            u64::from(u32::from_le_bytes([
                vector[at],
                vector[at + 1],
                vector[at + 2],
                vector[at + 3],
            ]))
        };
        gathered.extend(read(memory, number(0), number(4))?);
    }
    Ok(gathered)
}

fn read(memory: &dyn Memory, address: u64, size: u64) -> Result<Vec<u8>, Status> {
    memory.read(address, size).ok_or(Status::InvalidMemoryAccess)
}

fn write(memory: &mut dyn Memory, address: u64, bytes: &[u8]) -> Result<(), Status> {
    memory.write(address, bytes).ok_or(Status::InvalidMemoryAccess)
}

/// Hands bytes over: copies them to memory of the guest's allocator and writes pointer and size.
/// As in Envoy, no bytes are a null pointer.
fn give(memory: &mut dyn Memory, bytes: &[u8], data: u64, size: u64) -> Result<(), Status> {
    let pointer = if bytes.is_empty() {
        0
    } else {
        let pointer = memory.allocate(bytes.len()).ok_or(Status::InvalidMemoryAccess)?;
        write(memory, pointer, bytes)?;
        pointer
    };
    point(memory, pointer, bytes.len() as u64, data, size)
}

fn point(
    memory: &mut dyn Memory,
    pointer: u64,
    length: u64,
    data: u64,
    size: u64,
) -> Result<(), Status> {
    let (pointer, length) = (memory.pointer_bytes(pointer), memory.pointer_bytes(length));
    write(memory, data, &pointer)?;
    write(memory, size, &length)
}

/// The ABI's form of a header map: the number of pairs, the sizes of every name and value, then each
/// name and value with a NUL after it. An empty map is no bytes at all.
fn serialize(headers: &Headers) -> Vec<u8> {
    if headers.is_empty() {
        return Vec::new();
    }
    let mut serialized = (headers.len() as u32).to_le_bytes().to_vec();
    for (name, value) in headers.iter() {
        serialized.extend((name.len() as u32).to_le_bytes());
        serialized.extend((value.len() as u32).to_le_bytes());
    }
    for (name, value) in headers.iter() {
        serialized.extend([name, b"\0", value, b"\0"].concat());
    }
    serialized
}

/// Reads what [`serialize`] writes. Envoy trusts the sizes of a guest; here wrong ones are no pairs.
fn deserialize(serialized: &[u8]) -> Headers {
    pairs(serialized).unwrap_or_default()
}

fn pairs(serialized: &[u8]) -> Option<Headers> {
    let (count, rest) = serialized.split_first_chunk::<4>()?;
    let (sizes, mut data) = rest.split_at_checked(u32::from_le_bytes(*count) as usize * 8)?;
    let mut field = |size: &[u8]| {
        let size = u32::from_le_bytes(size.try_into().ok()?) as usize;
        let (field, rest) = data.split_at_checked(size)?;
        data = rest.strip_prefix(b"\0")?;
        Some(field)
    };
    let mut headers = Headers::default();
    for sizes in sizes.chunks_exact(8) {
        let (name, value) = (field(&sizes[..4])?, field(&sizes[4..])?);
        headers.add(name, value);
    }
    Some(headers)
}
