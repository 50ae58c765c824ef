//! Reads a policy in a proxy: with the secrets of its environment, and with its errors in the log.

use crate::config::{self, Config, Errors};
use crate::stamp::Environment;

/// More errors than this are counted, not logged one by one.
const LOGGED_ERRORS: usize = 1_000;

/// What a policy text says, with the secrets of this environment; `None`, with the reasons in the log,
/// where it is bad.
pub fn policy(text: &[u8], environment: Environment) -> Option<Config> {
    config::read_with_secrets(text, environment).inspect_err(log_errors).ok()
}

/// A variable of the process's environment, which is that of the VM in Wasm.
pub fn variable(name: &str) -> Option<Vec<u8>> {
    std::env::var_os(name).map(std::ffi::OsString::into_encoded_bytes)
}

fn log_errors(errors: &Errors) {
    let mut errors = errors.iter();
    for error in errors.by_ref().take(LOGGED_ERRORS) {
        log::error!("policy refused: {error}");
    }
    let more = errors.count();
    if more > 0 {
        log::error!("policy refused: {more} more errors");
    }
}
