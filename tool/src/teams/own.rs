//! The callers of a team, and whether what it writes names any other.
//!
//! Own are verified ids that begin `DOMAIN/ns/NAMESPACE`, with a whole namespace of the team, and those that
//! its principals match. Every answer here is exact.

use crate::classes::callers::Callers as Classes;
use crate::classes::texts::Pieces;
use crate::cover::{CallerDemands, Pattern};
use crate::policy_file::{Callers, List};
use egress_warden::config::{self, ErrorKind, TextError};
use egress_warden::policy::{Action, TextPattern};

/// Patterns of the callers, at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Own {
    namespaces: Vec<String>,
    principals: Vec<String>,
}

/// Whether an entry names own callers only.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Reach {
    Own,
    /// It also names this caller of others.
    Beyond(String),
    /// Its patterns combine in more ways than are looked at.
    Unknown,
}

/// Most callers that are looked at for one entry.
const MAX_CALLERS: usize = 1_000_000;

impl Own {
    /// Takes lists of patterns, not both of them empty; or says what is wrong and what to write instead.
    pub(super) fn new(
        namespaces: Vec<String>,
        principals: Vec<String>,
    ) -> Result<Self, (String, String)> {
        if let Some(id) = namespaces.iter().find(|text| text.contains('/')) {
            let remedy = "write ids without a namespace as `principals`";
            return Err((format!("the namespace `{id}`"), remedy.to_owned()));
        }
        check(&namespaces, config::text_pattern)?;
        check(&principals, config::principal_pattern)?;
        Ok(Self { namespaces, principals })
    }

    /// The lists as a policy would write them.
    pub(super) fn fields(&self) -> Vec<String> {
        let field = |key: &str, list: &[String]| {
            let list: Vec<_> = list.iter().map(|text| format!("\"{text}\"")).collect();
            (!list.is_empty()).then(|| format!("{key}: [{}]", list.join(", ")))
        };
        let fields = [field("namespaces", &self.namespaces), field("principals", &self.principals)];
        fields.into_iter().flatten().collect()
    }

    /// A pattern of the other's that is not within these, with what it is a pattern of.
    pub(super) fn first_beyond<'o>(&self, other: &'o Self) -> Option<(&'static str, &'o str)> {
        let is_any = self.principals().any(|own| own == TextPattern::Present);
        let has_namespace = |text: &str| {
            is_any || TextPattern::parse(text).is_some_and(|it| self.has_namespaces(it))
        };
        let has_principal =
            |text: &str| TextPattern::parse(text).is_some_and(|it| self.has_principals(it));
        let mut namespaces = other.namespaces.iter().filter(|text| !has_namespace(text));
        let mut principals = other.principals.iter().filter(|text| !has_principal(text));
        let namespace = namespaces.next().map(|text| ("namespace", &**text));
        namespace.or_else(|| principals.next().map(|text| ("principal", &**text)))
    }

    /// Whether an entry of a rule that so acts names own callers only.
    pub(super) fn reach(&self, entry: &Callers<'_>, action: Action) -> Reach {
        let has_all = |list: &List<'_, TextPattern<'_>>, has: &dyn Fn(TextPattern<'_>) -> bool| {
            list.as_ref().is_some_and(|list| list.patterns().iter().all(|it| has(*it)))
        };
        let is_within = has_all(&entry.principals, &|it| self.has_principals(it))
            || action == Action::Allow && has_all(&entry.namespaces, &|it| self.has_namespaces(it));
        if is_within {
            return Reach::Own;
        }
        let classes = self.classes(entry);
        if classes.count() > MAX_CALLERS {
            return Reach::Unknown;
        }
        let Some(callers) = classes.principals() else { return Reach::Unknown };
        let demands = CallerDemands::of(entry);
        let is_beyond = |caller: &String| {
            demands.are_met_by(caller, action) && !self.has_principals(TextPattern::Exact(caller))
        };
        callers.into_iter().find(is_beyond).map_or(Reach::Own, Reach::Beyond)
    }

    /// The classes of callers that neither the entry nor these patterns tell apart.
    ///
    /// INVARIANT: an example is own by its namespace only if its whole class is, also where its form is not
    /// Istio's. What a prefix leaves open of the third segment is filled with a character of no pattern,
    /// so that only a pattern which takes whatever follows the prefix has it.
    fn classes<'a>(&'a self, entry: &'a Callers<'_>) -> Classes<'a> {
        let texts = |own: Vec<TextPattern<'a>>, lists: [&'a List<'_, TextPattern<'_>>; 2]| {
            let lists = lists.into_iter().flatten().map(|list| list.patterns().to_vec());
            Pieces::of(&lists.chain([own]).collect::<Vec<_>>())
        };
        let accounts = [&entry.service_accounts, &entry.not_service_accounts];
        let accounts = accounts.into_iter().flatten().flat_map(|list| list.patterns());
        Classes {
            principals: texts(
                self.principals().collect(),
                [&entry.principals, &entry.not_principals],
            ),
            namespaces: Some(texts(
                self.namespaces().collect(),
                [&entry.namespaces, &entry.not_namespaces],
            )),
            accounts: Pieces::of(&[accounts.map(|it| TextPattern::Exact(it)).collect()]),
        }
    }

    /// Whether all ids that match are own.
    fn has_principals(&self, pattern: TextPattern<'_>) -> bool {
        self.principals().any(|own| own.covers(&pattern))
            || namespaces_of(pattern).is_some_and(|it| self.has_namespaces(it))
    }

    fn has_namespaces(&self, pattern: TextPattern<'_>) -> bool {
        self.namespaces().any(|own| own.covers(&pattern))
    }

    fn namespaces(&self) -> impl Iterator<Item = TextPattern<'_>> {
        self.namespaces.iter().filter_map(|text| TextPattern::parse(text))
    }

    fn principals(&self) -> impl Iterator<Item = TextPattern<'_>> {
        self.principals.iter().filter_map(|text| TextPattern::parse(text))
    }
}

