//! Callers that two policies tell apart: one for each way in which all their patterns can match.

use super::words::Pieces;
use egress_warden::policy::namespace_of;
use std::collections::BTreeMap;

/// A caller who stands for all that fare as he does, with their description.
pub(super) type Caller = (String, Option<String>);

/// Istio's form of a SPIFFE id: `domain/ns/NAMESPACE/sa/ACCOUNT`. What is `None` is free.
const FORM: [Option<&str>; 5] = [None, Some("ns"), None, Some("sa"), None];
/// Where the namespace stands in it.
const NAMESPACE: usize = 2;

/// The callers that these patterns tell apart; the one without a verified identity comes first.
pub(super) fn callers(principals: &Pieces<'_>, namespaces: &Pieces<'_>) -> Vec<Caller> {
    let mut found: BTreeMap<String, String> = BTreeMap::new();
    let mut add = |principal: String| {
        let label = label(principals, namespaces, &principal);
        found.entry(label).or_insert(principal);
    };
    let fresh = fresh(principals, namespaces);
    for exact in &principals.exact {
        add((*exact).to_owned());
    }
    for ends @ (prefix, suffix) in principals.ends() {
        // More segments than Istio's form has: no namespace.
        add(format!("{prefix}{fresh}{}{suffix}", "/~".repeat(FORM.len()).replace('~', &fresh)));
        for namespace in &namespaces.exact {
            found_in_form(ends, Namespace::Exact(namespace), &fresh).into_iter().for_each(&mut add);
        }
        for (first, last) in namespaces.ends() {
            let namespace = Namespace::Between(first, last);
            found_in_form(ends, namespace, &fresh).into_iter().for_each(&mut add);
        }
    }
    let nobody = ("not verified".to_owned(), None);
    let known = found.into_iter().map(|(label, principal)| (label, Some(principal)));
    [nobody].into_iter().chain(known).collect()
}

/// A text that stands in no pattern of either.
fn fresh(principals: &Pieces<'_>, namespaces: &Pieces<'_>) -> String {
    let both = Pieces {
        exact: principals.exact.union(&namespaces.exact).copied().collect(),
        prefixes: principals.prefixes.union(&namespaces.prefixes).copied().collect(),
        suffixes: principals.suffixes.union(&namespaces.suffixes).copied().collect(),
    };
    both.fresh().to_string()
}

/// What is asked of a namespace: to be this one, or to start and end so.
#[derive(Clone, Copy)]
enum Namespace<'a> {
    Exact(&'a str),
    Between(&'a str, &'a str),
}

/// A principal of Istio's form with these ends and such a namespace, where there can be one.
fn found_in_form(
    (prefix, suffix): (&str, &str),
    namespace: Namespace<'_>,
    fresh: &str,
) -> Option<String> {
    let mut segments = FORM.map(Segment::new);
    let mut starts = prefix.split('/').peekable();
    for segment in &mut segments {
        let Some(start) = starts.next() else { break };
        match starts.peek() {
            Some(_) => segment.is(start)?,
            None => segment.starts(start)?,
        }
    }
    let mut ends = suffix.rsplit('/').peekable();
    for segment in segments.iter_mut().rev() {
        let Some(end) = ends.next() else { break };
        match ends.peek() {
            Some(_) => segment.is(end)?,
            None => segment.ends(end)?,
        }
    }
    if starts.next().is_some() || ends.next().is_some() {
        return None;
    }
    let segment = segments.get_mut(NAMESPACE)?;
    match namespace {
        Namespace::Exact(name) => segment.is(name)?,
        Namespace::Between(first, last) => {
            segment.starts(first)?;
            segment.ends(last)?;
        }
    }
    let texts: Option<Vec<String>> = segments.iter().map(|it| it.text(fresh)).collect();
    Some(texts?.join("/"))
}

/// What is asked of one segment.
struct Segment<'a> {
    exact: Option<&'a str>,
    prefix: &'a str,
    suffix: &'a str,
}

impl<'a> Segment<'a> {
    fn new(exact: Option<&'a str>) -> Self {
        Self { exact, prefix: "", suffix: "" }
    }

    fn is(&mut self, text: &'a str) -> Option<()> {
        let is_same = self.exact.is_none_or(|exact| exact == text);
        self.exact = Some(text);
        is_same.then_some(())
    }

