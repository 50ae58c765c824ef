//! Patterns for hosts that were seen: what of a name varies, and what must not be opened by it.
//!
//! A pattern stands below a registered name, over no name that strangers can take, and over no host
//! that was refused, whoever called it.

use super::appraisal;
use crate::public_suffix::Openness;
use egress_warden::host::HostPattern;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

/// A host and a port, as rules name them.
pub(super) type Target<'a> = (&'a str, u16);

/// Which hosts one pattern may stand for, the narrowest first. A host gets one pattern.
const SHAPES: [Shape; 4] = [Shape::PartOfFirst, Shape::Parent, Shape::Inner, Shape::Registered];

#[derive(Clone, Copy, Debug)]
enum Shape {
    /// The first labels share what is before their first `-` or behind their last one.
    PartOfFirst,
    /// All is equal but the first label.
    Parent,
    /// All is equal but one label behind the first.
    Inner,
    /// All are below one registered name.
    Registered,
}

/// What the hosts of a group have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Common<'a> {
    /// The names behind it.
    Under(&'a str),
    /// All but one label, and what that begins or ends with.
    Around { place: Around<'a>, start: &'a str, end: &'a str },
}

/// What stands before one label of a name, with its dot, and behind it, without.
type Around<'a> = (&'a str, &'a str);

/// The pattern for each host that gets one which stands for other names too: where at least `from`
/// hosts of its port have the same in common.
pub(super) fn of<'a>(
    ordinary: &[Target<'a>],
    refused: &BTreeSet<&'a str>,
    from: usize,
) -> BTreeMap<Target<'a>, String> {
    let refused = Refused::new(refused, ordinary);
    let mut patterns: BTreeMap<Target<'_>, String> = BTreeMap::new();
    for shape in SHAPES {
        let mut groups: BTreeMap<(Common<'_>, u16), Vec<&str>> = BTreeMap::new();
        for (host, port) in ordinary.iter().filter(|it| !patterns.contains_key(it)) {
            for common in shape.of(host) {
                groups.entry((common, *port)).or_default().push(host);
            }
        }
        let mut groups = Vec::from_iter(groups);
        groups.sort_by_key(|(_, hosts)| Reverse(hosts.len()));
        for ((common, port), hosts) in groups {
            let free = |host: &&str| !patterns.contains_key(&(*host, port));
            let hosts: Vec<&str> = hosts.into_iter().filter(free).collect();
            if hosts.len() < from || Openness::of(common.literal_end()).is_some() {
                continue;
            }
            let pattern = common.pattern(&hosts);
            if !refused.is_any_matched(common, &pattern) {
                patterns.extend(hosts.iter().map(|host| ((*host, port), pattern.clone())));
            }
        }
    }
    patterns
}

/// Writes each name that stands in a list together with the wildcard below it as one entry.
pub(super) fn with_trees(hosts: Vec<String>) -> Vec<String> {
    let all: BTreeSet<String> = hosts.iter().cloned().collect();
    let trees = hosts.into_iter().filter_map(|host| match host.strip_prefix("*.") {
        Some(name) if all.contains(name) => Some(format!(".{name}")),
        _ if all.contains(&format!("*.{host}")) => None,
        _ => Some(host),
    });
    trees.collect()
}

impl Shape {
    /// What a host may have in common with others, in this shape.
    fn of(self, host: &str) -> Vec<Common<'_>> {
        let Some(registered) = appraisal::known_registered(host) else { return Vec::new() };
        if host.len() <= registered.len() {
            return Vec::new();
        }
        let (first, parent) = host.split_once('.').unwrap_or((host, ""));
        match self {
            Self::PartOfFirst => {
                let place = ("", parent);
                let start = first.find('-').map(|it| Common::Around {
                    place,
                    start: first.split_at(it + 1).0,
                    end: "",
                });
                let end = first.rfind('-').map(|it| Common::Around {
                    place,
                    start: "",
                    end: first.split_at(it).1,
                });
                start.into_iter().chain(end).collect()
            }
            Self::Parent if parent.len() > registered.len() => vec![Common::Under(parent)],
            Self::Parent => Vec::new(),
            Self::Inner => places(host)
                .filter(|(before, behind)| !before.is_empty() && behind.len() >= registered.len())
                .map(|place| Common::Around { place, start: "", end: "" })
                .collect(),
            Self::Registered => vec![Common::Under(registered)],
        }
    }
}

