//! Logs cut into chunks of whole lines.

use super::compression;
use super::prefix::Parts;
use crate::failure::Failure;
use crate::input;
use indicatif::{ProgressBar, ProgressStyle};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// Longest line that is read, in bytes. Envoy takes 60 KiB of request headers unless told otherwise.
pub(super) const MAX_LINE: usize = 1 << 20;

/// What a chunk holds at least, unless its log ends, in bytes.
const CHUNK: usize = 1 << 20;

/// Whole lines of one log.
#[derive(Debug)]
pub(super) struct Chunk {
    /// The log, by its position among those named.
    pub(super) log: usize,
    first_line: u64,
    bytes: Vec<u8>,
    parts_before: Parts,
}

impl Chunk {
    /// Which parts of lines are open where the chunk begins.
    pub(super) fn parts_before(&self) -> Parts {
        self.parts_before
    }

    /// The lines, without their ends, each with its number. Of a line over [`MAX_LINE`] there is one
    /// byte more than that.
    pub(super) fn lines(&self) -> impl Iterator<Item = (&[u8], u64)> {
        let mut rest = &*self.bytes;
        let mut number = self.first_line;
        std::iter::from_fn(move || {
            if rest.is_empty() {
                return None;
            }
            let end = memchr::memchr(b'\n', rest).unwrap_or(rest.len());
            let (line, after) = rest.split_at_checked(end)?;
            rest = after.get(1..).unwrap_or_default();
            number += 1;
            Some((line.strip_suffix(b"\r").unwrap_or(line), number - 1))
        })
    }
}

/// The chunks of all logs, numbered in their order. A log that cannot be read on ends the sequence.
pub(super) struct Chunks<'a> {
    paths: &'a [PathBuf],
    next_log: usize,
    log: Option<Log>,
    count: u64,
    is_broken: bool,
    progress: ProgressBar,
}

/// One open log.
pub(super) struct Log {
    number: usize,
    bytes: Box<dyn Read + Send>,
    /// The start of a line whose end is not read yet.
    carry: Vec<u8>,
    next_line: u64,
    /// Of the lines so far.
    parts: Parts,
    is_at_end: bool,
}

impl<'a> Chunks<'a> {
    pub(super) fn new(paths: &'a [PathBuf]) -> Self {
        Self {
            paths,
            next_log: 0,
            log: None,
            count: 0,
            is_broken: false,
            progress: progress(paths),
        }
    }

    /// Takes the progress bar off the terminal.
    pub(super) fn finish(self) {
        self.progress.finish_and_clear();
    }

    fn next_chunk(&mut self) -> Option<Result<Chunk, Failure>> {
        loop {
            if self.log.is_none() {
                let path = self.paths.get(self.next_log)?;
                match compression::open(path, &self.progress) {
                    Ok(bytes) => self.log = Some(Log::new(self.next_log, bytes)),
                    Err(error) => return Some(Err(input::unreadable(path, &error))),
                }
                self.next_log += 1;
            }
            let log = self.log.as_mut()?;
            match log.next() {
                Ok(Some(chunk)) => return Some(Ok(chunk)),
                Ok(None) => self.log = None,
                Err(error) => {
                    let path = self.paths.get(log.number)?;
                    return Some(Err(cut_short(path, log.next_line - 1, &error)));
                }
            }
        }
    }
}

impl Iterator for Chunks<'_> {
    type Item = (u64, Result<Chunk, Failure>);

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_broken {
            return None;
        }
        let chunk = self.next_chunk()?;
        self.is_broken = chunk.is_err();
        let number = self.count;
        self.count += 1;
        Some((number, chunk))
    }
}

impl Log {
    pub(super) fn new(number: usize, bytes: Box<dyn Read + Send>) -> Self {
        let parts = Parts::START;
        Self { number, bytes, carry: Vec::new(), next_line: 1, parts, is_at_end: false }
    }

    /// The next lines; `None` at the end.
    pub(super) fn next(&mut self) -> io::Result<Option<Chunk>> {
        let mut bytes = std::mem::take(&mut self.carry);
        bytes.reserve(CHUNK.saturating_sub(bytes.len()));
        while !self.is_at_end {
            self.read(&mut bytes)?;
            if self.is_at_end {
                break;
            }
            if let Some(end) = memchr::memrchr(b'\n', &bytes) {
                self.carry.extend_from_slice(bytes.get(end + 1..).unwrap_or_default());
                bytes.truncate(end + 1);
                break;
            }
            if bytes.len() > MAX_LINE {
                self.skip_line()?;
                break;
            }
        }
        if bytes.is_empty() {
            return Ok(None);
        }
        if !bytes.contains(&b'\n') {
            bytes.truncate(MAX_LINE + 1);
        }
        let first_line = self.next_line;
        let ends = memchr::memchr_iter(b'\n', &bytes).count();
        let unended = usize::from(!bytes.ends_with(b"\n"));
        self.next_line += u64::try_from(ends + unended).unwrap_or(u64::MAX);
        let chunk = Chunk { log: self.number, first_line, bytes, parts_before: self.parts };
        for (line, _) in chunk.lines() {
            self.parts.take(line);
        }
        Ok(Some(chunk))
    }

