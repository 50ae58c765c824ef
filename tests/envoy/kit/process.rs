//! One running Envoy: its addresses, its logs, its statistics, and its end.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::io::{BufRead as _, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use super::bootstrap::Bootstrap;
use super::call::Call;
use super::shell::Shell;

/// How long anything that surely comes may take on a machine with much else to do, or under valgrind.
const PATIENCE: Duration = Duration::from_secs(120);
const PAUSE: Duration = Duration::from_millis(20);

/// An Envoy that serves. It is killed when this value is dropped.
pub struct Envoy {
    process: Process,
    shell: Shell,
    admin: SocketAddr,
    listeners: BTreeMap<String, SocketAddr>,
}

impl Envoy {
    /// Waits until `process` serves.
    pub async fn ready(mut process: Process, shell: Shell) -> Result<Self> {
        let name = process.logs.name;
        let started = Instant::now();
        let admin = loop {
            if let Some(status) = process.child.try_wait()? {
                bail!("Envoy `{name}` ended while starting: {status}");
            }
            ensure!(started.elapsed() < PATIENCE, "Envoy `{name}` is not ready after {PATIENCE:?}");
            if let Some(admin) = process.admin_address()
                && Call::get("admin")
                    .path("/ready")
                    .http1(admin)
                    .await
                    .is_ok_and(|answer| answer.status == 200)
            {
                break admin;
            }
            tokio::time::sleep(PAUSE).await;
        };
        let statuses =
            Call::get("admin").path("/listeners?format=json").http1(admin).await?.json()?;
        // An Envoy without listeners leaves the list out.
        let statuses = statuses["listener_statuses"].as_array().into_iter().flatten();
        // An internal listener is on no socket.
        let statuses = statuses.filter(|it| it["local_address"].get("socket_address").is_some());
        let listeners = statuses.map(listener_address).collect::<Result<_>>()?;
        Ok(Self { process, shell, admin, listeners })
    }

    /// Where the listener `name` waits for callers.
    pub fn listener(&self, name: &str) -> Result<SocketAddr> {
        self.listeners
            .get(name)
            .copied()
            .with_context(|| format!("no listener `{name}` in {:?}", self.listeners))
    }

    /// The access-log line of the request that was sent for `path`; tests give each request a path
    /// of its own.
    pub async fn access_log(&self, path: &str) -> Result<Value> {
        let record = |line: &str| {
            serde_json::from_str(line).ok().filter(|record: &Value| record["path"] == path)
        };
        self.process
            .logs
            .output
            .first(record)
            .await
            .with_context(|| format!("the access log about `{path}`"))
    }

    /// The lines of the access log but the first `count`.
    pub fn access_log_after(&self, count: usize) -> Vec<String> {
        self.process.logs.output.lock().get(count..).unwrap_or_default().to_vec()
    }

    /// The first line of the access log that `is_wanted`, waiting for it.
    pub async fn first_record(&self, is_wanted: impl Fn(&Value) -> bool) -> Result<Value> {
        let record = |line: &str| serde_json::from_str(line).ok().filter(|it| is_wanted(it));
        self.process.logs.output.first(record).await
    }

