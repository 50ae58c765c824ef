//! Files as they are, gzip, zstd, xz or bzip2, told by their first bytes.

use bzip2::bufread::MultiBzDecoder;
use flate2::bufread::MultiGzDecoder;
use indicatif::ProgressBar;
use lzma_rust2::XzReader;
use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};
use std::error::Error;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

/// Bytes of a file that are read at a time.
const BLOCK: usize = 1 << 18;

/// RFC 1952, section 2.3.1.
const GZIP: [u8; 2] = [0x1f, 0x8b];
/// RFC 8878, section 3.1.1.
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// RFC 8878, section 3.1.2, but for the low half of its first byte.
const ZSTD_SKIPPABLE: [u8; 3] = [0x2a, 0x4d, 0x18];

/// `XZ` of section 2.1.1.1 of its format, but for the last two bytes.
const XZ: [u8; 4] = *b"\xfd7zX";
const BZIP2: &[u8] = b"BZh";
/// What a file of xz may make the tool hold, in KiB: twice of what `xz -9` makes it hold.
const MAX_XZ: u32 = 1 << 17;

/// The content of a file, or of standard input for `-`; `progress` counts its bytes as they lie in
/// the file.
pub(super) fn open(path: &Path, progress: &ProgressBar) -> Result<Box<dyn Read + Send>, Unopened> {
    let file: Box<dyn Read + Send> = match path == Path::new("-") {
        true => Box::new(io::stdin()),
        false => Box::new(File::open(path)?),
    };
    decode(Box::new(progress.wrap_read(file)))
}

/// Why a file was not opened.
#[derive(Debug)]
pub(super) enum Unopened {
    Unreadable(io::Error),
    /// It is of a form that is not read.
    Foreign(&'static Foreign),
}

impl From<io::Error> for Unopened {
    fn from(error: io::Error) -> Self {
        Self::Unreadable(error)
    }
}

/// A form of files that is known and not read.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Foreign {
    begins: &'static [u8],
    pub(super) problem: &'static str,
    pub(super) remedy: &'static str,
}

const FOREIGN: [Foreign; 3] = [
    Foreign {
        begins: b"\xff\xfe",
        problem: "is UTF-16",
        remedy: "convert it first: `iconv -f UTF-16 -t UTF-8 FILE`",
    },
    Foreign {
        begins: b"\xfe\xff",
        problem: "is UTF-16",
        remedy: "convert it first: `iconv -f UTF-16 -t UTF-8 FILE`",
    },
    Foreign {
        begins: b"PK\x03\x04",
        problem: "is a zip archive, which is not read",
        remedy: "unpack it first: `unzip -p FILE`, and give `-`",
    },
];

/// A packed file where text is wanted that may still be written.
const PACKED: Foreign = Foreign {
    begins: b"",
    problem: "is packed, and so does not grow",
    remedy: "name the log that is still written; `replay` reads packed ones",
};

/// What some editors put before text.
const UTF_8: &[u8] = b"\xef\xbb\xbf";

/// How many bytes tell a form.
pub(super) const HEAD: usize = 4;

pub(super) fn decode(mut file: Box<dyn Read + Send>) -> Result<Box<dyn Read + Send>, Unopened> {
    let mut head = Vec::new();
    (&mut file).take(HEAD as u64).read_to_end(&mut head)?;
    let form = Form::of(&head);
    let head = without_mark(head).map_err(Unopened::Foreign)?;
    let whole = io::Cursor::new(head).chain(file);
    let buffered = |whole| BufReader::with_capacity(BLOCK, whole);
    Ok(match form {
        Form::Plain => Box::new(whole),
        Form::Gzip => Box::new(MultiGzDecoder::new(buffered(whole))),
        Form::Zstd => Box::new(Frames::new(buffered(whole))),
        Form::Xz => Box::new(XzReader::new_mem_limit(buffered(whole), true, MAX_XZ)),
        Form::Bzip2 => Box::new(MultiBzDecoder::new(buffered(whole))),
    })
}

