//! A map from byte strings to numbers, compact and fast: the bytes of all keys lie in one run, and
//! finding a key touches one slot and its bytes.
//!
//! There is no random state: configuring stays a pure function of the policy's bytes, and the module
//! needs no random numbers from the proxy. So an author can make keys that all hash to one place,
//! in a policy that other teams share. That gains nothing: a search looks at few slots and compares
//! few keys ([`EFFORT`]). A key that has no place within that lies in an ordered map beside the
//! slots. Without such keys the map is empty and never searched.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

/// A set of distinct keys, each with a number.
#[derive(Clone, Debug, Default)]
pub(crate) struct KeyTable {
    /// Each key behind its length.
    bytes: Vec<u8>,
    /// Open addressing with linear probing.
    slots: Vec<Slot>,
    /// How many slots have a key.
    taken: usize,
    /// The keys whose search ends before a vacant slot, with their hashes and values.
    crowded: BTreeMap<Box<[u8]>, (Hash, u32)>,
}

/// A key's hash. Equal keys have equal hashes, and look-ups by a hash that is not the key's find
/// nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Hash(u32);

#[derive(Clone, Copy, Debug)]
struct Slot {
    hash: Hash,
    /// Where the key's length stands; [`VACANT`] where the slot has no key.
    start: u32,
    value: u32,
}

/// Where the search for a key ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// At the key's slot, or at the vacant one that it would take.
    Slot(usize),
    /// After [`EFFORT`]: the key is among the crowded ones, if it is in the table at all.
    Crowded,
}

/// What a search may cost: a slot that has another key costs 1, and [`COMPARISON`] more where the
/// hashes are equal, so that the keys have to be compared. At most three of four slots are taken,
/// and of keys that were not chosen to collide, one in hundreds is crowded in the fullest table.
const EFFORT: usize = 128;
const COMPARISON: usize = 15;

const VACANT: u32 = u32::MAX;
const VACANT_SLOT: Slot = Slot { hash: Hash(0), start: VACANT, value: 0 };
/// A length from this on has four bytes of its own behind this one.
const LONG: u8 = u8::MAX;

