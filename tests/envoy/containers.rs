//! The local set-up in containers: `envoy/docker-compose.yaml`, on images made of the installed Envoy and Prometheus. Each
//! request that the file's comments show must have the answer that they say, and Prometheus what the gateway counts. Nothing
//! is pulled, so Grafana is left out.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use envoy_kit::call::Call;
use kit::envoys;

const FILE: &str = "envoy/docker-compose.yaml";
/// The image of Envoy, and the name of the services' project.
const NAME: &str = "egress-warden-test";
const PROMETHEUS: &str = "egress-warden-test-prometheus";
const SERVICES: [&str; 4] = ["sidecar", "gateway", "external", "prometheus"];

#[tokio::test]
#[ignore = "needs a container engine; `./build.sh test` runs it where there is one"]
async fn docker_compose_answers_as_its_comments_say() -> Result<()> {
    make_image(NAME, &binary()?, "usr/local/bin/envoy")?;
    make_image(PROMETHEUS, Path::new("/usr/bin/prometheus"), "bin/prometheus")?;
    let _services = Services::start()?;
    let text = std::fs::read_to_string(Path::new(kit::REPOSITORY).join(FILE))?;
    let requests: Vec<_> = text.lines().filter_map(request).collect();
    ensure!(requests.len() == 5, "{requests:?}");
    for (host, address, status) in requests {
        let answer = answer(&host, address).await?;
        ensure!(answer == status, "{host} at {address}: {answer}, not {status}");
    }
    output(Command::new("bash").current_dir(kit::REPOSITORY).args([
        "envoy/try.sh",
        "--rounds",
        "2",
        "--pause",
        "0",
    ]))?;
    // Two rounds, and the two requests above.
    counts("egress_warden_requests_total{decision=\"allow\"}", 17).await?;
    counts("egress_warden_requests_total{reason=\"default\"}", 9).await?;
    counts("egress_warden_would_total", 4).await
}

/// Asks the Prometheus of the set-up until the gateway has counted so much.
async fn counts(expression: &str, expected: u64) -> Result<()> {
    let expression: String = expression.bytes().map(|byte| format!("%{byte:02x}")).collect();
    let path = format!("/api/v1/query?query={expression}");
    let mut found = Value::Null;
    for _ in 0..150 {
        if let Ok(answer) =
            Call::get("prometheus").path(&path).http1(([127, 0, 0, 1], 9090).into()).await
        {
            found = answer.json()?["data"]["result"].take();
            if found[0]["value"][1].as_str() == Some(&*expected.to_string()) {
                return Ok(());
            }
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    bail!("{found}, not {expected}")
}

/// The host, the address and the status of a line that shows a request.
fn request(line: &str) -> Option<(String, SocketAddr, u16)> {
    let (_, request) = line.split_once("curl -i -H 'host: ")?;
    let (host, rest) = request.split_once("' http://")?;
    let (address, answer) = rest.split_once('/')?;
    let (_, answer) = answer.split_once(": ")?;
    let status = answer.split(',').next()?;
    Some((host.to_owned(), address.parse().ok()?, status.parse().ok()?))
}

/// Asks until the services are up.
async fn answer(host: &str, address: SocketAddr) -> Result<u16> {
    let mut outcome = Call::get(host).http1(address).await;
    for _ in 0..150 {
        match &outcome {
            // 503: the Envoy behind this one is not up yet.
            Ok(answer) if answer.status != 503 => break,
            _ => tokio::time::sleep(Duration::from_millis(200)).await,
        }
        outcome = Call::get(host).http1(address).await;
    }
    Ok(outcome?.status)
}

/// An image with a program at this path, the libraries that it is linked with, and nothing else.
fn make_image(name: &str, program: &Path, path: &str) -> Result<()> {
    let root = tempfile::tempdir()?;
    copy(program, &root.path().join(path))?;
    let libraries = output(Command::new("ldd").arg(program))?;
    for library in libraries.split_whitespace().filter(|word| word.starts_with('/')) {
        copy(Path::new(library), &root.path().join(library.trim_start_matches('/')))?;
    }
    std::fs::create_dir(root.path().join("tmp"))?;
    let mut archive = Command::new("tar")
        .arg("-C")
        .arg(root.path())
        .args(["-c", "."])
        .stdout(Stdio::piped())
        .spawn()
        .context("start tar")?;
    let contents = archive.stdout.take().context("what tar writes")?;
    output(Command::new("docker").args(["import", "-", name]).stdin(contents))?;
    ensure!(archive.wait()?.success(), "tar fails");
    Ok(())
}

/// Envoy itself: what the package puts into `bin` is a script.
fn binary() -> Result<PathBuf> {
    let home = format!("target/envoy/{}/lib", envoys::newest());
    let pythons = std::fs::read_dir(Path::new(kit::REPOSITORY).join(&home)).context(home)?;
    let paths = pythons.map(|python| Ok(python?.path().join("site-packages/envoy/_bin/envoy")));
    let paths = paths.collect::<Result<Vec<_>>>()?;
    paths.into_iter().find(|path| path.exists()).context("the package's Envoy")
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    std::fs::create_dir_all(to.parent().context("a folder")?)?;
    std::fs::copy(from, to).with_context(|| format!("copy {}", from.display()))?;
    Ok(())
}

/// The services, until this value is dropped.
struct Services;

impl Services {
    fn start() -> Result<Self> {
        let services = Self;
        output(compose().args(["up", "--detach"]).args(SERVICES))?;
        Ok(services)
    }
}

impl Drop for Services {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{:?}", output(compose().arg("logs")));
        }
        if let Err(error) = output(compose().arg("down")) {
            eprintln!("{error:?}");
        }
    }
}

fn compose() -> Command {
    let mut command = Command::new("docker-compose");
    command.current_dir(kit::REPOSITORY);
    command.env("ENVOY_IMAGE", NAME).env("PROMETHEUS_IMAGE", PROMETHEUS);
    command.args(["--project-name", NAME, "--file", FILE]);
    command
}

/// What a program writes, where it succeeds.
fn output(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("start {command:?}"))?;
    ensure!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?)
}
