//! Leaves: clusters with their endpoints, and certificates. Kept as long as something of a Gateway names them.

use crate::{deps::Task, engine::Engine};
use chrono::{DateTime, Utc};
use rustc_hash::FxHashMap;
use sluice_core::{
    ir,
    key::{NsName, Text},
    translate::{backend, certificate},
};
use sluice_envoy::encode;
use sluice_xds::{Id, Resource, ResourceType};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// The clusters that hosts name.
#[derive(Debug, Default)]
pub(crate) struct Backends(FxHashMap<Text, Backend>);

#[derive(Debug)]
struct Backend {
    cluster: ir::Cluster,
    resource: Arc<Resource>,
    assignment: Arc<Resource>,
    /// How many hosts of each Gateway name it; never 0.
    uses: BTreeMap<NsName, usize>,
}

/// The certificates that chains name.
#[derive(Debug, Default)]
pub(crate) struct Certificates(FxHashMap<NsName, Certificate>);

#[derive(Debug, Default)]
struct Certificate {
    resource: Option<Arc<Resource>>,
    end: Option<DateTime<Utc>>,
    users: BTreeSet<NsName>,
}

impl Engine {
    /// A host of a Gateway names a cluster.
    pub(crate) fn use_cluster(&mut self, gateway: &NsName, cluster: &ir::Cluster) {
        let name = cluster.name();
        if !self.backends.0.contains_key(&name) {
            let assignment = self.assignment(cluster);
            let resource = encode::cluster(cluster);
            let backend = Backend { cluster: cluster.clone(), resource, assignment, uses: BTreeMap::new() };
            self.backends.0.insert(name.clone(), backend);
        }
        let Some(backend) = self.backends.0.get_mut(&name) else { return };
        let uses = backend.uses.entry(gateway.clone()).or_default();
        *uses += 1;
        if *uses == 1 {
            self.gateways.set(gateway, backend.resource.clone());
            self.gateways.set(gateway, backend.assignment.clone());
        }
    }

    /// A host of a Gateway no longer names a cluster.
    pub(crate) fn drop_cluster(&mut self, gateway: &NsName, name: &Text) {
        let Some(backend) = self.backends.0.get_mut(name) else { return };
        let Some(uses) = backend.uses.get_mut(gateway) else { return };
        *uses -= 1;
        if *uses == 0 {
            backend.uses.remove(gateway);
            self.gateways.remove(gateway, backend.resource.id.clone());
            self.gateways.remove(gateway, backend.assignment.id.clone());
        }
        if backend.uses.is_empty() {
            let task = Task::Assign(backend.cluster.clone());
            self.backends.0.remove(name);
            self.dirty.unmark(&task);
            self.deps.forget(&task);
        }
    }

    fn assignment(&mut self, cluster: &ir::Cluster) -> Arc<Resource> {
        let task = Task::Assign(cluster.clone());
        encode::assignment(&self.evaluate(&task, |read| backend::assignment(cluster, read)))
    }

    /// Looks the endpoints of a cluster up again. No route, host or listener is looked at.
    pub(crate) fn assign(&mut self, cluster: &ir::Cluster) {
        let assignment = self.assignment(cluster);
        let Some(backend) = self.backends.0.get_mut(&cluster.name()) else { return };
        backend.assignment = assignment;
        for gateway in backend.uses.keys() {
            self.gateways.set(gateway, backend.assignment.clone());
        }
    }

    /// A chain of a Gateway names a certificate.
    pub(crate) fn use_certificate(&mut self, gateway: &NsName, secret: &NsName) {
        if !self.certificates.0.contains_key(secret) {
            self.certificates.0.insert(secret.clone(), Certificate::default());
            self.certify(secret);
        }
        let Some(certificate) = self.certificates.0.get_mut(secret) else { return };
        certificate.users.insert(gateway.clone());
        if let Some(resource) = &certificate.resource {
            self.gateways.set(gateway, resource.clone());
        }
    }

    /// No chain of a Gateway names a certificate any more.
    pub(crate) fn drop_certificate(&mut self, gateway: &NsName, secret: &NsName) {
        let Some(certificate) = self.certificates.0.get_mut(secret) else { return };
        certificate.users.remove(gateway);
        self.gateways.remove(gateway, secret_id(secret));
        if certificate.users.is_empty() {
            let task = Task::Certify(secret.clone());
            self.certificates.0.remove(secret);
            self.dirty.unmark(&task);
            self.deps.forget(&task);
        }
    }

    /// Loads a certificate again: a rotation touches this resource alone.
    pub(crate) fn certify(&mut self, secret: &NsName) {
        let task = Task::Certify(secret.clone());
        let loaded = self.evaluate(&task, |read| certificate::load(secret, read));
        let Some(kept) = self.certificates.0.get_mut(secret) else { return };
        let loaded = loaded.ok();
        kept.end = loaded.as_ref().and_then(certificate::end);
        kept.resource = loaded.as_ref().map(encode::certificate);
        for gateway in &kept.users {
            match &kept.resource {
                Some(resource) => self.gateways.set(gateway, resource.clone()),
                None => self.gateways.remove(gateway, secret_id(secret)),
            }
        }
    }
}

impl Engine {
    /// Which of the certificates that are served ends first, and when. O(certificates).
    pub fn first_expiry(&self) -> Option<(&NsName, DateTime<Utc>)> {
        let ends = self.certificates.0.iter().filter_map(|(secret, kept)| Some((secret, kept.end?)));
        ends.min_by_key(|(secret, end)| (*end, *secret))
    }
}

fn secret_id(secret: &NsName) -> Id {
    Id::new(ResourceType::Secret, secret.to_string())
}
