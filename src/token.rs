//! What may stand in a message of HTTP: tokens, which are methods and names of headers, and the values
//! of headers.

/// Whether the bytes are a token (RFC 9110, section 5.6.2).
pub fn is_token(bytes: &[u8]) -> bool {
    let is_token_byte =
        |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    !bytes.is_empty() && bytes.iter().all(is_token_byte)
}

/// Bytes that may stand in a header value as they are: printable ASCII, and not empty.
pub(crate) fn header_value(bytes: &[u8]) -> Option<&str> {
    let is_value = !bytes.is_empty() && bytes.iter().all(|byte| (0x20..=0x7e).contains(byte));
    is_value.then(|| std::str::from_utf8(bytes).ok()).flatten()
}
