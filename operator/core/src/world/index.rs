//! Reverse look-ups that would otherwise be scans.

use std::collections::BTreeMap;

/// From a thing that is pointed to, to the things that point to it.
///
/// Sorted lists: most things are pointed to by one, and a tree of one has room for eleven, ten thousand times. The price is that a
/// change moves what comes after it: some kilobytes where a thousand ListenerSets name one Gateway.
#[derive(Clone, Debug)]
pub struct Index<K, V>(BTreeMap<K, Vec<V>>);

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

    /// Moves `value` from the keys that it pointed to, to those it points to now. Costs O(keys · log n), and a move of the list.
    pub(super) fn shift(&mut self, value: &V, before: &[K], after: &[K]) {
        for key in before {
            let Some(list) = self.0.get_mut(key) else { continue };
            if let Ok(found) = list.binary_search(value) {
                list.remove(found);
            }
            if list.is_empty() {
                self.0.remove(key);
            }
        }
        for key in after {
            let list = self.0.entry(key.clone()).or_insert_with(|| Vec::with_capacity(1));
            if let Err(place) = list.binary_search(value) {
                list.insert(place, value.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Index;

    #[test]
    fn what_points_is_found_in_order_and_once_until_it_points_elsewhere() {
        let mut index: Index<&str, u8> = Index::default();
        for value in [3, 1, 2, 1] {
            index.shift(&value, &[], &["a"]);
        }
        assert_eq!(index.get(&"a").collect::<Vec<_>>(), [&1, &2, &3]);
        index.shift(&2, &["a"], &["b"]);
        assert_eq!((index.get(&"a").count(), index.get(&"b").count()), (2, 1));
        index.shift(&2, &["b"], &[]);
        index.shift(&9, &["a"], &[]);
        assert_eq!((index.get(&"a").count(), index.0.len()), (2, 1));
    }
}
