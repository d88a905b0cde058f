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

    fn with<T>(&self, gateway: &NsName, act: impl FnOnce(&Source) -> T) -> T {
        // Nothing that runs under the lock can panic half-way, so a poisoned map is still whole.
        let mut feeds = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        act(feeds.entry(gateway.clone()).or_insert_with(|| watch::Sender::new(None)))
    }
}
