//! The names that a proxy asked for one by one.
//!
//! names in, names out → whether a name is among them
//!
//! Each of a thousand proxies asks for the same thousand assignments: all that there are, and a set of its own has twenty bytes a name.
//!
//! **Invariant:** no name is in `table` and in `beside`.
//!
//! Must not know: what the resources are that have these names.

use std::collections::BTreeSet;

use imbl::ordmap::DiffItem;

use crate::resource::Name;
use crate::snapshot::Table;

/// A set of names that shares the nodes of a snapshot's table once it has exactly the names of that.
#[derive(Debug, Default)]
pub(super) struct Names {
    table: Table,
    beside: BTreeSet<Name>,
}

impl Names {
    pub(super) fn contains(&self, name: &str) -> bool {
        self.table.contains_key(name) || self.beside.contains(name)
    }

    /// Whether it was not among them.
    pub(super) fn insert(&mut self, name: &Name) -> bool {
        !self.table.contains_key(name) && self.beside.insert(name.clone())
    }

    pub(super) fn remove(&mut self, name: &Name) {
        if !self.beside.remove(name) {
            self.table.remove(name);
        }
    }

    /// Shares the table if its names are these. Costs O(names beside + names in which the tables differ), unless the count tells.
    pub(super) fn share(&mut self, table: &Table) {
        let same = self.table.len() + self.beside.len() == table.len()
            && self.beside.iter().all(|name| table.contains_key(name))
            && !self.table.diff(table).any(|item| matches!(item, DiffItem::Remove(..)));
        if same {
            *self = Self { table: table.clone(), beside: BTreeSet::new() };
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::resource::{Id, Resource, ResourceType, Version};

    fn name(number: u8) -> Name {
        Name::from(format!("n{number}"))
    }

    fn table(of: &BTreeSet<u8>, version: u64) -> Table {
        let form = |number: &u8| {
            let id = Id::new(ResourceType::Assignment, name(*number));
            let form = Resource { id, version: Version(version), bytes: bytes::Bytes::new(), requires: Box::default() };
            (name(*number), Arc::new(form))
        };
        of.iter().map(form).collect()
    }

    #[test]
    fn nothing_of_its_own_is_held_of_names_that_are_those_of_a_table() {
        let of: BTreeSet<u8> = (0..200).collect();
        let mut names = Names::default();
        for number in &of {
            names.insert(&name(*number));
        }
        let first = table(&of, 1);
        names.share(&first);
        assert!(names.table.ptr_eq(&first) && names.beside.is_empty());
        let mut second = first.clone();
        second.extend(table(&[7, 200].into(), 2));
        names.share(&second);
        assert!(names.table.ptr_eq(&first), "one name more is not the same names");
        names.insert(&name(200));
        names.share(&second);
        assert!(names.table.ptr_eq(&second) && names.beside.is_empty());
    }

    proptest! {
        #[test]
        fn sharing_changes_no_answer(
            acts in proptest::collection::vec((0..3_u8, 0..6_u8), 1..40),
            shared in proptest::collection::btree_set(0..6_u8, 0..6),
        ) {
            let (mut names, mut model) = (Names::default(), BTreeSet::new());
            for (act, number) in acts {
                match act {
                    0 => { names.insert(&name(number)); model.insert(number); }
                    1 => { names.remove(&name(number)); model.remove(&number); }
                    _ => {
                        names.share(&table(&shared, u64::from(number)));
                        names.share(&table(&model, u64::from(number)));
                        prop_assert!(names.beside.is_empty());
                    }
                }
                for number in 0..6 {
                    prop_assert_eq!(names.contains(&name(number)), model.contains(&number));
                }
            }
        }
    }
}
