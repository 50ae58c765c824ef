//! Envoys under callgrind, which counts the instructions that a process executes, also those of the code
//! that V8 makes at run time.

use std::ffi::OsString;
use std::path::Path;
use std::process::Stdio;

use anyhow::{Context as _, Result, ensure};
use tempfile::TempDir;
use tokio::process::Command;

/// Where the counts of its processes go.
pub(crate) struct Callgrind(TempDir);

impl Callgrind {
    pub(crate) fn new() -> Result<Self> {
        Ok(Self(tempfile::tempdir()?))
    }

    /// What Envoy is started under. It counts nothing until it is asked to, so that starting is quick.
    pub(crate) fn wrapper(&self) -> Vec<OsString> {
        let mut counts = OsString::from("--callgrind-out-file=");
        counts.push(self.0.path().join("%p"));
        let options = [
            "--tool=callgrind",
            "--smc-check=all-non-file",
            "--instr-atstart=no",
            "--separate-threads=yes",
        ];
        let words = ["valgrind", "--quiet"].into_iter().chain(options).map(OsString::from);
        words.chain([counts]).collect()
    }

    /// Makes a process count from now on.
    pub(crate) async fn switch_on(&self, process_id: u32) -> Result<()> {
        control("--instr=on", process_id).await
    }

    /// Makes it begin at 0.
    pub(crate) async fn zero(&self, process_id: u32) -> Result<()> {
        control("--zero", process_id).await
    }

    /// What its worker has counted since: the thread that executed the most. Other threads flush logs and
    /// statistics by the clock, so that their part depends on how long the requests took.
    pub(crate) async fn count(&self, process_id: u32) -> Result<u64> {
        control("--dump", process_id).await?;
        // One file for each thread.
        let prefix = format!("{process_id}.");
        let mut most = None;
        for file in std::fs::read_dir(self.0.path())? {
            let file = file?;
            if file.file_name().to_string_lossy().starts_with(&prefix) {
                most = most.max(Some(total_of(&file.path())?));
                std::fs::remove_file(file.path())?;
            }
        }
        most.context("callgrind wrote no count")
    }
}

/// The line `totals: N` of a file.
fn total_of(path: &Path) -> Result<u64> {
    let text = String::from_utf8_lossy(&std::fs::read(path)?).into_owned();
    let total = text.lines().find_map(|line| line.strip_prefix("totals:"));
    let total = total.with_context(|| format!("no total in {}", path.display()))?;
    Ok(total.trim().parse()?)
}

async fn control(option: &str, process_id: u32) -> Result<()> {
    let output = Command::new("callgrind_control")
        .args([option, &process_id.to_string()])
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .context("start callgrind_control")?;
    let text = String::from_utf8_lossy(&output.stdout);
    // It ends well also where there is no such process.
    ensure!(output.status.success() && text.contains("OK."), "callgrind_control {option}: {text}");
    Ok(())
}
