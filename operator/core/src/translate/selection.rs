//! Services that select the same pods: what is meant for one reaches the other's.
//!
//! Services → [`Inclusion`]s
//!
//! Knows nothing of who refers to them.

use crate::{
    key::{NsName, Text},
    world::{Reader, backend::Service},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

/// Every pod of one Service is one of another's as well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inclusion {
    /// The Service that selects more.
    pub wide: NsName,
    /// Its selector, `app=echo`.
    pub selected: String,
    /// The Service whose pods are among them.
    pub narrow: NsName,
    /// Its selector.
    pub within: String,
    /// A label, with its value, by which the narrower selection differs; `None` if the two are equal.
    pub difference: Option<(Text, Text)>,
}

/// Compares two Services; equal selectors are found in one order of the two alone.
pub fn inclusion(wide: &Service, narrow: &Service) -> Option<Inclusion> {
    let (ours, theirs) = (&wide.spec.selector, &narrow.spec.selector);
    let (one, other) = (&wide.metadata.key, &narrow.metadata.key);
    let contained = !ours.is_empty() && ours.iter().all(|(name, value)| theirs.get(name) == Some(value));
    if !contained || one == other || one.namespace != other.namespace || (ours == theirs && one < other) {
        return None;
    }
    let difference = theirs.iter().find(|(name, _)| !ours.contains_key(*name));
    Some(Inclusion {
        wide: one.clone(),
        selected: written(ours),
        narrow: other.clone(),
        within: written(theirs),
        difference: difference.map(|(name, value)| (name.clone(), value.clone())),
    })
}

/// The first inclusion among the backends of a route: at most 256, as a rule two, each compared with each.
pub(crate) fn first_inclusion(services: &BTreeSet<&NsName>, read: &Reader) -> Option<Inclusion> {
    let known: Vec<_> = services.iter().filter_map(|key| read.get::<Service>(key)).collect();
    known.iter().find_map(|wide| known.iter().find_map(|narrow| inclusion(wide, narrow)))
}

fn written(labels: &BTreeMap<Text, Text>) -> String {
    labels.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(",")
}

impl Inclusion {
    /// What to do about it.
    pub fn advice(&self) -> String {
        match &self.difference {
            Some((name, value)) => {
                format!("add {name} to its selector, with the value of its own pods (not {value})")
            }
            None => "select each by a label that the other's pods do not have".to_owned(),
        }
    }
}

impl fmt::Display for Inclusion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { wide, selected, narrow, within, .. } = self;
        write!(
            f,
            "Service {wide} selects {selected} and so reaches the pods of Service {narrow} ({within}) too: {}",
            self.advice()
        )
    }
}