/// The first bytes of a text, where they are of one.
pub(super) fn text(head: Vec<u8>) -> Result<Vec<u8>, &'static Foreign> {
    match Form::of(&head) {
        Form::Plain => without_mark(head),
        Form::Gzip | Form::Zstd | Form::Xz | Form::Bzip2 => Err(&PACKED),
    }
}

/// The first bytes of a file without a byte-order mark, where the form is one that is read.
fn without_mark(mut head: Vec<u8>) -> Result<Vec<u8>, &'static Foreign> {
    if let Some(foreign) = FOREIGN.iter().find(|it| head.starts_with(it.begins)) {
        return Err(foreign);
    }
    if head.starts_with(UTF_8) {
        head.drain(..UTF_8.len());
    }
    Ok(head)
}

/// How a file is packed.
enum Form {
    Plain,
    Gzip,
    Zstd,
    Xz,
    Bzip2,
}

impl Form {
    fn of(head: &[u8]) -> Self {
        match head {
            _ if head.starts_with(&GZIP) => Self::Gzip,
            _ if head == ZSTD || head.ends_with(&ZSTD_SKIPPABLE) => Self::Zstd,
            _ if head == XZ => Self::Xz,
            [start @ .., b'1'..=b'9'] if start == BZIP2 => Self::Bzip2,
            _ => Self::Plain,
        }
    }
}

/// The content of a zstd file: frames one after the other (RFC 8878, section 3.1).
struct Frames<R> {
    file: R,
    decoder: FrameDecoder,
    is_in_frame: bool,
}

impl<R: BufRead> Frames<R> {
    fn new(file: R) -> Self {
        Self { file, decoder: FrameDecoder::new(), is_in_frame: false }
    }

    /// Starts on the next frame that has content, or finds the end of the file.
    fn next_frame(&mut self) -> io::Result<()> {
        while !self.file.fill_buf()?.is_empty() {
            match self.decoder.reset(&mut self.file) {
                Ok(()) => {
                    self.is_in_frame = true;
                    break;
                }
                Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame {
                    length,
                    ..
                })) => {
                    io::copy(&mut (&mut self.file).take(length.into()), &mut io::sink())?;
                }
                Err(error) => return Err(broken(error)),
            }
        }
        Ok(())
    }
}

impl<R: BufRead> Read for Frames<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if !self.is_in_frame {
                self.next_frame()?;
            }
            if !self.is_in_frame {
                return Ok(0);
            }
            while self.decoder.can_collect() == 0 && !self.decoder.is_finished() {
                let one = BlockDecodingStrategy::UptoBlocks(1);
                self.decoder.decode_blocks(&mut self.file, one).map_err(broken)?;
            }
            let read = self.decoder.read(buffer)?;
            if read > 0 || buffer.is_empty() {
                return Ok(read);
            }
            self.is_in_frame = false;
        }
    }
}

