//! What is counted of watches and queues.
//!
//! Must not know: who reads it.

use super::{carry::Queues, source::Source};
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    kind: &'static str,
    /// Empty where all namespaces are watched.
    namespace: String,
}

/// Of all sources.
#[derive(Clone, Debug, Default)]
pub(super) struct Watches {
    up: Family<Labels, Gauge>,
    lists: Family<Labels, Counter>,
    objects: Family<Labels, Gauge>,
    undecodable: Family<Labels, Gauge>,
}

impl Watches {
    /// Counters that start at zero, in a registry.
    pub(super) fn new(registry: &mut Registry) -> Self {
        let watches = Self::default();
        registry.register("watch_up", "Whether a kind is followed now", watches.up.clone());
        registry.register("watch_lists", "Complete lists that were read", watches.lists.clone());
        registry.register("objects", "Objects that are known", watches.objects.clone());
        let help = "Objects that do not decode: their last good form stays in force";
        registry.register("objects_undecodable", help, watches.undecodable.clone());
        watches
    }

    /// Those of one source, which is not up yet.
    pub(super) fn of(&self, source: &Source) -> Gauges {
        let namespace = source.namespace.as_deref().unwrap_or_default().to_owned();
        let labels = Labels { kind: source.kind.name(), namespace };
        let gauges = Gauges {
            up: self.up.get_or_create(&labels).clone(),
            lists: self.lists.get_or_create(&labels).clone(),
            objects: self.objects.get_or_create(&labels).clone(),
            undecodable: self.undecodable.get_or_create(&labels).clone(),
        };
        gauges.down();
        gauges
    }
}

/// Of one source.
#[derive(Clone, Debug)]
pub(super) struct Gauges {
    up: Gauge,
    lists: Counter,
    objects: Gauge,
    undecodable: Gauge,
}

impl Gauges {
    /// It is followed.
    pub(super) fn up(&self) {
        self.up.set(1);
    }

    /// It is not.
    pub(super) fn down(&self) {
        self.up.set(0);
    }

    /// A complete list was read.
    pub(super) fn listed(&self) {
        self.lists.inc();
    }

    /// So many objects are known, and so many of them do not decode.
    pub(super) fn objects(&self, all: usize, undecodable: usize) {
        self.objects.set(i64::try_from(all).unwrap_or(i64::MAX));
        self.undecodable.set(i64::try_from(undecodable).unwrap_or(i64::MAX));
    }
}

/// What waits to be written.
#[derive(Clone, Debug, Default)]
pub(super) struct Waiting(Family<[(&'static str, &'static str); 1], Gauge>);

impl Waiting {
    /// Gauges that are in a registry.
    pub(super) fn new(registry: &mut Registry) -> Self {
        let waiting = Self::default();
        registry.register("queue", "Objects that wait to be written, or are being written", waiting.0.clone());
        waiting
    }

    /// Looks at the queues.
    pub(super) fn look(&self, queues: &Queues) {
        let lengths = [
            ("objects", queues.objects.len()),
            ("statuses", queues.statuses.len()),
            ("finalizers", queues.holds.len()),
            ("infrastructure", queues.infrastructure.len()),
        ];
        for (queue, length) in lengths {
            self.0.get_or_create(&[("queue", queue)]).set(i64::try_from(length).unwrap_or(i64::MAX));
        }
    }
}
