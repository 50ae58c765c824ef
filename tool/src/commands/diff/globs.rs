//! Globs by the names that they match, and which of them cover others.

use egress_warden::host::Glob;
use std::collections::{BTreeSet, HashMap};

/// Globs, each found through its suffix and what one of its other labels begins and ends with.
#[derive(Debug, Default)]
pub(super) struct GlobIndex<'a> {
    globs: HashMap<(Shape, [&'a str; 3]), Vec<Glob<'a>>>,
    shapes: BTreeSet<Shape>,
}

/// Where a glob says most, beside its suffix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Shape {
    /// How many labels the suffix has.
    depth: usize,
    /// The label's position from the end of the name; that of the last is 0.
    position: usize,
    /// How many bytes its beginning and its end have; `None`: it is the whole label.
    ends: Option<[usize; 2]>,
}

impl<'a> GlobIndex<'a> {
    pub(super) fn add(&mut self, glob: Glob<'a>) {
        let suffix = glob.suffix();
        let depth = suffix.split('.').count();
        let labels = glob.as_str().rsplit('.').enumerate().skip(depth);
        let keys = labels.map(|(position, label)| match label.split_once('*') {
            None => (Shape { depth, position, ends: None }, label, ""),
            Some((start, rest)) => {
                let end = rest.rsplit('*').next().unwrap_or_default();
                let ends = Some([start.len(), end.len()]);
                (Shape { depth, position, ends }, start, end)
            }
        });
        let longest = keys.max_by_key(|(_, start, end)| start.len().saturating_add(end.len()));
        // INVARIANT: a glob has labels before its suffix.
        let Some((shape, start, end)) = longest else { return };
        self.shapes.insert(shape);
        self.globs.entry((shape, [suffix, start, end])).or_default().push(glob);
    }

    /// The globs that match a name, each once.
    pub(super) fn matching(&self, name: &str) -> Vec<Glob<'a>> {
        let labels: Vec<&str> = name.rsplit('.').collect();
        let found = self.shapes.iter().filter_map(|shape| {
            let label = *labels.get(shape.position)?;
            let before: usize = labels.get(shape.depth..)?.iter().map(|it| it.len() + 1).sum();
            let suffix = name.get(before..)?;
            let [start, end] = match shape.ends {
                None => [label, ""],
                Some([start, end]) => {
                    [label.get(..start)?, label.get(label.len().checked_sub(end)?..)?]
                }
            };
            self.globs.get(&(*shape, [suffix, start, end]))
        });
        found.flatten().copied().filter(|glob| glob.matches(name)).collect()
    }
}

/// How many bytes of a glob are not `*`: the more there are, the more specific it is.
pub(super) fn literal_bytes(glob: Glob<'_>) -> usize {
    glob.as_str().bytes().filter(|byte| *byte != b'*').count()
}

/// Those of some globs that all match one name which say it: without those that match whatever another of
/// them does.
pub(super) fn least<'a>(globs: &[Glob<'a>]) -> Vec<Glob<'a>> {
    let is_covered = |wide: &Glob<'a>| globs.iter().any(|it| it != wide && covers(*wide, *it));
    globs.iter().filter(|glob| !is_covered(glob)).copied().collect()
}

/// Whether a glob matches whatever another one does, as far as that is seen label by label.
fn covers(wide: Glob<'_>, narrow: Glob<'_>) -> bool {
    // Where the first label of the narrow one is any number of labels, that of the wide one must be.
    let is_of_any_depth = |glob: Glob<'_>| glob.as_str().starts_with("*.");
    // No label has a `~`: what matches it matches any run.
    let any = narrow.as_str().replace('*', "~");
    (is_of_any_depth(wide) || !is_of_any_depth(narrow)) && wide.matches(&any)
}

#[cfg(test)]
mod tests {
    use super::*;
    use egress_warden::host::HostPattern;

    fn glob(text: &str) -> Glob<'_> {
        let Ok(HostPattern::Glob(glob)) = HostPattern::parse(text) else { panic!("{text}") };
        glob
    }

    #[test]
    fn every_glob_that_matches_is_found() {
        let texts = ["*.s3.*.a.test", "b*.s3.*.a.test", "*b*.a.test", "sts.*.a.test", "a*b.c.test"];
        let mut index = GlobIndex::default();
        texts.into_iter().for_each(|text| index.add(glob(text)));
        for (name, expected) in [
            ("b.s3.eu.a.test", &["*.s3.*.a.test", "b*.s3.*.a.test"][..]),
            ("x.b.s3.eu.a.test", &["*.s3.*.a.test"]),
            ("abc.a.test", &["*b*.a.test"]),
            ("sts.b.a.test", &["sts.*.a.test"]),
            ("ab.c.test", &["a*b.c.test"]),
            ("b.c.test", &[]),
            ("test", &[]),
        ] {
            let mut found: Vec<_> = index.matching(name).iter().map(|it| it.as_str()).collect();
            found.sort_unstable();
            assert_eq!(found, expected, "{name}");
        }
    }

    #[test]
    fn a_glob_that_another_covers_says_nothing() {
        let said = |texts: &[&'static str]| {
            let globs: Vec<_> = texts.iter().map(|text| glob(text)).collect();
            least(&globs).iter().map(|it| it.as_str()).collect::<Vec<_>>()
        };
        assert_eq!(said(&["a*.x.test", "ab*.x.test"]), ["ab*.x.test"]);
        assert_eq!(said(&["*.s3.*.x.test", "b.s3.*.x.test"]), ["b.s3.*.x.test"]);
        assert_eq!(said(&["a*.x.test", "*b.x.test"]), ["a*.x.test", "*b.x.test"]);
        // One label, and any number of them.
        assert_eq!(said(&["b*.s3.*.x.test", "*.s3.*.x.test"]), ["b*.s3.*.x.test"]);
    }
}
