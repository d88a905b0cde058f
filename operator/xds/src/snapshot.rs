//! Everything that one proxy should have, at one revision.
//!
//! [`Snapshot`] + [`Edit`] → the next [`Snapshot`], when a version moved
//!
//! **Invariant:** a published snapshot never changes, and shares all that did not change with the one before.
//! **Invariant:** revisions of one lineage rise by one, and `changed` lists exactly the names whose version differs from `previous`.
//!
//! Must not know: who reads it, and what was sent.

use std::collections::BTreeMap;
use std::sync::Arc;

use imbl::OrdMap;

use crate::resource::{Id, Name, PerType, Resource, ResourceType};

/// The resources of one type by name. A copy costs O(1).
pub type Table = OrdMap<Name, Arc<Resource>>;

/// The resources of one revision.
#[derive(Clone, Debug)]
pub struct Snapshot {
    revision: u64,
    previous: u64,
    changed: Arc<[Id]>,
    tables: PerType<Table>,
}

impl Snapshot {
    /// Revision 0, without resources.
    pub fn empty() -> Arc<Self> {
        Arc::new(Self { revision: 0, previous: 0, changed: Arc::default(), tables: PerType::default() })
    }

    /// Rises by one with every snapshot that differs.
    pub const fn revision(&self) -> u64 {
        self.revision
    }

    /// The revision that [`Self::changed`] is relative to.
    pub const fn previous(&self) -> u64 {
        self.previous
    }

    /// What was set to another version or removed since [`Self::previous`], sorted.
    pub fn changed(&self) -> &[Id] {
        &self.changed
    }

    /// The resource with this type and name.
    pub fn get(&self, id: &Id) -> Option<&Arc<Resource>> {
        self.table(id.kind).get(&id.name)
    }

    /// All resources of a type, by name.
    pub fn iter(&self, kind: ResourceType) -> impl Iterator<Item = &Arc<Resource>> {
        self.table(kind).values()
    }

    /// The table of a type.
    pub const fn table(&self, kind: ResourceType) -> &Table {
        self.tables.get(kind)
    }

    /// Starts the next snapshot. Costs O(1).
    pub fn edit(&self) -> Edit {
        Edit { revision: self.revision, tables: self.tables.clone(), before: BTreeMap::new() }
    }

    /// Every `requires` that is not here, as (who requires, what is missing). Empty in a sound snapshot.
    ///
    /// Reads the whole snapshot: for tests and assertions, not for the path of a change.
    pub fn closure(&self) -> Vec<(Id, Id)> {
        let all = ResourceType::ALL.into_iter().flat_map(|kind| self.iter(kind));
        let links = all.flat_map(|from| from.requires.iter().map(move |to| (&from.id, to)));
        links.filter(|(_, to)| self.get(to).is_none()).map(|(from, to)| (from.clone(), to.clone())).collect()
    }
}

/// Changes on top of a snapshot. Each costs O(log n), publishing costs O(changes · log n).
#[derive(Debug)]
pub struct Edit {
    revision: u64,
    tables: PerType<Table>,
    /// What each touched name was before the first touch.
    before: BTreeMap<Id, Option<Arc<Resource>>>,
}

impl Edit {
    /// Puts a resource under its own id. The same version again keeps the form that is there, so that it stays shared.
    pub fn set(&mut self, resource: Arc<Resource>) {
        let id = resource.id.clone();
        let table = self.tables.get_mut(id.kind);
        if table.get(&id.name).is_some_and(|old| old.version == resource.version) {
            return;
        }
        let old = table.insert(id.name.clone(), resource);
        self.before.entry(id).or_insert(old);
    }

    /// Takes a resource away; a name that is not there is left alone.
    pub fn remove(&mut self, id: &Id) {
        if let Some(old) = self.tables.get_mut(id.kind).remove(&id.name) {
            self.before.entry(id.clone()).or_insert(Some(old));
        }
    }

    /// The next snapshot, or `None` when no version moved.
    pub fn publish(self) -> Option<Arc<Snapshot>> {
        let next = self.publish_anyway();
        (!next.changed.is_empty()).then_some(next)
    }

    /// The next snapshot, even if no version moved: a first one with nothing in it is to be acknowledged as well.
    pub fn publish_anyway(self) -> Arc<Snapshot> {
        let Self { revision, tables, before } = self;
        let moved = before.into_iter().filter(|(id, old)| {
            let now = tables.get(id.kind).get(&id.name);
            now.map(|r| r.version) != old.as_ref().map(|r| r.version)
        });
        let changed: Arc<[Id]> = moved.map(|(id, _)| id).collect();
        Arc::new(Snapshot { revision: revision + 1, previous: revision, changed, tables })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resource::Version;

    fn cluster(name: &str, version: u64, requires: &[Id]) -> Arc<Resource> {
        let id = Id::new(ResourceType::Cluster, name);
        Arc::new(Resource { id, version: Version(version), bytes: bytes::Bytes::new(), requires: requires.into() })
    }

    fn with(resources: &[Arc<Resource>]) -> Arc<Snapshot> {
        let mut edit = Snapshot::empty().edit();
        resources.iter().cloned().for_each(|r| edit.set(r));
        edit.publish().expect("something was set")
    }

    #[test]
    fn an_edit_that_moves_no_version_publishes_nothing() {
        let snapshot = with(&[cluster("a", 1, &[])]);
        let mut edit = snapshot.edit();
        edit.set(cluster("a", 1, &[]));
        edit.set(cluster("b", 1, &[]));
        edit.remove(&Id::new(ResourceType::Cluster, "b"));
        edit.set(cluster("a", 2, &[]));
        edit.set(cluster("a", 1, &[]));
        edit.remove(&Id::new(ResourceType::Cluster, "never"));
        assert!(edit.publish().is_none());
    }

    #[test]
    fn changed_lists_what_moved_since_the_previous_revision() {
        let snapshot = with(&[cluster("a", 1, &[]), cluster("b", 1, &[]), cluster("c", 1, &[])]);
        let mut edit = snapshot.edit();
        edit.set(cluster("c", 2, &[]));
        edit.remove(&Id::new(ResourceType::Cluster, "a"));
        edit.set(cluster("b", 1, &[]));
        let next = edit.publish().expect("two versions moved");
        assert_eq!((next.previous(), next.revision()), (1, 2));
        let names: Vec<_> = next.changed().iter().map(|id| id.name.as_ref()).collect();
        assert_eq!(names, ["a", "c"]);
    }

    #[test]
    fn an_older_snapshot_is_not_touched_by_an_edit() {
        let snapshot = with(&[cluster("a", 1, &[])]);
        let mut edit = snapshot.edit();
        edit.remove(&Id::new(ResourceType::Cluster, "a"));
        let next = edit.publish().expect("a removal");
        assert_eq!((snapshot.iter(ResourceType::Cluster).count(), next.iter(ResourceType::Cluster).count()), (1, 0));
    }

    #[test]
    fn closure_names_what_is_required_and_missing() {
        let missing = Id::new(ResourceType::Assignment, "a");
        let snapshot = with(&[cluster("a", 1, std::slice::from_ref(&missing))]);
        assert_eq!(snapshot.closure(), [(Id::new(ResourceType::Cluster, "a"), missing)]);
    }
}
