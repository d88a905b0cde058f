//! How many streams the proxies of a Gateway may have at once.
//!
//! the pods of each Gateway, streams as they open and end → a [`Seat`] for each stream, or none
//!
//! **Invariant:** whoever holds the certificate of one Gateway makes the leader keep so much, and no more: nobody else is served less
//! because of it.
//!
//! Must not know: what is said on streams.

use sluice_core::key::NsName;
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// A stream, and one before it whose end nobody has noticed yet.
const EACH: usize = 2;

/// The seats of all Gateways; clones are the same ones.
#[derive(Clone, Debug)]
pub(crate) struct Seats {
    spare: usize,
    rows: Arc<Mutex<BTreeMap<NsName, Row>>>,
}

/// Those of one Gateway.
#[derive(Clone, Copy, Debug, Default)]
struct Row {
    pods: usize,
    taken: usize,
}

/// A place for one stream, until it is dropped.
#[derive(Debug)]
pub(crate) struct Seat {
    seats: Seats,
    gateway: NsName,
}

impl Seats {
    /// No stream yet. There are `spare` seats more for each Gateway than its pods need: for proxies whose pods nobody has heard of yet,
    /// or that have none.
    pub(crate) fn new(spare: usize) -> Self {
        Self { spare, rows: Arc::default() }
    }

    /// A Gateway has so many pods.
    pub(super) fn provide(&self, gateway: &NsName, pods: usize) {
        self.with(gateway, |row| row.pods = pods);
    }

    /// A seat for one more stream, if there is one.
    pub(crate) fn take(&self, gateway: &NsName) -> Option<Seat> {
        let taken = self.with(gateway, |row| {
            let is_free = row.taken < self.spare + EACH * row.pods;
            row.taken += usize::from(is_free);
            is_free
        });
        taken.then(|| Seat { seats: self.clone(), gateway: gateway.clone() })
    }

    /// Nothing is kept of a Gateway without pods and streams.
    fn with<T>(&self, gateway: &NsName, act: impl FnOnce(&mut Row) -> T) -> T {
        let mut rows = self.rows();
        let row = rows.entry(gateway.clone()).or_default();
        let result = act(row);
        if row.pods == 0 && row.taken == 0 {
            rows.remove(gateway);
        }
        result
    }

    /// Nothing that runs under the lock can leave the map half-changed, so a poisoned one is still whole.
    fn rows(&self) -> MutexGuard<'_, BTreeMap<NsName, Row>> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.seats.with(&self.gateway, |row| row.taken = row.taken.saturating_sub(1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gateway_has_seats_for_its_pods_and_some_more_and_takes_none_from_others() {
        let (seats, edge, other) = (Seats::new(1), NsName::new("a", "edge"), NsName::new("a", "other"));
        let take = |gateway: &NsName| (0..10).map_while(|_| seats.take(gateway)).collect::<Vec<_>>();
        let one = take(&edge);
        assert_eq!((one.len(), take(&other).len()), (1, 1));
        seats.provide(&edge, 2);
        let more = take(&edge);
        assert_eq!(more.len(), 4);
        seats.provide(&edge, 0);
        drop(one);
        assert!(seats.take(&edge).is_none(), "those of pods that are gone are not cut, and count");
        drop(more);
        assert!(seats.take(&edge).is_some());
        assert!(seats.rows().is_empty());
    }
}
