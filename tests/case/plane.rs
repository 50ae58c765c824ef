//! A place where the cases run, and every case of a file that differs there.

use super::decision::{CaseFile, differences};
use super::files::File;
use super::proxy::Outcome;
use super::request::Request;

/// Something that takes policies and requests: the filter in memory, or a module in its host.
pub(crate) trait Plane {
    type Policy;

    /// Takes a policy text, or says what its faults are.
    fn load(&mut self, text: &str) -> Result<Self::Policy, Vec<String>>;
    fn send(&mut self, policy: &Self::Policy, request: &Request) -> Outcome;
}

/// Every case that differs, not the first alone; a file that would test nothing differs, too.
pub(crate) fn failing_cases(file: &File, plane: &mut impl Plane) -> Vec<String> {
    let cases: CaseFile = match serde_saphyr::from_str(&file.text) {
        Ok(cases) => cases,
        Err(error) => return vec![format!("{}: {error}", file.name)],
    };
    let mut failures = Vec::new();
    if cases.policies().next().is_none() {
        failures.push(format!("{}: no policy is given", file.name));
    }
    let without_requests = cases.cases.iter().filter(|case| case.requests().next().is_none());
    failures.extend(
        without_requests.map(|case| format!("{}: {}\n  no request is given", file.name, case.name)),
    );
    for (text, name) in cases.policies() {
        let policy = match plane.load(&text) {
            Ok(policy) => policy,
            Err(faults) => {
                let faults: String = faults.iter().map(|fault| format!("\n  {fault}")).collect();
                failures.push(format!("{}: policy {name} is refused{faults}", file.name));
                continue;
            }
        };
        for case in &cases.cases {
            for request in case.requests() {
                let differences = differences(&case.expect, &plane.send(&policy, request));
                if !differences.is_empty() {
                    failures.push(format!(
                        "{}: {}\n  policy {name}, request {request}\n  {}",
                        file.name,
                        case.name,
                        differences.join("\n  ")
                    ));
                }
            }
        }
    }
    failures
}
