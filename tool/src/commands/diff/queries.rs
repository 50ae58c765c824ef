//! Example queries of two policies: one for each way in which what they ask of parameters can hold.
//!
//! A parameter is absent, unclear, or has a value; values are sorted as texts are (see [`Pieces::ends`]).
//! What one parameter is says nothing of another, so the classes are all combinations.

use crate::classes::texts::{Pieces, fresh, literal};
use egress_warden::policy::{TextPattern, TextSet};
use std::collections::BTreeMap;

/// What one field asks of each of its parameters, by name.
pub(super) type Asked<'a> = BTreeMap<&'a str, Vec<TextPattern<'a>>>;

/// What a query says of one parameter.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Parameter {
    Absent,
    /// Readers may differ on its value.
    Unclear,
    Value(String),
}

/// All that some fields ask of queries.
#[derive(Debug)]
pub(super) struct Queries<'a> {
    /// Each parameter, with its possible values.
    parameters: Vec<(&'a str, Vec<Parameter>, Pieces<'a>)>,
    /// Each field: a parameter's place, and its values.
    fields: Vec<Vec<(usize, TextSet)>>,
}

/// An example of a class.
#[derive(Clone, Debug)]
pub(super) struct Query(Vec<Parameter>);

impl<'a> Queries<'a> {
    /// `None` where the patterns of a parameter have every character.
    pub(super) fn of(fields: &[Asked<'a>]) -> Option<Self> {
        let mut lists: BTreeMap<&str, Vec<Vec<TextPattern<'_>>>> = BTreeMap::new();
        for (name, list) in fields.iter().flatten() {
            lists.entry(name).or_default().push(list.clone());
        }
        let places: BTreeMap<&str, usize> = lists.keys().copied().zip(0..).collect();
        let parameters = lists.into_iter().map(|(name, lists)| {
            let pieces = Pieces::of(&lists);
            Some((name, parameters(&pieces)?, pieces))
        });
        let field = |asked: &Asked<'a>| {
            let place = |(name, list): (&&str, &Vec<TextPattern<'_>>)| {
                Some((*places.get(name)?, list.iter().copied().collect()))
            };
            asked.iter().filter_map(place).collect()
        };
        let parameters = parameters.collect::<Option<_>>()?;
        Some(Self { parameters, fields: fields.iter().map(field).collect() })
    }

    /// How many queries [`Queries::all`] finds.
    pub(super) fn count(&self) -> usize {
        let counts = self.parameters.iter().map(|(_, values, _)| values.len());
        counts.fold(1, usize::saturating_mul)
    }

    /// A query for each combination, those with the fewest parameters first.
    pub(super) fn all(&self) -> Vec<Query> {
        let mut all = vec![Query(Vec::new())];
        for (_, values, _) in &self.parameters {
            let longer = |value: &Parameter| {
                let value = value.clone();
                all.iter().map(move |Query(known)| {
                    Query(known.iter().cloned().chain([value.clone()]).collect())
                })
            };
            all = values.iter().flat_map(longer).collect();
        }
        all
    }

    /// Whether each field holds: 1, or not: 0, or 2 where that is unknown.
    pub(super) fn signature(&self, Query(parameters): &Query) -> Vec<u8> {
        let holds = |(place, values): &(usize, TextSet)| match parameters.get(*place) {
            Some(Parameter::Value(value)) => u8::from(values.contains(value)),
            Some(Parameter::Unclear) => 2,
            Some(Parameter::Absent) | None => 0,
        };
        let field = |field: &Vec<(usize, TextSet)>| {
            let all: Vec<u8> = field.iter().map(holds).collect();
            // One that is known not to hold is enough.
            if all.contains(&0) { 0 } else { all.into_iter().max().unwrap_or(1) }
        };
        self.fields.iter().map(field).collect()
    }

