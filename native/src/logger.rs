//! The `log` crate's lines into Envoy's log, those of a panic too.

use crate::abi::{self, LogLevel};
use log::{Level, LevelFilter, Log, Metadata, Record};
use std::fmt::Write as _;

/// Sends the lines of this library to Envoy's log, `info` and above.
pub(crate) fn install() {
    // Fails where Envoy has loaded the library before.
    let _ = log::set_logger(&EnvoyLog);
    log::set_max_level(LevelFilter::Info);
    std::panic::set_hook(Box::new(|panic| log::error!("{panic}")));
}

struct EnvoyLog;

impl Log for EnvoyLog {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= log::max_level() && abi::is_logged(level(metadata.level()))
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        // `to_string` would panic on a `Display` that fails.
        let mut line = String::new();
        if line.write_fmt(*record.args()).is_ok() {
            abi::log(level(record.level()), &line);
        }
    }

    fn flush(&self) {}
}

fn level(level: Level) -> LogLevel {
    match level {
        Level::Trace | Level::Debug => LogLevel::Debug,
        Level::Info => LogLevel::Info,
        Level::Warn => LogLevel::Warn,
        Level::Error => LogLevel::Error,
    }
}
