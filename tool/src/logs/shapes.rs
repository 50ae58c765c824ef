//! Logs in the shapes in which people have them: what is read of each stands in
//! `tests/data/logs/expected.yaml`, whose head says what its keys mean.

use super::chunks::Log;
use super::names::LogFormat;
use super::reader::Reader;
use super::record::assert_read_again;
use super::unread::Problem;
use super::{Choice, Ending, Logged, fold_chunk};
use egress_warden::policy::{ClusterPort, Reads};
use egress_warden::root_id::Connections;
use serde_json::{Map, Value, json};
use std::fs::File;
use std::net::SocketAddr;
use std::path::PathBuf;

#[test]
fn logs_of_every_shape_are_read_as_expected() {
    let expected: Value = yaml("expected.yaml");
    let mut names: Vec<String> = std::fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name != "expected.yaml")
        .collect();
    names.sort();
    let files = expected["files"].as_object().unwrap();
    assert_eq!(names, files.keys().cloned().collect::<Vec<_>>(), "each file is expected");
    let mut wrong = Vec::new();
    for (name, file) in files {
        let (read, unread) = read(name, file);
        let expected = file["read"].as_array().unwrap();
        if read.len() != expected.len() || json!(unread) != file["unread"] {
            wrong.push(format!("{name}: {} read, {unread:?} unread", read.len()));
        }
        for (read, expected) in read.iter().zip(expected) {
            if read != expected {
                wrong.push(format!("{name}: {read}\n  not {expected}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn folder() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/logs"))
}

fn yaml(name: &str) -> Value {
    let text = std::fs::read_to_string(folder().join(name)).unwrap();
    serde_saphyr::from_str(&text).unwrap()
}

/// What is read of a file with the options that are given for it, and the lines that are not.
fn read(name: &str, file: &Value) -> (Vec<Value>, Vec<u64>) {
    let text =
        |key: &str| file[key].as_array().into_iter().flatten().map(|it| it.as_str().unwrap());
    let choice = Choice {
        log_format: text("log_format").map(|it| it.parse::<LogFormat>().unwrap()).collect(),
        field: text("field").map(|it| it.parse().unwrap()).collect(),
        ..Choice::default()
    };
    let reader = Reader::new(&choice);
    let mut log = Log::new(0, Box::new(File::open(folder().join(name)).unwrap()));
    let (mut all, mut unread) = (Vec::new(), Vec::new());
    while let Some(chunk) = log.next().unwrap() {
        let (_, read) =
            fold_chunk(&chunk, &reader, None, |read: &mut Vec<Value>, logged, place| {
                assert_read_again(logged);
                read.push(shown(logged, place.line, file));
            });
        all.extend(read);
        for (line, number) in chunk.lines() {
            reader.read(line, &mut |read| {
                let is_unread = read.is_err_and(|problem| problem != Problem::PassedOver);
                unread.extend(is_unread.then_some(number));
            });
        }
    }
    (all, unread)
}

/// What the expectation says of a request.
fn shown(logged: &Logged<'_>, line: u64, file: &Value) -> Value {
    let request = logged.request(Reads::default(), Connections::default());
    let mut shown = Map::new();
    let mut put = |key: &str, value: Value| drop(shown.insert(key.to_owned(), value));
    put("line", json!(line));
    put("kind", json!(if logged.is_connection() { "connection" } else { "request" }));
    put("host", json!(Some(logged.authority()).filter(|it| !it.is_empty())));
    let upstream = logged.upstream().and_then(|it| it.parse::<SocketAddr>().ok());
    let of_cluster = match logged.cluster().map(|name| ClusterPort::of(name.as_bytes())) {
        Some(ClusterPort::Said(port)) => Some(port),
        _ => None,
    };
    // A connection's own is the one that the root id names.
    let is_of_root_id = logged.is_connection() && !logged.form().is_of_others();
    let of_line = if is_of_root_id { None } else { request.port() };
    let port = of_cluster.or(of_line).or(upstream.map(|it| it.port()));
    put("port", json!(port));
    if !logged.is_connection() {
        put("method", json!(logged.method()));
        put("path", json!(logged.path()));
    }
    let outcome = match logged.ending() {
        Ending::PassedOn => "passed",
        Ending::Refused => "refused",
        Ending::Failed => "failed",
        Ending::Unsaid => "unsaid",
    };
    put("outcome", json!(outcome));
    if logged.form().is_of_others() {
        put("verdict", json!(logged.verdict().map(|it| it.reason)));
    }
    put("time", json!(logged.time().map(|it| it.milliseconds().to_string())));
    if file["has_callers"] == json!(true) {
        put("caller", json!(logged.principal()));
    }
    if logged.is_connection() && logged.authority().is_empty() {
        put("address", json!(upstream.map(|it| it.ip().to_string())));
    }
    Value::Object(shown)
}
