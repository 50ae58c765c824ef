//! A gateway that is rendered as a folder, on Envoys that run while it is rendered again.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use envoy_kit::bootstrap::Bootstrap;
use envoy_kit::call::Call;
use envoy_kit::process::Envoy;
use envoy_kit::testbed::Testbed;
use envoy_kit::tls::caller::Caller;
use envoy_kit::tls::hello::Hello;
use envoy_kit::tls::upstream::Upstream;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::samples::{description, render, rendered, samples};
use crate::{http_service, service};

/// How long anything that surely comes may take on a machine with much else to do.
const PATIENCE: Duration = Duration::from_secs(30);

/// How often a policy is replaced while somebody calls.
const FLIPS: usize = 5;

/// The folder says what the file says: put together again, it is the same tree.
pub fn a_folder_says_what_the_file_says() {
    for (number, sample) in samples(12, 0).iter().enumerate() {
        let description = description(number, Ipv4Addr::LOCALHOST.into(), [7, 8]);
        let file = rendered(&sample.policy, &description).expect("a configuration");
        let folder = tempfile::tempdir().expect("a folder");
        let output = render(&sample.policy, &description, folder.path()).expect("the tool starts");
        assert!(output.status.code().is_some_and(|code| code < 2), "{output:?}");
        assert_eq!(together(folder.path()), file, "{}\n{description}", sample.policy);
    }
}

/// All in one tree, as it is in one file.
fn together(folder: &Path) -> Value {
    let mut tree = read(folder, "envoy.yaml");
    assert!(tree["node"]["id"].is_string());
    tree.as_object_mut().expect("an object").remove("node");
    let sources = tree.as_object_mut().and_then(|it| it.remove("dynamic_resources"));
    let sources = sources.expect("sources");
    let mut plugins = BTreeMap::new();
    for entry in std::fs::read_dir(folder.join("policy")).expect("a folder") {
        let name = entry.expect("a folder").file_name().into_string().expect("a name");
        let path = format!("policy/{name}/policy.yaml");
        let [plugin] = <[Value; 1]>::try_from(resources(folder, &path)).expect("one plugin");
        plugins.insert(folder.join(path).to_str().expect("a path").to_owned(), plugin);
    }
    for (kind, path) in
        [("cds_config", "clusters/clusters.yaml"), ("lds_config", "listeners/listeners.yaml")]
    {
        assert_eq!(sources[kind]["path_config_source"]["path"], json!(folder.join(path)));
    }
    let mut listeners = resources(folder, "listeners/listeners.yaml");
    for listener in &mut listeners {
        put_in_place(listener, &plugins);
    }
    tree["static_resources"] = json!({
        "listeners": listeners,
        "clusters": resources(folder, "clusters/clusters.yaml"),
    });
    tree
}

/// Puts plugins where they are asked for.
fn put_in_place(value: &mut Value, plugins: &BTreeMap<String, Value>) {
    match value {
        Value::Object(members) => {
            if let Some(discovery) = members.remove("config_discovery") {
                let source = &discovery["config_source"]["path_config_source"];
                let path = source["path"].as_str().expect("a path");
                let folder = Path::new(path).parent().and_then(Path::to_str).expect("a folder");
                assert_eq!(source["watched_directory"]["path"], folder);
                let plugin = plugins.get(path).expect("the plugin's file");
                assert_eq!(plugin["name"], members["name"]);
                assert_eq!(discovery["type_urls"], json!([plugin["typed_config"]["@type"]]));
                members.insert("name".to_owned(), json!("egress-warden"));
                members.insert("typed_config".to_owned(), plugin["typed_config"].clone());
            }
            if let Some(validates) = members.get_mut("validate_clusters") {
                assert_eq!(*validates, false);
                *validates = json!(true);
            }
            members.values_mut().for_each(|it| put_in_place(it, plugins));
        }
        Value::Array(items) => items.iter_mut().for_each(|it| put_in_place(it, plugins)),
        _ => {}
    }
}