/// A name without each of its labels but the last, one after the other.
fn places(name: &str) -> impl Iterator<Item = Around<'_>> {
    let mut start = 0;
    name.match_indices('.').map(move |(dot, _)| {
        let before = name.split_at(start).0;
        start = dot + 1;
        (before, name.split_at(start).1)
    })
}

impl<'a> Common<'a> {
    /// The labels that end every name the pattern may match.
    fn literal_end(self) -> &'a str {
        match self {
            Self::Under(name) => name,
            Self::Around { place: (_, behind), .. } => behind,
        }
    }

    /// The narrowest pattern of this shape for these hosts. Labels are cut at a `-` only: what varies
    /// within a word varies by chance.
    fn pattern(self, hosts: &[&'a str]) -> String {
        let (before, behind) = match self {
            Self::Under(name) => return format!("*.{name}"),
            Self::Around { place, .. } => place,
        };
        let label = |host: &&'a str| {
            let label = host.strip_prefix(before)?.strip_suffix(behind)?;
            label.strip_suffix('.')
        };
        let labels: Vec<&str> = hosts.iter().filter_map(label).collect();
        let start = common_start(&labels);
        let ends: Vec<&str> = labels.iter().filter_map(|it| it.strip_prefix(start)).collect();
        format!("{before}{start}*{}.{behind}", common_end(&ends))
    }
}

/// What all labels begin with, up to a `-`.
fn common_start<'a>(labels: &[&'a str]) -> &'a str {
    let Some(first) = labels.first() else { return "" };
    let cuts = first.rmatch_indices('-').map(|(at, _)| first.split_at(at + 1).0);
    cuts.into_iter().find(|it| labels.iter().all(|label| label.starts_with(it))).unwrap_or("")
}

/// What all labels end with, from a `-` on.
fn common_end<'a>(labels: &[&'a str]) -> &'a str {
    let Some(first) = labels.first() else { return "" };
    let cuts = first.match_indices('-').map(|(at, _)| first.split_at(at).1);
    cuts.into_iter().find(|it| labels.iter().all(|label| label.ends_with(it))).unwrap_or("")
}

/// Hosts that were refused, of whatever port: a refusal often has none.
#[derive(Debug)]
struct Refused<'a> {
    /// The names above them.
    above: BTreeSet<&'a str>,
    /// Those that differ in one label from a host that a pattern is sought for.
    around: BTreeMap<Around<'a>, Vec<&'a str>>,
}

