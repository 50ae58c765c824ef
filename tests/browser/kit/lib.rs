//! Pages in a real browser: Chromium, driven by ChromeDriver. A browser has a profile of its own, and ends
//! with what it started when its value is dropped.

mod command;
mod page;

pub use page::{Page, report};

use std::io::{BufRead as _, BufReader};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use fantoccini::{Client, ClientBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use serde_json::{Value, json};
use tempfile::TempDir;

use command::{Chrome, Log};

/// How a page is looked at.
#[derive(Clone, Copy, Debug)]
pub struct Look {
    pub theme: Theme,
    /// In CSS pixels.
    pub width: u32,
    /// In CSS pixels.
    pub height: u32,
    /// How many times slower than here its processor is.
    pub slowdown: u32,
}

/// What the system says that its user prefers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Theme {
    Light,
    Dark,
}

impl Look {
    /// A desktop in the light theme.
    pub const DESKTOP: Self = Self { theme: Theme::Light, width: 1280, height: 900, slowdown: 1 };
}

/// A browser with one window.
#[derive(Debug)]
pub struct Browser {
    client: Client,
    _driver: Driver,
    _profile: TempDir,
}

impl Browser {
    /// `None`, with a line that says so, where there is no ChromeDriver.
    pub async fn start() -> Result<Option<Self>> {
        let Some(driver) = Driver::start()? else {
            println!(
                "skipped: no `chromedriver` on the path (Debian's package is chromium-driver)"
            );
            return Ok(None);
        };
        let profile = tempfile::tempdir()?;
        let capabilities = json!({
            "browserName": "chrome",
            "goog:chromeOptions": {"args": [
                "--headless=new",
                // Chromium has no sandbox for root, as whom tests run in containers. The pages are our own.
                "--no-sandbox",
                "--disable-dev-shm-usage",
                "--force-color-profile=srgb",
                "--hide-scrollbars",
                format!("--user-data-dir={}", profile.path().display()),
            ]},
            "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"},
        });
        let capabilities = capabilities.as_object().context("an object")?.clone();
        let client = ClientBuilder::new(HttpConnector::new())
            .capabilities(capabilities)
            .connect(&driver.address)
            .await
            .context("start Chromium by ChromeDriver")?;
        Ok(Some(Self { client, _driver: driver, _profile: profile }))
    }

    /// Opens a file. What was logged before is forgotten.
    pub async fn open(&self, file: &Path, look: Look) -> Result<()> {
        let Look { theme, width, height, slowdown } = look;
        let theme = if theme == Theme::Dark { "dark" } else { "light" };
        self.chrome("Emulation.setEmulatedMedia", json!({
            "features": [{"name": "prefers-color-scheme", "value": theme}, {"name": "prefers-reduced-motion", "value": "reduce"}],
        })).await?;
        self.chrome(
            "Emulation.setDeviceMetricsOverride",
            json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false}),
        )
        .await?;
        self.chrome("Emulation.setCPUThrottlingRate", json!({"rate": slowdown})).await?;
        self.client.goto("about:blank").await?;
        self.log("browser").await?;
        self.log("performance").await?;
        let path = file.canonicalize()?;
        self.client.goto(&format!("file://{}", path.display())).await?;
        Ok(())
    }

    /// What a function's body returns in the page.
    pub async fn run(&self, script: &str, arguments: &[Value]) -> Result<Value> {
        Ok(self.client.execute(script, arguments.to_vec()).await?)
    }

    /// What a function's body gives to the function that is its last argument.
    pub async fn run_async(&self, script: &str, arguments: &[Value]) -> Result<Value> {
        Ok(self.client.execute_async(script, arguments.to_vec()).await?)
    }

    /// The page as it is driven by hand.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// What the page wrote to its console since it was opened, and what the browser complained of.
    pub async fn console(&self) -> Result<Vec<String>> {
        let entries = self.log("browser").await?;
        let entries = entries.as_array().context("entries")?.iter();
        Ok(entries.map(|entry| format!("{}: {}", entry["level"], entry["message"])).collect())
    }

    /// What the page asked for since it was opened, itself included, by address.
    pub async fn requests(&self) -> Result<Vec<String>> {
        let entries = self.log("performance").await?;
        let mut requests = Vec::new();
        for entry in entries.as_array().context("entries")? {
            let message: Value = serde_json::from_str(entry["message"].as_str().context("text")?)?;
            let (method, given) = (&message["message"]["method"], &message["message"]["params"]);
            let address = match method.as_str() {
                Some("Network.requestWillBeSent") => &given["request"]["url"],
                Some("Network.webSocketCreated" | "Network.webTransportCreated") => &given["url"],
                _ => continue,
            };
            requests.push(address.as_str().context("an address")?.to_owned());
        }
        Ok(requests)
    }

    /// The whole page as a picture, PNG.
    pub async fn picture(&self, height: Option<u32>) -> Result<Vec<u8>> {
        match height {
            None => Ok(self.client.screenshot().await?),
            Some(height) => {
                let width = self.run("return innerWidth", &[]).await?;
                self.chrome(
                    "Emulation.setDeviceMetricsOverride",
                    json!({
                        "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false,
                    }),
                )
                .await?;
                Ok(self.client.screenshot().await?)
            }
        }
    }

    /// A command of Chrome's own protocol (DevTools).
    pub async fn chrome(&self, command: &'static str, given: Value) -> Result<Value> {
        Ok(self.client.issue_cmd(Chrome { command, given }).await?)
    }

    async fn log(&self, kind: &'static str) -> Result<Value> {
        Ok(self.client.issue_cmd(Log { kind }).await?)
    }
}

/// ChromeDriver, in a process group of its own with its browsers.
#[derive(Debug)]
struct Driver {
    process: Child,
    address: String,
}

impl Driver {
    /// At a free port.
    fn start() -> Result<Option<Self>> {
        let started = Command::new("chromedriver")
            .arg("--port=0")
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn();
        let Ok(mut process) = started else { return Ok(None) };
        let output = process.stdout.take().context("its output")?;
        for line in BufReader::new(output).lines() {
            let line = line?;
            if let Some((_, port)) = line.split_once("started successfully on port ") {
                let address = format!("http://127.0.0.1:{}", port.trim_end_matches('.'));
                return Ok(Some(Self { process, address }));
            }
        }
        ensure!(process.try_wait()?.is_none(), "ChromeDriver ended as it started");
        anyhow::bail!("ChromeDriver says no port")
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        // With its browsers. Either fails only where all have ended by themselves.
        if let Ok(group) = self.process.id().try_into() {
            let _ = killpg(Pid::from_raw(group), Signal::SIGKILL);
        }
        let _ = self.process.wait();
    }
}