    /// The lines of the access log as JSON, once there are `count`.
    pub async fn records(&self, count: usize) -> Result<Vec<Value>> {
        let started = Instant::now();
        loop {
            let lines = self.access_log_after(0);
            if lines.len() >= count {
                let records = lines.iter().map(|line| serde_json::from_str(line));
                return records.collect::<Result<_, _>>().context("a line of JSON");
            }
            ensure!(started.elapsed() < PATIENCE, "{} of {count} lines", lines.len());
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Every line of JSON that the filter itself wrote so far.
    pub fn filter_lines(&self) -> Vec<Value> {
        let record = |line: &String| {
            let (_, text) = self.shell.filter_line(line)?;
            serde_json::from_str(text).ok()
        };
        self.process.logs.errors.lock().iter().filter_map(record).collect()
    }

    /// The filter's own line about the request that was sent for `path`: its level and its JSON as
    /// it was written.
    pub async fn filter_log(&self, path: &str) -> Result<(String, String)> {
        let record = |line: &str| {
            let (prefix, text) = self.shell.filter_line(line)?;
            let record: Value = serde_json::from_str(text).ok()?;
            let level = prefix
                .split(['[', ']'])
                .find(|word| ["info", "warning", "error"].contains(word))?;
            (record["path"] == path).then(|| (level.to_owned(), text.to_owned()))
        };
        self.process
            .logs
            .errors
            .first(record)
            .await
            .with_context(|| format!("the filter's log about `{path}`"))
    }

    /// The lines that Envoy itself wrote with a level over `warning`.
    pub fn errors(&self) -> Vec<String> {
        let is_error = |line: &&String| line.contains("[error]") || line.contains("[critical]");
        self.process.logs.errors.lock().iter().filter(is_error).cloned().collect()
    }

    /// An error for what is deprecated in the configuration it started with.
    pub fn ensure_nothing_is_deprecated(&self) -> Result<()> {
        let lines = self.process.logs.errors.lock();
        let deprecated = lines.iter().find(|line| line.contains("Deprecated field"));
        deprecated.map_or(Ok(()), |line| bail!("{line}"))
    }

    /// The first line of Envoy's own log that holds `text`, waiting for it.
    pub async fn error_log(&self, text: &str) -> Result<String> {
        let line = |line: &str| line.contains(text).then(|| line.to_owned());
        self.process
            .logs
            .errors
            .first(line)
            .await
            .with_context(|| format!("`{text}` in Envoy's log"))
    }

    /// Lets nobody read Envoy's own log, a pipe, until the returned value is dropped.
    pub fn stall_error_log(&self) -> impl Sized + '_ {
        self.process.logs.errors.lock()
    }

    /// Lets nobody read the access log, a pipe, until the returned value is dropped.
    pub fn stall_access_log(&self) -> impl Sized + '_ {
        self.process.logs.output.lock()
    }

    /// Where Envoy answers about itself.
    pub fn admin(&self) -> SocketAddr {
        self.admin
    }

    /// The process.
    pub fn process_id(&self) -> u32 {
        self.process.child.id()
    }

    /// A counter by its name; zero where Envoy does not know it (yet).
    pub async fn counter(&self, name: &str) -> Result<u64> {
        Ok(self.counters(|other| other == name).await?.values().sum())
    }

    /// The counters whose names are `wanted`.
    pub async fn counters(&self, wanted: impl Fn(&str) -> bool) -> Result<BTreeMap<String, u64>> {
        let stats =
            Call::get("admin").path("/stats?format=json").http1(self.admin).await?.json()?;
        let stats = stats["stats"].as_array().context("Envoy lists its statistics")?;
        let counter = |stat: &Value| {
            let (name, value) = (stat["name"].as_str()?, stat["value"].as_u64()?);
            let name = self.shell.counter(name);
            wanted(&name).then_some((name, value))
        };
        Ok(stats.iter().filter_map(counter).collect())
    }
}

fn listener_address(status: &Value) -> Result<(String, SocketAddr)> {
    let name = status["name"].as_str().context("a listener has a name")?;
    let address = &status["local_address"]["socket_address"];
    let host = address["address"].as_str().context("a listener has an address")?.parse()?;
    let port = address["port_value"].as_u64().context("a listener has a port")?.try_into()?;
    Ok((name.to_owned(), SocketAddr::new(host, port)))
}

/// An Envoy that starts, serves, or ends by itself. It is killed when this value is dropped.
pub struct Process {
    child: Child,
    logs: Logs,
    readers: [JoinHandle<()>; 2],
    admin_address_path: PathBuf,
}

