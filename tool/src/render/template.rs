//! Texts of YAML with places for values.
//!
//! A place is `@name@`. Alone on its line it stands for lines, which get its indentation; an empty value
//! takes the line away. Elsewhere it stands for a value in the line. Values are written by this project, or
//! are [`quoted`]: nothing of a policy or a description can end the string that it stands in.

use crate::policy_text;
use std::net::SocketAddr;

/// The template with its values.
pub(super) fn fill(template: &str, values: &[(&str, &str)]) -> String {
    let mut filled = String::with_capacity(template.len());
    for line in template.lines() {
        let place = line.trim_start();
        let indent = line.strip_suffix(place).unwrap_or_default();
        match values.iter().find(|(name, _)| is_place(place, name)) {
            Some((_, lines)) => filled.extend(lines.lines().map(|it| indented(indent, it))),
            None => filled.push_str(&indented("", &in_line(line, values))),
        }
    }
    filled
}

fn is_place(text: &str, name: &str) -> bool {
    text.strip_prefix('@').and_then(|it| it.strip_suffix('@')) == Some(name)
}

fn indented(indent: &str, line: &str) -> String {
    if line.is_empty() { "\n".to_owned() } else { format!("{indent}{line}\n") }
}

/// A line with the values of its places; one place has no value that holds another.
fn in_line(line: &str, values: &[(&str, &str)]) -> String {
    let mut rest = line;
    let mut filled = String::new();
    while let Some((before, behind)) = rest.split_once('@') {
        let value = behind.split_once('@').and_then(|(name, after)| {
            let value = values.iter().find(|(known, _)| *known == name);
            value.map(|(_, value)| (*value, after))
        });
        filled.push_str(before);
        match value {
            Some((value, after)) => {
                filled.push_str(value);
                rest = after;
            }
            None => {
                filled.push('@');
                rest = behind;
            }
        }
    }
    filled + rest
}

/// A text of the inputs, on one line.
pub(super) fn quoted(text: &str) -> String {
    policy_text::quoted(text)
}

/// Where to listen.
pub(super) fn socket(address: SocketAddr) -> String {
    endpoint(&address.ip().to_string(), address.port())
}

/// Where to dial.
pub(super) fn endpoint(host: &str, port: u16) -> String {
    format!("{{address: {}, port_value: {port}}}", quoted(host))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_get_their_values_and_nothing_else_is_one() {
        let template = "a: @a@\n  @b@\n  @none@\n\"@type\": x@y, @a@@a@\n";
        let values = [("a", "1@b@"), ("b", "c: 2\n\nd: 3"), ("none", "")];
        let filled = "a: 1@b@\n  c: 2\n\n  d: 3\n\"@type\": x@y, 1@b@1@b@\n";
        assert_eq!(fill(template, &values), filled);
    }
}
