//! The CPU time of another process.

use std::time::Duration;

use anyhow::Result;

/// User and system time of all threads of the process so far, those that ended included.
///
/// By the process's CPU clock, which counts nanoseconds: `/proc/PID/stat` counts the same time in
/// hundredths of a second, and not every kernel keeps `/proc/PID/task/*/schedstat`.
#[cfg(target_os = "linux")]
pub(crate) fn time_of(process_id: u32) -> Result<Duration> {
    let clock =
        nix::time::clock_getcpuclockid(nix::unistd::Pid::from_raw(process_id.cast_signed()))?;
    Ok(nix::time::clock_gettime(clock)?.into())
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn time_of(_process_id: u32) -> Result<Duration> {
    anyhow::bail!("the CPU time of another process is read on Linux only")
}
