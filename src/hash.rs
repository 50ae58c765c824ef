//! Hash maps without random state.
//!
//! Their keys come from the policy's author, who gains nothing by collisions; so configuring stays
//! a pure function of the policy's bytes, and the module needs no random numbers from the proxy.

use std::hash::{BuildHasherDefault, DefaultHasher};

pub(crate) type HashMap<K, V> = std::collections::HashMap<K, V, BuildHasherDefault<DefaultHasher>>;
pub(crate) type HashSet<K> = std::collections::HashSet<K, BuildHasherDefault<DefaultHasher>>;
