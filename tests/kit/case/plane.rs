//! A place where the cases run, and every case of a file that differs there.

use std::fmt::Display;

use super::connection::Connection;
use super::decision::{Case, CaseFile, connection_differences, differences};
use super::files::File;
use super::proxy::Outcome;
use super::request::Request;

/// Something that takes policies, requests and connections: the filter in memory, or a module in its host.
pub trait Plane {
    type Policy;

    /// Takes a policy text for what the plugin's root id says, or tells what its faults are.
    fn load(&mut self, root_id: &str, text: &str) -> Result<Self::Policy, Vec<String>>;
    fn send(&mut self, policy: &Self::Policy, request: &Request) -> Outcome;
    fn connect(&mut self, policy: &Self::Policy, connection: &Connection) -> Outcome;
}

/// Every case that differs, not the first alone; a file that would test nothing differs, too.
pub fn failing_cases(file: &File, plane: &mut impl Plane) -> Vec<String> {
    let cases: CaseFile = match serde_saphyr::from_str(&file.text) {
        Ok(cases) => cases,
        Err(error) => return vec![format!("{}: {error}", file.name)],
    };
    let mut failures = Vec::new();
    if cases.policies().next().is_none() {
        failures.push(format!("{}: no policy is given", file.name));
    }
    let is_mixed_up = |case: &&Case| match cases.root_id.is_empty() {
        true => case.requests().next().is_none() || case.connections().next().is_some(),
        false => case.connections().next().is_none() || case.requests().next().is_some(),
    };
    failures.extend(cases.cases.iter().filter(is_mixed_up).map(|case| {
        format!("{}: {}\n  not what the root id asks for, or nothing", file.name, case.name)
    }));
    for (text, name) in cases.policies() {
        let policy = match plane.load(&cases.root_id, &text) {
            Ok(policy) => policy,
            Err(faults) => {
                let faults: String = faults.iter().map(|fault| format!("\n  {fault}")).collect();
                failures.push(format!("{}: policy {name} is refused{faults}", file.name));
                continue;
            }
        };
        for case in &cases.cases {
            let mut report = |subject: &dyn Display, differences: Vec<String>| {
                if !differences.is_empty() {
                    failures.push(format!(
                        "{}: {}\n  policy {name}, {subject}\n  {}",
                        file.name,
                        case.name,
                        differences.join("\n  ")
                    ));
                }
            };
            for request in case.requests() {
                let outcome = plane.send(&policy, request);
                report(request, differences(&case.expect, request, &outcome));
            }
            for connection in case.connections() {
                let outcome = plane.connect(&policy, connection);
                report(connection, connection_differences(&case.expect, &outcome));
            }
        }
    }
    failures
}