/// The resources of a file, without their types. Its version says what is in it.
fn resources(folder: &Path, path: &str) -> Vec<Value> {
    let file = read(folder, path);
    assert!(file["version_info"].as_str().is_some_and(|it| it.len() == 16), "{path}");
    let mut resources = file["resources"].as_array().expect("resources").clone();
    for resource in &mut resources {
        resource.as_object_mut().expect("an object").remove("@type").expect("a type");
    }
    resources
}

fn read(folder: &Path, path: &str) -> Value {
    let text = std::fs::read_to_string(folder.join(path)).expect(path);
    serde_saphyr::from_str(&text).expect(path)
}

pub async fn a_rendered_folder_is_taken_while_envoy_runs(testbed: &Testbed) -> Result<()> {
    let gateway = Gateway::new().await?;
    let first = policy("first", "a.test");
    ensure!(gateway.render(&first)?.status.success());
    let envoy = gateway.start(testbed).await?;
    gateway.reaches_only("a.test", &envoy).await?;
    verifies(&first, &envoy)?;

    let second = policy("second", "b.test");
    ensure!(gateway.render(&second)?.status.success());
    soon(async || gateway.reaches_only("b.test", &envoy).await).await?;
    verifies(&second, &envoy)?;

    // Bad ones are not written: neither what no policy is, nor a description that is refused.
    let before = gateway.files()?;
    let mut bad = policy("bad", "a.test");
    bad["rules"][0]["to"][0]["hosts"] = json!(["a..test"]);
    let output = gateway.render(&bad)?;
    ensure!(output.status.code() == Some(2), "{output:?}");
    ensure!(gateway.files()? == before, "a bad policy was written");
    let mut ambient = gateway.description.clone();
    ambient["spec"]["dataplane"] = json!("ambient");
    let output = render(&first, &ambient, gateway.folder.path())?;
    let told = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.code() == Some(2) && told.contains("$.spec.dataplane"), "{told}");
    ensure!(gateway.files()? == before, "a description that is refused was written");
    gateway.reaches_only("b.test", &envoy).await?;

    // Requests alone: what is gone goes, and its listener with it.
    let mut third = policy("third", "a.test");
    third["rules"][0]["to"][0]["paths"] = json!(["/open"]);
    let told = gateway.render(&third)?;
    ensure!(told.status.code() == Some(0), "{told:?}");
    ensure!(!gateway.files()?.contains_key("policy/connections-443/policy.yaml"));
    soon(async || {
        ensure!(gateway.status("a.test", "/open", &envoy).await? == 200);
        ensure!(gateway.status("a.test", "/", &envoy).await? == 403);
        ensure!(Caller::connect(gateway.tls).await.is_err(), "still listens for TLS");
        Ok(())
    })
    .await?;
    verifies(&third, &envoy)
}

/// The policy in force alone decides, and no new route is there before the policy that asks for it.
pub async fn no_request_passes_while_a_folder_is_replaced(testbed: &Testbed) -> Result<()> {
    let mut gateway = Gateway::new().await?;
    // Lets everything pass, and has a route for one host alone.
    let mut open = policy("open", "a.test");
    open["mode"] = json!("monitor");
    let mut closed = policy("closed", "b.test");
    closed["rules"][0]["to"][0]["methods"] = json!(["POST"]);
    gateway.description["spec"]["ways"].as_array_mut().context("ways")?.truncate(1);
    gateway.render(&open)?;
    let envoy = gateway.start(testbed).await?;
    for _ in 0..FLIPS {
        soon(async || {
            ensure!(gateway.status("a.test", "/", &envoy).await? == 200);
            ensure!(gateway.status("b.test", "/", &envoy).await? == 404);
            Ok(())
        })
        .await?;
        let replaced = gateway.replace_while_called(&closed, "b.test", 403, &envoy, |status| {
            ensure!(status != 200, "neither policy lets it pass, and it passed");
            Ok(())
        });
        replaced.await?;
        gateway.render(&open)?;
    }
    Ok(())
}

