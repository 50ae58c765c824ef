//! What `egress-warden report` costs on a large log, and how quick its page is in a browser, also on a slow one.
//!
//! `./build.sh bench report` runs it. The log of the tests' fleet, repeated to a million records, lies in the
//! build's own folder meanwhile. Without a browser the command alone is measured. Figures compare on one machine
//! that has nothing else to do.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context as _, Result};
use browser_kit::{Browser, Look, Page, report};

const TOOL: &str = env!("CARGO_BIN_EXE_egress-warden");

/// Writes into the filter of the page, and answers how long it took until all was drawn, in milliseconds.
const FILTER: &str = "
    const [text, done] = arguments;
    const field = document.getElementById('filter-text');
    const before = document.getElementById('filter-status').textContent;
    const start = performance.now();
    field.value = text;
    field.dispatchEvent(new Event('input', {bubbles: true}));
    const look = () => (document.getElementById('filter-status').textContent === before
        ? requestAnimationFrame(look)
        : requestAnimationFrame(() => done(performance.now() - start)));
    look();";

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    // `cargo test` only asks whether the benchmark works.
    let is_measured = std::env::args().any(|argument| argument == "--bench");
    let (records, runs, hosts) = if is_measured { (1_000_000, 3, 10_000) } else { (5_000, 1, 100) };
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let [log, policy, file] =
        ["report.log", "report.yaml", "report.html"].map(|it| folder.join(it));
    write_log(&log, records)?;
    let learnt = Command::new(TOOL).current_dir(kit::REPOSITORY).arg("learn").arg(&log).output()?;
    std::fs::write(&policy, &learnt.stdout)?;
    let arguments = [&*log, Path::new("--policy"), &policy];
    for _ in 0..runs {
        let start = Instant::now();
        let said = report(Path::new(TOOL), folder, &arguments, &file)?;
        let seconds = start.elapsed().as_secs_f64();
        println!(
            "report of {} records  {seconds:>6.2} s, {} bytes",
            said["requests"], said["bytes"]
        );
    }
    std::fs::remove_file(&log)?;
    let Some(browser) = Browser::start().await? else { return Ok(()) };
    for slowdown in [1, 4] {
        for _ in 0..runs {
            let start = Instant::now();
            let page = Page::open(&browser, &file, Look { slowdown, ..Look::DESKTOP }).await?;
            let opened = start.elapsed().as_millis();
            let filtered =
                browser.run_async(FILTER, &["deny".into()]).await?.as_f64().context("a time")?;
            page.judge("policy: none\ndefault: deny\n").await?;
            page.judge(&wide_policy(hosts)).await?;
            let judged = page.text("what-if-status").await?;
            println!(
                "processor 1/{slowdown}: opened in {opened} ms, filtered in {filtered:.0} ms; a policy of {hosts} hosts: {judged}"
            );
        }
    }
    Ok(())
}

fn write_log(path: &Path, records: usize) -> Result<()> {
    let traffic = kit::fleet::traffic(1);
    let mut file = BufWriter::new(File::create(path)?);
    for (number, (_, sent)) in traffic.iter().cycle().take(records).enumerate() {
        writeln!(file, "{}", kit::access_log::line(number, sent))?;
    }
    Ok(file.flush()?)
}

/// A policy with so many hosts.
fn wide_policy(hosts: usize) -> String {
    let hosts: Vec<_> =
        (0..hosts).map(|number| format!("  - hosts: [h{number}.example.com]\n")).collect();
    format!(
        "policy: wide\ndefault: deny\nrules:\n- id: wide\n  action: allow\n  to:\n{}",
        hosts.concat()
    )
}
