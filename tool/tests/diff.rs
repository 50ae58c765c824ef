//! `diff` as it is run, held against what the policies decide, over every request of small universes.

use arbitrary::Unstructured;
use kit::differences::sample::{Dice, Fields, Universe, policies};
use kit::differences::{AT, Pair};
use serde_json::Value;
use std::path::Path;
use std::process::Command;

/// Most requests of one universe: larger ones are thinned out.
const MAX_REQUESTS: usize = 4_000;
const PAIRS: usize = 60;

#[test]
fn what_is_told_is_what_changes_and_nothing_else() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut dice = Dice(7);
    let (mut pairs, mut requests, mut changed) = (0, 0, 0);
    while pairs < PAIRS {
        let bytes: Vec<u8> = (0..512).map(|_| dice.roll(256) as u8).collect();
        let mut often = || dice.roll(3) > 0;
        // All at once make more combinations than are decided.
        let callers = often();
        let fields = Fields {
            callers,
            ports: often(),
            methods: often(),
            paths: often(),
            templates: often(),
            queries: !callers,
        };
        let [old, new] = policies(&mut Unstructured::new(&bytes), fields).expect("policies");
        let Some(pair) = Pair::read(&old, &new) else { continue };
        let mut universe = Universe::of([&old, &new]);
        universe.thin(MAX_REQUESTS, &mut dice);
        let answer = answer(folder.path(), &pair, &[]);
        assert_eq!(answer["exact"], true, "{answer:#}");
        changed += universe.requests().filter(|request| pair.check(&answer, request)).count();
        pairs += 1;
        requests += universe.size();
    }
    assert!(changed * 20 > requests, "{changed} of {requests} requests change");
}

#[test]
fn what_is_told_of_connections_is_what_changes() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut dice = Dice(11);
    let mut changed = 0;
    for _ in 0..PAIRS {
        let bytes: Vec<u8> = (0..512).map(|_| dice.roll(256) as u8).collect();
        let fields = Fields {
            callers: true,
            ports: true,
            methods: true,
            paths: true,
            templates: true,
            queries: true,
        };
        let [old, new] = policies(&mut Unstructured::new(&bytes), fields).expect("policies");
        let Some(pair) = Pair::read(&old, &new) else { continue };
        let universe = Universe::of([&old, &new]);
        let answer = answer(folder.path(), &pair, &["--connections"]);
        let connections = (0..200).map(|_| universe.pick(&mut dice, true));
        changed += connections.filter(|it| it.is_to_a_name() && pair.check(&answer, it)).count();
    }
    assert!(changed > 500, "{changed} connections change");
}

/// What the tool says, with `--format json`.
fn answer(folder: &Path, pair: &Pair, flags: &[&str]) -> Value {
    let paths = ["old.json", "new.json"].map(|name| folder.join(name));
    for (path, text) in paths.iter().zip(&pair.texts) {
        std::fs::write(path, text).expect("a file");
    }
    let output = Command::new(env!("CARGO_BIN_EXE_egress-warden"))
        .current_dir(kit::REPOSITORY)
        .args(["diff", "--format", "json", "--at", AT])
        .args(flags)
        .args(&paths)
        .output()
        .expect("the tool");
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}