/// A credential that comes with another way out does not leave by the way before.
pub async fn no_stamp_leaves_by_the_way_before(testbed: &Testbed) -> Result<()> {
    let mut gateway = Gateway::new().await?;
    let service = service(|request| {
        let is_stamped = request.windows(5).any(|it| it == b"x-key");
        if is_stamped { STAMPED } else { 200 }
    });
    let service = service.await?;
    let clear = json!([{"way": "http", "targetPort": service.port(), "endpoints": ["127.0.0.1"]}]);
    // Nobody speaks TLS there.
    let tls =
        json!([{"way": "originate", "targetPort": service.port(), "endpoints": ["127.0.0.1"]}]);
    let plain = policy("plain", "a.test");
    let mut stamped = policy("stamped", "a.test");
    stamped["rules"][0]["stamp"] = json!({"set": {"x-key": "secret"}});
    gateway.description["spec"]["ways"] = clear.clone();
    gateway.render(&plain)?;
    let envoy = gateway.start(testbed).await?;
    for _ in 0..FLIPS {
        soon(async || {
            ensure!(gateway.status("a.test", "/", &envoy).await? == 200);
            Ok(())
        })
        .await?;
        gateway.description["spec"]["ways"] = tls.clone();
        let replaced = gateway.replace_while_called(&stamped, "a.test", 503, &envoy, |status| {
            ensure!(status != STAMPED, "the stamp left in clear");
            Ok(())
        });
        replaced.await?;
        gateway.description["spec"]["ways"] = clear.clone();
        gateway.render(&plain)?;
    }
    Ok(())
}

/// The status by which a service says that it was sent a stamp.
const STAMPED: u16 = 418;

/// While the listener before drains, neither is taken for the other, and the policy in force is the last.
pub async fn module_and_library_take_turns(testbed: &Testbed) -> Result<()> {
    let mut gateway = Gateway::new().await?;
    gateway.description["spec"]["ways"].as_array_mut().context("ways")?.truncate(1);
    gateway.render(&policy("first", "a.test"))?;
    let envoy = gateway.start(testbed).await?;
    let library = format!("{}/target/libegress_warden.so", kit::REPOSITORY);
    for (number, native) in [Some(&library), None, Some(&library)].into_iter().enumerate() {
        // Each closes a path that was open before, and opens its own.
        let (open, closed) = (format!("/{number}"), format!("/{}", number.wrapping_sub(1)));
        let mut policy = policy("turns", "a.test");
        policy["rules"][0]["to"][0]["paths"] = json!([open]);
        match native {
            Some(library) => gateway.description["spec"]["envoy"]["native"] = json!(library),
            None => {
                let settings = gateway.description["spec"]["envoy"].as_object_mut();
                settings.context("settings")?.remove("native");
            }
        }
        ensure!(gateway.render(&policy)?.status.success());
        soon(async || {
            let status = gateway.status("a.test", &open, &envoy).await?;
            ensure!(status == 200, "{status} for {open}, native: {native:?}");
            let status = gateway.status("a.test", &closed, &envoy).await?;
            ensure!(status == 403, "{status} for {closed}, native: {native:?}");
            Ok(())
        })
        .await?;
    }
    Ok(())
}

/// A policy of one host, for requests and for connections.
fn policy(name: &str, host: &str) -> Value {
    json!({
        "policy": name,
        "rules": [{"id": "open", "action": "allow", "to": [{"hosts": [host]}]}],
    })
}

/// A folder, where its listeners are, and what stands behind them.
struct Gateway {
    folder: TempDir,
    description: Value,
    tls: SocketAddr,
}

impl Gateway {
    async fn new() -> Result<Self> {
        let service = http_service().await?;
        let tls_service = Upstream::start().await?.address;
        let [admin, http, tls] = free_addresses()?;
        let description = json!({
            "apiVersion": "egress-warden.dev/v1alpha1",
            "kind": "EgressGateway",
            "metadata": {"name": "egress", "namespace": "istio-system"},
            "spec": {
                "ways": [
                    {"way": "http", "targetPort": service.port(), "endpoints": ["127.0.0.1"]},
                    {"way": "passthrough", "targetPort": tls_service.port(), "endpoints": ["127.0.0.1"]},
                ],
                "envoy": {"admin": admin, "http": http, "tls": tls},
            },
        });
        Ok(Self { folder: tempfile::tempdir()?, description, tls })
    }

