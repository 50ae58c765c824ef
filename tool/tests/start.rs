//! The pages for beginners, `docs/start.md` and `docs/walkthrough.md`, as one goes through them: each command in a shell, in
//! a folder with the samples, where a program of the test stands for `kubectl`. What the commands of the tool print is
//! compared by `tool/tests/cli.rs`.

use egress_warden::config;
use serde_json::Value;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

/// Stands for `kubectl`: gives the samples, and keeps what it is to patch.
const KUBECTL: &str = r#"#!/bin/sh
case "$*" in
  "-n istio-system logs deploy/istio-egressgateway --since=24h") cat "$SAMPLES/gateway.log" ;;
  "get serviceentries,authorizationpolicies,sidecars -A -o yaml") cat "$SAMPLES/mesh.yaml" ;;
  "-n istio-system patch "*" egress-warden --type json -p "*)
    while [ $# -gt 1 ]; do shift; done
    printf %s "$1" >patch.json ;;
  *) echo "kubectl: $*" >&2; exit 64 ;;
esac
"#;

/// Stands for `kubectl` and `helm` on the way through a cluster: whatever they are to read is there. The gateway's own dump
/// is a file of the test.
const CLUSTER: &str = r#"#!/bin/sh
tool=${0##*/}
line="$tool $*"
case "$line" in
  *" -- pilot-agent request GET config_dump") exec cat config_dump.json ;;
esac
while [ $# -gt 0 ]; do
  case "$tool $1" in
    *" -k") shift; test -f "$1/kustomization.yaml" || { echo "$line" >&2; exit 64; } ;;
    *" -f") shift; test -f "$1" || { echo "$line" >&2; exit 64; } ;;
  esac
  shift
done
"#;

/// How many commands lead from what one has into the mesh.
const COMMANDS: usize = 5;

#[test]
fn each_path_of_the_page_for_beginners_leads_in_five_commands_to_a_policy_in_a_dry_run() {
    let page = std::fs::read_to_string(format!("{}/docs/start.md", kit::REPOSITORY));
    let page = page.expect("a page");
    let sections: Vec<&str> = page.split("\n## ").skip(1).collect();
    let (last, paths) = sections.split_last().expect("sections");
    let into_the_mesh = commands(last);
    assert_eq!(into_the_mesh.len(), 2, "one for each kind of manifest: {into_the_mesh:#?}");
    assert!(paths.len() > 1);
    for path in paths {
        let title = path.lines().next().expect("a title");
        let own = commands(path);
        assert!(own.len() < COMMANDS, "{title}: {own:#?}");
        for (patch, is_extension) in into_the_mesh.iter().zip([false, true]) {
            let folder = tempfile::tempdir().expect("a folder");
            let all = own.iter().chain([patch]);
            all.for_each(|command| run(command, folder.path()));
            let policy = patched(folder.path(), is_extension);
            assert_eq!(policy["mode"], "monitor", "{title}");
            let config = config::read(policy.to_string().as_bytes()).expect("a policy");
            assert!(!config.policy.rules().is_empty(), "{title}");
        }
    }
}

/// A command and its exit code.
type Shown = (String, i32);

/// The commands of a section, lines that end in `\` joined.
fn commands(section: &str) -> Vec<Shown> {
    let section = section.replace("\\\n", " ");
    let lines: Vec<&str> = section.lines().collect();
    let shown = lines.iter().enumerate().filter_map(|(at, line)| {
        let code = lines.get(at + 1).and_then(|next| next.strip_prefix("? "));
        let code = code.map_or(0, |code| code.parse().expect("a code"));
        Some((line.strip_prefix("$ ")?.to_owned(), code))
    });
    shown.collect()
}

