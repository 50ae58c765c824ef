//! What callers sent, as a terminal may show it.

/// At most `most` characters of a text, on one line, without what a terminal obeys: control
/// characters, and those that are not seen or that turn the direction of what stands behind them.
pub(crate) fn plain(text: &str, most: usize) -> String {
    let mut plain = String::new();
    for character in text.chars().take(most) {
        if character.is_control() || is_unseen(character) {
            plain.extend(character.escape_default());
        } else {
            plain.push(character);
        }
    }
    if text.chars().nth(most).is_some() {
        plain.push('…');
    }
    plain
}

fn is_unseen(character: char) -> bool {
    matches!(
        character,
        '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{e0000}'..='\u{e007f}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_shown_that_a_terminal_obeys() {
        assert_eq!(plain("GET /é€", 7), "GET /é€");
        assert_eq!(plain("GET /é€", 6), "GET /é…");
        assert_eq!(plain("\u{1b}[2J\r\n\u{85}", 99), "\\u{1b}[2J\\r\\n\\u{85}");
        assert_eq!(
            plain("/\u{202e}nimda\u{2066}\u{200b}", 99),
            "/\\u{202e}nimda\\u{2066}\\u{200b}"
        );
    }
}
