//! What `--format sarif` and `--format junit` write, as those who read it need it: SARIF by the keys that code hosts
//! ask for and by the schema of OASIS, JUnit as XML.

use serde_json::Value;
use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::LazyLock;

const TIME: &str = "2026-11-25T00:00:00Z";
const EXAMPLES: &str = "tool/tests/examples";

/// Each finding of each policy and manifest of the examples, beside what JSON says of it.
#[test]
fn sarif_has_every_finding_at_its_place() {
    let arguments = ["check", EXAMPLES, "--at", TIME, "--deny-warnings"];
    let sarif = sarif_of(&tool(&arguments, "sarif"));
    let told = json(&tool(&arguments, "json"));
    let policies = told["policies"].as_array().expect("policies");
    let findings = policies.iter().flat_map(|policy| {
        let findings = policy["findings"].as_array().expect("findings");
        findings.iter().map(|finding| (&policy["file"], finding))
    });
    let findings: Vec<_> = findings.collect();
    let run = &sarif["runs"][0];
    let results = run["results"].as_array().expect("results");
    assert!(findings.len() > 100, "{}", findings.len());
    assert_eq!(results.len(), findings.len());
    let mut kinds = BTreeSet::new();
    for (result, (file, finding)) in results.iter().zip(findings) {
        assert_eq!(result["ruleId"], finding["kind"]);
        assert_eq!(result["level"], finding["level"]);
        let message = result["message"]["text"].as_str().expect("a message");
        for part in ["found", "remedy"] {
            assert!(message.contains(finding[part].as_str().expect("text")), "{message}");
        }
        let location = &result["locations"][0];
        let physical = &location["physicalLocation"];
        assert_eq!(physical["artifactLocation"]["uri"], *file);
        assert_eq!(physical["artifactLocation"]["uriBaseId"], "%SRCROOT%");
        assert_eq!(physical["region"]["startLine"], finding["line"]);
        assert_eq!(physical["region"]["startColumn"], finding["column"]);
        if let Some(end) = physical["region"].get("endLine") {
            assert_eq!(*end, finding["end_line"]);
            assert_eq!(physical["region"]["endColumn"], finding["end_column"]);
        } else {
            let ends =
                |line: &str, column: &str| (finding[line].as_u64(), finding[column].as_u64());
            assert!(ends("end_line", "end_column") <= ends("line", "column"), "{finding}");
        }
        assert_eq!(location["logicalLocations"][0]["fullyQualifiedName"], finding["path"]);
        kinds.insert(finding["kind"].as_str().expect("a word"));
    }
    let rules = run["tool"]["driver"]["rules"].as_array().expect("rules").iter();
    let rules: Vec<&str> = rules.map(|rule| rule["id"].as_str().expect("an id")).collect();
    assert_eq!(rules, kinds.into_iter().collect::<Vec<_>>());
    assert_eq!(sarif["version"], "2.1.0");
    assert_eq!(run["columnKind"], "unicodeCodePoints");
    assert_eq!(run["automationDetails"]["id"], "egress-warden/check/");
}

#[test]
fn a_report_fails_where_the_exit_code_says_no() {
    let test = |name: &str| format!("{EXAMPLES}/test.in/{name}.yaml");
    let diff = |name: &str| format!("{EXAMPLES}/diff.in/{name}.yaml");
    let (policy, good, wrong) = (test("policy"), test("good"), test("wrong"));
    let (old, new, closes) = (diff("old"), diff("new"), diff("closes"));
    let running = |file: &str| format!("{EXAMPLES}/verify.in/{file}");
    let misspelt = format!("{EXAMPLES}/inputs.in/broken/misspelt.yaml");
    for (arguments, fails) in [
        (&["check", "envoy/policy.yaml", "--at", TIME][..], false),
        (&["check", "envoy/policy.yaml", "--at", TIME, "--dynamic-forward-proxy"], false),
        (
            &[
                "check",
                "envoy/policy.yaml",
                "--at",
                TIME,
                "--dynamic-forward-proxy",
                "--deny-warnings",
            ],
            true,
        ),
        (&["check", "envoy/policy.yaml", &misspelt, "--at", TIME], true),
        (&["test", &policy, &good, "--at", TIME], false),
        (&["test", &policy, &good, "--at", TIME, "--deny-uncovered"], true),
        (&["test", &policy, &good, &wrong, "--at", TIME], true),
        (&["diff", &old, &old, "--at", TIME], false),
        (&["diff", &old, &new, "--at", TIME], true),
        (&["diff", &old, &closes, "--at", TIME], false),
        (&["diff", &old, &closes, "--at", TIME, "--fail-on", "any"], true),
        (&["verify", &running("policy.yaml"), "--config-dump", &running("waypoint.json")], false),
        (
            &[
                "verify",
                &running("policy.yaml"),
                "--config-dump",
                &running("waypoint.json"),
                "--deny-warnings",
            ],
            true,
        ),
        (&["verify", &running("policy.yaml"), "--config-dump", &running("wrong.json")], true),
    ] {
        let (sarif, junit) = (tool(arguments, "sarif"), tool(arguments, "junit"));
        let code = Some(i32::from(fails));
        assert_eq!((sarif.status.code(), junit.status.code()), (code, code), "{arguments:?}");
        let sarif = sarif_of(&sarif);
        assert_eq!(sarif["runs"][0]["invocations"][0]["executionSuccessful"], true);
        let text = String::from_utf8(junit.stdout).expect("UTF-8");
        let document = roxmltree::Document::parse(&text).expect("XML");
        let tests = document.descendants().filter(|it| it.has_tag_name("testcase"));
        let failed = document.descendants().filter(|it| it.has_tag_name("failure")).count();
        let said = |name| document.root_element().attribute(name).expect("a count").to_owned();
        assert_eq!(said("tests"), tests.count().to_string(), "{arguments:?}");
        assert_eq!(said("failures"), failed.to_string(), "{arguments:?}");
        assert_eq!(failed > 0, fails, "{arguments:?}: {text}");
    }
}

