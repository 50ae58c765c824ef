//! Any bytes are a policy that decides, or have errors that tell.
#![no_main]

#[path = "../../properties/text.rs"]
mod text;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    text::check(bytes);
});
