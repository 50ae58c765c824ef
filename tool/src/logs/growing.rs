//! A log that grows: what stands in it, and what is added while one looks.
//!
//! Lines are read as in every other log. A file is followed through rotation, by renaming or by cutting, and no
//! request is lost or counted twice, if what is written to it is seen before the next rotation. What is cut off
//! between two looks is gone, as for `tail -F`.

use super::chunks::Log;
use super::follow::{self, NotText};
use super::parts::Parts;
use super::reader::Reader;
use super::{Choice, Logged, Only, Tally, fold_chunk};
use crate::failure::Failure;
use crate::input;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// An open log that grows.
pub(crate) struct Growing<'c> {
    path: PathBuf,
    /// Another file may take its name.
    is_file: bool,
    reader: Reader<'c>,
    only: Option<Only>,
    tally: Tally,
    /// None between two files of one name, and at the end of a pipe.
    log: Option<Log>,
    /// The lines that the file before ended in the middle of.
    parts: Parts,
}

/// What a step came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// There may be more at once.
    Read,
    /// All that is there was read.
    Paused,
    /// There will be no more.
    Ended,
}

impl<'c> Growing<'c> {
    /// Opens a file, a pipe, or standard input for `-`. Nothing is read yet.
    pub(crate) fn open(path: &Path, choice: &'c Choice) -> Result<Self, Failure> {
        let is_file = path != Path::new("-")
            && std::fs::metadata(path).map_err(|it| unreadable(path, &it))?.is_file();
        let bytes = if is_file { open_file(path)? } else { follow::pipe(path) };
        Ok(Self {
            path: path.to_owned(),
            is_file,
            reader: Reader::new(choice),
            only: choice.only,
            tally: Tally {
                names: vec![input::name(path)],
                max_unread: choice.max_unread,
                ..Tally::default()
            },
            log: Some(Log::new(0, bytes)),
            parts: Parts::default(),
        })
    }