/// An end where more should stand is the system's own kind of error, however deep it lies.
fn broken(error: FrameDecoderError) -> io::Error {
    let mut cause: Option<&dyn Error> = Some(&error);
    while let Some(inner) = cause {
        let is_early_end = |it: &io::Error| it.kind() == io::ErrorKind::UnexpectedEof;
        if inner.downcast_ref().is_some_and(is_early_end) {
            return io::ErrorKind::UnexpectedEof.into();
        }
        cause = inner.source();
    }
    io::Error::other(error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn content(file: &[u8]) -> io::Result<Vec<u8>> {
        let mut content = Vec::new();
        let file = decode(Box::new(io::Cursor::new(file.to_vec()))).expect("a file that is read");
        { file }.read_to_end(&mut content)?;
        Ok(content)
    }

    fn gzip(content: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(content).unwrap();
        encoder.finish().unwrap()
    }

    fn zstd(content: &[u8]) -> Vec<u8> {
        let level = ruzstd::encoding::CompressionLevel::Fastest;
        ruzstd::encoding::compress_to_vec(content, level)
    }

    fn xz(content: &[u8]) -> Vec<u8> {
        xz_of(content, 1 << 20)
    }

    fn xz_of(content: &[u8], dictionary: u32) -> Vec<u8> {
        let mut options = lzma_rust2::XzOptions::with_preset(0);
        options.lzma_options.dict_size = dictionary;
        let mut encoder = lzma_rust2::XzWriter::new(Vec::new(), options).unwrap();
        encoder.write_all(content).unwrap();
        encoder.finish().unwrap()
    }

    fn bzip2(content: &[u8]) -> Vec<u8> {
        let mut encoder = ::bzip2::write::BzEncoder::new(Vec::new(), ::bzip2::Compression::fast());
        encoder.write_all(content).unwrap();
        encoder.finish().unwrap()
    }

    /// A file of xz says how much memory its reader needs, and may ask for 4 GiB.
    #[test]
    fn an_xz_file_that_wants_more_memory_than_xz_uses_is_refused() {
        let mut file = xz_of(b"a\n", 1 << 20);
        // The dictionary's size in the block's header, and the header's checksum.
        assert_eq!(file[16], 16, "1 MiB: {:?}", &file[12..24]);
        file[16] = 40;
        let crc = crc32(&file[12..20]);
        file[20..24].copy_from_slice(&crc.to_le_bytes());
        assert_eq!(content(&file).unwrap_err().kind(), io::ErrorKind::OutOfMemory);
    }

    fn crc32(bytes: &[u8]) -> u32 {
        let mut crc = flate2::Crc::new();
        crc.update(bytes);
        crc.sum()
    }

    #[test]
    fn files_are_told_by_their_first_bytes() {
        let text = b"one line\n".repeat(50_000);
        assert_eq!(content(&text).unwrap(), text);
        for pack in [gzip, zstd, xz, bzip2] {
            assert_eq!(content(&pack(&text)).unwrap(), text);
            assert_eq!(content(&pack(b"")).unwrap(), b"");
        }
        for short in [&b""[..], b"\x1f", b"\x28\xb5", b"abc", b"\xfd7z", b"BZh", b"BZhx"] {
            assert_eq!(content(short).unwrap(), short);
        }
    }

    #[test]
    fn files_that_were_joined_are_read_to_their_end() {
        for pack in [gzip, zstd, xz, bzip2] {
            let joined = [pack(b"a\n"), pack(b""), pack(b"b\n")].concat();
            assert_eq!(content(&joined).unwrap(), b"a\nb\n");
        }
        let skippable = b"\x51\x2a\x4d\x18\x03\0\0\0xyz".to_vec();
        let joined = [skippable.clone(), zstd(b"a\n"), skippable, zstd(b"b\n")].concat();
        assert_eq!(content(&joined).unwrap(), b"a\nb\n");
    }

    #[test]
    fn a_file_that_ends_early_says_so() {
        let text: Vec<u8> = (0..200_000_u32).flat_map(|it| (it * 7919).to_le_bytes()).collect();
        for pack in [gzip, zstd, xz, bzip2] {
            let mut file = pack(&text);
            file.truncate(file.len() / 2);
            let error = content(&file).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof, "{error}");
        }
    }

    #[test]
    fn what_is_known_and_not_read_is_told_with_its_remedy() {
        for (file, problem) in [
            (&b"\xff\xfe{\0"[..], "is UTF-16"),
            (b"\xfe\xff\0{", "is UTF-16"),
            (b"PK\x03\x04rest", "is a zip archive, which is not read"),
        ] {
            match decode(Box::new(io::Cursor::new(file.to_vec()))) {
                Err(Unopened::Foreign(foreign)) => assert_eq!(foreign.problem, problem),
                _ => panic!("{problem}"),
            }
        }
        assert_eq!(content(b"\xef\xbb\xbf{}").unwrap(), b"{}");
        assert_eq!(content(b"\xef\xbb\xbf").unwrap(), b"");
    }
}
