//! The module in V8, as JavaScript calls it.
#![cfg(target_family = "wasm")]

use egress_warden_what_if::{judge, open};
use serde_json::{Value, json};
use wasm_bindgen_test::wasm_bindgen_test;

const POLICY: &str =
    "policy: p\ndefault: deny\nrules:\n- id: a\n  action: allow\n  to: [{hosts: [a.test]}]\n";

/// Of a host each, the first allowed by the log, and both on the day when [`ends`] has an end.
fn rows() -> String {
    let record = |host: &str| {
        json!({"log": "access_log", "ending": "passed_on", "authority": host, "method": "GET",
            "egress_decision": "allow", "egress_rule": "a"})
    };
    let (first, last) = (1_795_564_800_000_u64, 1_795_651_199_000_u64);
    json!([[3, first, last, record("a.test")], [5, first, last, [], record("b.test").to_string()]])
        .to_string()
}

fn ends(at: &str) -> String {
    POLICY.replace("action: allow", &format!("action: allow\n  until: \"{at}\""))
}

fn judged(text: &str) -> Value {
    let answer = judge(text).unwrap_or_else(|_| panic!("nothing is opened"));
    serde_json::from_str(&answer).expect("JSON")
}

fn opened(base: Option<&str>) {
    let is_open = open(base.map(str::to_owned), rows(), None).is_ok();
    assert!(is_open);
}

#[wasm_bindgen_test]
fn rows_are_compared_with_the_log_and_with_the_base() {
    opened(Some(POLICY));
    let answer = judged(&POLICY.replace("a.test", "a.test, b.test"));
    assert_eq!((&answer["allowed"], &answer["denied"]), (&json!(8), &json!(0)), "{answer}");
    assert_eq!(answer["log"]["same"], 8, "{answer}");
    assert_eq!((&answer["base"]["opens"], &answer["base"]["same"]), (&json!(5), &json!(3)));
    let change = &answer["changes"][0];
    assert_eq!((&change["row"], &change["kind"]), (&json!(1), &json!("opens")), "{answer}");
}

#[wasm_bindgen_test]
fn what_depends_on_the_time_is_undecided() {
    opened(None);
    for (at, undecided, allowed) in [
        ("2026-11-25T00:00:00Z", 0, 0),
        ("2026-11-25T12:00:00Z", 3, 0),
        ("2026-11-26T00:00:00Z", 0, 3),
    ] {
        let answer = judged(&ends(at));
        let found = (&answer["undecided"], &answer["allowed"]);
        assert_eq!(found, (&json!(undecided), &json!(allowed)), "{at}: {answer}");
    }
}

#[wasm_bindgen_test]
fn errors_have_their_places_and_the_next_text_is_judged() {
    opened(None);
    let answer = judged("policy: p\ndefault: é\nprots: 1\n");
    let place = |error: &Value| [error["line"].clone(), error["column"].clone()];
    let errors = answer["errors"].as_array().expect("errors");
    let places: Vec<_> = errors.iter().map(place).collect();
    assert_eq!(places, [[json!(2), json!(10)], [json!(3), json!(1)]], "{answer}");
    assert_eq!(judged(POLICY)["requests"], 8);
}

#[wasm_bindgen_test]
fn what_cannot_be_opened_is_an_error() {
    assert!(open(None, "[[1]]".to_owned(), None).is_err());
    assert!(open(Some("polcy: p".to_owned()), rows(), None).is_err());
    assert!(open(None, rows(), Some("x".to_owned())).is_err());
}
