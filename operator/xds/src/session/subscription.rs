//! What a proxy asked for of one type.
//!
//! [`Request`] → the names whose state must be told anew
//!
//! **Invariant:** an explicit subscription is always answered, whatever the proxy is believed to have. What is on its way already is an
//! answer to a proxy that had not asked before.
//!
//! Must not know: which resources exist.

use std::collections::BTreeSet;

use super::names::Names;
use crate::message::Request;
use crate::resource::Name;
use crate::snapshot::Table;

const EVERYTHING: &str = "*";

/// The subscription to one type.
#[derive(Debug, Default)]
pub(super) struct Subscription {
    asked: bool,
    everything: bool,
    names: Names,
}

/// What a request changed.
#[derive(Debug, Default)]
pub(super) struct Moved {
    /// The first request of the type on this stream.
    pub(super) first: bool,
    /// Everything was subscribed to.
    pub(super) opened: bool,
    /// Everything was unsubscribed from.
    pub(super) closed: bool,
    /// Names subscribed to, known ones included.
    pub(super) subscribed: Vec<Name>,
    /// Those not subscribed to before, in a request that answers nothing: the proxy has not seen what is under way.
    pub(super) fresh: BTreeSet<Name>,
    /// Names unsubscribed from.
    pub(super) unsubscribed: Vec<Name>,
}

impl Subscription {
    pub(super) const fn asked(&self) -> bool {
        self.asked
    }

    pub(super) const fn is_for_everything(&self) -> bool {
        self.everything
    }

    pub(super) fn wants(&self, name: &str) -> bool {
        self.everything || self.names.contains(name)
    }

    pub(super) fn names(&self, name: &str) -> bool {
        self.names.contains(name)
    }

    /// Shares the snapshot's table if its names are those that were subscribed to.
    pub(super) fn share(&mut self, table: &Table) {
        self.names.share(table);
    }

    /// Takes everything as subscribed to although nobody asked.
    pub(super) const fn assume_everything(&mut self) {
        self.asked = true;
        self.everything = true;
    }

    /// Takes over the names of a request. An empty first subscription means everything where the type is a wildcard by
    /// default, else nothing.
    pub(super) fn take(&mut self, request: &Request) -> Moved {
        let first = !std::mem::replace(&mut self.asked, true);
        let (stars, unsubscribed) = split(&request.unsubscribe);
        let closed = stars && std::mem::take(&mut self.everything);
        for name in &unsubscribed {
            self.names.remove(name);
        }
        let (stars, subscribed) = split(&request.subscribe);
        let opened = stars || (first && request.kind.is_wildcard_by_default() && request.subscribe.is_empty());
        self.everything |= opened;
        let mut fresh = BTreeSet::new();
        for name in &subscribed {
            if self.names.insert(name) && request.nonce.is_empty() {
                fresh.insert(name.clone());
            }
        }
        Moved { first, opened, closed, subscribed, fresh, unsubscribed }
    }
}

/// Whether `*` is among the names, and the others.
fn split(names: &[Name]) -> (bool, Vec<Name>) {
    let (stars, others): (Vec<_>, Vec<_>) = names.iter().cloned().partition(|name| name.as_ref() == EVERYTHING);
    (!stars.is_empty(), others)
}