/// The namespaces of all ids that match, where all begin `DOMAIN/ns/NAMESPACE`.
fn namespaces_of(pattern: TextPattern<'_>) -> Option<TextPattern<'_>> {
    let (TextPattern::Exact(start) | TextPattern::Prefix(start)) = pattern else { return None };
    let mut segments = start.splitn(4, '/');
    let _domain = segments.next()?;
    let namespace = segments.next().filter(|it| *it == "ns").and_then(|_| segments.next())?;
    let is_whole = segments.next().is_some() || pattern == TextPattern::Exact(start);
    Some(if is_whole { TextPattern::Exact(namespace) } else { TextPattern::Prefix(namespace) })
}

/// Reads patterns as a policy's reader does.
fn check(
    texts: &[String],
    read: for<'t> fn(&'t str) -> Result<TextPattern<'t>, TextError>,
) -> Result<(), (String, String)> {
    texts.iter().try_for_each(|text| {
        read(text).map(drop).map_err(|error| {
            let error = ErrorKind::Pattern { text: text.as_str().into(), error };
            (error.problem().into_owned(), error.remedy().into_owned())
        })
    })
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::policy_file::PolicyFile;
    use egress_warden::policy::{Decision, Request};
    use proptest::collection::vec;
    use proptest::prelude::*;
    use proptest::sample::{select, subsequence};
    use serde_json::{Value, json};

    pub(in super::super) fn own(namespaces: &[&str], principals: &[&str]) -> Own {
        let list = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        Own::new(list(namespaces), list(principals)).unwrap()
    }

    fn policy(action: &str, entry: &Value) -> PolicyFile {
        let default = if action == "deny" { "allow" } else { "deny" };
        let rule = json!({"id": "x", "action": action, "from": [entry]});
        let text = json!({"policy": "x", "default": default, "rules": [rule]}).to_string();
        PolicyFile::of_text("x.json".to_owned(), text, true)
    }

    fn reach(own: &Own, action: &str, entry: &Value) -> Reach {
        let file = policy(action, entry);
        let source = file.source().unwrap();
        own.reach(&source.rules[0].from[0], source.rules[0].action)
    }

    #[test]
    fn an_entry_is_within_a_team_or_names_others() {
        let pay = own(&["pay", "pay-*"], &[]);
        let build = own(&[], &["example.org/build/*", "*/ns/pay/sa/ci"]);
        let both = own(&["pay"], &["example.org/build/*"]);
        for (own, action, entry, is_own) in [
            (&pay, "allow", json!({"namespaces": ["pay", "pay-eu", "pay-a*"]}), true),
            (&pay, "allow", json!({"namespaces": ["pay", "shop"]}), false),
            (&pay, "allow", json!({"namespaces": ["pay", "shop"], "notNamespaces": ["s*"]}), true),
            (&pay, "allow", json!({"serviceAccounts": ["pay/api", "pay-eu/api"]}), true),
            (&pay, "allow", json!({"serviceAccounts": ["pay/api", "shop/api"]}), false),
            (&pay, "allow", json!({"serviceAccounts": ["paying/api"]}), false),
            (&pay, "allow", json!({"notServiceAccounts": ["pay/api"]}), false),
            (&pay, "allow", json!({"principals": ["*/ns/pay/sa/a"], "namespaces": ["*"]}), true),
            (&pay, "allow", json!({"principals": ["*/ns/pay/sa/a"]}), false),
            (&pay, "allow", json!({"principals": ["cluster.local/ns/pay"]}), true),
            (&pay, "allow", json!({"principals": ["cluster.local/ns/pay-*"]}), true),
            (&pay, "allow", json!({"principals": ["cluster.local/ns/pay*"]}), false),
            (&pay, "allow", json!({"principals": ["example.org/build/pay/*"]}), false),
            (&pay, "deny", json!({"principals": ["cluster.local/ns/pay/*"]}), true),
            (&pay, "deny", json!({"namespaces": ["pay"]}), false),
            (&pay, "deny", json!({"serviceAccounts": ["pay/api"]}), false),
            (&build, "allow", json!({"principals": ["example.org/build/pay/*"]}), true),
            (&build, "allow", json!({"principals": ["example.org/*"]}), false),
            (
                &build,
                "allow",
                json!({"principals": ["*"], "notPrincipals": ["example.org/*"]}),
                false,
            ),
            (&build, "allow", json!({"serviceAccounts": ["pay/ci"]}), true),
            (&build, "allow", json!({"serviceAccounts": ["pay/api"]}), false),
            (&build, "allow", json!({"namespaces": ["pay"]}), false),
            (&build, "allow", json!({"namespaces": ["pay"], "principals": ["*/sa/ci"]}), true),
            (&build, "deny", json!({"namespaces": ["pay"], "principals": ["*/sa/ci"]}), false),
            (&build, "deny", json!({"principals": ["example.org/build/ci"]}), true),
            (&both, "allow", json!({"principals": ["example.org/build/x", "a/ns/pay/*"]}), true),
            (&both, "allow", json!({"namespaces": ["pay"]}), true),
            (&both, "allow", json!({"namespaces": ["build"]}), false),
        ] {
            assert_eq!(
                reach(own, action, &entry) == Reach::Own,
                is_own,
                "{own:?} {action} {entry}"
            );
        }
    }

    #[test]
    fn what_cannot_be_compared_is_not_taken_for_own() {
        let many = |form: &dyn Fn(usize) -> String| (0..1_000).map(form).collect::<Vec<_>>();
        let entry = json!({
            "principals": many(&|it| format!("a{it}/*")),
            "notPrincipals": many(&|it| format!("*/b{it}")),
        });
        assert_eq!(reach(&own(&["pay"], &[]), "allow", &entry), Reach::Unknown);
    }

    const NAMESPACES: [&str; 6] = ["a", "a*", "*a", "ab", "b", "*"];
    const ACCOUNTS: [&str; 4] = ["a/x", "ab/x", "b/x", "a/y"];
    const PRINCIPALS: [&str; 16] = [
        "*",
        "d/*",
        "d/ns*",
        "d/ns/*",
        "d/ns/a*",
        "d/ns/a/*",
        "d/ns/a/sa/x",
        "d/ns/b/*",
        "d/ns/a",
        "*x",
        "*/sa/x",
        "*a/sa/x",
        "*/ns/a/sa/x",
        "*b/sa/y",
        "d/build/*",
        "d/build/a",
    ];
    /// Callers that the patterns take apart in many ways.
    fn callers() -> Vec<String> {
        let mut callers = Vec::new();
        for domain in ["d", "e"] {
            for namespace in ["a", "ab", "ba", "b", "c"] {
                for rest in ["/sa/x", "/sa/y", "/sa/xx", "/sa/x/ns/a/sa/x", "", "/vm/x"] {
                    callers.push(format!("{domain}/ns/{namespace}{rest}"));
                }
            }
            for rest in ["", "/", "/build/a", "/build/x", "/nsa/a/sa/x", "/x/ns/a/sa/x"] {
                callers.push(format!("{domain}{rest}"));
            }
        }
        callers
    }

    /// Own by the definition's words.
    pub(in super::super) fn is_own(own: &Own, caller: &str) -> bool {
        let matches = |pattern: &String, text: &str| match pattern.split_once('*') {
            None => pattern == text,
            Some((start, end)) => text.starts_with(start) && text.ends_with(end),
        };
        let segments: Vec<_> = caller.split('/').collect();
        let is_in = |namespace: &str| own.namespaces.iter().any(|it| matches(it, namespace));
        own.principals.iter().any(|it| matches(it, caller))
            || matches!(segments[..], [_, "ns", namespace, ..] if is_in(namespace))
    }

    fn is_named(decides: impl Fn(&Request<'_>) -> Decision, action: &str, caller: &str) -> bool {
        let request = Request { principal: Some(caller), ..Request::new(b"h.test", b"GET") };
        let decision = decides(&request).verdict.action;
        decision == if action == "deny" { Action::Deny } else { Action::Allow }
    }

    fn some(texts: &'static [&'static str], most: usize) -> impl Strategy<Value = Vec<String>> {
        subsequence(texts, 0..=most)
            .prop_map(|it| it.into_iter().map(str::to_owned).collect::<Vec<_>>())
    }

    fn entries() -> impl Strategy<Value = Value> {
        let field = |key, texts: &'static [&'static str]| {
            prop::option::weighted(0.4, vec(select(texts), 1..4)).prop_map(move |it| (key, it))
        };
        let fields = [
            ("principals", &PRINCIPALS[..]),
            ("notPrincipals", &PRINCIPALS),
            ("namespaces", &NAMESPACES),
            ("notNamespaces", &NAMESPACES),
            ("serviceAccounts", &ACCOUNTS),
            ("notServiceAccounts", &ACCOUNTS),
        ];
        let fields: Vec<_> = fields.into_iter().map(|(key, texts)| field(key, texts)).collect();
        fields
            .prop_map(|fields| {
                let fields =
                    fields.into_iter().filter_map(|(key, it)| Some((key.to_owned(), json!(it?))));
                Value::Object(fields.collect())
            })
            .prop_filter("an entry asks something", |it| {
                it.as_object().is_some_and(|it| !it.is_empty())
            })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4_000))]
        /// The filter itself says whom a rule names.
        #[test]
        fn a_reach_is_own_exactly_where_the_filter_names_no_other(
            namespaces in some(&NAMESPACES, 2),
            principals in some(&PRINCIPALS, 3),
            action in select(&["allow", "deny"]),
            entry in entries(),
        ) {
            prop_assume!(!namespaces.is_empty() || !principals.is_empty());
            let own = Own::new(namespaces, principals).unwrap();
            let file = policy(action, &entry);
            let policy = &file.config().unwrap().policy;
            match reach(&own, action, &entry) {
                Reach::Own => for caller in callers() {
                    let is_named = is_named(|it| policy.decide(it), action, &caller);
                    prop_assert!(!is_named || is_own(&own, &caller), "{own:?} {caller}");
                },
                Reach::Beyond(caller) => {
                    prop_assert!(is_named(|it| policy.decide(it), action, &caller), "{caller}");
                    prop_assert!(!is_own(&own, &caller), "{own:?} {caller}");
                }
                Reach::Unknown => prop_assert!(false, "few patterns"),
            }
        }

        /// A team further down has no caller that the one above lacks, and is refused none it has.
        #[test]
        fn patterns_beyond_a_team_above_are_found(
            above in (some(&NAMESPACES, 2), some(&PRINCIPALS, 3)),
            below in (some(&NAMESPACES, 2), some(&PRINCIPALS, 2)),
        ) {
            let team = |(namespaces, principals): (Vec<_>, Vec<_>)| {
                (namespaces.len() + principals.len() > 0).then(|| Own::new(namespaces, principals).unwrap())
            };
            let (Some(above), Some(below)) = (team(above), team(below)) else { return Ok(()) };
            let beyond = callers().into_iter().find(|it| is_own(&below, it) && !is_own(&above, it));
            match above.first_beyond(&below) {
                None => prop_assert_eq!(beyond, None),
                // What the callers above do not show, these do.
                Some(("principal", text)) => {
                    let entry = json!({"principals": [text]});
                    prop_assert!(matches!(reach(&above, "allow", &entry), Reach::Beyond(_)));
                }
                Some((_, text)) => {
                    let entry = json!({"namespaces": [text]});
                    prop_assert!(matches!(reach(&above, "allow", &entry), Reach::Beyond(_)));
                }
            }
        }
    }
}
