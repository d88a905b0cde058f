//! What of the cluster is seen: all of it, or some namespaces.
//!
//! flags → [`Source`]s, and what stands for the cluster-scoped objects that a namespaced install may not read
//!
//! **Invariant:** in namespaced mode nothing outside of the namespaces is asked for.
//!
//! Must not know: how sources are followed.

use super::source::Source;
use serde_json::{Value, json};
use sluice_core::{
    key::{Kind, Text},
    world::{self, Change, DecodeError, Object},
};
use std::collections::BTreeSet;

/// Where the operator looks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// The whole cluster.
    Cluster,
    /// These namespaces; the class and its profile are given, and not read.
    Namespaces {
        /// Their names.
        names: BTreeSet<Text>,
        /// The spec of the class's GatewayProfile.
        profile: Value,
    },
}

impl Scope {
    /// Everything that is followed.
    pub(super) fn sources(&self) -> Vec<Source> {
        let kinds = Kind::ALL.into_iter().filter(|kind| *self == Self::Cluster || !kind.is_cluster_scoped());
        let places = self.namespaces();
        kinds
            .flat_map(|kind| places.iter().map(move |namespace| Source { kind, namespace: namespace.clone() }))
            .collect()
    }

    /// What the core is told of it, so that it says what it cannot see.
    pub(super) fn seen(&self) -> world::Scope {
        match self {
            Self::Cluster => world::Scope::Cluster,
            Self::Namespaces { names, .. } => world::Scope::Namespaces(names.clone()),
        }
    }

    /// Where namespaced objects are; one entry without a name is everywhere.
    pub(super) fn namespaces(&self) -> Vec<Option<Text>> {
        match self {
            Self::Cluster => vec![None],
            Self::Namespaces { names, .. } => names.iter().cloned().map(Some).collect(),
        }
    }

    /// Whether objects of a kind are read, and may be written.
    pub(super) fn reaches(&self, kind: Kind) -> bool {
        *self == Self::Cluster || !kind.is_cluster_scoped()
    }

    /// What stands for the cluster-scoped objects: nothing where they are read.
    pub(super) fn given(&self, class: &str) -> Result<Vec<Change>, DecodeError> {
        let Self::Namespaces { names, profile } = self else { return Ok(Vec::new()) };
        let reference = json!({"group": "sluice.dev", "kind": "GatewayProfile", "name": class});
        let spec = json!({"controllerName": sluice_api::CONTROLLER_NAME, "parametersRef": reference});
        let objects = [
            (Kind::GatewayClass, json!({"metadata": {"name": class}, "spec": spec})),
            (Kind::GatewayProfile, json!({"metadata": {"name": class}, "spec": profile})),
        ];
        let namespaces = names.iter().map(|name| (Kind::Namespace, json!({"metadata": {"name": name}})));
        let given = objects.into_iter().chain(namespaces);
        given.map(|(kind, value)| Object::decode(kind, value).map(Change::from)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespaced_install_reads_nothing_of_the_cluster() {
        let scope =
            Scope::Namespaces { names: ["a".into(), "b".into()].into(), profile: json!({"cleartext": "Allow"}) };
        let sources = scope.sources();
        assert!(sources.iter().all(|source| source.namespace.is_some() && !source.kind.is_cluster_scoped()));
        assert_eq!(sources.iter().filter(|source| source.kind == Kind::Gateway).count(), 2);
        assert_eq!(scope.given("sluice").unwrap().len(), 4);
        assert_eq!(Scope::Cluster.sources().len(), Kind::ALL.len());
        assert!(Scope::Cluster.given("sluice").unwrap().is_empty());
    }

    #[test]
    fn a_profile_that_is_none_is_refused() {
        let scope = Scope::Namespaces { names: BTreeSet::new(), profile: json!({"cleartext": "Maybe"}) };
        assert!(scope.given("sluice").is_err());
    }
}
