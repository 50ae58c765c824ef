//! What `check` says of verdicts, held against what the policies decide.
//!
//! A warning that claims something of verdicts is read as its user reads it: by its kind, its place and
//! its words. Then the claim is tried: what "can never match" is taken away and nothing may change, what
//! is "always denied" may let nothing pass, and so on. Policies and requests come from the same sample as
//! those of `diff`, with what provokes warnings added.

mod warnings {
    pub mod claims;
    pub mod policies;
}

use arbitrary::Unstructured;
use kit::differences::AT;
use kit::differences::sample::{Dice, Fields, policies};
use kit::rooms::sources;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;
use warnings::claims::{self, Claim};
use warnings::policies::provoke;

/// Of each listener.
const POLICIES: usize = 200;

/// What `check` is told of the listener.
const LISTENERS: [&[&str]; 5] =
    [&[], &["--connections"], &["--no-mutual-tls"], &["--dynamic-forward-proxy"], &["--waypoint"]];

/// Kinds of warnings that claim nothing of a verdict, and what they are about instead.
const OF_NO_VERDICT: [(&str, &str); 5] = [
    ("confusable", "how a name looks beside others"),
    ("large", "what kubectl takes"),
    ("mixed-script", "how a name looks"),
    ("not-uts46", "what browsers take for a name"),
    ("public-suffix", "who can register a name"),
];

#[test]
fn every_kind_of_warning_is_measured_and_is_held_or_claims_nothing_of_a_verdict() {
    let told = sources(env!("CARGO_MANIFEST_DIR"), "src/commands/check");
    let source = told.iter().find(|source| source.path.ends_with("/warning.rs")).expect("a source");
    let words = source.code().split_once("fn word").expect("a function").1;
    let words = words.split_once("\n    }\n").expect("its end").0;
    let words: BTreeSet<&str> = words.split('"').skip(1).step_by(2).collect();
    let held = claims::ALL.map(|(kind, _)| kind);
    let known: BTreeSet<&str> =
        held.into_iter().chain(OF_NO_VERDICT.map(|(kind, _)| kind)).collect();
    assert_eq!(words, known, "left: in `warning.rs`, right: in this test");
    let benchmark = format!("{}/benches/check.rs", kit::REPOSITORY);
    let benchmark = std::fs::read_to_string(benchmark).expect("a benchmark");
    let is_measured =
        |word: &&str| ["\"", " ("].iter().any(|end| benchmark.contains(&format!("(\"{word}{end}")));
    let unmeasured: Vec<_> = words.iter().filter(|word| !is_measured(word)).collect();
    assert!(unmeasured.is_empty(), "give each its policy in `benches/check.rs`: {unmeasured:?}");
}

#[test]
fn what_a_warning_claims_of_verdicts_is_true() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut dice = Dice(13);
    let mut held = BTreeMap::new();
    for flags in LISTENERS {
        let policies: Vec<Value> = (0..POLICIES).map(|_| sample(&mut dice)).collect();
        for (policy, findings) in policies.iter().zip(check(folder.path(), &policies, flags)) {
            for finding in findings.as_array().expect("a list") {
                assert_ne!(finding["level"], "error", "{policy}\n{finding}");
                let kind = finding["kind"].as_str().expect("a word");
                let Some((kind, hold)) = claims::ALL.iter().find(|(name, _)| *name == kind) else {
                    continue;
                };
                hold(&mut Claim::new(policy, finding, flags, &mut dice));
                *held.entry(*kind).or_insert(0) += 1;
            }
        }
    }
    // Else too little came up.
    for (kind, _) in claims::ALL {
        let count = held.get(kind).copied().unwrap_or(0);
        assert!(count >= 5, "{kind} came up {count} times\n{held:?}");
    }
}

/// A valid policy that is likely to be warned of.
fn sample(dice: &mut Dice) -> Value {
    loop {
        let bytes: Vec<u8> = (0..512).map(|_| dice.roll(256) as u8).collect();
        let mut often = || dice.roll(3) > 0;
        let fields = Fields {
            callers: often(),
            ports: often(),
            methods: often(),
            paths: often(),
            templates: often(),
            queries: often(),
        };
        let [mut policy, _] = policies(&mut Unstructured::new(&bytes), fields).expect("policies");
        for _ in 0..=dice.roll(3) {
            provoke(&mut policy, dice);
        }
        if egress_warden::config::read(policy.to_string().as_bytes()).is_ok() {
            return policy;
        }
    }
}

/// The findings of each policy.
fn check(folder: &Path, policies: &[Value], flags: &[&str]) -> Vec<Value> {
    let paths: Vec<_> = (0..policies.len()).map(|it| folder.join(format!("{it}.json"))).collect();
    for (path, policy) in paths.iter().zip(policies) {
        std::fs::write(path, policy.to_string()).expect("a file");
    }
    let output = Command::new(env!("CARGO_BIN_EXE_egress-warden"))
        .args(["check", "--format", "json", "--at", AT])
        .args(flags)
        .args(&paths)
        .output()
        .expect("the tool");
    let told: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {output:?}"));
    let told = told["policies"].as_array().expect("a list");
    assert_eq!(told.len(), policies.len());
    told.iter().map(|policy| policy["findings"].clone()).collect()
}

/// The case that was told wrongly: of a deny with methods and ports, for connections, the methods are
/// without effect, and the ports are not.
#[test]
fn a_warning_of_methods_on_connections_says_nothing_of_ports() {
    let folder = tempfile::tempdir().expect("a folder");
    let policy = json!({ "policy": "p", "default": "allow", "rules": [
        { "id": "d", "action": "deny", "to": [{ "methods": ["GET"], "ports": [80] }] },
    ]});
    let told = check(folder.path(), std::slice::from_ref(&policy), &["--connections"]);
    let finding = &told[0][0];
    claims::unseen(&mut Claim::new(&policy, finding, &["--connections"], &mut Dice(1)));
    assert_eq!(finding["path"], "$.rules[0].to[0].methods", "{finding}");
}
