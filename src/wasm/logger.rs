//! The `log` crate's lines into the proxy's log.

use std::fmt::Write as _;

use log::{Level, LevelFilter, Log, Metadata, Record};
use proxy_wasm::types::LogLevel;

use super::hostcalls;

/// Sends the lines of this process to the proxy's log, `info` and above. The proxy drops those
/// under its own level; its errors are ignored, for there is nowhere to report them.
pub(super) fn install() {
    // Fails where a logger is installed already: natively, each thread starts a "VM" of its own.
    let _ = log::set_logger(&ProxyLog);
    log::set_max_level(LevelFilter::Info);
}

struct ProxyLog;

impl Log for ProxyLog {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= log::max_level()
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let level = match record.level() {
            Level::Trace => LogLevel::Trace,
            Level::Debug => LogLevel::Debug,
            Level::Info => LogLevel::Info,
            Level::Warn => LogLevel::Warn,
            Level::Error => LogLevel::Error,
        };
        // `to_string` would panic on a `Display` that fails.
        let mut line = String::new();
        if line.write_fmt(*record.args()).is_ok() {
            let _ = hostcalls::log(level, &line);
        }
    }

    fn flush(&self) {}
}
