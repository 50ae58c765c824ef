//! What a terminal shows while long logs are read: how far it is, how fast, and how long it will take.

use indicatif::{HumanCount, ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Inputs that are read sooner show nothing.
const DELAY: Duration = Duration::from_secs(2);
/// Where the sizes of all files are known.
const WITH_SIZE: &str = "{bar:30} {bytes} of {total_bytes}, {msg}, {eta} left";
const WITHOUT_SIZE: &str = "{bytes}, {msg}";

/// A bar on standard error; nothing where that is no terminal.
pub(super) struct Progress {
    bar: ProgressBar,
    start: Instant,
    is_shown: bool,
}

impl Progress {
    /// Of files that are not opened yet.
    pub(super) fn new(paths: &[PathBuf]) -> Self {
        let size = |path: &PathBuf| {
            std::fs::metadata(path).ok().filter(|it| it.is_file()).map(|it| it.len())
        };
        let total: Option<u64> = paths.iter().map(size).sum();
        let bar = ProgressBar::with_draw_target(total, ProgressDrawTarget::hidden());
        let template = if total.is_some() { WITH_SIZE } else { WITHOUT_SIZE };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        Self { bar, start: Instant::now(), is_shown: false }
    }

    /// What counts the bytes of the files.
    pub(super) fn bar(&self) -> ProgressBar {
        self.bar.clone()
    }

    /// Shows how far it is, where it has taken a while.
    pub(super) fn tell(&mut self, lines: u64) {
        let time = self.start.elapsed();
        if time < DELAY {
            return;
        }
        self.bar.set_message(speed(lines, time));
        if !self.is_shown {
            self.is_shown = true;
            self.bar.set_draw_target(ProgressDrawTarget::stderr());
            self.bar.tick();
        }
    }

    /// Takes it off the terminal.
    pub(super) fn finish(self) {
        self.bar.finish_and_clear();
    }
}

/// The speed in words.
fn speed(lines: u64, time: Duration) -> String {
    let a_second = u128::from(lines) * 1000 / time.as_millis().max(1);
    format!("{} lines/s", HumanCount(u64::try_from(a_second).unwrap_or(u64::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_speed_is_lines_a_second() {
        for (lines, milliseconds, expected) in [
            (1_500_000, 2_500, "600,000 lines/s"),
            (0, 2_000, "0 lines/s"),
            (7, 0, "7,000 lines/s"),
        ] {
            assert_eq!(speed(lines, Duration::from_millis(milliseconds)), expected);
        }
    }

    #[test]
    fn time_left_is_told_where_the_sizes_are_known() {
        let file = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"));
        let known = Progress::new(&[file.clone(), file.clone()]);
        assert_eq!(known.bar.length(), Some(2 * std::fs::metadata(&file).unwrap().len()));
        assert_eq!(Progress::new(&[file, PathBuf::from("-")]).bar.length(), None);
        for template in [WITH_SIZE, WITHOUT_SIZE] {
            assert!(ProgressStyle::with_template(template).is_ok(), "{template}");
        }
    }
}
