//! `envoy/try.sh`: what it sends through the local set-up is what Prometheus then has.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use anyhow::{Context as _, Result, ensure};

use envoy_kit::bootstrap::Bootstrap;
use envoy_kit::testbed::Testbed;

use super::prometheus::{Prometheus, soon};

const ROUNDS: u64 = 2;

pub(crate) async fn what_it_sends_is_counted(testbed: &Testbed) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mesh = testbed.mesh(Bootstrap::gateway()?).await?;
    let prometheus = Prometheus::start(&[("gateway", mesh.gateway.admin())], folder.path())?;
    let sidecar = format!("http://{}/", mesh.sidecar.listener("registry_only")?);
    let output = run(&["--url", &sidecar, "--rounds", &ROUNDS.to_string(), "--pause", "0"]);
    let (said, complained) = texts(&output);
    ensure!(output.status.success() && complained.is_empty(), "{said}{complained}");
    ensure!(said.starts_with(&format!("{ROUNDS} rounds to {sidecar}, each with\n")), "{said}");
    ensure!(said.lines().count() == 7, "{said}");

    let expected = [
        ("requests_total", r#"decision="allow", reason="rule""#, 8),
        ("requests_total", r#"decision="deny", reason="default""#, 4),
        ("requests_total", r#"decision="deny", reason="malformed""#, 1),
        ("requests_total", r#"decision="deny", reason="rule""#, 2),
        ("rule_total", r#"decision="allow", rule="shop-to-allowed""#, 8),
        ("rule_total", r#"decision="deny", rule="no-legacy-api""#, 2),
        ("would_total", r#"decision="deny""#, 2),
        ("guard_total", r#"result="allowed""#, 8),
        ("guard_total", r#"result="denied""#, 0),
    ];
    for (name, labels, in_a_round) in expected {
        let expression = format!("egress_warden_{name}{{{labels}}}");
        let expected = (in_a_round * ROUNDS).to_string();
        soon(async || {
            let samples = prometheus.query(&expression).await?;
            let [sample] = &samples[..] else { anyhow::bail!("{expression}: {samples:?}") };
            ensure!(sample["value"][1] == *expected, "{expression}: {sample}, not {expected}");
            Ok(())
        })
        .await?;
    }

    // A gateway of another policy is not the shipped one.
    let mut other = Bootstrap::gateway()?;
    other.set_policy(serde_json::json!({"policy": "closed", "default": "deny"}))?;
    let (other, _external) = testbed.gateway(other).await?;
    let egress = format!("http://{}", other.listener("egress")?);
    let (_, complained) = texts(&run(&["--url", &egress, "--rounds", "1"]));
    let first = "try.sh: GET allowed.example/: 403 came, and 301 was expected";
    ensure!(complained.starts_with(first), "{complained}");

    // Until it is stopped, it goes on.
    let mut child = command(&["--url", &sidecar]).stdout(Stdio::piped()).spawn()?;
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    let id = nix::unistd::Pid::from_raw(child.id().try_into()?);
    ensure!(child.try_wait()?.is_none(), "it ended by itself");
    nix::sys::signal::kill(id, nix::sys::signal::Signal::SIGTERM)?;
    let output = child.wait_with_output().context("its end")?;
    let (said, complained) = texts(&output);
    ensure!(output.status.success() && said.contains(" rounds to "), "{said}{complained}");
    Ok(())
}

pub(crate) fn says_what_is_wrong() {
    // A port that nobody has at the moment.
    let free = std::net::TcpListener::bind("127.0.0.1:0").and_then(|it| it.local_addr());
    let nobody = format!("http://{}", free.expect("a port"));
    for (arguments, complaint) in [
        (&["--url", &*nobody][..], "try.sh: nothing listens at http://127.0.0.1:"),
        (&["--url", "no url"], "try.sh: `no url` is no URL"),
        (&["--url"], "try.sh: `--url` needs a value"),
        (&["--rounds", "-1"], "try.sh: `--rounds` needs a whole number"),
        (&["--nonsense"], "try.sh: unknown argument `--nonsense`"),
    ] {
        let output = run(arguments);
        let (said, complained) = texts(&output);
        assert!(complained.starts_with(complaint), "{arguments:?}: {complained}");
        assert!(said.is_empty() && output.status.code() == Some(1), "{arguments:?}: {output:?}");
    }
    let output = run(&["--help"]);
    assert!(output.status.success() && texts(&output).0.contains("--rounds N"));
}

fn run(arguments: &[&str]) -> Output {
    command(arguments).output().expect("bash")
}

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new("bash");
    command.arg(Path::new(kit::REPOSITORY).join("envoy/try.sh")).args(arguments);
    command.stderr(Stdio::piped());
    command
}

fn texts(output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr))
}
