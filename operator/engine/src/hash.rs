//! Fingerprints of what was emitted, so that the thing itself need not be kept to tell whether it differs.

use serde_json::Value;
use std::hash::{Hash, Hasher};
use twox_hash::XxHash64;

/// The fingerprint of JSON: equal values give equal ones. 64 bits of
/// XXH64, which spreads them: that two values which one object takes in turn meet is one chance in 2^64.
pub(crate) fn fingerprint(value: &Value) -> u64 {
    fingerprint_of(&value.to_string())
}

/// The fingerprint of anything that hashes. Those of refused rules are kept over a restart, so the hasher is a stated one.
pub(crate) fn fingerprint_of(value: &impl Hash) -> u64 {
    let mut hasher = XxHash64::with_seed(0);
    value.hash(&mut hasher);
    hasher.finish()
}
