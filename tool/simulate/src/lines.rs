//! What goes through the `log` crate on this thread.

use log::{Level, LevelFilter, Log, Metadata, Record};
use std::cell::RefCell;

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

/// Runs something; returns beside its result the lines that it logged. None where the program has
/// another logger.
pub fn during<T>(run: impl FnOnce() -> T) -> (T, Vec<(Level, String)>) {
    if log::set_logger(&Capture).is_ok() {
        log::set_max_level(LevelFilter::Trace);
    }
    // What was logged before is not this one's.
    LINES.take();
    let result = run();
    (result, LINES.take())
}
