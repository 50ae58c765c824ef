//! Headers as the filter reads them, and a header map as Proxy-Wasm carries it: one buffer, read in place.
//!
//! The layout of that buffer (proxy-wasm/spec, ABI 0.2.1, "Serialization"): the number of pairs, then the sizes of
//! every name and value, all little-endian `u32`, then each name and value followed by one NUL byte.

/// The headers or trailers of one message, wherever they lie.
pub trait Headers {
    /// Every pair of name and value, in the proxy's order; names come in lower case from Envoy.
    fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])>;
}

/// The headers of one message, in the order the proxy gave them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeaderMap {
    serialized: Vec<u8>,
}

impl HeaderMap {
    /// Takes a buffer as the host returned it; `None` where it is cut short, or its count or sizes are
    /// wrong. Pairs that could still be read are not used: one that could not may be the one that
    /// matters.
    pub fn from_serialized(serialized: Vec<u8>) -> Option<Self> {
        let map = Self { serialized };
        let (count, _) = split_size(&map.serialized)?;
        let mut pairs = map.pairs();
        let is_whole = pairs.by_ref().count() == count && pairs.data.is_empty();
        is_whole.then_some(map)
    }

    /// Serializes pairs, for a local response or a test.
    pub fn from_pairs<'a>(pairs: impl IntoIterator<Item = (&'a [u8], &'a [u8])>) -> Self {
        let pairs: Vec<_> = pairs.into_iter().collect();
        let mut serialized = Vec::new();
        let mut push_size = |size: usize| {
            serialized.extend_from_slice(&u32::try_from(size).unwrap_or(u32::MAX).to_le_bytes());
        };
        push_size(pairs.len());
        for (name, value) in &pairs {
            push_size(name.len());
            push_size(value.len());
        }
        for (name, value) in pairs {
            serialized.extend_from_slice(name);
            serialized.push(0);
            serialized.extend_from_slice(value);
            serialized.push(0);
        }
        Self { serialized }
    }

    /// The serialized form, as host calls take it.
    pub fn as_bytes(&self) -> &[u8] {
        &self.serialized
    }

    fn pairs(&self) -> Pairs<'_> {
        let (count, rest) = split_size(&self.serialized).unwrap_or((0, &[]));
        let (sizes, data) = rest.split_at_checked(count.saturating_mul(8)).unwrap_or((&[], &[]));
        Pairs { sizes: sizes.as_chunks().0.iter(), data }
    }
}

impl Headers for HeaderMap {
    fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.pairs()
    }
}

/// What is left to read of a [`HeaderMap`].
#[derive(Clone, Debug)]
struct Pairs<'a> {
    /// Of a name and its value.
    sizes: std::slice::Iter<'a, [u8; 8]>,
    data: &'a [u8],
}

impl<'a> Iterator for Pairs<'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let [a, b, c, d, e, f, g, h] = *self.sizes.next()?;
        let (name, data) = split_terminated(self.data, [a, b, c, d])?;
        let (value, data) = split_terminated(data, [e, f, g, h])?;
        self.data = data;
        Some((name, value))
    }
}

fn split_size(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let (size, rest) = bytes.split_first_chunk::<4>()?;
    Some((usize::try_from(u32::from_le_bytes(*size)).ok()?, rest))
}

fn split_terminated(bytes: &[u8], size: [u8; 4]) -> Option<(&[u8], &[u8])> {
    let size = usize::try_from(u32::from_le_bytes(size)).ok()?;
    let (field, rest) = bytes.split_at_checked(size)?;
    match rest.split_first()? {
        (0, rest) => Some((field, rest)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wasm_bindgen_test::wasm_bindgen_test;

    const PAIRS: [(&[u8], &[u8]); 3] = [(b":path", b"/"), (b"x-a", b""), (b"x-b", b"\xff\0")];

    #[wasm_bindgen_test(unsupported = test)]
    fn pairs_are_read_as_they_were_serialized() {
        let map = HeaderMap::from_pairs(PAIRS);
        assert_eq!(map.iter().collect::<Vec<_>>(), PAIRS);
        assert_eq!(map.as_bytes().get(..8), Some(&[3, 0, 0, 0, 5, 0, 0, 0][..]));
        assert_eq!(HeaderMap::default().iter().next(), None);
    }

    #[wasm_bindgen_test(unsupported = test)]
    fn a_buffer_that_lies_is_no_map() {
        let whole = HeaderMap::from_pairs(PAIRS);
        let buffer = whole.as_bytes();
        assert_eq!(HeaderMap::from_serialized(buffer.to_vec()), Some(whole.clone()));
        for length in 0..buffer.len() {
            assert_eq!(HeaderMap::from_serialized(buffer[..length].to_vec()), None, "{length}");
        }
        assert_eq!(HeaderMap::from_serialized([buffer, b"\0"].concat()), None);
        // The count, then the sizes of each name and value.
        for at in (0..28).step_by(4) {
            let said = u32::from_le_bytes(buffer[at..at + 4].try_into().unwrap());
            for lie in [0, said.wrapping_sub(1), said + 1, 1 << 31, u32::MAX] {
                let mut lying = buffer.to_vec();
                lying[at..at + 4].copy_from_slice(&lie.to_le_bytes());
                let is_told = lie != said;
                assert_eq!(HeaderMap::from_serialized(lying).is_none(), is_told, "{at}: {lie}");
            }
        }
    }
}