    /// The name of the class: no two classes have a query in common.
    pub(super) fn label(&self, Query(parameters): &Query) -> String {
        let labels =
            self.parameters.iter().zip(parameters).map(|((name, _, pieces), parameter)| {
                let name = literal(name);
                match parameter {
                    Parameter::Absent => format!("no {name}"),
                    Parameter::Unclear => format!("unclear {name}"),
                    Parameter::Value(value) => match pieces.label(value) {
                        Some(value) => format!("{name}={value}"),
                        None if pieces.is_empty() => format!("{name}=*"),
                        None => format!("other {name}"),
                    },
                }
            });
        labels.collect::<Vec<_>>().join(" and ")
    }

    /// The query as it is sent, behind the `?`; `None` where it says nothing.
    pub(super) fn sent(&self, Query(parameters): &Query) -> Option<String> {
        let parts =
            self.parameters.iter().zip(parameters).filter_map(|((name, _, _), parameter)| {
                let name = escaped(name);
                match parameter {
                    Parameter::Absent => None,
                    Parameter::Unclear => Some(format!("{name}&{name}")),
                    Parameter::Value(value) => Some(format!("{name}={}", escaped(value))),
                }
            });
        let parts: Vec<String> = parts.collect();
        (!parts.is_empty()).then(|| parts.join("&"))
    }
}

/// All that a parameter can be.
fn parameters(pieces: &Pieces<'_>) -> Option<Vec<Parameter>> {
    let fresh = fresh(&[pieces])?;
    let exact = pieces.exact.iter().map(|value| (*value).to_owned());
    let others = pieces.ends().map(|(start, end)| format!("{start}{fresh}{end}"));
    // A value with one of these is unclear, whatever is asked of it.
    let is_clear =
        |value: &String| !value.contains(|it: char| it.is_control() || ";%".contains(it));
    let values = exact.chain(others).filter(is_clear).map(Parameter::Value);
    Some([Parameter::Absent, Parameter::Unclear].into_iter().chain(values).collect())
}

/// A name or a value as queries have it.
fn escaped(text: &str) -> String {
    let byte = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
            char::from(byte).to_string()
        }
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(byte).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked<'a>(fields: &[(&'a str, &[&'a str])]) -> Asked<'a> {
        let patterns = |texts: &[&'a str]| {
            texts.iter().map(|it| TextPattern::parse(it).expect(it)).collect::<Vec<_>>()
        };
        fields.iter().map(|(name, texts)| (*name, patterns(texts))).collect()
    }

    #[test]
    fn every_way_to_match_has_a_query() {
        let queries = Queries::of(&[asked(&[("a b", &["x", "y*"])]), asked(&[("c", &["*"])])]);
        let queries = queries.unwrap();
        let all = queries.all();
        let told: BTreeMap<String, Option<String>> =
            all.iter().map(|it| (queries.label(it), queries.sent(it))).collect();
        assert_eq!((told.len(), queries.count()), (15, 15), "{told:?}");
        for (label, sent) in [
            ("no \"a b\" and no c", None),
            ("\"a b\"=x and c=*", Some("a%20b=x&c=~")),
            ("\"a b\"=y* and unclear c", Some("a%20b=y~&c&c")),
            ("other \"a b\" and no c", Some("a%20b=~")),
        ] {
            assert_eq!(told.get(label).map(Option::as_deref), Some(sent), "{label}: {told:?}");
        }
    }

    #[test]
    fn one_parameter_that_is_known_not_to_match_is_enough() {
        let queries = Queries::of(&[asked(&[("a", &["1"]), ("b", &["1"])])]).unwrap();
        let found: BTreeMap<String, Vec<u8>> =
            queries.all().iter().map(|it| (queries.label(it), queries.signature(it))).collect();
        for (label, expected) in [
            ("a=1 and b=1", 1),
            ("a=1 and no b", 0),
            ("unclear a and b=1", 2),
            ("unclear a and unclear b", 2),
            ("unclear a and other b", 0),
        ] {
            assert_eq!(found[label], [expected], "{label}");
        }
    }
}
