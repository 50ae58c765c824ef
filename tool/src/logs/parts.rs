//! Lines that a container runtime cut, put together again.
//!
//! Runtimes cut at 16 KiB or so, and a caller who knows his line can choose the byte at which a part
//! begins: so no part is a line. A line whose first part is not there stays unread.

use super::chunks::MAX_LINE;
use super::prefix::{RuntimeLine, Tag};
use memchr::memmem;

/// The cut lines of one file that have no end yet.
#[derive(Debug, Default)]
pub(super) struct Parts {
    runtime: Streams,
    docker: Streams,
}

/// The streams of one writer.
#[derive(Debug, Default)]
struct Streams {
    stdout: Cut,
    stderr: Cut,
}

impl Streams {
    fn get(&self, is_stderr: bool) -> &Cut {
        if is_stderr { &self.stderr } else { &self.stdout }
    }

    fn get_mut(&mut self, is_stderr: bool) -> &mut Cut {
        if is_stderr { &mut self.stderr } else { &mut self.stdout }
    }

    fn is_whole(&self) -> bool {
        [&self.stdout, &self.stderr].into_iter().all(|cut| cut.state == State::Whole)
    }
}

/// One stream's cut line.
#[derive(Debug, Default)]
struct Cut {
    state: State,
    /// The first part with what was joined to it.
    bytes: Vec<u8>,
    line: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Whole,
    Open,
    /// The file before ended in the middle of a line.
    WithoutStart,
}

/// What becomes of a line.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// It is whole.
    Whole,
    /// It was kept for the one that ends it.
    Kept,
    /// It stands for what is given: joined parts with the line in which they begin, or a part marked as
    /// such.
    Instead(Vec<u8>, u64),
}

/// What docker's json-file writes before a line, and behind it.
const DOCKER_BEGINS: &[u8] = b"{\"log\":\"";
const DOCKER_STREAM: &[u8] = b"\",\"stream\":\"";
/// Where docker cuts, in bytes of the line. In the file, where quotes are escaped, a part is no shorter.
const DOCKER_CUTS: usize = 16 << 10;

impl Parts {
    /// At the start of a file, behind another one of the same runtime.
    /// `before` has ended.
    pub(super) fn behind(before: &Self) -> Self {
        let cut = |cut: &Cut| Cut { state: cut.state, ..Cut::default() };
        let streams =
            |all: &Streams| Streams { stdout: cut(&all.stdout), stderr: cut(&all.stderr) };
        Self { runtime: streams(&before.runtime), docker: streams(&before.docker) }
    }

    /// Whether a line is a part, or may be joined to some.
    pub(super) fn is_about(&self, line: &[u8]) -> bool {
        if let Some(runtime) = RuntimeLine::read(line) {
            let cut = self.runtime.get(runtime.is_stderr);
            return runtime.tag == Tag::Part || cut.state != State::Whole;
        }
        (!self.docker.is_whole() || line.len() >= DOCKER_CUTS)
            && DockerLine::read(line).is_some_and(|it| it.is_part || self.is_open(&it))
    }

    /// Takes the next line of the file.
    pub(super) fn take(&mut self, line: &[u8], number: u64) -> Taken {
        if let Some(runtime) = RuntimeLine::read(line) {
            let cut = self.runtime.get_mut(runtime.is_stderr);
            return cut.take_runtime(&runtime, line, number);
        }
        match DockerLine::read(line) {
            Some(docker) if docker.is_part || self.is_open(&docker) => {
                self.docker.get_mut(docker.is_stderr).take_docker(&docker, line, number)
            }
            _ => Taken::Whole,
        }
    }

    /// Whether a line is open.
    pub(super) fn is_any_open(&self) -> bool {
        let Self { runtime, docker } = self;
        let cuts = [&runtime.stdout, &runtime.stderr, &docker.stdout, &docker.stderr];
        cuts.into_iter().any(|cut| cut.state == State::Open)
    }

    /// Ends the file: the lines that it has no end of.
    pub(super) fn end(&mut self) -> Vec<(Vec<u8>, u64)> {
        let Self { runtime, docker } = self;
        let cuts =
            [&mut runtime.stdout, &mut runtime.stderr, &mut docker.stdout, &mut docker.stderr];
        let open = cuts.into_iter().filter(|cut| cut.state == State::Open);
        open.map(|cut| {
            cut.state = State::WithoutStart;
            (std::mem::take(&mut cut.bytes), cut.line)
        })
        .collect()
    }

