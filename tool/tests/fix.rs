//! `check --fix` on many texts, as in the fuzz target `fix`.

mod fixes;

use proptest::collection::vec;
use proptest::prelude::any;
use proptest::test_runner::{Config, TestRunner};

#[test]
fn a_fix_changes_what_its_messages_say() {
    let cases = std::env::var("FIXES").ok().and_then(|it| it.parse().ok()).unwrap_or(2_000);
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    let run = TestRunner::new(config).run(&vec(any::<u8>(), 0..512), |bytes| {
        fixes::check(&bytes);
        Ok(())
    });
    run.unwrap_or_else(|error| panic!("{error}"));
}
