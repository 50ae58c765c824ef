//! Example callers of two policies: one for each way in which all their patterns can match.

use super::texts::{Pieces, fresh, literal};
use egress_warden::policy::namespace_of;

/// Istio's form of a SPIFFE id: `domain/ns/NAMESPACE/sa/ACCOUNT`. What is `None` is free.
const FORM: [Option<&str>; 5] = [None, Some("ns"), None, Some("sa"), None];

/// The patterns that distinguish callers.
#[derive(Debug)]
pub(crate) struct Callers<'a> {
    pub(crate) principals: Pieces<'a>,
    /// `None`: nobody asks for namespaces or service accounts.
    pub(crate) namespaces: Option<Pieces<'a>>,
    /// All exact, as `NAMESPACE/ACCOUNT`.
    pub(crate) accounts: Pieces<'a>,
}

impl Callers<'_> {
    /// How many principals [`Callers::principals`] finds at most.
    pub(crate) fn count(&self) -> usize {
        let in_namespaces = self.namespaces.as_ref().map_or(0, |namespaces| {
            let count = namespaces.exact.len().saturating_add(namespaces.count_of_ends());
            count.saturating_add(self.accounts.len())
        });
        let of_ends = self.principals.count_of_ends().saturating_mul(in_namespaces + 1);
        self.principals.exact.len().saturating_add(of_ends)
    }

    /// A principal for each way in which the patterns can match one, some ways more than once;
    /// `None` where the patterns have every character.
    ///
    /// Take any principal that no pattern is exactly, its longest prefix and suffix, and, where it has
    /// Istio's form, its service account, if that is listed, or else its namespace or that one's longest
    /// prefix and suffix. Here is one with the same
    /// ends: what these and the form leave open is filled with a character that no pattern reaches
    /// over, so that it matches what that principal matches and nothing else.
    pub(crate) fn principals(&self) -> Option<Vec<String>> {
        let none = Pieces::default();
        let namespaces = self.namespaces.as_ref();
        let fresh =
            fresh(&[&self.principals, namespaces.unwrap_or(&none), &self.accounts])?.to_string();
        let mut found: Vec<String> =
            self.principals.exact.iter().map(|it| it.to_string()).collect();
        for ends @ (prefix, suffix) in self.principals.ends() {
            let Some(namespaces) = namespaces else {
                found.push(format!("{prefix}{fresh}{suffix}"));
                continue;
            };
            // More segments than Istio's form has: no namespace.
            let long = format!("/{fresh}").repeat(FORM.len());
            found.push(format!("{prefix}{fresh}{long}{suffix}"));
            let accounts = self.accounts.exact.iter().filter_map(|it| it.split_once('/'));
            let accounts = accounts.map(|(name, account)| Place::Account(name, account));
            let exact = namespaces.exact.iter().map(|name| Place::Namespace(name));
            let others = namespaces.ends().map(|(first, last)| Place::Between(first, last));
            let places = accounts.chain(exact).chain(others);
            found.extend(places.filter_map(|it| found_in_form(ends, it, &fresh)));
        }
        Some(found)
    }

    /// The name of the class of this caller: no two classes have a caller in common.
    pub(crate) fn label(&self, principal: &str) -> String {
        if self.principals.exact.contains(principal) {
            return literal(principal).into_owned();
        }
        let callers = self.principals.label(principal);
        let Some(namespaces) = &self.namespaces else {
            return callers.unwrap_or_else(|| "other callers".to_owned());
        };
        let account = service_account_of(principal);
        let account = account.filter(|account| self.accounts.exact.contains(&**account));
        let place = match (namespace_of(principal), account) {
            (_, Some(account)) => format!("as service account {}", literal(&account)),
            (None, None) => "outside any namespace".to_owned(),
            (Some(namespace), None) => match namespaces.label(namespace) {
                Some(label) => format!("in namespace {label}"),
                None if namespaces.is_empty() => "in a namespace".to_owned(),
                None => "in other namespaces".to_owned(),
            },
        };
        match callers {
            Some(callers) => format!("{callers} {place}"),
            None if self.principals.is_empty() => place,
            None => format!("other callers {place}"),
        }
    }
}

/// The service account of a principal of Istio's form, as policies write it.
pub(crate) fn service_account_of(principal: &str) -> Option<String> {
    let (_, account) = principal.rsplit_once('/')?;
    Some(format!("{}/{account}", namespace_of(principal)?))
}

