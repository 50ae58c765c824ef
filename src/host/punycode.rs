//! Punycode (RFC 3492), as far as one label of a host needs it.

const BASE: u32 = 36;
const T_MIN: u32 = 1;
const T_MAX: u32 = 26;
const SKEW: u32 = 38;
const DAMP: u32 = 700;
const INITIAL_BIAS: u32 = 72;
const INITIAL_N: u32 = 0x80;

/// Whether the part of a label behind `xn--`, in any letter case, decodes to something that is
/// not all ASCII and encodes back to itself. Whether IDNA allows the result is not asked.
pub(super) fn is_canonical(encoded: &[u8]) -> bool {
    let encoded = encoded.to_ascii_lowercase();
    decode(&encoded).is_some_and(|decoded| {
        !decoded.iter().all(char::is_ascii) && encode(&decoded).as_deref() == Some(&encoded)
    })
}

/// Decodes lower-case punycode. `None` for a digit that is none, an overflow, or a code point that
/// is no Unicode scalar value.
fn decode(encoded: &[u8]) -> Option<Vec<char>> {
    let (basic, extended) = match encoded.iter().rposition(|&byte| byte == b'-') {
        Some(delimiter) => (encoded.get(..delimiter)?, encoded.get(delimiter.checked_add(1)?..)?),
        None => (&[][..], encoded),
    };
    let mut output: Vec<char> = basic.iter().copied().map(char::from).collect();
    let (mut n, mut i, mut bias) = (INITIAL_N, 0_u32, INITIAL_BIAS);
    let mut digits = extended.iter();
    while !digits.as_slice().is_empty() {
        let old_i = i;
        let mut weight = 1_u32;
        for k in (BASE..).step_by(BASE as usize) {
            let digit = digit_value(*digits.next()?)?;
            i = i.checked_add(digit.checked_mul(weight)?)?;
            let threshold = threshold(k, bias);
            if digit < threshold {
                break;
            }
            weight = weight.checked_mul(BASE - threshold)?;
        }
        let length = u32::try_from(output.len()).ok()?.checked_add(1)?;
        bias = adapt(i - old_i, length, old_i == 0);
        n = n.checked_add(i / length)?;
        i %= length;
        output.insert(usize::try_from(i).ok()?, char::from_u32(n)?);
        i = i.checked_add(1)?;
    }
    Some(output)
}

/// Encodes code points; the ASCII ones among them as they are. `None` on overflow.
pub(super) fn encode(input: &[char]) -> Option<Vec<u8>> {
    let mut output: Vec<u8> =
        input.iter().filter(|c| c.is_ascii()).filter_map(|&c| u8::try_from(c).ok()).collect();
    let basic = u32::try_from(output.len()).ok()?;
    if basic > 0 {
        output.push(b'-');
    }
    let total = u32::try_from(input.len()).ok()?;
    let (mut n, mut delta, mut bias, mut handled) = (INITIAL_N, 0_u32, INITIAL_BIAS, basic);
    while handled < total {
        let next = input.iter().map(|&c| u32::from(c)).filter(|&c| c >= n).min()?;
        delta = delta.checked_add((next - n).checked_mul(handled.checked_add(1)?)?)?;
        n = next;
        for code_point in input.iter().map(|&c| u32::from(c)) {
            if code_point < n {
                delta = delta.checked_add(1)?;
            }
            if code_point == n {
                push_variable_length(&mut output, delta, bias)?;
                bias = adapt(delta, handled.checked_add(1)?, handled == basic);
                delta = 0;
                handled = handled.checked_add(1)?;
            }
        }
        delta = delta.checked_add(1)?;
        n = n.checked_add(1)?;
    }
    Some(output)
}

fn push_variable_length(output: &mut Vec<u8>, delta: u32, bias: u32) -> Option<()> {
    let mut rest = delta;
    for k in (BASE..).step_by(BASE as usize) {
        let threshold = threshold(k, bias);
        if rest < threshold {
            break;
        }
        let span = BASE - threshold;
        output.push(digit(threshold + (rest - threshold) % span)?);
        rest = (rest - threshold) / span;
    }
    output.push(digit(rest)?);
    Some(())
}

fn threshold(k: u32, bias: u32) -> u32 {
    k.saturating_sub(bias).clamp(T_MIN, T_MAX)
}

/// RFC 3492, section 6.1.
fn adapt(delta: u32, length: u32, first: bool) -> u32 {
    let mut delta = delta / if first { DAMP } else { 2 };
    delta = delta.saturating_add(delta.checked_div(length).unwrap_or(0));
    let mut k = 0;
    while delta > (BASE - T_MIN) * T_MAX / 2 {
        delta /= BASE - T_MIN;
        k += BASE;
    }
    k + (BASE - T_MIN + 1) * delta / (delta + SKEW)
}

fn digit_value(byte: u8) -> Option<u32> {
    match byte {
        b'a'..=b'z' => Some(u32::from(byte - b'a')),
        b'0'..=b'9' => Some(u32::from(byte - b'0') + 26),
        _ => None,
    }
}

fn digit(value: u32) -> Option<u8> {
    let value = u8::try_from(value).ok()?;
    match value {
        0..=25 => Some(b'a' + value),
        26..=35 => Some(b'0' + (value - 26)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wasm_bindgen_test::wasm_bindgen_test;

    /// RFC 3492, section 7.1, in lower case, and labels in use.
    const LABELS: [(&str, &str); 6] = [
        ("bücher", "bcher-kva"),
        ("faß", "fa-hia"),
        ("他们为什么不说中文", "ihqwcrb4cv8a8dqg056pqjye"),
        ("почемужеонинеговорятпорусски", "b1abfaaepdrnnbgefbadotcwatmq2g4l"),
        ("3年b組金八先生", "3b-ww4c5e180e575a65lsy2b"),
        ("💡", "ds8h"),
    ];

    #[wasm_bindgen_test(unsupported = test)]
    fn labels_encode_and_decode() {
        for (unicode, encoded) in LABELS {
            let chars: Vec<char> = unicode.chars().collect();
            assert_eq!(encode(&chars).unwrap(), encoded.as_bytes(), "{unicode}");
            assert_eq!(decode(encoded.as_bytes()).unwrap(), chars, "{encoded}");
            assert!(is_canonical(encoded.to_ascii_uppercase().as_bytes()), "{encoded}");
        }
    }

    #[wasm_bindgen_test(unsupported = test)]
    fn other_encodings_are_not_canonical() {
        for encoded in ["", "deny", "deny-", "-", "-deny", "a-b-", "99999999", "bcher_kva"] {
            assert!(!is_canonical(encoded.as_bytes()), "{encoded}");
        }
    }

    #[wasm_bindgen_test(unsupported = test)]
    fn agrees_with_the_idna_crate() {
        // Every string of up to three bytes of the digits that matter, behind two prefixes.
        let digits = b"-09abkmtvz";
        for prefix in ["", "x-", "bcher-k"] {
            for a in digits {
                for b in digits {
                    for c in digits {
                        let text = format!("{prefix}{}{}{}", *a as char, *b as char, *c as char);
                        let theirs =
                            idna::punycode::decode_to_string(&text).is_some_and(|decoded| {
                                !decoded.is_ascii()
                                    && idna::punycode::encode_str(&decoded).as_ref() == Some(&text)
                            });
                        assert_eq!(is_canonical(text.as_bytes()), theirs, "{text}");
                    }
                }
            }
        }
    }
}
