//! What went through the `log` crate on this thread.

use std::cell::RefCell;

use log::{Level, LevelFilter, Log, Metadata, Record};

thread_local! {
    static LINES: RefCell<Vec<(Level, String)>> = const { RefCell::new(Vec::new()) };
}

struct Capture;

impl Log for Capture {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        LINES.with_borrow_mut(|lines| lines.push((record.level(), record.args().to_string())));
    }

    fn flush(&self) {}
}

/// Starts capturing; a second call changes nothing.
pub fn capture() {
    if log::set_logger(&Capture).is_ok() {
        log::set_max_level(LevelFilter::Trace);
    }
}

/// The lines since the last call.
pub fn take() -> Vec<(Level, String)> {
    LINES.take()
}