/// What is asked of a namespace and its account: to be this namespace, with this account, or to start and end
/// so.
#[derive(Clone, Copy)]
enum Place<'a> {
    Account(&'a str, &'a str),
    Namespace(&'a str),
    Between(&'a str, &'a str),
}

/// A principal of Istio's form with these ends at such a place, where there can be one.
fn found_in_form((prefix, suffix): (&str, &str), place: Place<'_>, fresh: &str) -> Option<String> {
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
    let [_, _, namespace, _, account] = &mut segments;
    match place {
        Place::Account(name, of_account) => {
            namespace.is(name)?;
            account.is(of_account)?;
        }
        Place::Namespace(name) => namespace.is(name)?,
        Place::Between(first, last) => {
            namespace.starts(first)?;
            namespace.ends(last)?;
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

#[cfg(test)]
mod tests {
    use super::*;
    use egress_warden::policy::TextPattern;
    use std::collections::BTreeMap;

    fn callers<'a>(principals: &[&'a str], namespaces: &[&'a str]) -> Callers<'a> {
        let accounts = Pieces::default();
        let pieces = |texts: &[&'a str]| {
            Pieces::of(&[texts.iter().filter_map(|it| TextPattern::parse(it)).collect()])
        };
        let namespaces = (!namespaces.is_empty()).then(|| pieces(namespaces));
        Callers { principals: pieces(principals), namespaces, accounts }
    }

    /// Labels with a principal each.
    fn labels(principals: &[&str], namespaces: &[&str]) -> BTreeMap<String, String> {
        let callers = callers(principals, namespaces);
        let found = callers.principals().unwrap().into_iter().rev();
        found.map(|principal| (callers.label(&principal), principal)).collect()
    }

    fn names(principals: &[&str], namespaces: &[&str]) -> Vec<String> {
        labels(principals, namespaces).into_keys().collect()
    }

    #[test]
    fn every_way_to_match_has_a_caller() {
        assert_eq!(
            names(&["a/ns/x/sa/api", "a/ns/x/*"], &[]),
            ["a/ns/x/*", "a/ns/x/sa/api", "other callers"]
        );
        assert_eq!(
            names(&[], &["pay", "pay*", "*-dev"]),
            [
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
        assert!(with_both.iter().any(|(_, it)| *it == "a/ns/pay/sa/api"), "{found:?}");
        assert!(with_both.iter().any(|(_, it)| *it == "a/ns/pay-x-ay/sa/api"), "{found:?}");
    }

    #[test]
    fn who_has_a_namespace_is_told_from_who_has_none() {
        let found = labels(&[], &["*"]);
        let with_namespace = |label: &str| namespace_of(&found[label]).is_some();
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(with_namespace("in a namespace"));
        assert!(!with_namespace("outside any namespace"));
    }

    #[test]
    fn a_principal_may_be_named_as_others_are_called() {
        let found = labels(&["other callers", "in a namespace"], &[]);
        assert_eq!(found["\"other callers\""], "other callers");
        assert_eq!(found["other callers"], "~");
        assert_eq!(found.len(), 3, "{found:?}");
    }

    #[test]
    fn a_listed_account_is_told_from_the_others_of_its_namespace() {
        let accounts = ["pay/api", "pay/web"].map(TextPattern::Exact);
        let callers = Callers {
            accounts: Pieces::of(&[accounts.into()]),
            ..callers(&["a/ns/pay/sa/*", "*/sa/api"], &["*"])
        };
        let found = callers.principals().unwrap().into_iter();
        let labels: BTreeMap<String, String> =
            found.map(|principal| (callers.label(&principal), principal)).collect();
        for (label, principal) in [
            ("a/ns/pay/sa/* as service account pay/web", "a/ns/pay/sa/web"),
            ("*/sa/api as service account pay/api", "~/ns/pay/sa/api"),
            ("a/ns/pay/sa/*/sa/api as service account pay/api", "a/ns/pay/sa/api"),
            ("*/sa/api in a namespace", "~/ns/~/sa/api"),
            ("other callers in a namespace", "~/ns/~/sa/~"),
        ] {
            assert_eq!(
                labels.get(label).map(String::as_str),
                Some(principal),
                "{label}: {labels:?}"
            );
        }
    }
}
