//! `envoy/ci/pull-request.yaml`: each command of it is run, in a repository with a change, as a runner of GitHub
//! Actions runs it. `gh` is a program here that keeps what it is given.

use serde_json::Value;
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

const OLD: &str =
    "policy: shop\nrules:\n- {id: maps, action: allow, to: [{hosts: [maps.example]}]}\n";
const NEW: &str = "policy: shop\nrules:\n\
    - {id: maps, action: allow, to: [{hosts: [maps.example]}]}\n\
    - {id: stripe, action: allow, to: [{hosts: [api.stripe.com], paths: [\"/v1/```*\"]}]}\n";
const CASES: &str = "cases:\n\
    - {name: maps, request: {host: maps.example}, expect: {decision: allow, rule: maps}}\n\
    - name: stripe\n  request: {host: api.stripe.com, path: \"/v1/```a\"}\n  \
    expect: {decision: allow, rule: stripe}\n";

#[test]
fn a_change_passes_and_its_comment_says_what_opens() {
    let runner = Runner::new(Some(OLD), NEW, CASES);
    assert_eq!(runner.run(), ["the tool", "errors and warnings", "cases", "what opens", "comment"]);
    let comment = runner.read("posted");
    assert!(comment.starts_with("### This change opens ways out\n\n    opens"), "{comment}");
    assert!(comment.contains("api.stripe.com") && comment.contains("/v1/```"), "{comment}");
    assert!(comment.lines().skip(2).all(|line| line.starts_with("    ")), "{comment}");
    let arguments = runner.read("arguments");
    let posts = "pr comment 7 --edit-last --create-if-none --body-file ";
    assert!(arguments.starts_with(posts), "{arguments}");
    assert_eq!(runner.read("summary"), comment);
    let sarif: Value = serde_json::from_str(&runner.read("check.sarif")).expect("JSON");
    assert_eq!(sarif["runs"][0]["results"], serde_json::json!([]));
    let cases = runner.read("cases.xml");
    let cases = roxmltree::Document::parse(&cases).expect("XML");
    assert_eq!(cases.root_element().attribute("failures"), Some("0"));
}

#[test]
fn a_change_that_opens_nothing_says_so() {
    let runner = Runner::new(Some(NEW), NEW, CASES);
    runner.run();
    let comment = runner.read("posted");
    assert!(comment.starts_with("### This change opens nothing\n\n    shop@"), "{comment}");
}

#[test]
fn all_of_a_new_policy_opens() {
    let runner = Runner::new(None, NEW, CASES);
    runner.run();
    let comment = runner.read("posted");
    assert!(comment.contains("maps.example") && comment.contains("api.stripe.com"), "{comment}");
}

#[test]
fn a_policy_with_an_error_fails_where_it_is_checked() {
    let runner = Runner::new(Some(OLD), "policy: shop\nrules: [{id: a, action: permit}]\n", CASES);
    assert_eq!(runner.run(), ["the tool"]);
    let sarif: Value = serde_json::from_str(&runner.read("check.sarif")).expect("JSON");
    let result = &sarif["runs"][0]["results"][0];
    let location = &result["locations"][0]["physicalLocation"];
    assert_eq!(location["artifactLocation"]["uri"], "policies/shop.yaml");
}

#[test]
fn a_case_that_fails_and_a_rule_without_one_fail_the_cases() {
    for cases in [
        CASES.replace("rule: maps", "rule: stripe"),
        CASES.split_inclusive("rule: maps}}\n").next().expect("a case").to_owned(),
    ] {
        let runner = Runner::new(Some(OLD), NEW, &cases);
        assert_eq!(runner.run(), ["the tool", "errors and warnings"]);
        let report = runner.read("cases.xml");
        let report = roxmltree::Document::parse(&report).expect("XML");
        assert_eq!(report.root_element().attribute("failures"), Some("1"));
    }
}

#[test]
fn a_tool_that_is_another_is_not_run() {
    let mut runner = Runner::new(Some(OLD), NEW, CASES);
    runner.expressions.insert("inputs.sha256", "0".repeat(64));
    assert_eq!(runner.run(), [""; 0]);
}

#[test]
fn no_command_has_an_expression_in_its_text() {
    let (_, steps) = workflow();
    let commands = steps.iter().filter_map(|step| step["run"].as_str());
    assert!(commands.clone().count() == 5 && commands.clone().all(|it| !it.contains("${{")));
}

