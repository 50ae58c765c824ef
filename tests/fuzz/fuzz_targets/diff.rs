//! No request is decided otherwise by two policies where `diff` is silent, and none that it tells
//! of is decided alike.
#![no_main]

#[path = "../../../src/cli/mod.rs"]
#[allow(dead_code)]
mod cli;
#[path = "../../differences/mod.rs"]
#[allow(dead_code)]
mod differences;

use arbitrary::{Result, Unstructured};
use cli::diff::{OfPolicies, Subject, compared};
use cli::policy_file::PolicyFile;
use differences::sample::{Dice, Fields, Universe, policies};
use differences::{AT, Pair};
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
    let fields = Fields { callers: field()?, ports: field()?, methods: field()?, paths: field()? };
    let [old, new] = policies(bytes, fields)?;
    let Some(pair) = Pair::read(&old, &new) else { return Ok(()) };
    let subject = if is_connection { Subject::Connections } else { Subject::Requests };
    let answer = answer(&pair, subject);
    let universe = Universe::of([&old, &new]);
    for _ in 0..REQUESTS {
        let request = universe.pick(&mut dice, is_connection);
        if !is_connection || request.is_to_a_name() {
            pair.check(&answer, &request);
        }
    }
    Ok(())
}

fn answer(pair: &Pair, subject: Subject) -> Value {
    let files =
        pair.texts.each_ref().map(|text| PolicyFile::of_text("p".to_owned(), text.clone(), true));
    let [old, new] = files.each_ref().map(|file| (file, file.config().expect("a policy")));
    let at = AT.parse().expect("a time");
    let comparison = compared(old, new, subject, at).expect("a comparison");
    serde_json::to_value(OfPolicies::new(["old", "new"], &comparison)).expect("an answer")
}
