//! The version of a resource: a hash of what it means.
//!
//! ir → [`Version`], the same on every platform, replica and after every restart
//!
//! Must not know: bytes on the wire.

use sluice_xds::Version;
use std::hash::{Hash, Hasher};
use twox_hash::xxhash3_128;

/// Rises with every change of what is encoded for the same ir, so that an upgrade sends what it encodes differently.
pub const ENCODER: u64 = 3;

/// XXH3 over a byte order and a word size of our own: `derive(Hash)` writes integers as the machine lays them out.
struct Portable(xxhash3_128::Hasher);

impl Hasher for Portable {
    /// The lower half, which is as good as any.
    fn finish(&self) -> u64 {
        let [low @ .., _, _, _, _, _, _, _, _] = self.0.finish_128().to_le_bytes();
        u64::from_le_bytes(low)
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0.write(bytes);
    }

    fn write_u16(&mut self, value: u16) {
        self.write(&value.to_le_bytes());
    }

    fn write_u32(&mut self, value: u32) {
        self.write(&value.to_le_bytes());
    }

    fn write_u64(&mut self, value: u64) {
        self.write(&value.to_le_bytes());
    }

    fn write_u128(&mut self, value: u128) {
        self.write(&value.to_le_bytes());
    }

    fn write_usize(&mut self, value: usize) {
        self.write_u64(value as u64);
    }

    /// Discriminants of enums.
    fn write_isize(&mut self, value: isize) {
        self.write(&(value as i64).to_le_bytes());
    }
}

/// Equal for equal values of one type, and practically only for them.
pub(crate) fn of(value: &impl Hash) -> Version {
    let mut hasher = Portable(xxhash3_128::Hasher::with_seed(ENCODER));
    value.hash(&mut hasher);
    Version(hasher.finish())
}

#[cfg(test)]
mod tests {
    use super::of;

    #[test]
    fn a_version_does_not_move_with_the_compiler_or_the_machine() {
        let versions = [of(&"text"), of(&(1_u16, 2_u32, 3_u64)), of(&Some(vec![1_usize])), of(&None::<u8>)];
        insta::assert_yaml_snapshot!(versions.map(|version| version.to_string()));
    }
}