    fn starts(&mut self, prefix: &'a str) -> Option<()> {
        let (short, long) = in_order(self.prefix, prefix);
        self.prefix = long;
        long.starts_with(short).then_some(())
    }

    fn ends(&mut self, suffix: &'a str) -> Option<()> {
        let (short, long) = in_order(self.suffix, suffix);
        self.suffix = long;
        long.ends_with(short).then_some(())
    }

    fn text(&self, fresh: &str) -> Option<String> {
        match self.exact {
            Some(exact) => (!exact.is_empty()
                && exact.starts_with(self.prefix)
                && exact.ends_with(self.suffix))
            .then(|| exact.to_owned()),
            None => Some(format!("{}{fresh}{}", self.prefix, self.suffix)),
        }
    }
}

fn in_order<'a>(a: &'a str, b: &'a str) -> (&'a str, &'a str) {
    if a.len() <= b.len() { (a, b) } else { (b, a) }
}

/// Says which callers fare as this one.
fn label(principals: &Pieces<'_>, namespaces: &Pieces<'_>, principal: &str) -> String {
    if principals.exact.contains(principal) {
        return principal.to_owned();
    }
    let callers = principals.label(principal);
    if namespaces.is_empty() {
        return callers.unwrap_or_else(|| "other callers".to_owned());
    }
    let place = match namespace_of(principal) {
        None => "outside any namespace".to_owned(),
        Some(namespace) => match namespaces.label(namespace) {
            Some(label) => format!("in namespace {label}"),
            None => "in other namespaces".to_owned(),
        },
    };
    match callers {
        Some(callers) => format!("{callers} {place}"),
        None if principals.is_empty() => place,
        None => format!("other callers {place}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use egress_warden::policy::TextPattern;

    fn labels(principals: &[&str], namespaces: &[&str]) -> Vec<(String, Option<String>)> {
        let (mut of_principals, mut of_namespaces) = (Pieces::default(), Pieces::default());
        of_principals.add(principals.iter().filter_map(|it| TextPattern::parse(it)));
        of_namespaces.add(namespaces.iter().filter_map(|it| TextPattern::parse(it)));
        callers(&of_principals, &of_namespaces)
    }

    fn names(principals: &[&str], namespaces: &[&str]) -> Vec<String> {
        labels(principals, namespaces).into_iter().map(|(label, _)| label).collect()
    }

    #[test]
    fn every_way_to_match_has_a_caller() {
        assert_eq!(
            names(&["a/ns/x/sa/api", "a/ns/x/*"], &[]),
            ["not verified", "a/ns/x/*", "a/ns/x/sa/api", "other callers"]
        );
        assert_eq!(
            names(&[], &["pay", "pay*", "*-dev"]),
            [
                "not verified",
                "in namespace *-dev",
                "in namespace pay",
                "in namespace pay*",
                "in namespace pay*-dev",
                "in other namespaces",
                "outside any namespace",
            ]
        );
    }

    #[test]
    fn a_prefix_that_names_a_namespace_leaves_no_other() {
        let found = names(&["a/ns/pay/*"], &["pay", "shop"]);
        assert!(found.contains(&"a/ns/pay/* in namespace pay".to_owned()), "{found:?}");
        assert!(!found.contains(&"a/ns/pay/* in namespace shop".to_owned()), "{found:?}");
        assert!(found.contains(&"a/ns/pay/* outside any namespace".to_owned()), "{found:?}");
        assert!(found.contains(&"other callers in namespace pay".to_owned()), "{found:?}");
    }

    #[test]
    fn ends_that_meet_inside_the_form_are_found() {
        let found = labels(&["a/ns/pay*", "*ay/sa/api"], &["pay", "pay-x-ay"]);
        let with_both: Vec<_> =
            found.iter().filter(|(label, _)| label.starts_with("a/ns/pay*ay/sa/api")).collect();
        assert!(
            with_both.iter().any(|(_, it)| it.as_deref() == Some("a/ns/pay/sa/api")),
            "{found:?}"
        );
        assert!(
            with_both.iter().any(|(_, it)| it.as_deref() == Some("a/ns/pay-x-ay/sa/api")),
            "{found:?}"
        );
    }
}
