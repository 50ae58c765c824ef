//! No request is decided otherwise by two policies where `diff` is silent, and none that it tells
//! of is decided alike.
#![no_main]

use arbitrary::{Result, Unstructured};
use egress_warden_tool::in_process;
use kit::differences::sample::{Dice, Fields, Universe, policies};
use kit::differences::{AT, Pair};
use serde_json::Value;

/// How many requests each pair of policies is tried with.
const REQUESTS: usize = 200;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    // Bytes that have run out make no more policies.
    let _ = check(&mut Unstructured::new(bytes));
});

fn check(bytes: &mut Unstructured<'_>) -> Result<()> {
    let mut dice = Dice(bytes.arbitrary::<u64>()? | 1);
    let is_connection = bytes.ratio(1, 8)?;
    let mut field = || bytes.ratio(1, 2);
    let fields = Fields {
        callers: field()?,
        ports: field()?,
        methods: field()?,
        paths: field()?,
        templates: field()?,
        queries: field()?,
    };
    let [old, new] = policies(bytes, fields)?;
    let Some(pair) = Pair::read(&old, &new) else { return Ok(()) };
    let answer = answer(&pair, is_connection);
    let universe = Universe::of([&old, &new]);
    for _ in 0..REQUESTS {
        let request = universe.pick(&mut dice, is_connection);
        if !is_connection || request.is_to_a_name() {
            pair.check(&answer, &request);
        }
    }
    Ok(())
}

fn answer(pair: &Pair, is_of_connections: bool) -> Value {
    let texts = pair.texts.each_ref().map(String::as_str);
    let at = AT.parse().expect("a time");
    let answer = in_process::diff(texts, is_of_connections, at).expect("an answer");
    serde_json::from_str(&answer).expect("JSON")
}
