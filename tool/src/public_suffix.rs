//! Names under which anybody can take one: public suffixes (<https://publicsuffix.org>), with the few
//! that the list leaves out.

use psl::Psl as _;
use std::cell::Cell;

/// Names that are given to customers and that the list leaves out, written as its rules are: each
/// customer of Azure chooses the first label.
const UNLISTED: [&str; 5] = [
    "*.cloudapp.azure.com",
    "azurecr.io",
    "documents.azure.com",
    "openai.azure.com",
    "vault.azure.net",
];

/// How strangers come to names under a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Openness {
    /// The name is a public suffix.
    Itself,
    /// A public suffix lies under it.
    Below,
}

impl Openness {
    /// Whether strangers can take a name under `apex`, at any depth.
    pub(crate) fn of(apex: &str) -> Option<Self> {
        let is_listed = psl::suffix(apex.as_bytes())
            .is_some_and(|suffix| suffix.is_known() && suffix.as_bytes() == apex.as_bytes());
        let unlisted = || UNLISTED.iter().filter_map(|rule| of_rule(rule, apex));
        if is_listed || unlisted().any(|it| it == Self::Itself) {
            return Some(Self::Itself);
        }
        (list_goes_below(apex) || unlisted().next().is_some()).then_some(Self::Below)
    }
}

/// Whether the list has a rule for a name under `apex`. It cannot be enumerated, but it asks for one
/// label after the other, the last first, as long as it has rules below those that it was given: so
/// it does where it asks for more than there are.
fn list_goes_below(apex: &str) -> bool {
    let asks_for_more = Cell::new(false);
    let end = std::iter::from_fn(|| {
        asks_for_more.set(true);
        None
    });
    psl::List.find(apex.as_bytes().rsplit(|byte| *byte == b'.').chain(end));
    asks_for_more.get()
}

/// What one rule says of a name.
fn of_rule(rule: &str, apex: &str) -> Option<Openness> {
    let (base, is_any_label) = match rule.strip_prefix("*.") {
        Some(base) => (base, true),
        None => (rule, false),
    };
    let is_under = |name: &str, apex: &str| {
        name.strip_suffix(apex).is_some_and(|labels| labels.ends_with('.'))
    };
    let is_suffix = match is_any_label {
        true => apex.split_once('.').is_some_and(|(_, parent)| parent == base),
        false => apex == base,
    };
    match is_suffix {
        true => Some(Openness::Itself),
        false => {
            ((is_any_label && apex == base) || is_under(base, apex)).then_some(Openness::Below)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_take_names_at_public_suffixes_and_above_them() {
        use Openness::{Below, Itself};
        for (apex, expected) in [
            ("co.uk", Some(Itself)),
            ("github.io", Some(Itself)),
            ("cloudfront.net", Some(Itself)),
            ("s3.amazonaws.com", Some(Itself)),
            ("foo.ck", Some(Itself)),
            ("xn--j6w193g", Some(Itself)),
            ("xn--55qx5d.cn", Some(Itself)),
            ("amazonaws.com", Some(Below)),
            ("us-east-1.amazonaws.com", Some(Itself)),
            ("compute.amazonaws.com", Some(Below)),
            ("eu-west-1.amazonaws.com", Some(Below)),
            ("windows.net", Some(Below)),
            ("core.windows.net", Some(Below)),
            ("run.app", Some(Below)),
            ("kawasaki.jp", Some(Below)),
            ("azure.com", Some(Below)),
            ("cloudapp.azure.com", Some(Below)),
            ("westeurope.cloudapp.azure.com", Some(Itself)),
            ("vault.azure.net", Some(Itself)),
            ("azure.net", Some(Below)),
            // Of one owner.
            ("shop.westeurope.cloudapp.azure.com", None),
            ("bucket.s3.amazonaws.com", None),
            ("team.github.io", None),
            ("city.kawasaki.jp", None),
            ("www.ck", None),
            ("stripe.com", None),
            ("a.b.stripe.com", None),
            ("sqs.us-east-1.amazonaws.com", None),
            ("myvault.vault.azure.net", None),
            ("xazure.com", None),
            ("db.corp", None),
            ("cluster.local", None),
        ] {
            assert_eq!(Openness::of(apex), expected, "{apex}");
        }
    }
}
