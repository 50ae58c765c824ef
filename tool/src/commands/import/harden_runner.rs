//! `harden-runner`: steps of StepSecurity's Harden-Runner in a workflow of GitHub Actions.
//!
//! By its documentation (Filter outbound network traffic to allowed endpoints): `egress-policy: block`,
//! which is the default, refuses every connection but those to `allowed-endpoints`, a text of `HOST:PORT`
//! apart by white space; `audit` refuses nothing. Assumed, the narrower reading each time: `*.name` is
//! what is below the name, and an endpoint without a port is for 443. What the runner opens for GitHub's own
//! services is not in the list, and not imported.
//!
//! A job has a list of its own. Here nobody knows which job calls, so of several lists only what stands in
//! all of them is carried over.

use super::draft::{Action, Draft, Rule, by_ports, shown, told};
use super::hosts::{HostSet, canonical, split_port};
use super::text::{Text, title};
use crate::document::Node;
use crate::failure::Failure;
use std::collections::BTreeMap;
use std::num::NonZeroU16;

/// Hosts by port.
type Endpoints = BTreeMap<u16, HostSet>;

/// The port of an endpoint that names none.
const HTTPS: u16 = 443;

/// Whether a text has such a step.
pub(super) fn looks(text: &Text) -> bool {
    text.has_object(|object| !steps(object).is_empty())
}

/// One rule for what every step lets through that blocks.
pub(super) fn import(texts: &[Text], draft: &mut Draft) -> Result<(), Failure> {
    let mut lists: Vec<(String, Endpoints)> = Vec::new();
    let mut has_steps = false;
    for text in texts {
        for object in text.objects()? {
            let steps = steps(object);
            if steps.is_empty() {
                draft.passed_over.push(format!("{}: {}", text.at(object), title(object)));
            }
            has_steps |= !steps.is_empty();
            for step in steps {
                lists.extend(step.list(text, draft));
            }
        }
    }
    if let (false, Some(text)) = (has_steps, texts.first()) {
        let remedy = "name a workflow with a step that uses step-security/harden-runner";
        return Err(Failure::new(text.name(), "no step of harden-runner", remedy));
    }
    let origin = lists.iter().map(|(origin, _)| origin.clone()).collect();
    let common = common(&lists, draft);
    let endpoints = common
        .iter()
        .flat_map(|(port, hosts)| hosts.patterns().into_iter().map(|host| (host, Some(*port))));
    let entries = by_ports(endpoints);
    if !entries.is_empty() {
        draft.rules.push(Rule::new("allowed-endpoints", origin, Action::Allow, entries));
    }
    Ok(())
}

/// A step of the runner.
struct Step<'n> {
    job: &'n str,
    node: &'n Node,
}

/// The steps of a workflow, of a composite action, or the step itself.
fn steps(object: &Node) -> Vec<Step<'_>> {
    let jobs = object.get("jobs").map_or(&[][..], Node::members);
    let of_jobs = jobs.iter().map(|job| (&*job.key, job.value.get("steps")));
    let action = object.get("runs").map(|runs| ("the action", runs.get("steps")));
    let listed = of_jobs.chain(action).flat_map(|(job, steps)| {
        steps.map_or(&[][..], Node::items).iter().map(move |node| Step { job, node })
    });
    let is_one = |step: &Step<'_>| {
        let uses = step.node.get("uses").and_then(Node::text).unwrap_or_default();
        uses.split('@')
            .next()
            .is_some_and(|it| it.eq_ignore_ascii_case("step-security/harden-runner"))
    };
    listed.chain([Step { job: "the step", node: object }]).filter(is_one).collect()
}

