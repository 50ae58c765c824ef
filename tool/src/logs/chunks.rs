//! Logs cut into chunks of whole lines. Lines that a container runtime cut are joined here, and JSON over
//! many lines is made lines of.

use super::compression::{self, Unopened};
use super::documents::{self, Fed, Splitter};
use super::parts::{Parts, Taken};
use crate::failure::Failure;
use crate::input;
use indicatif::ProgressBar;
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
    bytes: Vec<u8>,
    numbers: Numbers,
}

/// The numbers of a chunk's lines.
#[derive(Debug)]
enum Numbers {
    /// They follow each other from this one.
    From(u64),
    /// Lines were put together or taken apart: in which line of the log each begins.
    Each(Vec<u64>),
}

impl Numbers {
    fn get(&self, index: usize) -> u64 {
        match self {
            Self::From(first) => first.saturating_add(u64::try_from(index).unwrap_or(u64::MAX)),
            Self::Each(numbers) => numbers.get(index).copied().unwrap_or_default(),
        }
    }
}

impl Chunk {
    /// The lines, without their ends, each with its number. Of a line over [`MAX_LINE`] there is one
    /// byte more than that.
    pub(super) fn lines(&self) -> impl Iterator<Item = (&[u8], u64)> {
        lines(&self.bytes).enumerate().map(|(index, line)| (line, self.numbers.get(index)))
    }
}

/// The lines of some bytes, without their ends.
fn lines(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let end = memchr::memchr(b'\n', rest).unwrap_or(rest.len());
        let (line, after) = rest.split_at_checked(end)?;
        rest = after.get(1..).unwrap_or_default();
        Some(line.strip_suffix(b"\r").unwrap_or(line))
    })
}

/// The chunks of all logs, numbered in their order. A log that cannot be read on ends the sequence.
pub(super) struct Chunks<'a> {
    paths: &'a [PathBuf],
    next_log: usize,
    log: Option<Log>,
    /// Of the log before.
    parts: Parts,
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
    /// The document that is open.
    document: Option<Splitter>,
    /// Whether the rest of a line that is too long is still to be dropped.
    is_in_long_line: bool,
    is_at_end: bool,
}

impl<'a> Chunks<'a> {
    /// `progress` counts the bytes of the files.
    pub(super) fn new(paths: &'a [PathBuf], progress: ProgressBar) -> Self {
        Self {
            paths,
            next_log: 0,
            log: None,
            parts: Parts::default(),
            count: 0,
            is_broken: false,
            progress,
        }
    }

