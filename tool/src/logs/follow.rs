//! Bytes that are still written: of a file by its name, as `tail -F` has it, and of a pipe.
//!
//! A read says `WouldBlock` where no more is there yet, and nothing at the end: of a pipe that is closed, of a
//! file that was cut (`copytruncate`), and of one whose name another file has taken, once that one has
//! bytes. So a writer that reopens its log when it is told to has written its last line here.

use super::compression::{self, Foreign};
use same_file::Handle;
use std::error::Error;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, TryRecvError, sync_channel};
use std::thread;

/// Bytes that are read from a pipe at a time.
const BLOCK: usize = 1 << 16;
/// How many of these may wait.
const WAITING: usize = 16;

/// The bytes of a file from its beginning, for as long as its name is its own.
pub(super) fn file(path: &Path) -> io::Result<Box<dyn Read + Send>> {
    Ok(Unpacked::boxed(Followed::open(path)?))
}

/// The bytes of a pipe, or of standard input for `-`.
pub(super) fn pipe(path: &Path) -> Box<dyn Read + Send> {
    if path == Path::new("-") {
        return Unpacked::boxed(Piped::new(|| Ok(io::stdin())));
    }
    let path = path.to_owned();
    // One that nobody writes to waits for a writer.
    Unpacked::boxed(Piped::new(move || File::open(path)))
}

/// A file as long as its name is its own.
struct Followed {
    path: PathBuf,
    file: Handle,
    position: u64,
    is_over: bool,
}

impl Followed {
    fn open(path: &Path) -> io::Result<Self> {
        Ok(Self { path: path.to_owned(), file: handle(path)?, position: 0, is_over: false })
    }

    /// Whether it is shorter than it was.
    fn is_cut(&self) -> io::Result<bool> {
        Ok(self.file.as_file().metadata()?.len() < self.position)
    }

    /// Whether another file has its name, and bytes; or one that cannot be read, which its reader is to say.
    fn is_replaced(&self) -> bool {
        match handle(&self.path) {
            Ok(other) if other == self.file => false,
            Ok(other) => other.as_file().metadata().is_ok_and(|it| it.len() > 0),
            Err(error) => error.kind() != io::ErrorKind::NotFound,
        }
    }

    fn read_on(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.as_file_mut().read(buffer)?;
        self.position = self.position.saturating_add(u64::try_from(read).unwrap_or(u64::MAX));
        Ok(read)
    }
}

impl Read for Followed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.is_over || buffer.is_empty() {
            return Ok(0);
        }
        let read = self.read_on(buffer)?;
        if read > 0 {
            return Ok(read);
        }
        if self.is_replaced() {
            // What was written before the other file was begun.
            let read = self.read_on(buffer)?;
            self.is_over = read == 0;
            return Ok(read);
        }
        self.is_over = self.is_cut()?;
        if self.is_over { Ok(0) } else { Err(io::ErrorKind::WouldBlock.into()) }
    }
}

/// A file by its name. Whoever opens a pipe that took this name would wait for its writer, and nothing else
/// would be looked after.
fn handle(path: &Path) -> io::Result<Handle> {
    let kind = fs::metadata(path)?.file_type();
    if !kind.is_file() && !kind.is_dir() {
        return Err(io::Error::other("a pipe or a device has the name of the log"));
    }
    Handle::from_path(path)
}

/// A pipe, read by a thread of its own: nothing else is to wait for it.
struct Piped {
    blocks: Receiver<io::Result<Vec<u8>>>,
    block: io::Cursor<Vec<u8>>,
}

impl Piped {
    fn new<R: Read>(open: impl FnOnce() -> io::Result<R> + Send + 'static) -> Self {
        let (sender, blocks) = sync_channel(WAITING);
        thread::spawn(move || {
            let mut pipe = match open() {
                Ok(pipe) => pipe,
                // Nobody listens once the log is closed.
                Err(error) => return drop(sender.send(Err(error))),
            };
            loop {
                let mut block = vec![0; BLOCK];
                let read = match pipe.read(&mut block) {
                    Ok(0) => break,
                    Ok(read) => {
                        block.truncate(read);
                        Ok(block)
                    }
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                    Err(error) => Err(error),
                };
                let is_broken = read.is_err();
                if sender.send(read).is_err() || is_broken {
                    break;
                }
            }
        });
        Self { blocks, block: io::Cursor::default() }
    }
}

impl Read for Piped {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.block.read(buffer)?;
        if read > 0 {
            return Ok(read);
        }
        match self.blocks.try_recv() {
            Ok(block) => {
                self.block = io::Cursor::new(block?);
                self.block.read(buffer)
            }
            Err(TryRecvError::Empty) => Err(io::ErrorKind::WouldBlock.into()),
            Err(TryRecvError::Disconnected) => Ok(0),
        }
    }
}

/// Text, once its first bytes show that it is some.
struct Unpacked {
    /// The first bytes, until they are given on.
    head: Vec<u8>,
    is_checked: bool,
    bytes: Box<dyn Read + Send>,
}

impl Unpacked {
    fn boxed(bytes: impl Read + Send + 'static) -> Box<dyn Read + Send> {
        Box::new(Self { head: Vec::new(), is_checked: false, bytes: Box::new(bytes) })
    }

    /// Reads the first bytes, and refuses what is no text by them.
    fn check(&mut self) -> io::Result<()> {
        while !self.is_checked {
            let missing = compression::HEAD.saturating_sub(self.head.len());
            let mut more = [0; compression::HEAD];
            let read = self.bytes.read(more.get_mut(..missing).unwrap_or_default())?;
            self.head.extend_from_slice(more.get(..read).unwrap_or_default());
            if read == 0 || self.head.len() == compression::HEAD {
                self.head =
                    compression::text(std::mem::take(&mut self.head)).map_err(|foreign| {
                        io::Error::new(io::ErrorKind::InvalidData, NotText(foreign))
                    })?;
                self.is_checked = true;
            }
        }
        Ok(())
    }
}

impl Read for Unpacked {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.check()?;
        if self.head.is_empty() {
            return self.bytes.read(buffer);
        }
        let read = self.head.as_slice().read(buffer)?;
        self.head.drain(..read);
        Ok(read)
    }
}

/// The error of a log that is no text.
#[derive(Debug)]
pub(super) struct NotText(pub(super) &'static Foreign);

impl fmt::Display for NotText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.problem)
    }
}

impl Error for NotText {}
