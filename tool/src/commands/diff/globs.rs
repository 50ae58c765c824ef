//! Globs by the names that they match, and which of them cover others.

use egress_warden::host::Glob;
use egress_warden::policy::Globs;
use std::collections::BTreeSet;

/// Globs, found by a name.
#[derive(Debug, Default)]
pub(super) struct GlobIndex<'a> {
    globs: Vec<Glob<'a>>,
    /// The place of each in `globs`.
    places: Globs,
}

impl<'a> GlobIndex<'a> {
    pub(super) fn new(globs: Vec<Glob<'a>>) -> Self {
        let mut places = Globs::new(&globs, 0);
        for (glob, place) in globs.iter().zip(0..) {
            if let Some(number) = places.get_mut(*glob) {
                *number = place;
            }
        }
        Self { globs, places }
    }

    /// The places of the globs that match a name, in ascending order.
    pub(super) fn places(&self, name: &str) -> BTreeSet<usize> {
        self.places.matching(name).into_iter().map(|place| place as usize).collect()
    }

    /// The globs that match a name, each once.
    pub(super) fn matching(&self, name: &str) -> Vec<Glob<'a>> {
        self.places(name).into_iter().filter_map(|place| self.globs.get(place).copied()).collect()
    }
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
        let index = GlobIndex::new(texts.map(glob).to_vec());
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