    fn next_chunk(&mut self) -> Option<Result<Chunk, Failure>> {
        loop {
            if self.log.is_none() {
                let path = self.paths.get(self.next_log)?;
                match compression::open(path, &self.progress) {
                    Ok(bytes) => {
                        self.log = Some(Log::new(self.next_log, bytes).behind(&self.parts));
                    }
                    Err(unopened) => return Some(Err(not_opened(path, &unopened))),
                }
                self.next_log += 1;
            }
            let log = self.log.as_mut()?;
            match log.next() {
                Ok(Some(chunk)) => return Some(Ok(chunk)),
                Ok(None) => {
                    self.parts = self.log.take().map(Log::into_parts).unwrap_or_default();
                }
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
        Self {
            number,
            bytes,
            carry: Vec::new(),
            next_line: 1,
            parts: Parts::default(),
            document: None,
            is_in_long_line: false,
            is_at_end: false,
        }
    }

    /// The same behind another log, that may have ended in the middle of a line.
    pub(super) fn behind(self, parts: &Parts) -> Self {
        Self { parts: Parts::behind(parts), ..self }
    }

    /// The lines that it ended in the middle of.
    pub(super) fn into_parts(self) -> Parts {
        self.parts
    }

    /// The next lines; `None` at the end. Where the bytes are of a log that grows, the error `WouldBlock`
    /// says that no line more is whole yet: ask again later.
    pub(super) fn next(&mut self) -> io::Result<Option<Chunk>> {
        if self.is_in_long_line {
            self.skip_line()?;
        }
        let mut bytes = std::mem::take(&mut self.carry);
        bytes.reserve(CHUNK.saturating_sub(bytes.len()));
        while !self.is_at_end {
            let before = bytes.len();
            let has_paused = self.read(&mut bytes)? == Got::Pause;
            if self.is_at_end || (self.document.is_some() && bytes.len() > before) {
                break;
            }
            if let Some(end) = memchr::memrchr(b'\n', &bytes) {
                self.carry.extend_from_slice(bytes.get(end + 1..).unwrap_or_default());
                bytes.truncate(end + 1);
                break;
            }
            if bytes.len() > MAX_LINE {
                if !documents::opens(&bytes, self.next_line == 1) {
                    bytes.truncate(MAX_LINE + 1);
                    self.is_in_long_line = true;
                    self.skip_line().or_else(|error| match error.kind() {
                        // The line itself is here.
                        io::ErrorKind::WouldBlock => Ok(()),
                        _ => Err(error),
                    })?;
                }
                break;
            }
            if has_paused {
                self.carry = bytes;
                return Err(io::ErrorKind::WouldBlock.into());
            }
        }
        if bytes.is_empty() && self.document.is_none() && !self.parts.is_any_open() {
            return Ok(None);
        }
        Ok(Some(self.chunk(bytes)))
    }

    /// The chunk of some bytes: whole lines, or what a document goes on with.
    fn chunk(&mut self, bytes: Vec<u8>) -> Chunk {
        let first = self.next_line;
        let mut at = if self.document.is_some() { 0 } else { self.plain_lines(&bytes) };
        if at == bytes.len() && self.document.is_none() && !self.is_at_end {
            return Chunk { log: self.number, bytes, numbers: Numbers::From(first) };
        }
        let mut lines = Lines::default();
        let plain = bytes.get(..at).unwrap_or_default();
        lines.bytes.extend_from_slice(plain);
        lines.numbers.extend(first..self.next_line);
        while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
            at += match self.document.take() {
                Some(document) => self.go_on(document, rest, &mut lines),
                None => self.line(rest, &mut lines),
            };
            if self.is_cut(&bytes, at) {
                break;
            }
        }
        // Whole lines of the carry come first: they follow what a document left.
        let left = bytes.get(at..).unwrap_or_default();
        self.carry.splice(..0, left.iter().copied());
        if self.is_at_end {
            self.end(&mut lines);
        }
        Chunk { log: self.number, bytes: lines.bytes, numbers: Numbers::Each(lines.numbers) }
    }

    /// Whether what is left of some bytes is the start of a line, behind a document.
    fn is_cut(&self, bytes: &[u8], at: usize) -> bool {
        let left = bytes.get(at..).unwrap_or_default();
        self.document.is_none() && !self.is_at_end && memchr::memchr(b'\n', left).is_none()
    }

    /// How many bytes are lines that are whole, as most are all.
    fn plain_lines(&mut self, bytes: &[u8]) -> usize {
        let mut at = 0;
        while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
            let end = memchr::memchr(b'\n', rest).unwrap_or(rest.len());
            let line = rest.get(..end).unwrap_or_default();
            if documents::opens(line, self.next_line == 1) || self.parts.is_about(line) {
                break;
            }
            at = (at + end + 1).min(bytes.len());
            self.next_line += 1;
        }
        at
    }

    /// Takes the line that some bytes begin with: how many bytes it has.
    fn line(&mut self, bytes: &[u8], lines: &mut Lines) -> usize {
        let end = memchr::memchr(b'\n', bytes).unwrap_or(bytes.len());
        let line = bytes.get(..end).unwrap_or_default();
        if documents::opens(line, self.next_line == 1) {
            self.document = Some(Splitter::default());
            return 0;
        }
        match self.parts.take(line, self.next_line) {
            Taken::Whole => lines.push(line, self.next_line),
            Taken::Kept => {}
            Taken::Instead(line, number) => lines.push(&line, number),
        }
        self.next_line += 1;
        (end + 1).min(bytes.len())
    }

