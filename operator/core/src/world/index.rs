//! Reverse look-ups that would otherwise be scans.

use std::collections::{BTreeMap, BTreeSet};

/// From a thing that is pointed to, to the things that point to it.
#[derive(Clone, Debug)]
pub struct Index<K, V>(BTreeMap<K, BTreeSet<V>>);

impl<K, V> Default for Index<K, V> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<K: Ord + Clone, V: Ord + Clone> Index<K, V> {
    /// Everything that points to `key`, in order.
    pub fn get(&self, key: &K) -> impl Iterator<Item = &V> {
        self.0.get(key).into_iter().flatten()
    }

    /// Moves `value` from the keys that it pointed to, to those it points to now. Costs O(keys · log n).
    pub(super) fn shift(&mut self, value: &V, before: &[K], after: &[K]) {
        for key in before {
            if let Some(set) = self.0.get_mut(key) {
                set.remove(value);
                if set.is_empty() {
                    self.0.remove(key);
                }
            }
        }
        for key in after {
            self.0.entry(key.clone()).or_default().insert(value.clone());
        }
    }
}