/// A runner with a repository in which a policy was changed.
struct Runner {
    folder: tempfile::TempDir,
    expressions: BTreeMap<&'static str, String>,
}

impl Runner {
    fn new(old: Option<&str>, new: &str, cases: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |path: &str| folder.path().join(path);
        fs::create_dir_all(at("repository/policies")).expect("a folder");
        fs::create_dir_all(at("temp/bin")).expect("a folder");
        let git = |arguments: &[&str]| {
            let git = Command::new("git")
                .args(["-c", "user.name=a", "-c", "user.email=a@example.com"])
                .args(arguments)
                .current_dir(at("repository"))
                .output()
                .expect("git");
            assert!(git.status.success(), "{git:?}");
            String::from_utf8(git.stdout).expect("UTF-8").trim().to_owned()
        };
        let commit = |policy: Option<&str>| {
            let files = [("shop.yaml", policy), ("shop.cases.yaml", Some(cases))];
            for (name, text) in files.into_iter().filter_map(|(name, it)| Some((name, it?))) {
                fs::write(at("repository/policies").join(name), text).expect("a file");
            }
            git(&["add", "--all"]);
            git(&["commit", "--quiet", "--allow-empty", "--message", "a"]);
            git(&["rev-parse", "HEAD"])
        };
        git(&["init", "--quiet"]);
        let base = commit(old);
        commit(Some(new));
        let gh = "#!/bin/sh\nfor file; do :; done\ncp \"$file\" \"$RUNNER_TEMP/posted\"\n\
                  echo \"$@\" >\"$RUNNER_TEMP/arguments\"\n";
        fs::write(at("temp/bin/gh"), gh).expect("a file");
        fs::set_permissions(at("temp/bin/gh"), fs::Permissions::from_mode(0o755)).expect("rights");
        let tool = env!("CARGO_BIN_EXE_egress-warden");
        let digest = Sha256::digest(fs::read(tool).expect("the tool"));
        let expressions = BTreeMap::from([
            ("inputs.policy", "policies/shop.yaml".to_owned()),
            ("inputs.cases", "policies/shop.cases.yaml".to_owned()),
            ("inputs.tool", format!("file://{tool}")),
            ("inputs.sha256", digest.iter().map(|byte| format!("{byte:02x}")).collect()),
            ("github.event.pull_request.base.sha", base),
            ("github.event.pull_request.number", "7".to_owned()),
            ("github.token", "token".to_owned()),
        ]);
        Self { folder, expressions }
    }

    /// Runs the commands up to the first that fails. The answer is the names of those that passed.
    fn run(&self) -> Vec<String> {
        let (env, steps) = workflow();
        let env = env.iter().map(|(name, value)| {
            let value = value.as_str().expect("text");
            let expression = value.strip_prefix("${{ ").and_then(|it| it.strip_suffix(" }}"));
            (name, &self.expressions[expression.expect("an expression")])
        });
        let env: Vec<_> = env.collect();
        let temp = self.folder.path().join("temp");
        let path =
            format!("{}:{}", temp.join("bin").display(), std::env::var("PATH").expect("a path"));
        let mut passed = Vec::new();
        for step in steps.iter().filter(|step| step.get("run").is_some()) {
            let run = Command::new("bash")
                .args(["--noprofile", "--norc", "-eo", "pipefail", "-c"])
                .arg(step["run"].as_str().expect("text"))
                .current_dir(self.folder.path().join("repository"))
                .envs(env.iter().copied())
                .env("PATH", &path)
                .env("RUNNER_TEMP", &temp)
                .env("GITHUB_PATH", temp.join("path"))
                .env("GITHUB_STEP_SUMMARY", temp.join("summary"))
                .output()
                .expect("bash");
            if !run.status.success() {
                break;
            }
            passed.push(step["name"].as_str().expect("a name").to_owned());
        }
        passed
    }

    fn read(&self, name: &str) -> String {
        let path: PathBuf = self.folder.path().join("temp").join(name);
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }
}

/// The environment of the job, and its steps.
fn workflow() -> (serde_json::Map<String, Value>, Vec<Value>) {
    let path = Path::new(kit::REPOSITORY).join("envoy/ci/pull-request.yaml");
    let workflow = fs::read_to_string(path).expect("a workflow");
    let workflow: Value = serde_saphyr::from_str(&workflow).expect("YAML");
    let job = &workflow["jobs"]["egress"];
    let env = job["env"].as_object().expect("an environment").clone();
    (env, job["steps"].as_array().expect("steps").clone())
}
