//! The cases of `tests/cases` once more, in the filter as a proxy runs it: through its
//! callbacks, and in the module that is shipped.
//!
//! Here the border is tested along with the meaning: the header map as bytes, attributes by their
//! path, filter state, the local reply, counters and the log as the host has them afterwards.
#![cfg(not(target_family = "wasm"))]

use kit::case::connection::Connection;
use kit::case::files::{self, File};
use kit::case::plane::{Plane, failing_cases};
use kit::case::proxy::{Answer, Headers, Outcome};
use kit::case::request::Request;
use kit::mock::{Guest, Level, Module, Native, Root, Worker};

#[test]
fn the_library_in_the_mock_host_decides_as_the_cases_say() {
    assert_no_failures::<Native>();
}

#[test]
fn the_module_in_the_mock_host_decides_as_the_cases_say() {
    assert_no_failures::<Module>();
}

fn assert_no_failures<G: Guest>() {
    let files = files::read("tests/cases");
    assert!(!files.is_empty(), "no case file was found");
    let failures: Vec<_> = files.iter().flat_map(failures_of::<G>).collect();
    assert!(failures.is_empty(), "{} failed\n\n{}\n", failures.len(), failures.join("\n\n"));
}

/// A fresh VM for each file.
fn failures_of<G: Guest>(file: &File) -> Vec<String> {
    kit::mock::in_a_worker::<G, _>(|worker| failing_cases(file, &mut InHost(worker)))
}

/// The mock host as a place where cases run.
struct InHost<'w, G>(&'w mut Worker<G>);

impl<G: Guest> Plane for InHost<'_, G> {
    type Policy = Root;

    fn load(&mut self, root_id: &str, text: &str) -> Result<Root, Vec<String>> {
        let root = self.0.configure_as(root_id, text);
        let faults = || self.0.lines().into_iter().map(|line| line.text).collect();
        root.accepted.then_some(root).ok_or_else(faults)
    }

    fn send(&mut self, root: &Root, request: &Request) -> Outcome {
        let arrived = request.header_pairs();
        let sent = request.properties().fold(
            kit::mock::Request::new(arrived.iter().map(|(name, value)| (&name[..], &value[..]))),
            |sent, (path, value)| sent.property(path, value),
        );
        self.0.set_clock(request.clock());
        observe(self.0, arrived, |worker| Worker::send(worker, *root, sent))
    }

    fn connect(&mut self, root: &Root, connection: &Connection) -> Outcome {
        self.0.set_clock(connection.clock());
        let properties = connection.properties();
        let made = properties.fold(kit::mock::Connection::default(), |made, (path, value)| {
            made.property(path, value)
        });
        observe(self.0, Vec::new(), |worker| Worker::connect(worker, *root, made))
    }
}

/// What a request or a connection left behind, its counters among it.
fn observe<G: Guest>(
    worker: &mut Worker<G>,
    arrived: Headers,
    run: impl FnOnce(&mut Worker<G>) -> kit::mock::Outcome,
) -> Outcome {
    let before = worker.counters();
    let outcome = run(worker);
    let grown = worker.counters().into_iter().filter_map(|(name, value)| {
        let growth = value - before.get(&name).copied().unwrap_or_default();
        (growth > 0).then_some((name, growth))
    });
    Outcome {
        passed: outcome.passed,
        arrived,
        headers: pairs(&outcome.headers).collect(),
        filter_state: outcome
            .filter_state
            .into_iter()
            .map(|(name, value)| (name, value.into_bytes()))
            .collect(),
        answers: outcome.replies.into_iter().map(answer).collect(),
        closings: outcome.closings,
        counters: grown.collect(),
        lines: outcome.lines.into_iter().map(|line| (level(line.level), line.text)).collect(),
    }
}

fn answer(reply: kit::mock::LocalReply) -> Answer {
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("the filter's own headers");
    Answer {
        status: u16::try_from(reply.status).expect("a status has three digits"),
        details: reply.details,
        headers: pairs(&reply.headers).map(|(name, value)| (text(name), text(value))).collect(),
        body: reply.body,
        grpc_status: reply.grpc_status,
    }
}

fn pairs(headers: &kit::mock::Headers) -> impl Iterator<Item = (Vec<u8>, Vec<u8>)> {
    headers.iter().map(|(name, value)| (name.to_vec(), value.to_vec()))
}

fn level(level: Level) -> log::Level {
    match level {
        Level::Trace => log::Level::Trace,
        Level::Debug => log::Level::Debug,
        Level::Info => log::Level::Info,
        Level::Warn => log::Level::Warn,
        Level::Error | Level::Critical => log::Level::Error,
    }
}