#[test]
fn what_could_not_be_read_makes_a_report_of_the_rest() {
    let output = tool(&["check", "envoy/policy.yaml", "missing.yaml", "--at", TIME], "sarif");
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(sarif_of(&output)["runs"][0]["invocations"][0]["executionSuccessful"], false);
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(complaint.contains("missing.yaml: no such file"), "{complaint}");
}

/// The place within a proxy is said in words.
#[test]
fn sarif_has_every_finding_of_a_running_proxy() {
    let running = |file: &str| format!("{EXAMPLES}/verify.in/{file}");
    let (policy, dump) = (running("policy.yaml"), running("wrong.json"));
    let arguments = ["verify", &policy, "--config-dump", &dump];
    let told = json(&tool(&arguments, "json"));
    let sarif = sarif_of(&tool(&arguments, "sarif"));
    let findings = told["findings"].as_array().expect("findings");
    let results = sarif["runs"][0]["results"].as_array().expect("results");
    assert!(findings.len() > 10, "{}", findings.len());
    assert_eq!(results.len(), findings.len());
    for (result, finding) in results.iter().zip(findings) {
        assert_eq!((&result["ruleId"], &result["level"]), (&finding["kind"], &finding["level"]));
        let message = result["message"]["text"].as_str().expect("a message");
        for part in ["place", "found", "remedy"] {
            assert!(message.contains(finding[part].as_str().expect("text")), "{message}");
        }
    }
}

/// Neither standard input nor the bundle of a folder is a file with lines.
#[test]
fn what_is_no_file_has_no_place() {
    let folder = format!("{EXAMPLES}/bundle.in/policies");
    let sarif = sarif_of(&tool(&["diff", "envoy/policy.yaml", &folder, "--at", TIME], "sarif"));
    let results = sarif["runs"][0]["results"].as_array().expect("results");
    assert!(!results.is_empty());
    for result in results {
        assert_eq!(result["locations"], serde_json::json!([]));
    }
}

#[test]
fn other_commands_refuse_forms_that_they_do_not_write() {
    for arguments in [
        &["explain", "envoy/policy.yaml", "--host", "a.test"][..],
        &["replay", "envoy/policy.yaml", "missing.log"],
        &["learn", "missing.log"],
        &["import", "missing"],
        &["bundle", "missing"],
        &["schema"],
        &["completions", "bash"],
        &["man"],
    ] {
        for form in ["sarif", "junit"] {
            let output = tool(arguments, form);
            let said = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(2), "{arguments:?}");
            let remedy = "write SARIF and JUnit XML: use `text` or `json`";
            assert!(said.contains(remedy), "{arguments:?}: {said}");
            assert!(output.stdout.is_empty(), "{arguments:?}");
        }
    }
}

/// A report that the schema accepts.
fn sarif_of(output: &Output) -> Value {
    static SCHEMA: LazyLock<jsonschema::Validator> = LazyLock::new(|| {
        let path = "tool/tests/data/sarif/sarif-schema-2.1.0.json";
        let text = std::fs::read_to_string(Path::new(kit::REPOSITORY).join(path));
        // The patterns of languages have a bracket too many, and are none.
        let text = text.expect("the schema").replace("-[a-zA-Z]{2}]?$", "-[a-zA-Z]{2}$");
        let schema = serde_json::from_str(&text).expect("JSON");
        jsonschema::draft7::new(&schema).expect("a schema")
    });
    let report = json(output);
    let errors: Vec<_> =
        SCHEMA.iter_errors(&report).map(|it| format!("{}: {it}", it.instance_path())).collect();
    assert!(errors.is_empty(), "{errors:#?}");
    report
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

fn tool(arguments: &[&str], format: &str) -> Output {
    Command::new(env!("CARGO_BIN_EXE_egress-warden"))
        .current_dir(Path::new(kit::REPOSITORY))
        .args(arguments)
        .args(["--format", format])
        .output()
        .expect("the tool runs")
}
