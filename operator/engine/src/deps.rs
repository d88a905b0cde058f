//! Which evaluation read what, and so which ones a change makes stale.

use chrono::{DateTime, Utc};
use rustc_hash::{FxHashMap, FxHashSet};
use sluice_core::{
    ir,
    key::{NsName, Ref},
    translate::Material,
    world::Dep,
};
use std::{
    collections::{BTreeMap, BTreeSet, hash_map::Entry},
    sync::Arc,
};

/// One memoised evaluation of a pure function of the core.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Task {
    /// `author` of a GrpcService.
    Author(NsName),
    /// `plan` of a Gateway.
    Plan(NsName),
    /// `lower` of a route.
    Lower(Ref),
    /// `assignment` of a cluster.
    Assign(ir::Cluster),
    /// `load` of what is served by SDS.
    Certify(Material),
    /// The status of an object.
    Project(Ref),
}

/// Who reads one thing. Most things have one reader, and a set of one costs ten times as much memory.
#[derive(Debug)]
#[allow(clippy::box_collection, reason = "there are a hundred thousand of the other variant, which is a pointer")]
enum Readers {
    One(Arc<Task>),
    Many(Box<BTreeSet<Arc<Task>>>),
}

impl Readers {
    fn insert(&mut self, task: Arc<Task>) {
        match self {
            Self::One(first) if *first == task => {}
            Self::One(first) => *self = Self::Many(BTreeSet::from([first.clone(), task]).into()),
            Self::Many(all) => drop(all.insert(task)),
        }
    }

    /// Whether nobody is left.
    fn remove(&mut self, task: &Task) -> bool {
        match self {
            Self::One(only) => **only == *task,
            Self::Many(all) => {
                all.remove(task);
                all.is_empty()
            }
        }
    }

    fn iter(&self) -> impl Iterator<Item = &Task> {
        let (one, many) = match self {
            Self::One(task) => (Some(task), None),
            Self::Many(all) => (None, Some(all)),
        };
        one.into_iter().chain(many.into_iter().flat_map(|all| all.iter())).map(|task| &**task)
    }
}

/// The reads of every evaluation, forwards and backwards. What stands on both sides is kept once: there are some hundred thousand.
///
/// **Invariant:** `readers` and `deadlines` are the reverse of `reads`.
#[derive(Debug, Default)]
pub(crate) struct Deps {
    reads: FxHashMap<Arc<Task>, Box<[Arc<Dep>]>>,
    readers: FxHashMap<Arc<Dep>, Readers>,
    deadlines: BTreeMap<DateTime<Utc>, BTreeSet<Task>>,
}

impl Deps {
    /// Replaces what `task` read. Costs O(reads); an evaluation that read the same as before moves nothing.
    pub(crate) fn record(&mut self, task: &Task, reads: FxHashSet<Dep>) {
        let mut reads: Vec<Dep> = reads.into_iter().collect();
        reads.sort_unstable();
        if self.reads.get(task).is_some_and(|known| known.iter().map(|dep| &**dep).eq(&reads)) {
            return;
        }
        self.forget(task);
        let task = Arc::new(task.clone());
        let reads = reads.into_iter().map(|dep| self.link(dep, &task)).collect();
        self.reads.insert(task, reads);
    }

    /// Forgets an evaluation that is no longer wanted.
    pub(crate) fn forget(&mut self, task: &Task) {
        for dep in self.reads.remove(task).unwrap_or_default() {
            self.unlink(&dep, task);
        }
    }

    /// The evaluations that read `dep`, in order.
    pub(crate) fn readers(&self, dep: &Dep) -> Vec<Task> {
        self.readers.get(dep).map(|readers| readers.iter().cloned().collect()).unwrap_or_default()
    }

    /// Takes the evaluations that waited for an instant that is reached at `now`.
    pub(crate) fn expire(&mut self, now: DateTime<Utc>) -> BTreeSet<Task> {
        let mut due = BTreeSet::new();
        while let Some(entry) = self.deadlines.first_entry().filter(|entry| *entry.key() <= now) {
            due.extend(entry.remove());
        }
        due
    }

    /// The next instant at which something has to be evaluated again.
    pub(crate) fn next_deadline(&self) -> Option<DateTime<Utc>> {
        self.deadlines.keys().next().copied()
    }

    fn link(&mut self, dep: Dep, task: &Arc<Task>) -> Arc<Dep> {
        if let Dep::Deadline(instant) = dep {
            self.deadlines.entry(instant).or_default().insert((**task).clone());
            return Arc::new(dep);
        }
        let dep = self.readers.get_key_value(&dep).map_or_else(|| Arc::new(dep), |(known, _)| known.clone());
        match self.readers.entry(dep.clone()) {
            Entry::Occupied(readers) => readers.into_mut().insert(task.clone()),
            Entry::Vacant(place) => drop(place.insert(Readers::One(task.clone()))),
        }
        dep
    }

    fn unlink(&mut self, dep: &Dep, task: &Task) {
        if let Dep::Deadline(instant) = dep {
            let waiting = self.deadlines.get_mut(instant);
            let emptied = waiting.is_some_and(|tasks| tasks.remove(task) && tasks.is_empty());
            if emptied {
                self.deadlines.remove(instant);
            }
        } else if self.readers.get_mut(dep).is_some_and(|readers| readers.remove(task)) {
            self.readers.remove(dep);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Dep, Deps, Task};
    use chrono::{DateTime, Utc};
    use sluice_core::key::NsName;

    fn plan(name: &str) -> Task {
        Task::Plan(NsName::new("ns", name))
    }

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(seconds, 0).unwrap_or_default()
    }

    #[test]
    fn readers_are_those_of_the_latest_evaluation_only() {
        let mut deps = Deps::default();
        let (grants, binding) = (Dep::Grants("ns".into()), Dep::Binding(NsName::new("ns", "a")));
        deps.record(&plan("a"), [grants.clone(), binding.clone()].into_iter().collect());
        deps.record(&plan("b"), [grants.clone()].into_iter().collect());
        assert_eq!(deps.readers(&grants), [plan("a"), plan("b")]);
        deps.record(&plan("a"), [binding.clone()].into_iter().collect());
        assert_eq!(deps.readers(&grants), [plan("b")]);
        deps.forget(&plan("b"));
        assert_eq!(deps.readers(&grants), []);
        assert_eq!(deps.readers(&binding), [plan("a")]);
    }

    #[test]
    fn a_deadline_is_taken_once_it_is_reached_and_not_before() {
        let mut deps = Deps::default();
        deps.record(&plan("a"), [Dep::Deadline(at(10))].into_iter().collect());
        deps.record(&plan("b"), [Dep::Deadline(at(20))].into_iter().collect());
        assert_eq!(deps.next_deadline(), Some(at(10)));
        assert!(deps.expire(at(9)).is_empty());
        assert_eq!(deps.expire(at(10)).into_iter().collect::<Vec<_>>(), [plan("a")]);
        assert_eq!(deps.next_deadline(), Some(at(20)));
        deps.forget(&plan("b"));
        assert_eq!(deps.next_deadline(), None);
    }
}
