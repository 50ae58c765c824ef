//! A place where the cases run, and every case of a file that differs there.

use super::files::File;
use super::invariants::violations;
use egress_warden::config;
use egress_warden::root_id::Connections;
use egress_warden_simulate::case::{Case, CaseFile};
use egress_warden_simulate::{Filters, Outcome, Subject};

/// Something that takes policies, requests and connections: the filter in memory, or a module in its host.
pub trait Plane {
    type Policy;

    /// Takes a policy text for what the plugin's root id says, or tells what its errors are.
    fn load(&mut self, root_id: &str, text: &str) -> Result<Self::Policy, Vec<String>>;
    /// Sends a request, or makes a connection.
    fn send(&mut self, policy: &Self::Policy, subject: &Subject) -> Outcome;
}

/// The simulator.
pub struct InMemory;

impl Plane for InMemory {
    type Policy = Filters;

    fn load(&mut self, root_id: &str, text: &str) -> Result<Filters, Vec<String>> {
        let connections = Connections::of_root_id(root_id.as_bytes()).expect("a root id");
        match config::read(text.as_bytes()) {
            Ok(config) => Ok(Filters::new(config, connections.unwrap_or_default())),
            Err(errors) => Err(errors.iter().map(ToString::to_string).collect()),
        }
    }

    fn send(&mut self, filters: &Filters, subject: &Subject) -> Outcome {
        filters.simulate(subject, super::at())
    }
}

/// Every case that differs, not the first alone; a file that would test nothing differs, too.
pub fn failing_cases(file: &File, plane: &mut impl Plane) -> Vec<String> {
    let cases: CaseFile = match serde_saphyr::from_str(&file.text) {
        Ok(cases) => cases,
        Err(error) => return vec![format!("{}: {error}", file.name)],
    };
    let mut failures = Vec::new();
    if cases.about.is_none() {
        failures.push(format!("{}: it does not say what it is about", file.name));
    }
    if cases.policies().next().is_none() {
        failures.push(format!("{}: no policy is given", file.name));
    }
    let root_id = cases.root_id.as_deref().unwrap_or_default();
    // A plugin judges requests or connections.
    let is_foreign = |subject| matches!(subject, Subject::Connection(_)) == root_id.is_empty();
    let is_mixed_up =
        |case: &&Case| case.subjects().next().is_none() || case.subjects().any(is_foreign);
    failures.extend(cases.cases.iter().filter(is_mixed_up).map(|case| {
        format!("{}: {}\n  not what the root id asks for, or nothing", file.name, case.name)
    }));
    for (text, name) in cases.policies() {
        let policy = match plane.load(root_id, &text) {
            Ok(policy) => policy,
            Err(errors) => {
                let errors: String = errors.iter().map(|error| format!("\n  {error}")).collect();
                failures.push(format!("{}: policy {name} is refused{errors}", file.name));
                continue;
            }
        };
        for case in &cases.cases {
            for subject in case.subjects() {
                let outcome = plane.send(&policy, &subject);
                let mut differences = case.expect.differences(&outcome);
                differences.extend(violations(&subject, &outcome));
                if !differences.is_empty() {
                    failures.push(format!(
                        "{}: {}\n  policy {name}, {subject}\n  {}",
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
