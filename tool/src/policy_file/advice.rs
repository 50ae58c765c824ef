//! What the author of a policy may have meant. The module does without: it would cost every proxy what
//! only people need.

use egress_warden::config::{ErrorKind, Suggestion};
use egress_warden::host::{HostPattern, PatternError};
use std::borrow::Cow;

/// Advice on an error of a policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Advice {
    /// A key that an unknown one is close to.
    NearestKey(&'static str),
    /// A host beyond ASCII, as DNS has it (RFC 5891).
    Ascii(String),
    /// The same, where older readers (UTS 46, transitional) make another name of it.
    AsciiToday(String),
}

impl Advice {
    pub(super) fn on(kind: &ErrorKind) -> Option<Self> {
        match kind {
            ErrorKind::UnknownKey { key, known } => nearest(key, known).map(Self::NearestKey),
            ErrorKind::Host { text, error: PatternError::Unicode } => {
                let ascii = ascii_form(text)?;
                let is_changed = text.contains(DEVIATIONS);
                Some(if is_changed { Self::AsciiToday(ascii) } else { Self::Ascii(ascii) })
            }
            _ => None,
        }
    }

    /// What to write instead.
    pub(super) fn remedy(&self) -> Cow<'_, str> {
        match self {
            Self::NearestKey(key) => format!("did you mean `{key}`?").into(),
            Self::Ascii(host) => format!("use \"{host}\"").into(),
            Self::AsciiToday(host) => {
                format!("write \"{host}\"; to older readers it is another name").into()
            }
        }
    }

    /// What to put there, where it is certain what was meant.
    pub(super) fn suggestion(&self) -> Option<Suggestion> {
        match self {
            Self::Ascii(host) => Some(Suggestion::Text(host.clone())),
            _ => None,
        }
    }
}

/// The known word that a misspelt one is closest to, if it is close at all.
fn nearest(word: &str, known: &[&'static str]) -> Option<&'static str> {
    let word: String = word.chars().take(64).collect::<String>().to_ascii_lowercase();
    known
        .iter()
        .map(|known| (strsim::osa_distance(&word, &known.to_ascii_lowercase()), *known))
        .filter(|(distance, known)| *distance <= known.len().div_ceil(3))
        .min()
        .map(|(_, known)| known)
}

/// Letters that UTS 46 once mapped, to `ss` and to another sigma.
const DEVIATIONS: [char; 2] = ['\u{df}', '\u{3c2}'];

/// The pattern that UTS 46 makes of one beyond ASCII, where the two differ by case only: full-width
/// letters, ideographic full stops and combining marks stand for others, and may not be meant so.
fn ascii_form(text: &str) -> Option<String> {
    let (wildcard, name) = match text.strip_prefix("*.") {
        Some(name) => ("*.", name),
        None => ("", text),
    };
    let ascii = idna::domain_to_ascii_strict(name).ok()?;
    let (back, read) = idna::domain_to_unicode(&ascii);
    let differs_by_case =
        back == name.to_lowercase() && back.chars().count() == name.chars().count();
    let stays_beyond_ascii = |(label, ascii): (&str, &str)| label.is_ascii() || label_is_a(ascii);
    let labels = name.split('.').zip(ascii.split('.'));
    let pattern = format!("{wildcard}{ascii}");
    let is_certain = read.is_ok() && differs_by_case && labels.into_iter().all(stays_beyond_ascii);
    (is_certain && HostPattern::parse(&pattern).is_ok()).then_some(pattern)
}

/// Whether a label is an A-label. The Kelvin sign would be a plain `k`.
fn label_is_a(label: &str) -> bool {
    label.starts_with("xn--")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn on_host(text: &str) -> Option<Advice> {
        let error = HostPattern::parse(text).expect_err(text);
        Advice::on(&ErrorKind::Host { text: text.into(), error })
    }

    #[test]
    fn the_ascii_form_of_a_host_is_named_where_it_is_certain() {
        let ascii = |text: &str| Some(Advice::Ascii(text.to_owned()));
        for (text, advice) in [
            ("b\u{fc}cher.example", ascii("xn--bcher-kva.example")),
            ("*.B\u{dc}CHER.example", ascii("*.xn--bcher-kva.example")),
            ("*.\u{411}\u{44e}\u{440}\u{43e}.example", ascii("*.xn--90a0af9c.example")),
            ("\u{4f8b}\u{3048}.example", ascii("xn--r8jz45g.example")),
            ("fa\u{df}.example", Some(Advice::AsciiToday("xn--fa-hia.example".to_owned()))),
            ("\u{ff44}eny.example", None),
            ("deny\u{3002}example", None),
            ("\u{130}.example", None),
            ("\u{212a}eny.example", None),
            ("\u{fb01}sh.example", None),
            ("bu\u{308}cher.example", None),
            ("b\u{fc}cher", ascii("xn--bcher-kva")),
            ("*.b\u{fc}cher", None),
        ] {
            assert_eq!(on_host(text), advice, "{text}");
        }
    }

    /// A form that is named for a name differs from it by case only.
    #[test]
    fn the_ascii_form_of_every_letter_is_certain() {
        // Of the large scripts, which follow, a part will do.
        let is_tried = |c: &char| *c < '\u{3400}' || u32::from(*c) % 61 == 0;
        let mut named = 0;
        for c in ('\u{80}'..=char::MAX).filter(is_tried) {
            let text = format!("{c}eny.b{c}.example");
            let Some(Advice::Ascii(form)) = on_host(&text) else { continue };
            named += 1;
            let labels: Vec<&str> = form.split('.').collect();
            assert!(labels.iter().take(2).all(|it| it.starts_with("xn--")), "{text}: {form}");
            let (back, read) = idna::domain_to_unicode(&form);
            assert_eq!((back, read.is_ok()), (text.to_lowercase(), true), "{text}");
        }
        assert!(named > 3_000, "{named}");
    }

    #[test]
    fn a_misspelt_key_is_known_by_its_letters() {
        const KNOWN: &[&str] = &["hosts", "notHosts", "ports"];
        let advice =
            |key: &str| Advice::on(&ErrorKind::UnknownKey { key: key.into(), known: KNOWN });
        assert_eq!(advice("host"), Some(Advice::NearestKey("hosts")));
        assert_eq!(advice("NOTHOSTS"), Some(Advice::NearestKey("notHosts")));
        assert_eq!(advice("whatever"), None);
    }
}
