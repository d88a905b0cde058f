//! What has to be evaluated again, in the order of the stages.

use crate::deps::Task;
use sluice_core::{
    key::{Kind, NsName, Ref},
    translate::{HostKey, ListenerId},
};
use std::collections::{BTreeMap, BTreeSet};

/// The stages, in the order in which they run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// GrpcService → objects.
    Author,
    /// Gateway → listeners and what they offer.
    Plan,
    /// Route → its share of the ir.
    Lower,
    /// Routes of a Gateway → hosts, where a plan moved these.
    Seat,
    /// Routes → host.
    Merge,
    /// Cluster → endpoints.
    Assign,
    /// Secret, ConfigMaps → certificate, authorities.
    Certify,
    /// Object of the Gateway API → status.
    Project,
    /// GrpcService → status: rolled up from the others.
    RollUp,
}

impl Task {
    /// The stage that it belongs to.
    pub(crate) fn stage(&self) -> Stage {
        match self {
            Self::Author(_) => Stage::Author,
            Self::Plan(_) => Stage::Plan,
            Self::Lower(_) => Stage::Lower,
            Self::Assign(_) => Stage::Assign,
            Self::Certify(_) => Stage::Certify,
            Self::Project(Ref { kind: Kind::GrpcService, .. }) => Stage::RollUp,
            Self::Project(_) => Stage::Project,
        }
    }
}

/// The work of a step.
#[derive(Debug, Default)]
pub(crate) struct Dirty {
    tasks: BTreeMap<Stage, BTreeSet<Task>>,
    /// Hosts to merge.
    pub(crate) hosts: BTreeSet<HostKey>,
    /// Claims of routes on listeners to judge.
    pub(crate) contests: BTreeSet<(ListenerId, Ref)>,
    /// Objects that appeared, or whose generation moved: they wait for the revision that this round publishes.
    pub(crate) arrivals: BTreeSet<Ref>,
    /// Services and Gateways of which it is to be looked at what runs for them, and whether they may vanish.
    pub(crate) holds: BTreeSet<Ref>,
    /// Routes that sit on other hosts of a Gateway, or on hosts that were refused and are mended: they wait for that revision too.
    pub(crate) moved: BTreeSet<(NsName, Ref)>,
}

impl Dirty {
    /// Asks for an evaluation.
    pub(crate) fn mark(&mut self, task: Task) {
        self.tasks.entry(task.stage()).or_default().insert(task);
    }

    /// Asks for evaluations.
    pub(crate) fn mark_all(&mut self, tasks: impl IntoIterator<Item = Task>) {
        for task in tasks {
            self.mark(task);
        }
    }

    /// Drops a request: there is nothing left to evaluate.
    pub(crate) fn unmark(&mut self, task: &Task) {
        if let Some(tasks) = self.tasks.get_mut(&task.stage()) {
            tasks.remove(task);
        }
    }

    /// The next evaluation of a stage no later than `last`, earliest stage first.
    pub(crate) fn next(&mut self, last: Stage) -> Option<Task> {
        let stages = self.tasks.range_mut(..=last);
        stages.into_iter().find_map(|(_, tasks)| tasks.pop_first())
    }

    /// Whether nothing is left to do up to `last`.
    pub(crate) fn is_settled(&self, last: Stage) -> bool {
        self.hosts.is_empty()
            && self.contests.is_empty()
            && self.arrivals.is_empty()
            && self.moved.is_empty()
            && self.tasks.range(..=last).all(|(_, tasks)| tasks.is_empty())
    }
}
