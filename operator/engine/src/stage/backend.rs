//! Leaves: clusters with their endpoints, certificates and authorities. Kept as long as something of a Gateway names them.

use crate::{deps::Task, engine::Engine, few::Few};
use chrono::{DateTime, Utc};
use rustc_hash::FxHashMap;
use sluice_core::{
    ir,
    key::{NsName, Text},
    translate::{Material, authority, backend, certificate},
    world::Reader,
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
    assignment: Arc<Resource>,
    /// How many hosts of each Gateway name it; never 0.
    uses: Few<NsName, usize>,
}

/// What chains and clusters name by SDS.
#[derive(Debug, Default)]
pub(crate) struct Certificates {
    served: FxHashMap<Material, Served>,
    /// When certificates end, the first one first.
    ends: BTreeSet<(DateTime<Utc>, NsName)>,
}

#[derive(Debug, Default)]
struct Served {
    resource: Option<Arc<Resource>>,
    /// When a certificate ends.
    end: Option<DateTime<Utc>>,
    /// How many things of each Gateway name it: its chains count as one, each of its clusters as one; never 0.
    uses: BTreeMap<NsName, usize>,
}

impl Certificates {
    /// A certificate that is served is another one, or is served no longer.
    fn end_moved(&mut self, material: &Material, before: Option<DateTime<Utc>>, after: Option<DateTime<Utc>>) {
        let Material::Certificate(secret) = material else { return };
        if let Some(end) = before {
            self.ends.remove(&(end, secret.clone()));
        }
        self.ends.extend(after.map(|end| (end, secret.clone())));
    }
}

/// What is served by SDS, if it can be, and when it ends.
type Loaded = Option<(Arc<Resource>, Option<DateTime<Utc>>)>;

fn load(material: &Material, read: &Reader<'_>) -> Loaded {
    match material {
        Material::Certificate(secret) => {
            certificate::load(secret, read).ok().map(|it| (encode::certificate(&it), certificate::end(&it)))
        }
        Material::Authorities(maps) => authority::load(maps, read).map(|it| (encode::authorities(&it), None)),
    }
}

/// What is served by SDS, if it can be.
pub(crate) fn material(material: &Material, read: &Reader<'_>) -> Option<Arc<Resource>> {
    load(material, read).map(|(resource, _)| resource)
}

/// Those whom a cluster trusts.
pub(crate) fn trusted(cluster: &ir::Cluster) -> Option<Material> {
    cluster.tls.as_ref().map(|tls| Material::Authorities(tls.authorities.clone()))
}

impl Engine {
    /// A host of a Gateway names a cluster.
    pub(crate) fn use_cluster(&mut self, gateway: &NsName, cluster: &ir::Cluster) {
        let name = cluster.name();
        if !self.backends.0.contains_key(&name) {
            let assignment = self.assignment(cluster);
            let backend = Backend { cluster: cluster.clone(), assignment, uses: Few::default() };
            self.backends.0.insert(name.clone(), backend);
        }
        let Some(backend) = self.backends.0.get_mut(&name) else { return };
        if let Some(uses) = backend.uses.get_mut(gateway) {
            *uses += 1;
            return;
        }
        backend.uses.insert(gateway.clone(), 1);
        self.gateways.set(gateway, backend.assignment.clone());
        self.gateways.set(gateway, self.cluster_of(gateway, cluster));
        if let Some(trusted) = trusted(cluster) {
            self.use_material(gateway, &trusted);
        }
    }

    /// A host of a Gateway no longer names a cluster.
    pub(crate) fn drop_cluster(&mut self, gateway: &NsName, name: &Text) {
        let Some(backend) = self.backends.0.get_mut(name) else { return };
        let Some(uses) = backend.uses.get_mut(gateway) else { return };
        *uses -= 1;
        if *uses > 0 {
            return;
        }
        backend.uses.remove(gateway);
        let (cluster, is_last) = (backend.cluster.clone(), backend.uses.is_empty());
        self.gateways.remove(gateway, Id::new(ResourceType::Cluster, name.clone()));
        self.gateways.remove(gateway, backend.assignment.id.clone());
        if is_last {
            let task = Task::Assign(cluster.clone());
            self.backends.0.remove(name);
            self.dirty.unmark(&task);
            self.deps.forget(&task);
        }
        if let Some(trusted) = trusted(&cluster) {
            self.drop_material(gateway, &trusted);
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

    /// The cluster as the proxies of a Gateway have it, with the certificate that this Gateway shows.
    fn cluster_of(&self, gateway: &NsName, cluster: &ir::Cluster) -> Arc<Resource> {
        let shown = self.gateways.plan(gateway).and_then(|plan| Some(plan.shown.as_ref()?.to_string().into()));
        encode::cluster_showing(cluster, shown.as_ref())
    }

    /// A Gateway shows another certificate to its backends. O(clusters), at an edit of `spec.tls.backend`.
    pub(crate) fn show_anew(&mut self, gateway: &NsName) {
        let secure = self.backends.0.values().filter(|it| it.cluster.tls.is_some() && it.uses.contains(gateway));
        let clusters: Vec<_> = secure.map(|backend| self.cluster_of(gateway, &backend.cluster)).collect();
        for cluster in clusters {
            self.gateways.set(gateway, cluster);
        }
    }

    /// A chain or a cluster of a Gateway names something that is served by SDS.
    pub(crate) fn use_material(&mut self, gateway: &NsName, material: &Material) {
        if !self.certificates.served.contains_key(material) {
            self.certificates.served.insert(material.clone(), Served::default());
            self.certify(material);
        }
        let Some(served) = self.certificates.served.get_mut(material) else { return };
        *served.uses.entry(gateway.clone()).or_default() += 1;
        if let Some(resource) = &served.resource {
            self.gateways.set(gateway, resource.clone());
        }
    }

    /// A chain or a cluster of a Gateway does not name it any more.
    pub(crate) fn drop_material(&mut self, gateway: &NsName, material: &Material) {
        let Some(served) = self.certificates.served.get_mut(material) else { return };
        let Some(uses) = served.uses.get_mut(gateway) else { return };
        *uses -= 1;
        if *uses == 0 {
            served.uses.remove(gateway);
            self.gateways.remove(gateway, secret_id(material));
        }
        if served.uses.is_empty() {
            let (task, end) = (Task::Certify(material.clone()), served.end);
            self.certificates.served.remove(material);
            self.certificates.end_moved(material, end, None);
            self.dirty.unmark(&task);
            self.deps.forget(&task);
        }
    }

    /// Loads it again: a rotation touches this resource alone.
    pub(crate) fn certify(&mut self, material: &Material) {
        let task = Task::Certify(material.clone());
        let loaded = self.evaluate(&task, |read| load(material, read));
        let Some(served) = self.certificates.served.get_mut(material) else { return };
        let before = served.end;
        (served.resource, served.end) = loaded.map_or((None, None), |(resource, end)| (Some(resource), end));
        for gateway in served.uses.keys() {
            match &served.resource {
                Some(resource) => self.gateways.set(gateway, resource.clone()),
                None => self.gateways.remove(gateway, secret_id(material)),
            }
        }
        let after = served.end;
        self.certificates.end_moved(material, before, after);
    }
}

impl Engine {
    /// Which of the certificates that are served ends first, and when.
    pub fn first_expiry(&self) -> Option<(&NsName, DateTime<Utc>)> {
        self.certificates.ends.first().map(|(end, secret)| (secret, *end))
    }
}

fn secret_id(material: &Material) -> Id {
    Id::new(ResourceType::Secret, material.name())
}