impl Process {
    /// Starts `command`, a program with its first arguments, on `bootstrap`, in the package's directory, which the
    /// shipped files are relative to. The files that this takes go to `directory`.
    pub fn spawn(command: &[OsString], directory: &Path, bootstrap: &Bootstrap) -> Result<Self> {
        let (program, arguments) = command.split_first().context("a program")?;
        let name = bootstrap.name;
        let config_path = directory.join(format!("{name}.json"));
        std::fs::write(&config_path, bootstrap.to_json())
            .with_context(|| format!("write {}", config_path.display()))?;
        let admin_address_path = directory.join(format!("{name}.admin"));
        let mut child = Command::new(program)
            .args(arguments)
            .current_dir(kit::REPOSITORY)
            .arg("--config-path")
            .arg(&config_path)
            .arg("--admin-address-path")
            .arg(&admin_address_path)
            // Without hot restart no two Envoys share anything, so no base id has to be found for
            // each.
            .args(["--disable-hot-restart", "--file-flush-interval-msec", "50"])
            .args(["--concurrency", &bootstrap.concurrency.to_string()])
            .args(bootstrap.log_path.into_iter().flat_map(|path| ["--log-path", path]))
            .args(
                bootstrap
                    .drain_seconds
                    .into_iter()
                    .flat_map(|seconds| ["--drain-time-s".to_owned(), seconds.to_string()]),
            )
            .args([
                "--log-level",
                "warning",
                "--component-log-level",
                "wasm:info,dynamic_modules:info",
            ])
            .env("ENVOY_DYNAMIC_MODULES_SEARCH_PATH", "target")
            .envs(bootstrap.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| {
                format!("start {}; `./build.sh test` installs it", program.display())
            })?;
        let (stdout, stderr) =
            child.stdout.take().zip(child.stderr.take()).context("both streams are pipes")?;
        let logs = Logs { name, output: Arc::default(), errors: Arc::default() };
        let readers = [Lines::read(&logs.output, stdout), Lines::read(&logs.errors, stderr)];
        Ok(Self { child, logs, readers, admin_address_path })
    }

    /// Waits for the end of an Envoy that refuses its configuration; returns what it logged.
    pub async fn refusal(mut self) -> Result<Vec<String>> {
        let name = self.logs.name;
        let started = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait()? {
                break status;
            }
            ensure!(started.elapsed() < PATIENCE, "Envoy `{name}` still runs after {PATIENCE:?}");
            tokio::time::sleep(PAUSE).await;
        };
        ensure!(!status.success(), "Envoy `{name}` ended without a fault");
        while self.readers.iter().any(|reader| !reader.is_finished()) {
            tokio::time::sleep(PAUSE).await;
        }
        Ok(self.logs.errors.lock().clone())
    }

    /// What it writes, also after its end.
    pub fn logs(&self) -> Logs {
        self.logs.clone()
    }

    fn admin_address(&self) -> Option<SocketAddr> {
        std::fs::read_to_string(&self.admin_address_path).ok()?.trim().parse().ok()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Either fails only where the process has ended by itself and is gone.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What one Envoy writes. As text: the last lines, for whoever looks for the cause of a failure.
#[derive(Clone)]
pub struct Logs {
    name: &'static str,
    output: Arc<Lines>,
    errors: Arc<Lines>,
}

impl fmt::Display for Logs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const LAST: usize = 20;
        for (stream, lines) in [("stdout", &self.output), ("stderr", &self.errors)] {
            let lines = lines.lock();
            writeln!(f, "--- {} {stream}, the last of {} lines", self.name, lines.len())?;
            for line in lines.iter().skip(lines.len().saturating_sub(LAST)) {
                writeln!(f, "{line}")?;
            }
        }
        Ok(())
    }
}

/// The lines of one stream, as they arrive.
#[derive(Default)]
struct Lines(Mutex<Vec<String>>);

impl Lines {
    fn read(lines: &Arc<Self>, stream: impl Read + Send + 'static) -> JoinHandle<()> {
        let lines = Arc::clone(lines);
        std::thread::spawn(move || {
            for line in BufReader::new(stream).split(b'\n') {
                let Ok(line) = line else { return };
                lines.lock().push(String::from_utf8_lossy(&line).into_owned());
            }
        })
    }

    /// The first line that `found` makes something of, waiting for it.
    async fn first<T>(&self, found: impl Fn(&str) -> Option<T>) -> Result<T> {
        let started = Instant::now();
        loop {
            if let Some(found) = self.lock().iter().find_map(|line| found(line)) {
                return Ok(found);
            }
            ensure!(started.elapsed() < PATIENCE, "not written within {PATIENCE:?}");
            tokio::time::sleep(PAUSE).await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