    fn render(&self, policy: &Value) -> Result<Output> {
        render(policy, &self.description, self.folder.path())
    }

    /// Renders again, and calls a host until it answers as it must by then; `holds` is told each status.
    async fn replace_while_called(
        &self,
        policy: &Value,
        host: &str,
        last: u16,
        envoy: &Envoy,
        holds: impl Fn(u16) -> Result<()>,
    ) -> Result<()> {
        let render = {
            let (policy, description) = (policy.clone(), self.description.clone());
            let folder = self.folder.path().to_owned();
            tokio::task::spawn_blocking(move || render(&policy, &description, &folder))
        };
        let started = Instant::now();
        let mut status = 0;
        while status != last || !render.is_finished() {
            ensure!(started.elapsed() < PATIENCE, "{status}");
            status = self.status(host, "/", envoy).await?;
            holds(status)?;
        }
        ensure!(render.await??.status.success());
        Ok(())
    }

    async fn start(&self, testbed: &Testbed) -> Result<Envoy> {
        let tree = read(self.folder.path(), "envoy.yaml");
        let envoy = testbed.start(&Bootstrap { tree, ..Bootstrap::gateway()? }).await?;
        envoy.ensure_nothing_is_deprecated()?;
        Ok(envoy)
    }

    /// All files with what is in them.
    fn files(&self) -> Result<BTreeMap<String, String>> {
        let mut files = BTreeMap::new();
        let mut folders = vec![self.folder.path().to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder)? {
                let path = entry?.path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    let name = path.strip_prefix(self.folder.path())?.to_string_lossy();
                    files.insert(name.into_owned(), std::fs::read_to_string(&path)?);
                }
            }
        }
        Ok(files)
    }

    /// Whether one of two hosts is reached, by HTTP and by TLS, and the other is refused.
    async fn reaches_only(&self, host: &str, envoy: &Envoy) -> Result<()> {
        for name in ["a.test", "b.test"] {
            let status = self.status(name, "/", envoy).await?;
            ensure!(status == if name == host { 200 } else { 403 }, "{status} for {name}");
            let hello = Hello::to(name).to_bytes();
            let reached = Caller::connect(self.tls).await?.exchange(&hello).await?;
            ensure!(reached == (name == host), "{reached} for TLS to {name}");
        }
        Ok(())
    }

    async fn status(&self, host: &str, path: &str, envoy: &Envoy) -> Result<u16> {
        Ok(Call::get(host).path(path).http1(envoy.listener("egress")?).await?.status)
    }
}

/// Whether the running Envoy is what it must be for a policy, by its own word.
fn verifies(policy: &Value, envoy: &Envoy) -> Result<()> {
    let file = tempfile::NamedTempFile::with_suffix(".json")?;
    std::fs::write(file.path(), policy.to_string())?;
    let admin = format!("http://{}", envoy.admin());
    let output = Command::new(kit::tool())
        .args(["verify", "--deny-warnings", "--config-dump", &admin])
        .arg(file.path())
        .output()?;
    let told = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success(), "{told}{}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

/// Waits until something holds: workers take what is new a moment after Envoy has taken it.
async fn soon(holds: impl AsyncFn() -> Result<()>) -> Result<()> {
    let started = Instant::now();
    while started.elapsed() < PATIENCE {
        if holds().await.is_ok() {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    holds().await
}

/// Addresses that nobody listens at.
fn free_addresses() -> Result<[SocketAddr; 3]> {
    let listen = || std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
    // All are held until all are chosen.
    let listeners = [listen()?, listen()?, listen()?];
    let [a, b, c] = listeners.each_ref().map(|it| it.local_addr());
    Ok([a?, b?, c?])
}