    /// Reads about a chunk of what is there; `see` gets each request. A file that cannot be read now is tried
    /// again in the next step.
    pub(crate) fn step(&mut self, see: &mut dyn FnMut(&Logged<'_>)) -> Result<Step, Failure> {
        let mut log = match self.log.take() {
            Some(log) => log,
            None if self.is_file => Log::new(0, open_file(&self.path)?).behind(&self.parts),
            None => return Ok(Step::Ended),
        };
        match log.next() {
            Ok(Some(chunk)) => {
                self.log = Some(log);
                let each = |(): &mut (), logged: &Logged<'_>, _| see(logged);
                let (tally, ()) = fold_chunk(&chunk, &self.reader, self.only, each);
                self.tally.add(tally);
                Ok(Step::Read)
            }
            Ok(None) => {
                self.parts = log.into_parts();
                Ok(if self.is_file { Step::Read } else { Step::Ended })
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.log = Some(log);
                Ok(Step::Paused)
            }
            Err(error) => Err(unreadable(&self.path, &error)),
        }
    }

    /// Whether it ends: another file may take a file's name, and nothing follows a pipe.
    pub(crate) fn has_end(&self) -> bool {
        !self.is_file
    }

    /// How many lines of each kind were read.
    pub(crate) fn tally(&self) -> &Tally {
        &self.tally
    }
}

fn open_file(path: &Path) -> Result<Box<dyn Read + Send>, Failure> {
    follow::file(path).map_err(|error| unreadable(path, &error))
}

fn unreadable(path: &Path, error: &io::Error) -> Failure {
    match error.get_ref().and_then(|it| it.downcast_ref::<NotText>()) {
        Some(NotText(foreign)) => Failure::new(input::name(path), foreign.problem, foreign.remedy),
        None => input::unreadable(path, error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::fs::{self, File};
    use std::io::Write as _;

    /// A writer that rotates its log, and what was seen of it.
    struct Scene {
        _folder: tempfile::TempDir,
        path: PathBuf,
        /// What it has open.
        file: File,
        written: usize,
        seen: Vec<String>,
    }

    impl Scene {
        fn new() -> Self {
            let folder = tempfile::tempdir().expect("a folder");
            let path = folder.path().join("access.log");
            let file = File::create(&path).expect("a file");
            Self { _folder: folder, path, file, written: 0, seen: Vec::new() }
        }

        /// The next line, with its end.
        fn line(&mut self) -> String {
            self.written += 1;
            format!(
                "{{\"authority\":\"{}.test\",\"method\":\"GET\",\"response_code\":200}}\n",
                self.written
            )
        }

        fn write(&mut self, text: &str) {
            self.file.write_all(text.as_bytes()).expect("written");
        }

        /// Moves the file away; the writer goes on with it.
        fn rename(&mut self) {
            let aside = self.path.with_extension(self.written.to_string());
            fs::rename(&self.path, aside).expect("renamed");
        }

        /// The writer begins a file under the name.
        fn reopen(&mut self) {
            self.file = File::options().append(true).create(true).open(&self.path).expect("a file");
        }

        /// The file is cut; the writer, which appends, goes on with it.
        fn cut(&mut self) {
            self.reopen();
            self.file.set_len(0).expect("cut");
        }

        fn has_bytes(&self) -> bool {
            self.file.metadata().expect("a file").len() > 0
        }

        fn look(&mut self, growing: &mut Growing<'_>) -> Result<Step, Failure> {
            loop {
                let step = growing.step(&mut |it| self.seen.push(it.authority().to_owned()))?;
                if step != Step::Read {
                    return Ok(step);
                }
            }
        }

        fn assert_all_seen(&self) {
            let all: Vec<_> = (1..=self.written).map(|it| format!("{it}.test")).collect();
            assert_eq!(self.seen, all);
        }
    }

    #[test]
    fn lines_are_seen_once_they_are_whole() {
        let (mut scene, choice) = (Scene::new(), Choice::default());
        let mut growing = Growing::open(&scene.path, &choice).expect("a log");
        assert_eq!(scene.look(&mut growing), Ok(Step::Paused));
        for cut in [1, 3, 30] {
            let line = scene.line();
            let (start, rest) = line.split_at(cut);
            scene.write(start);
            scene.look(&mut growing).expect("a look");
            assert_eq!(scene.seen.len(), scene.written - 1);
            scene.write(rest);
            scene.look(&mut growing).expect("a look");
            scene.assert_all_seen();
        }
        // A line that is too long, in pieces, is one line.
        for _ in 0..3 {
            scene.write(&"x".repeat(super::super::chunks::MAX_LINE));
            scene.look(&mut growing).expect("a look");
        }
        let line = scene.line();
        scene.write(&format!("\n{line}"));
        scene.look(&mut growing).expect("a look");
        scene.assert_all_seen();
        assert_eq!(growing.tally().unread.lines, 1);
    }

    #[test]
    fn a_renamed_log_is_read_until_the_next_one_has_lines() {
        let (mut scene, choice) = (Scene::new(), Choice::default());
        let mut growing = Growing::open(&scene.path, &choice).expect("a log");
        let line = scene.line();
        scene.write(&line);
        scene.rename();
        scene.look(&mut growing).expect("a look");
        let line = scene.line();
        scene.write(&line);
        // As logrotate's `create` does, before it tells the writer.
        File::create(&scene.path).expect("a file");
        scene.look(&mut growing).expect("a look");
        let (last, first) = (scene.line(), scene.line());
        scene.write(&last);
        scene.reopen();
        scene.write(&first);
        scene.look(&mut growing).expect("a look");
        scene.assert_all_seen();
    }

    #[cfg(unix)]
    #[test]
    fn a_pipe_that_takes_the_name_of_a_file_holds_up_nobody() {
        let (mut scene, choice) = (Scene::new(), Choice::default());
        let mut growing = Growing::open(&scene.path, &choice).expect("a log");
        let line = scene.line();
        scene.write(&line);
        scene.look(&mut growing).expect("a look");
        scene.rename();
        let made = std::process::Command::new("mkfifo").arg(&scene.path).status().expect("run");
        assert!(made.success());
        for _ in 0..2 {
            let failure = scene.look(&mut growing).expect_err("a pipe is no file");
            assert!(failure.to_string().contains("a pipe or a device"), "{failure}");
        }
        fs::remove_file(&scene.path).expect("removed");
        scene.reopen();
        let line = scene.line();
        scene.write(&line);
        scene.look(&mut growing).expect("a look");
        scene.assert_all_seen();
    }

    #[test]
    fn a_file_that_cannot_be_read_is_tried_again() {
        let (mut scene, choice) = (Scene::new(), Choice::default());
        let missing = scene.path.with_extension("missing");
        assert!(Growing::open(&missing, &choice).is_err());
        let mut growing = Growing::open(&scene.path, &choice).expect("a log");
        let line = scene.line();
        scene.write(&line);
        scene.look(&mut growing).expect("a look");
        scene.rename();
        fs::create_dir(&scene.path).expect("a folder");
        let failure = scene.look(&mut growing).expect_err("a folder is no log");
        assert!(failure.to_string().contains("access.log"), "{failure}");
        assert!(scene.look(&mut growing).is_err());
        fs::remove_dir(&scene.path).expect("removed");
        scene.reopen();
        let line = scene.line();
        scene.write(&line);
        scene.look(&mut growing).expect("a look");
        scene.assert_all_seen();
    }

    #[test]
    fn what_is_packed_or_no_text_is_refused_by_its_first_bytes() {
        let choice = Choice::default();
        for (bytes, problem) in [
            (&b"\x1f\x8b\x08\x00"[..], "is packed, and so does not grow"),
            (b"\x28\xb5\x2f\xfd", "is packed, and so does not grow"),
            (b"\xff\xfea\0", "is UTF-16"),
        ] {
            let mut scene = Scene::new();
            let mut growing = Growing::open(&scene.path, &choice).expect("a log");
            scene.file.write_all(&bytes[..2]).expect("written");
            assert_eq!(scene.look(&mut growing), Ok(Step::Paused));
            scene.file.write_all(&bytes[2..]).expect("written");
            let failure = scene.look(&mut growing).expect_err(problem);
            assert!(failure.to_string().contains(problem), "{failure}");
        }
        let mut scene = Scene::new();
        let line = scene.line();
        scene.write(&format!("\u{feff}{line}"));
        let mut growing = Growing::open(&scene.path, &choice).expect("a log");
        scene.look(&mut growing).expect("a look");
        scene.assert_all_seen();
    }

    #[derive(Clone, Debug)]
    enum Act {
        /// Writes lines, and so many bytes of one.
        Write(u8, usize),
        Rename,
        Reopen,
        Cut,
        Look,
    }

    fn act() -> impl Strategy<Value = Act> {
        prop_oneof![
            4 => (0..5_u8, 0..60_usize).prop_map(|(lines, bytes)| Act::Write(lines, bytes)),
            1 => Just(Act::Rename),
            2 => Just(Act::Reopen),
            1 => Just(Act::Cut),
            4 => Just(Act::Look),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// As long as one rotation is seen, which it is once the next file has a byte, before another.
        #[test]
        fn rotation_loses_no_line_and_counts_none_twice(acts in prop::collection::vec(act(), 0..40)) {
            let (mut scene, choice) = (Scene::new(), Choice::default());
            let mut growing = Growing::open(&scene.path, &choice).expect("a log");
            let mut rest = String::new();
            let mut is_renamed = false;
            for act in acts {
                match act {
                    Act::Write(lines, bytes) => {
                        for _ in 0..lines {
                            let line = std::mem::take(&mut rest);
                            scene.write(&line);
                            rest = scene.line();
                        }
                        let start: String = rest.drain(..bytes.min(rest.len())).collect();
                        scene.write(&start);
                    }
                    Act::Rename if !is_renamed && scene.has_bytes() => {
                        scene.look(&mut growing).expect("a look");
                        scene.rename();
                        is_renamed = true;
                    }
                    // A writer reopens its log between two lines.
                    Act::Reopen if is_renamed => {
                        scene.write(&std::mem::take(&mut rest));
                        scene.reopen();
                        is_renamed = false;
                    }
                    Act::Cut if !is_renamed => {
                        scene.write(&std::mem::take(&mut rest));
                        scene.look(&mut growing).expect("a look");
                        scene.cut();
                        scene.look(&mut growing).expect("a look");
                    }
                    Act::Look => {
                        scene.look(&mut growing).expect("a look");
                    }
                    Act::Rename | Act::Reopen | Act::Cut => {}
                }
            }
            scene.write(&std::mem::take(&mut rest));
            scene.look(&mut growing).expect("a look");
            scene.assert_all_seen();
            prop_assert_eq!(growing.tally().unread.lines, 0);
        }
    }
}