    fn is_open(&self, docker: &DockerLine<'_>) -> bool {
        self.docker.get(docker.is_stderr).state != State::Whole
    }
}

impl Cut {
    fn take_runtime(&mut self, runtime: &RuntimeLine, line: &[u8], number: u64) -> Taken {
        let content = line.get(runtime.content_at..).unwrap_or_default();
        match (self.state, runtime.tag) {
            (State::Whole, Tag::Last) => Taken::Whole,
            (State::Whole, Tag::Part) => self.begin(line, number),
            (State::Open, Tag::Part) => self.join(content),
            (State::Open, Tag::Last) => {
                self.join(content);
                let tag_at = RuntimeLine::read(&self.bytes).map(|first| first.tag_at);
                if let Some(tag) = tag_at.and_then(|at| self.bytes.get_mut(at)) {
                    *tag = b'F';
                }
                self.end()
            }
            (State::WithoutStart, tag) => {
                if tag == Tag::Last {
                    self.state = State::Whole;
                }
                let mut part = line.to_vec();
                if let Some(tag) = part.get_mut(runtime.tag_at) {
                    *tag = b'P';
                }
                Taken::Instead(part, number)
            }
        }
    }

    fn take_docker(&mut self, docker: &DockerLine<'_>, line: &[u8], number: u64) -> Taken {
        match (self.state, docker.is_part) {
            (State::Whole, true) => self.begin(line.get(..docker.ends).unwrap_or(line), number),
            (State::Whole, false) => Taken::Whole,
            (State::Open, true) => self.join(docker.text),
            (State::Open, false) => {
                self.join(docker.text);
                self.join(line.get(docker.ends..).unwrap_or_default());
                self.end()
            }
            (State::WithoutStart, is_part) => {
                if !is_part {
                    self.state = State::Whole;
                }
                // Without its end it is no object.
                Taken::Instead(line.get(..docker.ends).unwrap_or(line).to_vec(), number)
            }
        }
    }

    fn begin(&mut self, line: &[u8], number: u64) -> Taken {
        self.state = State::Open;
        self.line = number;
        self.bytes.clear();
        self.join(line)
    }

    fn join(&mut self, part: &[u8]) -> Taken {
        // One byte over the longest line shows that it is too long.
        if self.bytes.len() <= MAX_LINE {
            self.bytes.extend_from_slice(part);
        }
        Taken::Kept
    }

    fn end(&mut self) -> Taken {
        self.state = State::Whole;
        Taken::Instead(std::mem::take(&mut self.bytes), self.line)
    }
}

/// A line of docker's json-file.
struct DockerLine<'a> {
    /// The text of the line, escaped.
    text: &'a [u8],
    /// Where the text ends.
    ends: usize,
    is_stderr: bool,
    is_part: bool,
}

impl<'a> DockerLine<'a> {
    fn read(line: &'a [u8]) -> Option<Self> {
        let rest = line.strip_prefix(DOCKER_BEGINS)?;
        // A quote in the text is escaped, so nobody but docker ends it.
        let end = memmem::find(rest, DOCKER_STREAM)?;
        let (text, behind) = rest.split_at_checked(end)?;
        let stream = behind.strip_prefix(DOCKER_STREAM)?;
        let is_stderr = match stream.get(..memchr::memchr(b'"', stream)?)? {
            b"stdout" => false,
            b"stderr" => true,
            _ => return None,
        };
        let is_part = text.len() >= DOCKER_CUTS && !ends_in_line_end(text);
        Some(Self { text, ends: DOCKER_BEGINS.len() + end, is_stderr, is_part })
    }
}

/// Whether a text of JSON ends in `\n`, and not in a backslash and an `n`.
fn ends_in_line_end(text: &[u8]) -> bool {
    let Some(before) = text.strip_suffix(b"n") else { return false };
    let backslashes = before.iter().rev().take_while(|byte| **byte == b'\\').count();
    backslashes % 2 == 1
}
