//! Data as a page holds it: gzip in base64, of a bounded length.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::write::GzEncoder;
use std::io::{self, Write};

/// What gzip may hold back before it shows in the length.
const HELD_BACK: usize = 64 << 10;

/// Data on its way into a page.
#[derive(Debug)]
pub(super) struct Packed {
    gzip: GzEncoder<Vec<u8>>,
    /// Most bytes of gzip.
    max: usize,
}

impl Packed {
    /// Data that takes about `max` characters of a page at most, if whoever writes asks for room.
    pub(super) fn new(max: usize) -> Self {
        let max = (max / 4 * 3).saturating_sub(HELD_BACK);
        Self { gzip: GzEncoder::new(Vec::new(), Compression::default()), max }
    }

    /// Whether there is room for some more.
    pub(super) fn has_room(&self) -> bool {
        self.gzip.get_ref().len() < self.max
    }

    /// Whether there is room for some more of what may take half of it all.
    pub(super) fn has_room_in_half(&self) -> bool {
        self.gzip.get_ref().len() < self.max / 2
    }

    /// As it stands in a page.
    pub(super) fn finish(self) -> io::Result<String> {
        Ok(STANDARD.encode(self.gzip.finish()?))
    }
}

impl Write for Packed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.gzip.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