impl<'a> Refused<'a> {
    fn new(refused: &BTreeSet<&'a str>, ordinary: &[Target<'a>]) -> Self {
        let above =
            |host: &'a str| host.match_indices('.').map(move |(dot, _)| host.split_at(dot + 1).1);
        let sought: BTreeSet<Around<'a>> =
            ordinary.iter().flat_map(|(host, _)| places(host)).collect();
        let mut around: BTreeMap<Around<'a>, Vec<&'a str>> = BTreeMap::new();
        for host in refused {
            for place in places(host).filter(|place| sought.contains(place)) {
                around.entry(place).or_default().push(host);
            }
        }
        Self { above: refused.iter().flat_map(|host| above(host)).collect(), around }
    }

    fn is_any_matched(&self, common: Common<'_>, pattern: &str) -> bool {
        match (common, HostPattern::parse(pattern)) {
            (Common::Under(name), Ok(_)) => self.above.contains(name),
            (Common::Around { place, .. }, Ok(HostPattern::Glob(glob))) => {
                self.around.get(&place).into_iter().flatten().any(|host| glob.matches(host))
            }
            // What is no pattern is not proposed.
            _ => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The patterns for hosts, where five make one.
    fn of_hosts(hosts: &[String], refused: &[&'static str]) -> Vec<String> {
        let refused: BTreeSet<String> = refused.iter().map(|it| (*it).to_owned()).collect();
        let refused = refused.iter().map(String::as_str).collect();
        let targets: Vec<Target<'_>> = hosts.iter().map(|host| (&**host, 443)).collect();
        BTreeSet::from_iter(of(&targets, &refused, 5).into_values()).into_iter().collect()
    }

    fn numbered(form: &str, count: usize) -> Vec<String> {
        (0..count).map(|number| form.replace('#', &format!("{number}"))).collect()
    }

    #[test]
    fn a_glob_stands_where_a_single_label_or_a_part_of_it_varies() {
        for (forms, expected) in [
            (&["api-#.duo.com"][..], &["api-*.duo.com"][..]),
            (&["api-eu-#.duo.com"], &["api-eu-*.duo.com"]),
            (&["r#-aiplatform.vendor.com"], &["*-aiplatform.vendor.com"]),
            (&["x-#-y.vendor.com"], &["x-*-y.vendor.com"]),
            (&["sts.r#.vendor.com"], &["sts.*.vendor.com"]),
            (&["sts.eu-#.vendor.com"], &["sts.eu-*.vendor.com"]),
            (&["a.sts.r#.vendor.com"], &["a.sts.*.vendor.com"]),
            // What varies within a word has no part of its own.
            (&["tenant#.vendor.com"], &["*.vendor.com"]),
            // Two labels vary.
            (&["a#.r1.vendor.com", "a#.r2.vendor.com"], &["*.r1.vendor.com", "*.r2.vendor.com"]),
            (&["a.b#.c1.vendor.com", "a.b1.c#.vendor.com"], &["a.*.c1.vendor.com", "*.vendor.com"]),
        ] {
            let hosts: Vec<String> = forms.iter().flat_map(|form| numbered(form, 5)).collect();
            let got = of_hosts(&hosts, &[]);
            assert!(expected.contains(&&*got[0]), "{forms:?}: {got:?}");
            if forms.len() == 1 {
                assert_eq!(got, expected, "{forms:?}");
                let few = hosts.split_last().unwrap().1;
                assert_eq!(of_hosts(few, &[]), [""; 0], "{forms:?}");
            }
        }
    }

    #[test]
    fn no_glob_stands_over_names_that_strangers_can_take() {
        for form in [
            "sts.r#.amazonaws.com",
            "api-#.github.io",
            "a.b#.s3.amazonaws.com",
            "www.r#.co.uk",
            "api-#.westeurope.cloudapp.azure.com",
            "acct-#.openai.azure.com",
            "api.r#.azure.com",
            "api-#.unknown.corp",
        ] {
            assert_eq!(of_hosts(&numbered(form, 9), &[]), [""; 0], "{form}");
        }
        // Of one owner.
        for (form, expected) in [
            ("api-#.team.github.io", "api-*.team.github.io"),
            ("a.r#.bucket.s3.amazonaws.com", "a.*.bucket.s3.amazonaws.com"),
        ] {
            assert_eq!(of_hosts(&numbered(form, 9), &[]), [expected], "{form}");
        }
    }

    #[test]
    fn no_pattern_lets_through_what_was_refused() {
        for (form, refused, expected) in [
            ("api-#.duo.com", &["api-evil.duo.com"][..], &[][..]),
            ("api-#.duo.com", &["api-.duo.com"], &[]),
            ("api-#.duo.com", &["api-1.duo.com"], &[]),
            ("sts.r#.vendor.com", &["sts.evil.vendor.com"], &[]),
            ("api-#.duo.com", &["evil.duo.com", "api-1.x.duo.com"], &["api-*.duo.com"]),
            ("sts.r#.vendor.com", &["evil.r1.vendor.com"], &["sts.*.vendor.com"]),
            ("tenant#.vendor.com", &["evil.vendor.com"], &[]),
        ] {
            let got = of_hosts(&numbered(form, 6), refused);
            assert_eq!(got, expected, "{form}, refused: {refused:?}");
        }
    }

    #[test]
    fn a_name_and_the_wildcard_below_it_are_one_entry() {
        let hosts = ["*.a.com", "*.b.com", "a.com", "c.com"].map(str::to_owned).to_vec();
        assert_eq!(with_trees(hosts), [".a.com", "*.b.com", "c.com"]);
    }
}
