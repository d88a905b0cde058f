//! What goes into a step and what comes out of it.

use crate::quarantine::Memory;
use chrono::{DateTime, Utc};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use sluice_core::{
    author::{Issue, WriteOutcome},
    key::{NsName, Ref, Text},
    translate::infrastructure::Infrastructure,
    world::Change,
};
use sluice_xds::{Id, Snapshot, Version};
use std::sync::Arc;

/// One thing that the engine is told.
#[derive(Clone, Debug)]
pub enum Input {
    /// The world is different.
    Change(Change),
    /// A proxy said something.
    Proxy(ProxyEvent),
    /// A rule was refused before this process started. Comes before the objects, or with them.
    Remember(Memory),
    /// Whether this process holds the lease: only then does it write. Whoever begins to says everything once.
    Leader(bool),
    /// What became of an [`Apply::Put`] or of an [`Issue`]. Silence means that it is still under way: whoever writes tries again, at
    /// growing intervals, whatever it said of the last attempt, and speaks again when the answer differs. Only what cannot be made is
    /// not tried again before it is asked for again: it would fail the same way.
    Wrote {
        /// The object.
        reference: Ref,
        /// `generation` of the [`Apply::Put`], since the end of an earlier one says nothing of a later; 0 of an [`Issue`].
        generation: i64,
        /// How it ended.
        outcome: WriteOutcome,
    },
}

impl From<Change> for Input {
    fn from(change: Change) -> Self {
        Self::Change(change)
    }
}

impl From<ProxyEvent> for Input {
    fn from(event: ProxyEvent) -> Self {
        Self::Proxy(event)
    }
}

/// What a proxy of a Gateway did.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "every variant names the Gateway and the proxy first, then the number of the stream")]
pub enum ProxyEvent {
    /// A stream of it is open; the later stream of a proxy has the greater number.
    Connected { gateway: NsName, proxy: Text, stream: u64 },
    /// It has acknowledged everything up to a revision of the Gateway's snapshot, refused resources apart.
    Synced { gateway: NsName, proxy: Text, stream: u64, revision: u64 },
    /// It refused one resource at one version, with Envoy's words.
    Refused { gateway: NsName, proxy: Text, id: Id, version: Version, message: String },
    /// It neither acknowledged nor refused these clusters, and never asked for their endpoints: Envoy wedges on clusters that it finds semantically wrong.
    Stalled { gateway: NsName, proxy: Text, forms: Vec<(Id, Version)> },
    /// A stream of it is closed.
    Disconnected { gateway: NsName, proxy: Text, stream: u64 },
    /// No new calls are sent to it: its pod is not Ready, or is on its way out.
    Unready { gateway: NsName, proxy: Text },
    /// New calls are sent to it: statuses wait for it, whether it is connected or not. Whoever begins to lead is told so before.
    /// Where nothing is said of pods, calls are sent to whoever is connected.
    Ready { gateway: NsName, proxy: Text },
    /// Its pod is gone, whatever becomes of its streams.
    Gone { gateway: NsName, proxy: Text },
}

impl ProxyEvent {
    /// The Gateway whose proxy it was.
    pub fn gateway(&self) -> &NsName {
        match self {
            Self::Connected { gateway, .. }
            | Self::Synced { gateway, .. }
            | Self::Refused { gateway, .. }
            | Self::Stalled { gateway, .. }
            | Self::Disconnected { gateway, .. }
            | Self::Unready { gateway, .. }
            | Self::Ready { gateway, .. }
            | Self::Gone { gateway, .. } => gateway,
        }
    }
}

