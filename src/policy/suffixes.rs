//! The suffixes of a name, each hashed, so that tables of names find them.

use crate::host::suffixes;
use crate::key_table::{Hash, Hasher};

/// The suffixes of a name, of whole labels: each with its hash, and where it starts in the name. The
/// shortest comes first, the name itself last.
#[derive(Debug, Default)]
pub(super) struct Suffixes {
    /// Those of the first few labels: few names have more, and an allocation costs more than the
    /// whole look-up.
    first: [(Hash, u8); FEW_LABELS],
    more: Vec<(Hash, u8)>,
    len: usize,
}

const FEW_LABELS: usize = 8;

impl Suffixes {
    pub(super) fn of(name: &str) -> Self {
        let mut hasher = Hasher::default();
        let mut found = Self::default();
        for (label, suffix) in suffixes(name) {
            hasher = hasher.with(label.as_bytes());
            // INVARIANT: a name has at most 253 bytes.
            let start = u8::try_from(name.len().wrapping_sub(suffix.len())).unwrap_or(u8::MAX);
            let place = (hasher.finish(), start);
            match found.first.get_mut(found.len) {
                Some(vacant) => *vacant = place,
                None => found.more.push(place),
            }
            found.len = found.len.saturating_add(1);
        }
        found
    }

    /// How many labels the name has.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// The hash and the bytes of the suffix with so many labels.
    pub(super) fn get<'n>(&self, name: &'n str, labels: usize) -> Option<(Hash, &'n [u8])> {
        let index = labels.checked_sub(1)?;
        let more = || self.more.get(index.checked_sub(FEW_LABELS)?);
        let (hash, start) = *self.first.get(index).or_else(more)?;
        Some((hash, name.as_bytes().get(usize::from(start)..)?))
    }

    /// The label at a position from the end of the name, where the last one has 1.
    pub(super) fn label<'n>(&self, name: &'n str, position: usize) -> Option<&'n [u8]> {
        let (_, suffix) = self.get(name, position)?;
        suffix.split(|byte| *byte == b'.').next()
    }
}

/// A name hashed label by label from its end, so that the hashes of all names above it come by on
/// the way; and its number of labels.
pub(super) fn hash_name(name: &str) -> (Hasher, usize) {
    suffixes(name).fold((Hasher::default(), 0), |(hasher, depth), (label, _)| {
        (hasher.with(label.as_bytes()), depth.saturating_add(1))
    })
}
