//! What an edited policy would have decided, for the page that `egress-warden report` writes.
//!
//! A thin border between JavaScript and `egress_warden_tool::what_if`, which has all that is judged. It is built
//! for `wasm32-unknown-unknown` alone; elsewhere this package is empty. An instance of the module is about
//! one page, and is thrown away after a panic: `what_if.js` beside the sources makes the next one.
#![cfg(target_family = "wasm")]
#![warn(missing_docs, unreachable_pub)]
#![deny(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::todo,
    clippy::unimplemented,
    clippy::unreachable,
    clippy::unwrap_used
)]

use egress_warden_tool::what_if::{Rows, WhatIf};
use std::cell::RefCell;
use wasm_bindgen::prelude::{JsError, wasm_bindgen};

thread_local! {
    static WHAT_IF: RefCell<Option<WhatIf<'static>>> = const { RefCell::new(None) };
}

/// Once, before anything else: a panic is thrown as an error that says where it was, and not as a trap
/// that says nothing.
#[wasm_bindgen(start)]
fn start() {
    std::panic::set_hook(Box::new(|panic| wasm_bindgen::throw_str(&panic.to_string())));
}

/// Takes what [`Rows::read`] and [`WhatIf::new`] take.
///
/// # Errors
///
/// The same.
#[wasm_bindgen]
pub fn open(base: Option<String>, rows: String, root_id: Option<String>) -> Result<(), JsError> {
    // A page's memory grows in steps of 64 KiB, each of which costs. Rows take about three times their text.
    drop(std::hint::black_box(Vec::<u8>::with_capacity(rows.len().saturating_mul(3))));
    let read = Rows::read(&rows)?;
    drop(rows);
    // They live as long as the instance.
    let read: &'static Rows = Box::leak(Box::new(read));
    let what_if = WhatIf::new(base.as_deref(), read, root_id.as_deref())?;
    WHAT_IF.set(Some(what_if));
    Ok(())
}

/// What [`WhatIf::judge`] answers.
///
/// # Errors
///
/// Nothing was opened before.
#[wasm_bindgen]
pub fn judge(text: &str) -> Result<String, JsError> {
    let judged = WHAT_IF.with_borrow_mut(|it| Some(it.as_mut()?.judge(text)));
    judged.ok_or_else(|| JsError::new("there are no rows yet: call `open` first"))
}
