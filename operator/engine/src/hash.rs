//! Fingerprints of what was emitted, so that the thing itself need not be kept to tell whether it differs.

use rustc_hash::FxHasher;
use serde_json::Value;
use std::hash::{Hash, Hasher};

/// The fingerprint of JSON: equal values give equal ones. 64 bits: two differing values of one object meet by chance never.
pub(crate) fn fingerprint(value: &Value) -> u64 {
    fingerprint_of(&value.to_string())
}

/// The fingerprint of anything that hashes.
pub(crate) fn fingerprint_of(value: &impl Hash) -> u64 {
    let mut hasher = FxHasher::default();
    value.hash(&mut hasher);
    hasher.finish()
}