impl KeyTable {
    /// A table that takes `keys` keys of `bytes` bytes in all without growing.
    pub(crate) fn with_capacity(keys: usize, bytes: usize) -> Self {
        let bytes = bytes.saturating_add(keys);
        Self {
            bytes: Vec::with_capacity(bytes),
            slots: vec![VACANT_SLOT; slots_for(keys)],
            ..Self::default()
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.taken.saturating_add(self.crowded.len())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.taken == 0
    }

    /// The value of a key whose hash is known.
    pub(crate) fn get_hashed(&self, hash: Hash, key: &[u8]) -> Option<u32> {
        if self.is_empty() {
            return None;
        }
        match self.find(hash, key)? {
            Place::Slot(index) => {
                self.slots.get(index).filter(|slot| slot.start != VACANT).map(|slot| slot.value)
            }
            Place::Crowded => self.crowded_value(key),
        }
    }

    #[cold]
    #[inline(never)]
    fn crowded_value(&self, key: &[u8]) -> Option<u32> {
        self.crowded.get(key).map(|(_, value)| *value)
    }

    /// The value of a key.
    pub(crate) fn get(&self, key: &[u8]) -> Option<u32> {
        self.get_hashed(Hash::of(key), key)
    }

    /// The place of a key's value, and whether the key is new; then the value is `initial`. `None`
    /// where the table is full, which the limits of a policy exclude.
    pub(crate) fn entry(&mut self, key: &[u8], initial: u32) -> Option<(&mut u32, bool)> {
        self.entry_hashed(Hash::of(key), key, initial)
    }

    /// The same for a key whose hash is known.
    pub(crate) fn entry_hashed(
        &mut self,
        hash: Hash,
        key: &[u8],
        initial: u32,
    ) -> Option<(&mut u32, bool)> {
        if slots_for(self.taken.saturating_add(1)) > self.slots.len() {
            self.grow();
        }
        let index = match self.find(hash, key)? {
            Place::Slot(index) => index,
            Place::Crowded => return Some(self.crowded_entry(hash, key, initial)),
        };
        let slot = self.slots.get_mut(index)?;
        let is_new = slot.start == VACANT;
        if is_new {
            let start = u32::try_from(self.bytes.len()).ok()?;
            let length = u32::try_from(key.len()).ok()?;
            *slot = Slot { hash, start, value: initial };
            match u8::try_from(length) {
                Ok(length) if length < LONG => self.bytes.push(length),
                _ => {
                    self.bytes.push(LONG);
                    self.bytes.extend_from_slice(&length.to_ne_bytes());
                }
            }
            self.bytes.extend_from_slice(key);
            self.taken = self.taken.saturating_add(1);
        }
        Some((&mut slot.value, is_new))
    }

    #[cold]
    #[inline(never)]
    fn crowded_entry(&mut self, hash: Hash, key: &[u8], initial: u32) -> (&mut u32, bool) {
        match self.crowded.entry(key.into()) {
            Entry::Vacant(vacant) => (&mut vacant.insert((hash, initial)).1, true),
            Entry::Occupied(occupied) => (&mut occupied.into_mut().1, false),
        }
    }

    /// Every key, in no order that has a meaning.
    pub(crate) fn keys(&self) -> impl Iterator<Item = &[u8]> {
        let crowded = self.crowded.keys().map(|key| &**key);
        self.slots.iter().filter_map(|slot| self.key(slot)).chain(crowded)
    }

    /// Every value.
    pub(crate) fn values_mut(&mut self) -> impl Iterator<Item = &mut u32> {
        let slots = self.slots.iter_mut().filter(|slot| slot.start != VACANT);
        let crowded = self.crowded.values_mut().map(|(_, value)| value);
        slots.map(|slot| &mut slot.value).chain(crowded)
    }

    fn key(&self, slot: &Slot) -> Option<&[u8]> {
        let bytes = self.bytes.get(slot.start as usize..)?;
        let (&length, rest) = bytes.split_first()?;
        if length < LONG {
            return rest.get(..usize::from(length));
        }
        let (length, rest) = rest.split_first_chunk()?;
        rest.get(..u32::from_ne_bytes(*length) as usize)
    }

    /// Apart, so that the walk over slots stays short.
    #[inline(never)]
    fn is_key_of(&self, slot: &Slot, key: &[u8]) -> bool {
        self.key(slot).is_some_and(|other| other == key)
    }

    /// Where the key is, or would be. Keys are never removed, so that a search for one takes the
    /// way that it took when the key was new.
    fn find(&self, hash: Hash, key: &[u8]) -> Option<Place> {
        let mut index = hash.slot(self.slots.len());
        let mut effort = EFFORT;
        loop {
            let slot = self.slots.get(index)?;
            if slot.start == VACANT {
                return Some(Place::Slot(index));
            }
            if slot.hash == hash {
                if self.is_key_of(slot, key) {
                    return Some(Place::Slot(index));
                }
                effort = effort.saturating_sub(COMPARISON).max(1);
            }
            effort = effort.wrapping_sub(1);
            if effort == 0 {
                return Some(Place::Crowded);
            }
            index = index.wrapping_add(1);
            if index == self.slots.len() {
                index = 0;
            }
        }
    }

    #[cold]
    #[inline(never)]
    /// Makes room for as many keys again; crowded keys may find a slot then.
    fn grow(&mut self) {
        let more = slots_for(self.taken.saturating_mul(2).max(4));
        let slots = std::mem::replace(&mut self.slots, vec![VACANT_SLOT; more]);
        let crowded = std::mem::take(&mut self.crowded);
        self.taken = 0;
        for slot in slots {
            let Some(key) = self.key(&slot) else { continue };
            match self.find(slot.hash, key) {
                Some(Place::Slot(index)) => {
                    if let Some(vacant) = self.slots.get_mut(index) {
                        *vacant = slot;
                        self.taken = self.taken.saturating_add(1);
                    }
                }
                Some(Place::Crowded) => {
                    let key = key.into();
                    self.crowded.insert(key, (slot.hash, slot.value));
                }
                None => {}
            }
        }
        for (key, (hash, value)) in crowded {
            let _ = self.entry_hashed(hash, &key, value);
        }
    }
}

/// At most three of four slots are taken, one more is always vacant.
fn slots_for(keys: usize) -> usize {
    match keys {
        0 => 0,
        _ => keys.saturating_add(keys / 3).saturating_add(1),
    }
}

impl Hash {
    /// The hash of a whole key.
    pub(crate) fn of(key: &[u8]) -> Self {
        Hasher::default().with(key).finish()
    }

    /// The hash as a piece of a longer key.
    pub(crate) fn to_bytes(self) -> [u8; 4] {
        self.0.to_le_bytes()
    }

    /// The slot at which a search begins, among `slots`: below that, as the hash is below 2^32.
    fn slot(self, slots: usize) -> usize {
        (u64::from(self.0).wrapping_mul(slots as u64) >> 32) as usize
    }
}

/// Hashes a key piece by piece: so all names above a host are hashed in one pass.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Hasher(u64);

impl Hasher {
    /// Takes a piece. Two pieces have another hash than the same bytes in one.
    #[must_use]
    pub(crate) fn with(self, piece: &[u8]) -> Self {
        let (words, rest) = piece.as_chunks::<8>();
        let state = words.iter().fold(self, |state, word| state.mix(u64::from_le_bytes(*word)));
        // At most seven bytes are left: the eighth is the length's.
        let last = rest.iter().rfold(piece.len() as u64, |last, byte| last << 8 | u64::from(*byte));
        state.mix(last)
    }

    /// The multiplication mixes the upper half best.
    pub(crate) fn finish(self) -> Hash {
        let mixed = (self.0 ^ (self.0 >> 32)).wrapping_mul(Self::FACTOR);
        Hash((mixed >> 32) as u32)
    }