impl Step<'_> {
    /// Where the list stands and what it has; nothing where the step blocks nothing. A step whose policy
    /// nobody can read here has an empty list.
    fn list(&self, text: &Text, draft: &mut Draft) -> Option<(String, Endpoints)> {
        let with = |key: &str| self.node.get("with").and_then(|with| with.get(key));
        let place = text.at(with("egress-policy").unwrap_or(self.node));
        let job = shown(self.job);
        let origin = format!("{place}: job {job}");
        let policy = with("egress-policy").map_or(Some("block"), Node::text).unwrap_or_default();
        if let Some(stored) = with("policy") {
            draft.point(
                text.at(stored),
                format!("`policy` of job {job}, which is kept elsewhere"),
                "write its endpoints under `allowed-endpoints`",
            );
            return Some((origin, Endpoints::new()));
        }
        match policy {
            "block" => {}
            "audit" => {
                draft.point(
                    place,
                    format!("`egress-policy: audit` of job {job}, which refuses nothing"),
                    "list what the job needs under `allowed-endpoints`, and block the rest",
                );
                return None;
            }
            other => {
                draft.point(
                    place,
                    format!("`egress-policy` {} of job {job}", told(other)),
                    "write `block` with `allowed-endpoints`",
                );
                return Some((origin, Endpoints::new()));
            }
        }
        let mut endpoints = Endpoints::new();
        let Some(listed) = with("allowed-endpoints") else { return Some((origin, endpoints)) };
        let written = listed.text().unwrap_or_default();
        let (written, has_expressions) = without_expressions(written);
        if has_expressions {
            draft.point(
                text.at(listed),
                format!("an expression `${{{{ … }}}}` in `allowed-endpoints` of job {job}"),
                "write the endpoints that it stands for",
            );
        }
        for endpoint in written.split_whitespace() {
            match read(endpoint) {
                Ok((host, port)) => endpoints.entry(port).or_default().insert(&host),
                Err((problem, remedy)) => draft.point(text.at(listed), problem, remedy),
            }
        }
        Some((origin, endpoints))
    }
}

/// A text without the expressions of the workflow and what they are joined to, and whether there were any.
fn without_expressions(text: &str) -> (String, bool) {
    let (mut rest, mut written) = (text, String::new());
    while let Some((before, expression)) = rest.split_once("${{") {
        let kept = before.rfind(char::is_whitespace).and_then(|end| before.get(..end));
        written.push_str(kept.unwrap_or_default());
        written.push(' ');
        let behind = expression.split_once("}}").map_or("", |(_, behind)| behind);
        let end = behind.find(char::is_whitespace).unwrap_or(behind.len());
        rest = behind.get(end..).unwrap_or_default();
    }
    written.push_str(rest);
    (written, text.contains("${{"))
}

/// A host and its port, or what is wrong and what to write.
fn read(endpoint: &str) -> Result<(String, u16), (String, String)> {
    let (host, port) = split_port(endpoint);
    let Ok(port) = port.map(str::parse::<NonZeroU16>).transpose() else {
        let remedy = "write the endpoint as HOST:PORT";
        return Err((format!("no port in {}", told(endpoint)), remedy.to_owned()));
    };
    let name = host.strip_prefix("*.").unwrap_or(host);
    let host = match name.starts_with('.') || name.contains(['*', '/']) {
        true => Err((
            "no endpoint".into(),
            "write a name, or `*.` and a name for what is below it".into(),
        )),
        false => canonical(host).map_err(|error| (error.problem(), error.remedy())),
    };
    let port = port.map_or(HTTPS, NonZeroU16::get);
    host.map(|host| (host, port)).map_err(|(problem, remedy)| {
        (format!("{problem} in {}", told(endpoint)), remedy.into_owned())
    })
}

/// What stands in every list. Where they differ, that is a point.
fn common(lists: &[(String, Endpoints)], draft: &mut Draft) -> Endpoints {
    let Some(((_, first), others)) = lists.split_first() else { return Endpoints::new() };
    let mut common = first.clone();
    for (place, other) in others {
        if *first != *other {
            draft.point(
                place.clone(),
                "another list than the first job has: here nobody knows which job calls, so only what \
                 stands in all lists is carried over",
                "import each job by itself, for a gateway of its own, or give the jobs one list",
            );
        }
        common.retain(|port, hosts| {
            *hosts = other.get(port).map(|other| hosts.and(other)).unwrap_or_default();
            !hosts.is_empty()
        });
    }
    common
}
