//! Numbers by glob, found by host.
//!
//! A glob is found through its suffix and one run of its other bytes: a whole label, or what a label
//! begins or ends with, or has in it. Only its first label stands for several labels, so each label has
//! its position from the end of the name. For each [`Shape`] of such runs that is in use, a host is hashed
//! once (once for each place in a label, where the run may be anywhere in it), and only the globs with
//! that hash are held against it. Of its runs a glob has the one that the fewest others have.

use super::suffixes::{Suffixes, hash_name};
use crate::host::Glob;
use crate::key_table::{Hash, Hasher, KeyTable};

/// Numbers by glob.
#[derive(Debug, Default)]
pub struct Globs {
    globs: Vec<Entry>,
    /// The place of each in `globs`, by its text.
    by_text: KeyTable,
    /// The place of the first with a run, by the run's hash.
    by_run: KeyTable,
    /// Those in use.
    shapes: Vec<Shape>,
}

#[derive(Debug)]
struct Entry {
    glob: Box<str>,
    number: u32,
    /// The place of the next glob with the same run, or [`NONE`].
    next: u32,
}

const NONE: u32 = u32::MAX;

/// Where a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Shape {
    /// How many labels the suffix has.
    depth: usize,
    /// The label's position from the end of the name; the last one is 1.
    position: usize,
    part: Part,
}

/// What a run is of its label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Whole,
    /// So many bytes at its start.
    Start(usize),
    /// So many at its end.
    End(usize),
    /// So many anywhere.
    Within(usize),
}

impl Globs {
    /// Takes globs, which may be there twice; the number of each is `initial`.
    pub fn new(globs: &[Glob<'_>], initial: u32) -> Self {
        let mut uses = KeyTable::default();
        for (_, run) in globs.iter().flat_map(|glob| runs(*glob)) {
            if let Some((count, _)) = uses.entry(&run.to_bytes(), 0) {
                *count = count.saturating_add(1);
            }
        }
        let mut shapes = KeyTable::default();
        let mut found = Self::default();
        for glob in globs {
            let rarest = runs(*glob).into_iter().min_by_key(|(_, run)| uses.get(&run.to_bytes()));
            // INVARIANT: a glob has a run, as no two `*` stand side by side in it.
            let Some((shape, run)) = rarest else { continue };
            if found.add(*glob, run, initial).is_some()
                && shapes.entry(&shape.to_bytes(), 0).is_some_and(|(_, is_new)| is_new)
            {
                found.shapes.push(shape);
            }
        }
        found
    }

    /// `None` where it is there already.
    fn add(&mut self, glob: Glob<'_>, run: Hash, initial: u32) -> Option<()> {
        let place = u32::try_from(self.globs.len()).ok()?;
        let (_, is_new) = self.by_text.entry(glob.as_str().as_bytes(), place)?;
        if !is_new {
            return None;
        }
        let (first, _) = self.by_run.entry(&run.to_bytes(), NONE)?;
        let next = std::mem::replace(first, place);
        self.globs.push(Entry { glob: glob.as_str().into(), number: initial, next });
        Some(())
    }

    /// The place of a glob's number.
    pub fn get_mut(&mut self, glob: Glob<'_>) -> Option<&mut u32> {
        let place = self.by_text.get(glob.as_str().as_bytes())?;
        self.globs.get_mut(place as usize).map(|entry| &mut entry.number)
    }

    /// Every number.
    pub(super) fn values_mut(&mut self) -> impl Iterator<Item = &mut u32> {
        self.globs.iter_mut().map(|entry| &mut entry.number)
    }

    /// The numbers of all globs that match a canonical name, in no order. The one of a glob may be there
    /// twice.
    pub fn matching(&self, name: &str) -> Vec<u32> {
        let mut numbers = Vec::new();
        self.visit(name, &Suffixes::of(name), &mut |number, _| numbers.push(number));
        numbers
    }

    /// Shows the numbers of all globs that match the name, and how many bytes of each are not `*`.
    pub(super) fn visit(&self, name: &str, suffixes: &Suffixes, visit: &mut dyn FnMut(u32, usize)) {
        for shape in &self.shapes {
            let suffix = suffixes.get(name, shape.depth);
            let Some(((suffix, _), label)) = suffix.zip(suffixes.label(name, shape.position))
            else {
                continue;
            };
            let mut look_up = |run: Option<&[u8]>| {
                if let Some(run) = run {
                    self.visit_run(name, shape.hash(suffix, run), visit);
                }
            };
            match shape.part {
                Part::Whole => look_up(Some(label)),
                Part::Start(length) => look_up(label.get(..length)),
                Part::End(length) => {
                    let start = label.len().checked_sub(length);
                    look_up(start.and_then(|start| label.get(start..)));
                }
                Part::Within(length) => label.windows(length).for_each(|run| look_up(Some(run))),
            }
        }
    }

    fn visit_run(&self, name: &str, run: Hash, visit: &mut dyn FnMut(u32, usize)) {
        let mut place = self.by_run.get(&run.to_bytes()).unwrap_or(NONE);
        while let Some(entry) = self.globs.get(place as usize) {
            let glob = Glob::of_canonical(&entry.glob);
            if glob.matches(name) {
                visit(entry.number, glob.literal_bytes());
            }
            place = entry.next;
        }
    }
}

impl Shape {
    /// The hash of a run, behind the suffix with this hash.
    fn hash(self, suffix: Hash, run: &[u8]) -> Hash {
        let hasher = Hasher::default().with(&self.to_bytes()).with(&suffix.to_bytes());
        hasher.with(run).finish()
    }

    fn to_bytes(self) -> [u8; 4] {
        let (part, length) = match self.part {
            Part::Whole => (0, 0),
            Part::Start(length) => (1, length),
            Part::End(length) => (2, length),
            Part::Within(length) => (3, length),
        };
        // INVARIANT: a name has at most 127 labels, of at most 63 bytes.
        [self.depth, self.position, part, length].map(|it| u8::try_from(it).unwrap_or(u8::MAX))
    }
}

/// The runs by which a glob may be found, those at the ends of labels first: of runs that as few globs have
/// the first is taken.
fn runs(glob: Glob<'_>) -> Vec<(Shape, Hash)> {
    let suffix = glob.suffix();
    let (hasher, depth) = hash_name(suffix);
    let suffix = hasher.finish();
    let mut ends = Vec::new();
    let mut within = Vec::new();
    for (label, position) in glob.labels().zip(1..).skip(depth) {
        let run = |part, run: &str| {
            let shape = Shape { depth, position, part };
            (shape, shape.hash(suffix, run.as_bytes()))
        };
        let Some((start, rest)) = label.split_once('*') else {
            ends.push(run(Part::Whole, label));
            continue;
        };
        let mut inner = rest.split('*');
        let end = inner.next_back().unwrap_or_default();
        if !start.is_empty() {
            ends.push(run(Part::Start(start.len()), start));
        }
        if !end.is_empty() {
            ends.push(run(Part::End(end.len()), end));
        }
        let inner = inner.filter(|run| !run.is_empty());
        within.extend(inner.map(|text| run(Part::Within(text.len()), text)));
    }
    ends.extend(within);
    ends
}
