//! Globs by the names that they match, and which of them cover others.

use egress_warden::host::{Glob, HostPattern, MAX_NAME};
use egress_warden::policy::Globs;
use std::borrow::Cow;
use std::collections::BTreeSet;

/// Globs, found by a name.
#[derive(Debug, Default)]
pub(crate) struct GlobIndex<'a> {
    globs: Vec<Glob<'a>>,
    places: GlobPlaces,
}

impl<'a> GlobIndex<'a> {
    pub(crate) fn new(globs: Vec<Glob<'a>>) -> Self {
        let places = GlobPlaces::new(&globs);
        Self { globs, places }
    }

    /// The globs among patterns over hosts.
    pub(crate) fn of_hosts<'p>(patterns: impl Iterator<Item = &'p HostPattern<'a>>) -> Self
    where
        'a: 'p,
    {
        Self::new(patterns.filter_map(glob_of).collect())
    }

    /// The places of the globs that match a name, in ascending order.
    pub(crate) fn places(&self, name: &str) -> BTreeSet<usize> {
        self.places.matching(name)
    }

    /// The globs that match a name, each once.
    pub(crate) fn matching(&self, name: &str) -> Vec<Glob<'a>> {
        self.at(self.places(name))
    }

    /// The globs that match whatever a pattern does, as far as that is seen label by label, each once.
    pub(crate) fn covering(&self, pattern: HostPattern<'_>) -> Vec<Glob<'a>> {
        self.at(self.places.covering(pattern))
    }

    fn at(&self, places: BTreeSet<usize>) -> Vec<Glob<'a>> {
        places.into_iter().filter_map(|place| self.globs.get(place).copied()).collect()
    }
}

/// The places of globs in their list, found by a name.
#[derive(Debug, Default)]
pub(crate) struct GlobPlaces {
    places: Globs,
    /// Of each glob, whether its first label is any number of labels.
    are_of_any_depth: Vec<bool>,
}

impl GlobPlaces {
    pub(crate) fn new(globs: &[Glob<'_>]) -> Self {
        let mut places = Globs::new(globs, 0);
        for (glob, place) in globs.iter().zip(0..) {
            if let Some(number) = places.get_mut(*glob) {
                *number = place;
            }
        }
        Self { places, are_of_any_depth: globs.iter().map(|it| is_of_any_depth(*it)).collect() }
    }

    fn matching(&self, name: &str) -> BTreeSet<usize> {
        self.places.matching(name).into_iter().map(|place| place as usize).collect()
    }

    /// Those that match whatever a pattern does, as far as that is seen label by label.
    pub(crate) fn covering(&self, pattern: HostPattern<'_>) -> BTreeSet<usize> {
        // Most lists have no globs.
        if self.are_of_any_depth.is_empty() {
            return BTreeSet::new();
        }
        let Some(Probe { name, is_of_any_depth }) = Probe::of(pattern) else {
            return BTreeSet::new();
        };
        let mut places = self.matching(&name);
        places.retain(|it| !is_of_any_depth || self.are_of_any_depth.get(*it) == Some(&true));
        places
    }
}

/// The glob that a pattern over hosts is, if it is one.
pub(crate) fn glob_of<'a>(pattern: &HostPattern<'a>) -> Option<Glob<'a>> {
    match *pattern {
        HostPattern::Glob(glob) => Some(glob),
        _ => None,
    }
}

/// A name that stands for all that a pattern over names matches: what matches it matches them.
struct Probe<'p> {
    /// No label of a name has a `~`: what matches it matches any run.
    name: Cow<'p, str>,
    /// Whether there may be more labels before it.
    is_of_any_depth: bool,
}

impl<'p> Probe<'p> {
    /// `None` where no glob matches all that the pattern does.
    fn of(pattern: HostPattern<'p>) -> Option<Self> {
        let (name, is_of_any_depth): (Cow<'p, str>, _) = match pattern {
            HostPattern::Name(name) => (name.into(), false),
            HostPattern::Under(apex) => (format!("~.{apex}").into(), true),
            HostPattern::Tree(apex) => (apex.into(), true),
            HostPattern::Glob(glob) => {
                (glob.as_str().replace('*', "~").into(), is_of_any_depth(glob))
            }
            HostPattern::Address(_) | HostPattern::Block(_) => return None,
        };
        (name.len() <= MAX_NAME).then_some(Self { name, is_of_any_depth })
    }
}

/// Whether the first label of a glob is any number of labels.
fn is_of_any_depth(glob: Glob<'_>) -> bool {
    glob.as_str().starts_with("*.")
}

/// Those of some globs that all match one name which say it: without those that match whatever another of
/// them does.
pub(crate) fn least<'a>(globs: &[Glob<'a>]) -> Vec<Glob<'a>> {
    let is_covered = |wide: &Glob<'a>| {
        globs.iter().any(|it| it != wide && covers(*wide, HostPattern::Glob(*it)))
    };
    globs.iter().filter(|glob| !is_covered(glob)).copied().collect()
}

/// Whether a glob matches whatever a pattern does, as far as that is seen label by label.
pub(crate) fn covers(glob: Glob<'_>, pattern: HostPattern<'_>) -> bool {
    Probe::of(pattern).is_some_and(|probe| {
        (!probe.is_of_any_depth || is_of_any_depth(glob)) && glob.matches(&probe.name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn what_globs_cover_is_found_by_the_index() {
        let texts = ["*.s3.*.a.test", "b*.s3.*.a.test", "*b*.a.test", "sts.*.a.test"];
        let globs: Vec<_> = texts.iter().map(|text| glob(text)).collect();
        let index = GlobIndex::new(globs.clone());
        for (pattern, expected) in [
            ("b.s3.eu.a.test", &["*.s3.*.a.test", "b*.s3.*.a.test"][..]),
            ("bc*.s3.*.a.test", &["*.s3.*.a.test", "b*.s3.*.a.test"]),
            ("*.b.s3.*.a.test", &["*.s3.*.a.test"]),
            ("*.s3.eu.a.test", &["*.s3.*.a.test"]),
            (".c.s3.eu.a.test", &["*.s3.*.a.test"]),
            (".s3.eu.a.test", &[]),
            ("*b.a.test", &["*b*.a.test"]),
            ("*.a.test", &[]),
            ("*.sts.b.a.test", &[]),
            ("sts.b*.a.test", &["sts.*.a.test"]),
            ("192.0.2.1", &[]),
        ] {
            let pattern = HostPattern::parse(pattern).unwrap();
            let mut found: Vec<_> = index.covering(pattern).iter().map(|it| it.as_str()).collect();
            found.sort_unstable();
            assert_eq!(found, expected, "{pattern:?}");
            let by_one = globs.iter().filter(|it| covers(**it, pattern)).count();
            assert_eq!(by_one, expected.len(), "{pattern:?}");
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