/// What has to be done; all of it relative to the step before.
#[derive(Clone, Debug, Default)]
pub struct Effects {
    /// Objects to write or to remove, in this order.
    pub applies: Vec<Apply>,
    /// Key material to make; it comes back as a Secret.
    pub issues: Vec<Issue>,
    /// Statuses that differ from the last ones.
    pub statuses: Vec<StatusUpdate>,
    /// Snapshots in which a version moved. A Gateway that is gone gets an empty one.
    pub snapshots: Vec<(NsName, Arc<Snapshot>)>,
    /// What has to run for a Gateway, where that moved; `None`: nothing any more. A Gateway that is refused, or whose
    /// class is away, keeps what it has: a profile that is replaced must not cost every Gateway of a class its address.
    pub infrastructure: Vec<(NsName, Option<Arc<Infrastructure>>)>,
    /// Objects whose finalizer (`sluice.dev/finalizer`) has to come or to go.
    pub holds: Vec<(Ref, Hold)>,
    /// What is worth a line in a log.
    pub events: Vec<Event>,
    /// When the next step is due even if nothing happens.
    pub wake: Option<DateTime<Utc>>,
}

/// Whether an object may vanish without us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hold {
    /// Not before we have withdrawn what it stands for: our finalizer is to be put on it.
    Keep,
    /// It may: our finalizer is to be taken off.
    Release,
}

/// One write of level 1.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "fields are named after what they hold")]
pub enum Apply {
    /// Server-side apply, without force unless the object is ours. `generation` is what an API server that saw every write of this
    /// process would number it: for those who run without one, and to be given back in [`Input::Wrote`]. `repairs`: how often of late
    /// the object was found otherwise than this very write had left it; 0 of something new.
    Put { service: NsName, reference: Ref, value: Value, generation: i64, repairs: u32 },
    /// The object is no longer wanted.
    Remove { service: NsName, reference: Ref },
    /// The object stays when its service goes: our owner reference and labels are to be taken off, the rest left as it is.
    Orphan { service: NsName, reference: Ref },
}

impl Apply {
    /// The object.
    pub fn reference(&self) -> &Ref {
        match self {
            Self::Put { reference, .. } | Self::Remove { reference, .. } | Self::Orphan { reference, .. } => reference,
        }
    }
}

/// A status as text: when a process begins to lead there is one for every object at once, and as trees they are five times as large.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Status(Box<str>);

impl Status {
    /// As JSON text.
    pub(crate) fn of(status: &impl Serialize) -> Option<Self> {
        // A status is plain data with string keys, which always serialises.
        serde_json::to_string(status).ok().map(|text| Self(text.into()))
    }

    /// As whatever JSON can be read as.
    pub(crate) fn read<T: DeserializeOwned>(&self) -> Option<T> {
        serde_json::from_str(&self.0).ok()
    }

    /// Whether it says of something that the proxies have yet to answer: what follows will say more.
    pub fn is_pending(&self) -> bool {
        self.0.contains(r#""reason":"Pending""#)
    }

    /// As a tree.
    pub fn value(&self) -> Value {
        // It was written as JSON.
        self.read().unwrap_or_default()
    }
}

impl From<Value> for Status {
    fn from(status: Value) -> Self {
        Self(status.to_string().into())
    }
}

/// A status to write; times are the writer's.
#[derive(Clone, Debug, PartialEq)]
pub struct StatusUpdate {
    /// Whose.
    pub target: Ref,
    /// The generation that it is about.
    pub generation: i64,
    /// `status`, as the kind has it, without `lastTransitionTime`.
    pub status: Status,
}

/// Something that happened, for logs and for Kubernetes Events.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "fields are named after what they hold")]
pub enum Event {
    /// A proxy refused a resource.
    Refused { gateway: NsName, id: Id, message: String },
    /// A rule is withheld from the proxies.
    Quarantined { route: Ref, rule: String, message: String },
    /// A rule that was withheld is served again.
    Recovered { route: Ref, rule: String },
    /// A service that is being deleted is held, since these objects are to stay and still have it as their owner.
    Held { object: Ref, owned: Vec<Ref> },
    /// A generated object does not decode as its own kind: a defect of Sluice, said rather than hidden.
    Undecodable { object: Ref, message: String },
}
