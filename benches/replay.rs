//! What `egress-warden replay` costs on a large log: records a second and memory at its highest.
//!
//! `./build.sh bench replay` runs it. The log of the tests' fleet, repeated to a
//! million records, lies in the build's own folder meanwhile. Figures compare on one machine that has
//! nothing else to do.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

fn main() -> std::io::Result<()> {
    // `cargo test` only asks whether the benchmark works.
    let is_measured = std::env::args().any(|argument| argument == "--bench");
    let (records, runs) = if is_measured { (1_000_000, 5) } else { (10_000, 1) };
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let (log, policy) = (folder.join("replay.log"), folder.join("replay.yaml"));
    let size = write_log(&log, records)?;
    let learnt = Command::new(env!("CARGO_BIN_EXE_egress-warden"))
        .current_dir(kit::REPOSITORY)
        .arg("learn")
        .arg(&log)
        .output()?;
    std::fs::write(&policy, &learnt.stdout)?;
    println!("{records} records of {} bytes", size / records as u64);
    for _ in 0..runs {
        let (time, memory) = replay(&policy, &log)?;
        println!(
            "replay  {:>8.0} records/s  {:>6.2} s  {:>4} MiB at most",
            records as f64 / time.as_secs_f64(),
            time.as_secs_f64(),
            memory / 1024
        );
    }
    std::fs::remove_file(log)
}

/// Its size in bytes.
fn write_log(path: &Path, records: usize) -> std::io::Result<u64> {
    let traffic = kit::fleet::traffic(1);
    let mut file = BufWriter::new(File::create(path)?);
    for (number, (_, sent)) in traffic.iter().cycle().take(records).enumerate() {
        writeln!(file, "{}", kit::access_log::line(number, sent))?;
    }
    file.flush()?;
    Ok(std::fs::metadata(path)?.len())
}

/// How long it took, and the most memory that was resident, in KiB.
fn replay(policy: &Path, log: &Path) -> std::io::Result<(Duration, u64)> {
    let start = Instant::now();
    let mut tool = Command::new(env!("CARGO_BIN_EXE_egress-warden"))
        .current_dir(kit::REPOSITORY)
        .arg("replay")
        .args([policy, log])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    let status = format!("/proc/{}/status", tool.id());
    let mut memory = 0;
    while tool.try_wait()?.is_none() {
        memory = memory.max(resident(&status).unwrap_or(0));
        std::thread::sleep(Duration::from_millis(5));
    }
    let status = tool.wait()?;
    // 1: it decides otherwise than the log in places.
    if !matches!(status.code(), Some(0 | 1)) {
        return Err(std::io::Error::other(format!("replay ends with {status}")));
    }
    Ok((start.elapsed(), memory))
}

fn resident(status: &str) -> Option<u64> {
    let status = std::fs::read_to_string(status).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}
