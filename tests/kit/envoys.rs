//! The versions of Envoy that everything is tested on, as `tests/envoy/versions.txt` lists them.

const LIST: &str = include_str!("../envoy/versions.txt");

/// The variable that names the versions to test on, where it is not to be the usual ones.
const ASKED: &str = "EGRESS_WARDEN_ENVOYS";

/// The versions that `./build.sh test` installs, the newest first.
pub fn usual() -> impl Iterator<Item = &'static str> {
    let line = LIST.lines().find_map(|line| line.strip_prefix("usual "));
    line.expect("a line of the usual versions").split(' ')
}

/// The version of the demo and the benchmarks.
pub fn newest() -> &'static str {
    usual().next().expect("a version")
}

/// The versions to test on.
pub fn asked_for() -> Vec<String> {
    match std::env::var(ASKED) {
        Ok(versions) => versions.split_whitespace().map(ToOwned::to_owned).collect(),
        Err(_) => usual().map(ToOwned::to_owned).collect(),
    }
}

/// The versions for tests that take long: the first, or each where more than the usual ones are asked for.
pub fn asked_for_at_length() -> Vec<String> {
    let mut versions = asked_for();
    if versions.len() <= usual().count() {
        versions.truncate(1);
    }
    versions
}