    /// An odd number near 2^64 divided by the golden ratio (Knuth, TAOCP 3, section 6.4).
    const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;

    fn mix(self, word: u64) -> Self {
        Self((self.0.rotate_left(23) ^ word).wrapping_mul(Self::FACTOR))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wasm_bindgen_test::wasm_bindgen_test;

    #[wasm_bindgen_test(unsupported = test)]
    fn every_key_is_found_and_no_other() {
        for capacity in [0, 1, 1_000] {
            let mut table = KeyTable::with_capacity(capacity, 8 * capacity);
            assert_eq!(table.get(b""), None);
            for number in 0..1_000_u32 {
                let key = format!("key-{number}");
                let (value, is_new) = table.entry(key.as_bytes(), number).unwrap();
                assert!(is_new);
                *value += 1;
                assert_eq!(table.entry(key.as_bytes(), 0), Some((&mut (number + 1), false)));
            }
            assert_eq!(table.len(), 1_000);
            for number in 0..1_000_u32 {
                assert_eq!(table.get(format!("key-{number}").as_bytes()), Some(number + 1));
                assert_eq!(table.get(format!("kez-{number}").as_bytes()), None);
            }
            assert_eq!(table.keys().count(), 1_000);
        }
    }

    #[wasm_bindgen_test(unsupported = test)]
    fn keys_of_any_length_are_told_apart() {
        let keys: Vec<Vec<u8>> = (0..600).map(|length| vec![b'a'; length]).collect();
        let mut table = KeyTable::default();
        for (key, value) in keys.iter().zip(0..) {
            assert_eq!(table.entry(key, value), Some((&mut value.clone(), true)));
        }
        for (key, value) in keys.iter().zip(0..) {
            assert_eq!(table.get(key), Some(value));
        }
        assert_eq!(table.get(&[b'a'; 600]), None);
    }

    #[wasm_bindgen_test(unsupported = test)]
    fn a_search_ends_however_many_keys_are_aimed_at_one_place() {
        // At one hash, and at hashes next to each other: a hash says which slot a search begins at.
        let aims: [fn(u32) -> Hash; 2] = [|_| Hash(7), Hash];
        for (hash_of, capacity) in aims.into_iter().zip([0, 20_000]) {
            let mut table = KeyTable::with_capacity(capacity, 8 * capacity);
            for number in 0..20_000_u32 {
                let key = number.to_le_bytes();
                let entry = table.entry_hashed(hash_of(number), &key, number);
                assert_eq!(entry, Some((&mut number.clone(), true)));
                let entry = table.entry_hashed(hash_of(number), &key, 0);
                assert_eq!(entry, Some((&mut number.clone(), false)));
            }
            assert!(table.taken <= EFFORT, "{} keys have a slot", table.taken);
            assert_eq!(table.len(), 20_000);
            for number in 0..20_000_u32 {
                let value = table.get_hashed(hash_of(number), &number.to_le_bytes());
                assert_eq!(value, Some(number));
            }
            assert_eq!(table.get_hashed(hash_of(0), b"none"), None);
            table.values_mut().for_each(|value| *value += 1);
            assert_eq!(table.get_hashed(hash_of(9), &9_u32.to_le_bytes()), Some(10));
            let keys: std::collections::BTreeSet<&[u8]> = table.keys().collect();
            assert_eq!(keys.len(), 20_000);
        }
    }

    #[wasm_bindgen_test(unsupported = test)]
    fn crowded_keys_are_found_after_the_table_has_grown() {
        let mut table = KeyTable::default();
        let aimed = |number: u32| (Hash(number % 3), number.to_le_bytes());
        for number in 0..3_000_u32 {
            let (hash, key) = aimed(number);
            table.entry_hashed(hash, &key, number).unwrap();
            table.entry(format!("key-{number}").as_bytes(), number).unwrap();
            for number in (0..=number).step_by(97) {
                let (hash, key) = aimed(number);
                assert_eq!(table.get_hashed(hash, &key), Some(number));
                assert_eq!(table.get(format!("key-{number}").as_bytes()), Some(number));
            }
        }
        assert!(!table.crowded.is_empty());
        assert_eq!(table.len(), 6_000);
    }

    #[wasm_bindgen_test(unsupported = test)]
    fn keys_with_equal_hashes_are_told_apart() {
        let mut table = KeyTable::with_capacity(2, 2);
        for (key, value) in [(&b"a"[..], 1), (b"b", 2), (b"", 3)] {
            table.entry_hashed(Hash(7), key, value).unwrap();
        }
        assert_eq!(table.get_hashed(Hash(7), b"a"), Some(1));
        assert_eq!(table.get_hashed(Hash(7), b"b"), Some(2));
        assert_eq!(table.get_hashed(Hash(7), b""), Some(3));
        assert_eq!(table.get_hashed(Hash(7), b"c"), None);
    }
}