    /// Reads about a chunk.
    fn read(&mut self, bytes: &mut Vec<u8>) -> io::Result<()> {
        let wanted = u64::try_from(CHUNK).unwrap_or(u64::MAX);
        let read = (&mut self.bytes).take(wanted).read_to_end(bytes)?;
        self.is_at_end = read == 0;
        Ok(())
    }

    /// Drops the rest of a line.
    fn skip_line(&mut self) -> io::Result<()> {
        let mut bytes = Vec::with_capacity(CHUNK);
        while !self.is_at_end {
            bytes.clear();
            self.read(&mut bytes)?;
            if let Some(end) = memchr::memchr(b'\n', &bytes) {
                self.carry.extend_from_slice(bytes.get(end + 1..).unwrap_or_default());
                break;
            }
        }
        Ok(())
    }
}

fn cut_short(path: &Path, lines: u64, error: &io::Error) -> Failure {
    let problem = match error.kind() {
        io::ErrorKind::UnexpectedEof => {
            format!("the compressed data ends early, after {lines} lines")
        }
        io::ErrorKind::IsADirectory => return input::unreadable(path, error),
        _ => format!("cannot be read on after {lines} lines: {error}"),
    };
    Failure::new(
        input::name(path),
        problem,
        "give the whole file, or unpack the part that is there",
    )
}

/// A bar on standard error; nothing where that is no terminal.
fn progress(paths: &[PathBuf]) -> ProgressBar {
    let sizes: Option<Vec<u64>> = paths
        .iter()
        .map(|path| std::fs::metadata(path).ok().filter(|it| it.is_file()).map(|it| it.len()))
        .collect();
    let template = "{bar:40} {bytes} of {total_bytes}, {bytes_per_sec}, {eta} left";
    match (sizes, ProgressStyle::with_template(template)) {
        (Some(sizes), Ok(style)) => ProgressBar::new(sizes.iter().sum()).with_style(style),
        _ => ProgressBar::no_length(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines_of(bytes: &[u8]) -> Vec<(u64, usize)> {
        let mut log = Log::new(0, Box::new(io::Cursor::new(bytes.to_vec())));
        let mut lines = Vec::new();
        while let Some(chunk) = log.next().unwrap() {
            lines.extend(chunk.lines().map(|(line, number)| (number, line.len())));
        }
        lines
    }

    #[test]
    fn chunks_are_cut_at_line_ends_and_lose_nothing() {
        let mut bytes = Vec::new();
        let mut expected = Vec::new();
        for number in 1..=9_001 {
            let length = number * 37 % 900;
            bytes.extend(std::iter::repeat_n(b'x', length));
            bytes.push(b'\n');
            expected.push((u64::try_from(number).unwrap(), length));
        }
        assert!(bytes.len() > 3 * CHUNK);
        assert!(lines_of(&bytes) == expected);
        bytes.pop();
        assert!(lines_of(&bytes) == expected, "without the last line end");
    }

    #[test]
    fn a_gigantic_line_is_cut_and_the_next_one_is_whole() {
        for size in [MAX_LINE, MAX_LINE + 1, 2 * MAX_LINE, 10 << 20] {
            let mut bytes = b"a\n".to_vec();
            bytes.resize(2 + size, b'x');
            bytes.extend(b"\nlast");
            let seen = lines_of(&bytes);
            let [(1, 1), (2, long), (3, 4)] = seen[..] else { panic!("{size}: {seen:?}") };
            assert_eq!(long > MAX_LINE, size > MAX_LINE);
            bytes.truncate(bytes.len() - 5);
            let seen = lines_of(&bytes);
            assert_eq!(seen.len(), 2, "{size}: at the end of a log");
        }
    }

    #[test]
    fn carriage_returns_and_blank_lines_are_no_content() {
        assert_eq!(lines_of(b"ab\r\n\n\r\nc"), [(1, 2), (2, 0), (3, 0), (4, 1)]);
        assert_eq!(lines_of(b""), []);
    }
}
