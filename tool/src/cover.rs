//! Which patterns say at least what another says.
//!
//! Every answer `true` is certain; `false` also stands for what cannot be told.

use crate::policy_file::{Callers, Destinations, List};
use egress_warden::host::HostPattern;
use egress_warden::policy::TextPattern;

/// A pattern of one field.
pub(crate) trait Pattern {
    /// Whether everything that matches the other matches this.
    fn covers(&self, other: &Self) -> bool;
    /// Whether exactly one value matches.
    fn is_exact(&self) -> bool;
}

impl Pattern for HostPattern<'_> {
    fn covers(&self, other: &Self) -> bool {
        let is_under = |name: &str, apex: &str| {
            name.strip_suffix(apex).is_some_and(|start| start.ends_with('.'))
        };
        match (*self, *other) {
            (Self::Name(name), Self::Name(other)) => name == other,
            (Self::Under(apex), Self::Name(name)) => is_under(name, apex),
            (Self::Under(apex), Self::Under(other)) => apex == other || is_under(other, apex),
            (Self::Address(address), Self::Address(other)) => address == other,
            (Self::Block(block), Self::Address(address)) => block.contains(address),
            (Self::Block(block), Self::Block(other)) => {
                block.length() <= other.length() && block.contains(other.base())
            }
            _ => false,
        }
    }

    fn is_exact(&self) -> bool {
        matches!(self, Self::Name(_) | Self::Address(_))
    }
}

impl Pattern for TextPattern<'_> {
    fn covers(&self, other: &Self) -> bool {
        match (*self, *other) {
            (Self::Present, _) => true,
            (Self::Exact(text), Self::Exact(other)) => text == other,
            (Self::Prefix(prefix), Self::Exact(other) | Self::Prefix(other)) => {
                other.starts_with(prefix)
            }
            (Self::Suffix(suffix), Self::Exact(other) | Self::Suffix(other)) => {
                other.ends_with(suffix)
            }
            _ => false,
        }
    }

    fn is_exact(&self) -> bool {
        matches!(self, Self::Exact(_))
    }
}

impl Pattern for u16 {
    fn covers(&self, other: &Self) -> bool {
        self == other
    }

    fn is_exact(&self) -> bool {
        true
    }
}

impl Pattern for &str {
    fn covers(&self, other: &Self) -> bool {
        self == other
    }

    fn is_exact(&self) -> bool {
        true
    }
}

/// Whether each of these patterns is covered by one of those.
fn all_within<T: Pattern>(inner: &[T], outer: &[T]) -> bool {
    inner.iter().all(|inner| outer.iter().any(|outer| outer.covers(inner)))
}

/// Whether a field and its `not` form contradict each other.
pub(crate) fn excludes_itself<T: Pattern + Copy>(field: &List<'_, T>, not: &List<'_, T>) -> bool {
    let (field, not) = (patterns(field), patterns(not));
    matches!((field, not), (Some(field), Some(not)) if all_within(field, not))
}

fn patterns<'l, T: Copy>(list: &'l List<'_, T>) -> Option<&'l [T]> {
    list.as_ref().map(|list| list.patterns())
}

/// A field with its `not` form.
struct Field<'p, T> {
    listed: Option<&'p [T]>,
    not: &'p [T],
}

impl<'p, T: Pattern + Copy> Field<'p, T> {
    fn of(listed: &'p List<'_, T>, not: &'p List<'_, T>) -> Self {
        Self { listed: patterns(listed), not: patterns(not).unwrap_or_default() }
    }

    fn covers(&self, other: &Self) -> bool {
        let admits = match (self.listed, other.listed) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(outer), Some(inner)) => all_within(inner, outer),
        };
        admits
            && self.not.iter().all(|excluded| {
                let is_excluded_there = other.not.iter().any(|other| other.covers(excluded));
                let is_never_there = other.listed.is_some_and(|listed| {
                    listed.iter().all(|listed| listed.is_exact() && !excluded.covers(listed))
                });
                is_excluded_there || is_never_there
            })
    }
}

/// Whether every request to the other's destinations, of its hosts to this one alone, goes to one of
/// these.
pub(crate) fn covers_destinations(
    entry: &Destinations<'_>,
    other: &Destinations<'_>,
    host: Option<HostPattern<'_>>,
) -> bool {
    let other_hosts = Field {
        listed: host.as_ref().map(std::slice::from_ref),
        not: patterns(&other.not_hosts).unwrap_or_default(),
    };
    Field::of(&entry.hosts, &entry.not_hosts).covers(&other_hosts)
        && Field::of(&entry.ports, &entry.not_ports)
            .covers(&Field::of(&other.ports, &other.not_ports))
        && Field::of(&entry.methods, &entry.not_methods)
            .covers(&Field::of(&other.methods, &other.not_methods))
        && Field::of(&entry.paths, &entry.not_paths)
            .covers(&Field::of(&other.paths, &other.not_paths))
}

/// Whether all of the other's callers are among these.
pub(crate) fn covers_callers(entry: &Callers<'_>, other: &Callers<'_>) -> bool {
    Field::of(&entry.principals, &entry.not_principals)
        .covers(&Field::of(&other.principals, &other.not_principals))
        && Field::of(&entry.namespaces, &entry.not_namespaces)
            .covers(&Field::of(&other.namespaces, &other.not_namespaces))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_covers_what_it_matches_and_no_more() {
        let host = |text| HostPattern::parse(text).unwrap();
        for (outer, inner, covers) in [
            ("a.test", "a.test", true),
            ("*.a.test", "b.a.test", true),
            ("*.a.test", "a.test", false),
            ("*.a.test", "ba.test", false),
            ("*.a.test", "*.b.a.test", true),
            ("*.b.a.test", "*.a.test", false),
            ("10.0.0.0/8", "10.1.2.3", true),
            ("10.0.0.0/8", "10.1.0.0/16", true),
            ("10.1.0.0/16", "10.0.0.0/8", false),
            ("10.0.0.0/8", "11.0.0.0", false),
            ("a.test", "*.a.test", false),
        ] {
            assert_eq!(host(outer).covers(&host(inner)), covers, "{outer} {inner}");
        }
        let text = |text| TextPattern::parse(text).unwrap();
        for (outer, inner, covers) in [
            ("*", "/a*", true),
            ("/a*", "/ab", true),
            ("/a*", "/ab*", true),
            ("/ab*", "/a*", false),
            ("*b", "*ab", true),
            ("*b", "/b*", false),
            ("/a", "/a", true),
            ("/a", "/a*", false),
        ] {
            assert_eq!(text(outer).covers(&text(inner)), covers, "{outer} {inner}");
        }
    }
}
