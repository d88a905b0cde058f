//! The world: what Sluice knows, trimmed to what it needs, with the indexes that keep a change from costing a scan.
//!
//! [`Change`] → [`World`] and the [`Dep`]s that it touched.
//!
//! **Invariant:** one writer; between two changes the world is immutable.
//! **Invariant:** applying what is already there touches nothing (statuses, labels that nobody reads, managed fields).
//! **Invariant:** every index is a function of the tables.
//!
//! Knows nothing of what is computed from it.

pub mod backend;
pub mod certificate;
pub mod gateway;
mod index;
pub mod meta;
mod object;
pub mod observed;
mod reader;
pub mod route;
pub mod secret;
mod store;
pub mod word;

pub use index::Index;
pub use object::{DecodeError, Object, Own};
pub use reader::{Reader, Surfaces};
pub use store::{Exposure, Scope, Settings, Stored, Table, World};

use crate::key::{Kind, NsName, Ref, Text};
use chrono::{DateTime, Utc};
use std::{collections::BTreeMap, fmt, net::SocketAddr, sync::Arc};

/// What a route attaches to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Parent {
    /// A Gateway's own listeners.
    Gateway(NsName),
    /// The listeners of a ListenerSet.
    ListenerSet(NsName),
}

impl Parent {
    /// Namespace and name.
    pub fn key(&self) -> &NsName {
        match self {
            Self::Gateway(key) | Self::ListenerSet(key) => key,
        }
    }

    /// Kind and name.
    pub fn reference(&self) -> Ref {
        let kind = match self {
            Self::Gateway(_) => Kind::Gateway,
            Self::ListenerSet(_) => Kind::ListenerSet,
        };
        Ref::new(kind, self.key().clone())
    }
}

impl fmt::Display for Parent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gateway(key) => write!(f, "Gateway {key}"),
            Self::ListenerSet(key) => write!(f, "ListenerSet {key}"),
        }
    }
}

/// One thing that happened.
#[derive(Clone, Debug)]
pub enum Change {
    /// An object is there, or is different.
    Upsert(Object),
    /// An object is gone.
    Delete(Ref),
    /// What somebody else's controller says in the status of an object of the Gateway API.
    Observe(Ref, Option<observed::Observed>),
    /// The time is now this. Time never runs backwards: an earlier one is ignored.
    Clock(DateTime<Utc>),
    /// What a Secret held before its certificate became unfit; `None` once it is fit again.
    Keep(NsName, Option<Arc<secret::Secret>>),
    /// Where the proxies of a Gateway bind a listener's port, or nowhere yet.
    Bind(NsName, u16, Option<SocketAddr>),
    /// The addresses at which a Gateway is reached.
    Addresses(NsName, Vec<Text>),
    /// The ports at which a Gateway's listeners are reached there, by theirs; one that is not in it is reached at its own.
    Ports(NsName, BTreeMap<u16, u16>),
    /// Whether the API server serves a kind; every kind is taken to be served until this says otherwise.
    Served(Kind, bool),
}

/// What a pure function may have read; absence is read as well.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Dep {
    /// The object itself.
    Object(Ref),
    /// What its status says.
    Observed(Ref),
    /// The set of grants in a namespace.
    Grants(Text),
    /// The set of policies that target a route.
    Policies(Ref),
    /// The set of ListenerSets that name a Gateway.
    ListenerSets(NsName),
    /// The set of slices of a Service.
    Slices(NsName),
    /// The set of objects whose controller is a GrpcService.
    Owned(NsName),
    /// The listeners that a parent offers to routes (computed; see `translate::Surface`).
    Surface(Parent),
    /// Where a Gateway's ports are bound and how it is reached.
    Binding(NsName),
    /// The ports at which a Gateway's listeners are reached.
    Ports(NsName),
    /// Whether the API server serves a kind.
    Served(Kind),
    /// The moment at which this instant is reached.
    Deadline(DateTime<Utc>),
}
