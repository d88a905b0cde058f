//! Small sorted maps: most hosts have one route and most routes one host, and a tree node with room for eleven entries, ten thousand
//! times, is tens of megabytes.

/// A sorted map in one allocation. Look-ups cost O(log n); insertion and removal O(n), which for the largest hosts (some thousand
/// routes) is a move of some kilobytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Few<K, V>(Vec<(K, V)>);

impl<K, V> Default for Few<K, V> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<K: Ord, V> Few<K, V> {
    fn find(&self, key: &K) -> Result<usize, usize> {
        self.0.binary_search_by(|(candidate, _)| candidate.cmp(key))
    }

    pub(crate) fn insert(&mut self, key: K, value: V) {
        match self.find(&key) {
            Ok(found) => {
                if let Some(slot) = self.0.get_mut(found) {
                    slot.1 = value;
                }
            }
            Err(place) => {
                if self.0.is_empty() {
                    self.0.reserve_exact(1);
                }
                self.0.insert(place, (key, value));
            }
        }
    }

    pub(crate) fn remove(&mut self, key: &K) {
        if let Ok(found) = self.find(key) {
            self.0.remove(found);
        }
    }

    pub(crate) fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        let found = self.find(key).ok()?;
        self.0.get_mut(found).map(|(_, value)| value)
    }

    pub(crate) fn contains(&self, key: &K) -> bool {
        self.find(key).is_ok()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.0.iter().map(|(key, value)| (key, value))
    }

    pub(crate) fn keys(&self) -> impl Iterator<Item = &K> {
        self.0.iter().map(|(key, _)| key)
    }

    /// The keys that `other` lacks. O(n log n).
    pub(crate) fn difference<'f>(&'f self, other: &'f Self) -> impl Iterator<Item = &'f K> {
        self.keys().filter(|key| !other.contains(key))
    }
}

impl<K: Ord> FromIterator<K> for Few<K, ()> {
    fn from_iter<I: IntoIterator<Item = K>>(keys: I) -> Self {
        let mut all: Vec<(K, ())> = keys.into_iter().map(|key| (key, ())).collect();
        all.sort_unstable();
        all.dedup();
        all.shrink_to_fit();
        Self(all)
    }
}

#[cfg(test)]
mod tests {
    use super::Few;

    #[test]
    fn entries_are_sorted_and_the_latest_value_counts() {
        let mut few = Few::default();
        for (key, value) in [(2, 'a'), (1, 'b'), (2, 'c')] {
            few.insert(key, value);
        }
        assert_eq!(few.iter().collect::<Vec<_>>(), [(&1, &'b'), (&2, &'c')]);
        few.remove(&1);
        few.remove(&9);
        assert!(few.contains(&2) && !few.contains(&1));
    }

    #[test]
    fn a_difference_is_what_the_other_lacks() {
        let (left, right): (Few<_, _>, Few<_, _>) = ([3, 1, 2, 2].into_iter().collect(), [2].into_iter().collect());
        assert_eq!(left.difference(&right).collect::<Vec<_>>(), [&1, &3]);
        assert_eq!(right.difference(&left).count(), 0);
    }
}