#[test]
fn the_walk_through_reads_what_is_there_in_an_order_that_leaks_nothing() {
    let page = std::fs::read_to_string(format!("{}/docs/walkthrough.md", kit::REPOSITORY));
    let all = commands(&page.expect("a page"));
    let folder = tempfile::tempdir().expect("a folder");
    let envoy = format!("{}/envoy", kit::REPOSITORY);
    std::os::unix::fs::symlink(envoy, folder.path().join("envoy")).expect("a link");
    for program in ["kubectl", "helm"] {
        write_program(&folder.path().join(program), CLUSTER);
    }
    std::fs::write(folder.path().join("config_dump.json"), dump_of_the_walk_through())
        .expect("a dump");
    assert!(all.iter().any(|(command, _)| command.contains("egress-warden verify")), "{all:#?}");
    all.iter().for_each(|command| shell(command, folder.path()));
    let place = |start: &str| {
        let found = all.iter().position(|(command, _)| command == start);
        found.unwrap_or_else(|| panic!("no `{start}` in {all:#?}"))
    };
    let order = [
        "kubectl apply -f envoy/istio/sample/service-entry.yaml",
        "kubectl delete -f envoy/istio/sample/service-entry.yaml",
        "kubectl apply -k target/walkthrough",
        "kubectl apply -k target/walkthrough/hosts",
        "kubectl delete -k target/walkthrough/hosts",
        "kubectl delete -k target/walkthrough",
    ];
    assert!(order.map(place).is_sorted(), "{all:#?}");
}

/// The dump of a gateway of Istio, with the policy and the host of the page in place of its own.
fn dump_of_the_walk_through() -> String {
    let read = |path: &str| {
        std::fs::read_to_string(format!("{}/{path}", kit::REPOSITORY)).expect("a file")
    };
    let policy = read("envoy/istio/sample/egress/policy.yaml");
    let policy: Value = serde_saphyr::from_str(&policy).expect("YAML");
    let dump = read("tool/tests/examples/verify.in/istio.json");
    let mut dump: Value =
        serde_json::from_str(&dump.replace("api.example.com", "edition.cnn.com")).expect("JSON");
    let parts = dump["configs"].as_array_mut().expect("parts");
    let plugins = parts.iter_mut().filter_map(|part| part["ecds_filters"].as_array_mut()).flatten();
    let mut given = 0;
    for plugin in plugins {
        let value = "/ecds_filter/typed_config/config/configuration/value";
        *plugin.pointer_mut(value).expect("a configuration") = policy.to_string().into();
        given += 1;
    }
    assert_eq!(given, 2, "for requests and for connections");
    dump.to_string()
}

fn run(shown: &Shown, folder: &Path) {
    let kubectl = folder.join("kubectl");
    if !kubectl.exists() {
        write_program(&kubectl, KUBECTL);
        let samples = format!("{}/docs/start.in", kit::REPOSITORY);
        for sample in std::fs::read_dir(&samples).expect("samples") {
            let sample = sample.expect("a sample");
            std::fs::copy(sample.path(), folder.join(sample.file_name())).expect("a copy");
        }
    }
    shell(shown, folder);
}

fn write_program(path: &Path, text: &str) {
    std::fs::write(path, text).expect("a program");
    std::fs::set_permissions(path, PermissionsExt::from_mode(0o755)).expect("a program");
}

fn shell((command, code): &Shown, folder: &Path) {
    let samples = format!("{}/docs/start.in", kit::REPOSITORY);
    let tool = Path::new(env!("CARGO_BIN_EXE_egress-warden")).parent().expect("a folder");
    let path = std::env::var("PATH").expect("a path");
    let path = format!("{}:{}:{path}", folder.display(), tool.display());
    let mut shell = Command::new("sh");
    shell.args(["-c", command]).current_dir(folder).env("PATH", path).env("SAMPLES", samples);
    let output = shell.output().expect("a shell");
    assert_eq!(output.status.code(), Some(*code), "{command}: {output:?}");
}

/// The policy that was patched in.
fn patched(folder: &Path, is_extension: bool) -> Value {
    let patch = std::fs::read(folder.join("patch.json")).expect("a patch");
    let mut patch: Value = serde_json::from_slice(&patch).expect("JSON");
    let path = if is_extension { "/spec/wasm/pluginConfig" } else { "/spec/pluginConfig" };
    assert_eq!((patch[0]["op"].as_str(), patch[0]["path"].as_str()), (Some("replace"), Some(path)));
    patch[0]["value"].take()
}
