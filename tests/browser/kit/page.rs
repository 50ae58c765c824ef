//! A page of `egress-warden report`, opened in a browser.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::{Browser, Look};

/// Long enough on a busy machine; what is awaited comes at once on a quiet one.
const PATIENCE: Duration = Duration::from_secs(120);

/// A page that is open.
#[derive(Debug)]
pub struct Page<'b> {
    browser: &'b Browser,
}

/// What axe-core finds of its rules for the first two levels of WCAG 2.2, and of its best practices.
const ASK_AXE: &str = "
    const done = arguments[0];
    axe.run(document, {resultTypes: ['violations']}).then(
        ({violations}) => done(violations.map(({id, nodes}) => `${id}: ${nodes.map(it => `${it.html.slice(0, 200)} ${it.failureSummary}`).join('; ')}`)),
        (error) => done([String(error)]));";

/// What a user reads of a table: the texts of its cells, by row.
const ROWS: &str = "
    return [...document.querySelectorAll(`#${arguments[0]} tbody tr`)]
        .map((row) => [...row.cells].map((cell) => cell.innerText.trim()));";

impl<'b> Page<'b> {
    /// Opens the file, and waits until it is shown.
    pub async fn open(browser: &'b Browser, file: &Path, look: Look) -> Result<Self> {
        browser.open(file, look).await?;
        let page = Self { browser };
        page.until("the page is shown", "return document.documentElement.dataset.ready === 'true'")
            .await?;
        Ok(page)
    }

    /// Waits until a function's body returns true.
    pub async fn until(&self, what: &str, script: &str) -> Result<()> {
        let start = Instant::now();
        while self.browser.run(script, &[]).await? != json!(true) {
            ensure!(
                start.elapsed() < PATIENCE,
                "in vain until {what}: {:?}",
                self.browser.console().await?
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    /// What stands in an element, as it is seen.
    pub async fn text(&self, id: &str) -> Result<String> {
        let script = "return document.getElementById(arguments[0])?.innerText ?? null";
        let text = self.browser.run(script, &[json!(id)]).await?;
        Ok(text.as_str().with_context(|| format!("no element `{id}`"))?.to_owned())
    }

    /// The number that a total shows, 0 where it is not shown.
    pub async fn total(&self, id: &str) -> Result<u64> {
        let script = "return document.querySelector(`#${arguments[0]} .value`)?.innerText ?? '0'";
        let text = self.browser.run(script, &[json!(id)]).await?;
        let digits: String =
            text.as_str().context("text")?.chars().filter(char::is_ascii_digit).collect();
        Ok(digits.parse()?)
    }

    /// The texts of a table's cells.
    pub async fn rows(&self, id: &str) -> Result<Vec<Vec<String>>> {
        Ok(serde_json::from_value(self.browser.run(ROWS, &[json!(id)]).await?)?)
    }

    /// Writes a text into a field, as somebody does who replaces all of it.
    pub async fn write(&self, id: &str, text: &str) -> Result<()> {
        let script = "
            const field = document.getElementById(arguments[0]);
            field.focus();
            field.value = arguments[1];
            field.dispatchEvent(new Event('input', {bubbles: true}));";
        self.browser.run(script, &[json!(id), json!(text)]).await?;
        Ok(())
    }

    /// Clicks what a selector finds first.
    pub async fn click(&self, selector: &str) -> Result<()> {
        let script = "document.querySelector(arguments[0]).click()";
        self.browser.run(script, &[json!(selector)]).await?;
        Ok(())
    }

    /// Writes a policy into the box, and waits for what it says of it.
    pub async fn judge(&self, policy: &str) -> Result<()> {
        // The status of the policy before must not be taken for this one's.
        self.browser.run("document.getElementById('what-if-status').textContent = ''", &[]).await?;
        self.write("what-if-policy", policy).await?;
        self.until(
            "the policy is judged",
            "return /^Judged|nothing is judged|cannot be judged/.test(document.getElementById('what-if-status').textContent)",
        )
        .await
    }

    /// What an automated check of accessibility finds.
    pub async fn barriers(&self) -> Result<Vec<String>> {
        let axe = kit_path("target/page/node_modules/axe-core/axe.min.js");
        let axe = std::fs::read_to_string(&axe)
            .with_context(|| format!("read {}; `./build.sh page` installs it", axe.display()))?;
        self.browser.run(&axe, &[]).await?;
        Ok(serde_json::from_value(self.browser.run_async(ASK_AXE, &[]).await?)?)
    }

    /// Fails if the page wrote to its console, or asked for anything but itself.
    pub async fn ensure_quiet(&self) -> Result<()> {
        let console = self.browser.console().await?;
        ensure!(console.is_empty(), "{console:?}");
        let others: Vec<_> = self.browser.requests().await?;
        let others: Vec<_> = others
            .iter()
            .filter(|it| !it.starts_with("file://") || !it.ends_with(".html"))
            .collect();
        ensure!(others.is_empty(), "{others:?}");
        Ok(())
    }
}

/// Writes a page with the command-line tool, run in this folder; what it says of it as JSON.
pub fn report(tool: &Path, folder: &Path, arguments: &[&Path], output: &Path) -> Result<Value> {
    let run = Command::new(tool)
        .current_dir(folder)
        .args(["report", "--format", "json"])
        .args(arguments)
        .arg("--output")
        .arg(output)
        .output()?;
    // Of a log without a request it writes the page, too, and fails.
    serde_json::from_slice(&run.stdout)
        .with_context(|| String::from_utf8_lossy(&run.stderr).into_owned())
}

fn kit_path(path: &str) -> PathBuf {
    Path::new(kit::REPOSITORY).join(path)
}
