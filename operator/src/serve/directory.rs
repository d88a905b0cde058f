//! The latest snapshot of each Gateway, for the streams that serve it.

use sluice_core::key::NsName;
use sluice_xds::Snapshot;
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};
use tokio::sync::watch;

/// What a stream follows: nothing until the engine has published once.
pub(crate) type Feed = watch::Receiver<Option<Arc<Snapshot>>>;

/// Snapshots by Gateway. A stream may ask for a Gateway before it is known: a proxy can start before its Gateway is planned.
#[derive(Clone, Debug, Default)]
pub(crate) struct Directory(Arc<Mutex<HashMap<NsName, Source>>>);

/// The other end of a [`Feed`].
type Source = watch::Sender<Option<Arc<Snapshot>>>;

impl Directory {
    /// Replaces a Gateway's snapshot. Costs O(1): streams share the resources.
    pub(crate) fn publish(&self, gateway: &NsName, snapshot: Arc<Snapshot>) {
        self.with(gateway, |sender| sender.send_replace(Some(snapshot)));
    }

    /// Follows a Gateway's snapshots: the latest only, however slow the reader.
    pub(crate) fn follow(&self, gateway: &NsName) -> Feed {
        self.with(gateway, watch::Sender::subscribe)
    }

    /// A stream ended, and its feed with it: nothing is kept for a Gateway that nobody follows and nothing was published for.
    /// Whoever opens a stream names any Gateway.
    pub(crate) fn leave(&self, gateway: &NsName) {
        let mut feeds = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if feeds.get(gateway).is_some_and(|feed| feed.receiver_count() == 0 && feed.borrow().is_none()) {
            feeds.remove(gateway);
        }
    }

    fn with<T>(&self, gateway: &NsName, act: impl FnOnce(&Source) -> T) -> T {
        // Nothing that runs under the lock can panic half-way, so a poisoned map is still whole.
        let mut feeds = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        act(feeds.entry(gateway.clone()).or_insert_with(|| watch::Sender::new(None)))
    }
}

#[cfg(test)]
mod tests {
    use super::{Directory, NsName, Snapshot};

    #[test]
    fn a_gateway_that_was_never_published_is_kept_only_while_somebody_follows_it() {
        let (directory, gateway) = (Directory::default(), NsName::new("a", "one"));
        let (first, second) = (directory.follow(&gateway), directory.follow(&gateway));
        drop(first);
        directory.leave(&gateway);
        assert_eq!(directory.0.lock().unwrap().len(), 1);
        drop(second);
        directory.leave(&gateway);
        assert!(directory.0.lock().unwrap().is_empty());
        directory.publish(&gateway, Snapshot::empty());
        directory.leave(&gateway);
        assert_eq!(directory.0.lock().unwrap().len(), 1);
    }
}
