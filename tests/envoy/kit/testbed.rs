//! Envoys of one version, started and stopped for one test.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context as _, Result, ensure};
use tempfile::TempDir;

use super::bootstrap::Bootstrap;
use super::process::{Envoy, Logs, Process};
use super::shell::Shell;

/// Where Envoys of one version run. When a test panics, what they wrote last is printed.
pub struct Testbed {
    version: String,
    /// What starts an Envoy: a program, and its first arguments.
    command: Vec<OsString>,
    shell: Shell,
    directory: TempDir,
    logs: Mutex<Vec<Logs>>,
}

/// The reference path: a sidecar, the egress gateway, and the external service behind both.
pub struct Mesh {
    pub sidecar: Envoy,
    pub gateway: Envoy,
    pub external: Envoy,
}

impl Testbed {
    /// A testbed for the Envoy that `build.sh` installs as `version`.
    pub fn new(version: &str) -> Result<Self> {
        Self::starting(version, vec![installed(version).join("bin/envoy").into()])
    }

    /// The same, where every Envoy runs under another program, such as valgrind: `wrapper` is that program with its
    /// arguments. It gets the binary itself, as `bin/envoy` is a script.
    pub fn under(wrapper: Vec<OsString>, version: &str) -> Result<Self> {
        let libraries = installed(version).join("lib");
        let python = std::fs::read_dir(&libraries).ok().and_then(|mut folders| folders.next());
        let python = python.with_context(|| format!("no package in {}", libraries.display()))??;
        let binary = python.path().join("site-packages/envoy/_bin/envoy");
        Self::starting(version, wrapper.into_iter().chain([binary.into()]).collect())
    }

    fn starting(version: &str, command: Vec<OsString>) -> Result<Self> {
        let version = version.to_owned();
        Ok(Self {
            version,
            command,
            shell: Shell::Wasm,
            directory: tempfile::tempdir()?,
            logs: Mutex::default(),
        })
    }

    /// The same with the filter in another form than in Proxy-Wasm, which the shipped files have.
    #[must_use]
    pub fn with(mut self, shell: Shell) -> Self {
        self.shell = shell;
        self
    }

    /// The version of its Envoys.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// How the filter runs in them.
    pub fn shell(&self) -> Shell {
        self.shell
    }

    /// Whether the filter learns the TLS server name: Envoy 1.38 does not tell a dynamic module.
    pub fn tells_server_name(&self) -> bool {
        self.shell == Shell::Wasm || !self.version.starts_with("1.38.")
    }

    /// Whether the filter shows its policy by gauges: Envoy 1.38 does not let a dynamic module.
    pub fn sets_gauges(&self) -> bool {
        self.tells_server_name()
    }

    /// The whole path on free ports, with the given gateway.
    pub async fn mesh(&self, gateway: Bootstrap) -> Result<Mesh> {
        let mut sidecar = Bootstrap::sidecar()?;
        let gateway_port = gateway.listener_port("egress")?;
        let (gateway, external) = self.gateway(gateway).await?;
        sidecar.bind_free_ports();
        sidecar.redirect(gateway_port, gateway.listener("egress")?.port());
        sidecar.redirect(
            Bootstrap::external()?.listener_port("external")?,
            external.listener("external")?.port(),
        );
        let mesh = Mesh { sidecar: self.start(&sidecar).await?, gateway, external };
        for envoy in [&mesh.sidecar, &mesh.gateway, &mesh.external] {
            envoy.ensure_nothing_is_deprecated()?;
        }
        Ok(mesh)
    }

    /// The given gateway on free ports, and the external service behind it.
    pub async fn gateway(&self, gateway: Bootstrap) -> Result<(Envoy, Envoy)> {
        self.gateway_before(Bootstrap::external()?, gateway).await
    }

    /// The given gateway before the given external service, both on free ports.
    pub async fn gateway_before(
        &self,
        mut external: Bootstrap,
        mut gateway: Bootstrap,
    ) -> Result<(Envoy, Envoy)> {
        let external_port = external.listener_port("external")?;
        external.bind_free_ports();
        let external = self.start(&external).await?;
        gateway.bind_free_ports();
        gateway.redirect(external_port, external.listener("external")?.port());
        Ok((self.start(&gateway).await?, external))
    }

    /// Starts an Envoy and waits until it serves.
    pub async fn start(&self, bootstrap: &Bootstrap) -> Result<Envoy> {
        // An Envoy would share them with another one, and half of the requests would go astray.
        ensure!(bootstrap.ports_are_free(), "ports of `{}` are taken", bootstrap.name);
        Envoy::ready(self.spawn(bootstrap)?, self.shell).await
    }

    /// Starts an Envoy that refuses its configuration; returns what it logged.
    pub async fn refusal(&self, mut bootstrap: Bootstrap) -> Result<Vec<String>> {
        bootstrap.bind_free_ports();
        self.spawn(&bootstrap)?.refusal().await
    }

    /// What every Envoy of this testbed wrote last.
    pub fn logs(&self) -> String {
        let logs = self.logs.lock().unwrap_or_else(PoisonError::into_inner);
        logs.iter().map(ToString::to_string).collect()
    }

    fn spawn(&self, bootstrap: &Bootstrap) -> Result<Process> {
        let mut logs = self.logs.lock().unwrap_or_else(PoisonError::into_inner);
        let directory = self.directory.path().join(logs.len().to_string());
        std::fs::create_dir(&directory)?;
        let mut bootstrap = bootstrap.clone();
        self.shell.apply(&mut bootstrap);
        let process = Process::spawn(&self.command, &directory, &bootstrap)?;
        logs.push(process.logs());
        Ok(process)
    }
}

/// Where `build.sh` installs a version of Envoy, as a package of Python's.
fn installed(version: &str) -> PathBuf {
    Path::new(kit::REPOSITORY).join("target/envoy").join(version)
}

impl Drop for Testbed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.logs());
        }
    }
}