    /// Goes on with a document: how many bytes of it there were.
    fn go_on(&mut self, mut document: Splitter, bytes: &[u8], lines: &mut Lines) -> usize {
        let fed = document.feed(bytes, &mut self.next_line, &mut |item, line| {
            lines.push(item, line);
        });
        match fed {
            Fed::All => {
                self.document = Some(document);
                bytes.len()
            }
            // The rest of its last line.
            Fed::End(end) => {
                let rest = bytes.get(end..).unwrap_or_default();
                let blank = rest.iter().take_while(|it| matches!(it, b' ' | b'\t' | b'\r')).count();
                let is_line_end = rest.get(blank) == Some(&b'\n');
                self.next_line += u64::from(is_line_end);
                end + blank + usize::from(is_line_end)
            }
            Fed::Broken(place) => {
                let (item, line) = document.unfinished();
                lines.push(item, line);
                self.behind_broken(bytes, place)
            }
        }
    }

    /// Where lines begin again behind a document that broke off: at the line that does not belong to it.
    fn behind_broken(&mut self, bytes: &[u8], place: usize) -> usize {
        let before = bytes.get(..place).unwrap_or_default();
        let start = memchr::memrchr(b'\n', before).map(|end| end + 1);
        if let Some(start) =
            start.filter(|start| before.get(*start..).is_some_and(|it| it.trim_ascii().is_empty()))
        {
            return start;
        }
        match memchr::memchr(b'\n', bytes.get(place..).unwrap_or_default()) {
            Some(end) => {
                self.next_line += 1;
                place + end + 1
            }
            None => bytes.len(),
        }
    }

    /// Ends the log: what has no end is no record.
    fn end(&mut self, lines: &mut Lines) {
        if let Some(document) = self.document.take() {
            let (item, line) = document.unfinished();
            lines.push(item, line);
        }
        for (line, number) in self.parts.end() {
            lines.push(&line, number);
        }
    }

    /// Reads about a chunk, or as much of it as is there.
    fn read(&mut self, bytes: &mut Vec<u8>) -> io::Result<Got> {
        let wanted = u64::try_from(CHUNK).unwrap_or(u64::MAX);
        match (&mut self.bytes).take(wanted).read_to_end(bytes) {
            Ok(read) => {
                self.is_at_end = read == 0;
                Ok(Got::Bytes)
            }
            // What was read before stays read.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Got::Pause),
            Err(error) => Err(error),
        }
    }

    /// Drops the rest of a line.
    fn skip_line(&mut self) -> io::Result<()> {
        let mut bytes = Vec::with_capacity(CHUNK);
        while !self.is_at_end {
            bytes.clear();
            let got = self.read(&mut bytes)?;
            if let Some(end) = memchr::memchr(b'\n', &bytes) {
                self.carry.extend_from_slice(bytes.get(end + 1..).unwrap_or_default());
                break;
            }
            if got == Got::Pause {
                return Err(io::ErrorKind::WouldBlock.into());
            }
        }
        self.is_in_long_line = false;
        Ok(())
    }
}

/// How far the bytes of a log came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Got {
    /// A chunk, or all to the end.
    Bytes,
    /// What is there now: the log grows.
    Pause,
}

/// Lines as they are read, which are not all lines of the log.
#[derive(Default)]
struct Lines {
    bytes: Vec<u8>,
    numbers: Vec<u64>,
}

impl Lines {
    /// Adds a line; without the end of one.
    fn push(&mut self, line: &[u8], number: u64) {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        self.bytes.extend_from_slice(line.get(..=MAX_LINE).unwrap_or(line));
        self.bytes.push(b'\n');
        self.numbers.push(number);
    }
}

fn not_opened(path: &Path, why: &Unopened) -> Failure {
    match why {
        Unopened::Unreadable(error) => input::unreadable(path, error),
        Unopened::Foreign(foreign) => {
            Failure::new(input::name(path), foreign.problem, foreign.remedy)
        }
    }
}

fn cut_short(path: &Path, lines: u64, error: &io::Error) -> Failure {
    let problem = match error.kind() {
        io::ErrorKind::UnexpectedEof => {
            format!("the compressed data ends early, after {lines} lines")
        }
        io::ErrorKind::OutOfMemory => {
            return Failure::new(
                input::name(path),
                "wants over 128 MiB of memory to be unpacked",
                "unpack it first: `xz -dc FILE`, and give `-`",
            );
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
