//! The tables, and how a change moves them.

use super::{
    Change, Dep, Index, Object, Own,
    backend::{BackendTlsPolicy, EndpointSlice, Namespace, ReferenceGrant, Service},
    certificate::Certificate,
    gateway::{Gateway, GatewayClass, ListenerSet},
    meta::{Meta, Owner},
    observed::Observed,
    route::Route,
    secret::{ConfigMap, Secret},
};
use crate::{
    key::{Kind, NsName, Ref, Text},
    translate::backend_tls,
};
use chrono::{DateTime, Utc};
use sluice_api::{GatewayProfileSpec, GrpcPolicySpec, GrpcServiceSpec};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
};

/// Objects of one kind by name.
pub type Table<T> = BTreeMap<NsName, Arc<T>>;

/// A kind that has a table of its own.
pub trait Stored: Sized {
    /// The kind.
    const KIND: Kind;
    /// The table.
    fn table(world: &World) -> &Table<Self>;
}

/// What is decided where the process is started, not in an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// `sluice.dev/gateway-controller`.
    pub controller: Text,
    /// How callers reach a listener.
    pub exposure: Exposure,
    /// With [`Exposure::Service`]: every address of a proxy's pod, `0.0.0.0`, or `::` where pods have addresses of both families or of
    /// the later one.
    pub everywhere: IpAddr,
    /// What of the cluster is seen.
    pub scope: Scope,
    /// Ports that proxies have for themselves.
    pub reserved: Vec<u16>,
}

/// What of a cluster this process may see.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Scope {
    /// All of it.
    #[default]
    Cluster,
    /// The objects in these namespaces, and nothing that lives outside of namespaces: `from: All` means these, labels of
    /// namespaces are unknown, and statuses of classes are not ours to write.
    Namespaces(BTreeSet<Text>),
}

/// How callers reach the port of a listener: what the endpoints of a GrpcService say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Exposure {
    /// Through a Service: proxies have a network of their own each, where they bind the listener's own port. The Service may have it at
    /// another one.
    #[default]
    Service,
    /// Directly: at the port where the proxy on this machine binds it, once that is known.
    Host,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            controller: sluice_api::CONTROLLER_NAME.into(),
            exposure: Exposure::default(),
            everywhere: Ipv4Addr::UNSPECIFIED.into(),
            scope: Scope::default(),
            reserved: Vec::new(),
        }
    }
}

/// Everything that Sluice knows at one revision.
#[derive(Clone, Debug, Default)]
pub struct World {
    /// Fixed for the life of the process.
    pub settings: Settings,
    /// The time of the last `Change::Clock`; the epoch before the first.
    pub now: DateTime<Utc>,
    pub(super) grpc_services: Table<Own<GrpcServiceSpec>>,
    pub(super) profiles: Table<Own<GatewayProfileSpec>>,
    pub(super) policies: Table<Own<GrpcPolicySpec>>,
    pub(super) classes: Table<GatewayClass>,
    pub(super) gateways: Table<Gateway>,
    pub(super) listener_sets: Table<ListenerSet>,
    pub(super) routes: BTreeMap<Ref, Arc<Route>>,
    pub(super) grants: Table<ReferenceGrant>,
    pub(super) backend_tls: Table<BackendTlsPolicy>,
    pub(super) services: Table<Service>,
    pub(super) slices: Table<EndpointSlice>,
    pub(super) secrets: Table<Secret>,
    pub(super) config_maps: Table<ConfigMap>,
    pub(super) namespaces: Table<Namespace>,
    pub(super) certificates: Table<Certificate>,
    pub(super) unserved: BTreeSet<Kind>,
    pub(super) kept: Table<Secret>,
    pub(super) observed: BTreeMap<Ref, Arc<Observed>>,
    pub(super) binds: BTreeMap<(NsName, u16), SocketAddr>,
    pub(super) addresses: BTreeMap<NsName, Vec<Text>>,
    pub(super) ports: BTreeMap<NsName, BTreeMap<u16, u16>>,
    pub(super) grants_in: Index<Text, NsName>,
    pub(super) policies_of: Index<Ref, NsName>,
    pub(super) sets_of: Index<NsName, NsName>,
    pub(super) slices_of: Index<NsName, NsName>,
    /// By name and uid of a GrpcService: what a namesake left is not its successor's.
    pub(super) owned_by: Index<(NsName, Text), Ref>,
}

macro_rules! stored {
    ($($kind:ident: $type:ty => $field:ident),* $(,)?) => {$(
        impl Stored for $type {
            const KIND: Kind = Kind::$kind;
            fn table(world: &World) -> &Table<Self> {
                &world.$field
            }
        }
    )*};
}

stored! {
    GrpcService: Own<GrpcServiceSpec> => grpc_services,
    GatewayProfile: Own<GatewayProfileSpec> => profiles,
    GrpcPolicy: Own<GrpcPolicySpec> => policies,
    GatewayClass: GatewayClass => classes,
    Gateway: Gateway => gateways,
    ListenerSet: ListenerSet => listener_sets,
    ReferenceGrant: ReferenceGrant => grants,
    BackendTlsPolicy: BackendTlsPolicy => backend_tls,
    Service: Service => services,
    EndpointSlice: EndpointSlice => slices,
    Secret: Secret => secrets,
    ConfigMap: ConfigMap => config_maps,
    Namespace: Namespace => namespaces,
    Certificate: Certificate => certificates,
}

impl World {
    /// An empty world.
    pub fn new(settings: Settings) -> Self {
        Self { settings, ..Self::default() }
    }

    /// All objects of a kind, in order. O(objects of the kind): for scratch recomputation and listings, never for one edit.
    pub fn all<T: Stored>(&self) -> &Table<T> {
        T::table(self)
    }

    /// All routes of all kinds, in order. O(routes), as [`World::all`].
    pub fn routes(&self) -> &BTreeMap<Ref, Arc<Route>> {
        &self.routes
    }

    /// The objects whose controller is this GrpcService, in order. Not recorded: [`Reader::owned`](super::Reader::owned) does that.
    pub fn owned(&self, service: &Meta) -> Vec<&Ref> {
        let identity = (service.key.clone(), service.uid.clone());
        self.owned_by.get(&identity).collect()
    }

    /// What a status says. Not recorded: for whoever writes it.
    pub fn observed(&self, object: &Ref) -> Option<&Arc<Observed>> {
        self.observed.get(object)
    }

    /// The metadata of an object that is there; slices have none here. Not recorded.
    pub fn metadata(&self, object: &Ref) -> Option<&Meta> {
        let key = &object.key;
        match object.kind {
            Kind::GrpcService => self.grpc_services.get(key).map(|object| &object.metadata),
            Kind::GatewayProfile => self.profiles.get(key).map(|object| &object.metadata),
            Kind::GrpcPolicy => self.policies.get(key).map(|object| &object.metadata),
            Kind::GatewayClass => self.classes.get(key).map(|object| &object.metadata),
            Kind::Gateway => self.gateways.get(key).map(|object| &object.metadata),
            Kind::ListenerSet => self.listener_sets.get(key).map(|object| &object.metadata),
            Kind::GrpcRoute | Kind::HttpRoute | Kind::TlsRoute | Kind::TcpRoute | Kind::UdpRoute => {
                self.routes.get(object).map(|object| &object.metadata)
            }
            Kind::ReferenceGrant => self.grants.get(key).map(|object| &object.metadata),
            Kind::BackendTlsPolicy => self.backend_tls.get(key).map(|object| &object.metadata),
            Kind::Service => self.services.get(key).map(|object| &object.metadata),
            Kind::Secret => self.secrets.get(key).map(|object| &object.metadata),
            Kind::ConfigMap => self.config_maps.get(key).map(|object| &object.metadata),
            Kind::Namespace => self.namespaces.get(key).map(|object| &object.metadata),
            Kind::Certificate => self.certificates.get(key).map(|object| &object.metadata),
            Kind::EndpointSlice => None,
        }
    }

    /// Whether an object is there. Not recorded: whoever asks is told by other means when the answer moves.
    pub fn contains(&self, object: &Ref) -> bool {
        match object.kind {
            Kind::EndpointSlice => self.slices.contains_key(&object.key),
            _ => self.metadata(object).is_some(),
        }
    }

    /// Applies a change and returns what it touched; nothing if the world is as it was.
    pub fn apply(&mut self, change: Change) -> Vec<Dep> {
        match change {
            Change::Upsert(object) => self.upsert(object),
            Change::Delete(reference) => self.delete(&reference),
            Change::Observe(reference, status) => self.observe(reference, status),
            Change::Clock(now) => {
                // Deadlines are the engine's: it knows which were asked for.
                self.now = self.now.max(now);
                Vec::new()
            }
            Change::Keep(secret, before) => self.keep(secret, before),
            Change::Bind(gateway, port, address) => self.bind(gateway, port, address),
            Change::Addresses(gateway, addresses) => {
                set(&mut self.addresses, &gateway, addresses).then_some(Dep::Binding(gateway)).into_iter().collect()
            }
            Change::Ports(gateway, ports) => {
                set(&mut self.ports, &gateway, ports).then_some(Dep::Ports(gateway)).into_iter().collect()
            }
            Change::Served(kind, true) => {
                self.unserved.remove(&kind).then_some(Dep::Served(kind)).into_iter().collect()
            }
            Change::Served(kind, false) => {
                self.unserved.insert(kind).then_some(Dep::Served(kind)).into_iter().collect()
            }
        }
    }

    fn upsert(&mut self, object: Object) -> Vec<Dep> {
        match object {
            Object::GrpcService(new) => put(&mut self.grpc_services, &new.metadata.key.clone(), Some(new)).touch(),
            Object::GatewayProfile(new) => put(&mut self.profiles, &new.metadata.key.clone(), Some(new)).touch(),
            Object::GatewayClass(new) => put(&mut self.classes, &new.metadata.key.clone(), Some(new)).touch(),
            Object::Namespace(new) => put(&mut self.namespaces, &new.metadata.key.clone(), Some(new)).touch(),
            Object::Service(new) => put(&mut self.services, &new.metadata.key.clone(), Some(new)).touch(),
            Object::Gateway(new) => self.put_gateway(&new.metadata.key.clone(), Some(new)),
            Object::ListenerSet(new) => self.put_listener_set(&new.metadata.key.clone(), Some(new)),
            Object::Route(new) => self.put_route(&Ref::new(new.kind, new.metadata.key.clone()), Some(new)),
            Object::ReferenceGrant(new) => self.put_grant(&new.metadata.key.clone(), Some(new)),
            Object::BackendTlsPolicy(new) => self.put_backend_tls(&new.metadata.key.clone(), Some(new)),
            Object::GrpcPolicy(new) => self.put_policy(&new.metadata.key.clone(), Some(new)),
            Object::EndpointSlice(new) => self.put_slice(&new.key.clone(), Some(new)),
            Object::Secret(new) => self.put_secret(&new.metadata.key.clone(), Some(new)),
            Object::ConfigMap(new) => self.put_config_map(&new.metadata.key.clone(), Some(new)),
            Object::Certificate(new) => self.put_certificate(&new.metadata.key.clone(), Some(new)),
        }
    }

    fn delete(&mut self, gone: &Ref) -> Vec<Dep> {
        let key = &gone.key;
        let mut touched = match gone.kind {
            Kind::GrpcService => put(&mut self.grpc_services, key, None).touch(),
            Kind::GatewayProfile => put(&mut self.profiles, key, None).touch(),
            Kind::GatewayClass => put(&mut self.classes, key, None).touch(),
            Kind::Namespace => put(&mut self.namespaces, key, None).touch(),
            Kind::Service => put(&mut self.services, key, None).touch(),
            Kind::Gateway => self.put_gateway(key, None),
            Kind::ListenerSet => self.put_listener_set(key, None),
            Kind::GrpcRoute | Kind::HttpRoute | Kind::TlsRoute | Kind::TcpRoute | Kind::UdpRoute => {
                self.put_route(gone, None)
            }
            Kind::ReferenceGrant => self.put_grant(key, None),
            Kind::BackendTlsPolicy => self.put_backend_tls(key, None),
            Kind::GrpcPolicy => self.put_policy(key, None),
            Kind::EndpointSlice => self.put_slice(key, None),
            Kind::Secret => self.put_secret(key, None),
            Kind::ConfigMap => self.put_config_map(key, None),
            Kind::Certificate => self.put_certificate(key, None),
        };
        touched.extend(self.observe(gone.clone(), None));
        touched
    }

    fn observe(&mut self, reference: Ref, status: Option<Observed>) -> Vec<Dep> {
        if self.observed.get(&reference).map(|known| &**known) == status.as_ref() {
            return Vec::new();
        }
        match status {
            Some(status) => self.observed.insert(reference.clone(), Arc::new(status)),
            None => self.observed.remove(&reference),
        };
        vec![Dep::Observed(reference)]
    }

    fn bind(&mut self, gateway: NsName, port: u16, address: Option<SocketAddr>) -> Vec<Dep> {
        let slot = (gateway.clone(), port);
        let before = match address {
            Some(address) => self.binds.insert(slot, address),
            None => self.binds.remove(&slot),
        };
        if before == address { Vec::new() } else { vec![Dep::Binding(gateway)] }
    }

    fn put_gateway(&mut self, key: &NsName, new: Option<Arc<Gateway>>) -> Vec<Dep> {
        let moved = put(&mut self.gateways, key, new);
        let owned = self.reown(&moved, |gateway| gateway.metadata.controller.as_ref());
        moved.touch_with(owned)
    }

    fn put_listener_set(&mut self, key: &NsName, new: Option<Arc<ListenerSet>>) -> Vec<Dep> {
        let moved = put(&mut self.listener_sets, key, new);
        let owned = self.reown(&moved, |set| set.metadata.controller.as_ref());
        let (before, after) = moved.keys(|set| set.gateway().into_iter().collect());
        self.sets_of.shift(key, &before, &after);
        moved.touch_with(before.into_iter().chain(after).map(Dep::ListenerSets).chain(owned))
    }

    fn put_route(&mut self, reference: &Ref, new: Option<Arc<Route>>) -> Vec<Dep> {
        let before = match new.clone() {
            Some(new) => self.routes.insert(reference.clone(), new),
            None => self.routes.remove(reference),
        };
        let moved = Moved { reference: reference.clone(), before, after: new };
        let owned = self.reown(&moved, |route| route.metadata.controller.as_ref());
        moved.touch_with(owned)
    }

    fn put_grant(&mut self, key: &NsName, new: Option<Arc<ReferenceGrant>>) -> Vec<Dep> {
        let moved = put(&mut self.grants, key, new);
        let owned = self.reown(&moved, |grant| grant.metadata.controller.as_ref());
        let (before, after) = moved.keys(|grant| vec![grant.metadata.key.namespace.clone()]);
        self.grants_in.shift(key, &before, &after);
        moved.touch_with(before.into_iter().chain(after).map(Dep::Grants).chain(owned))
    }

    fn put_policy(&mut self, key: &NsName, new: Option<Arc<Own<GrpcPolicySpec>>>) -> Vec<Dep> {
        let moved = put(&mut self.policies, key, new);
        let owned = self.reown(&moved, |policy| policy.metadata.controller.as_ref());
        let (before, after) = moved.keys(policy_targets);
        self.policies_of.shift(key, &before, &after);
        moved.touch_with(before.into_iter().chain(after).map(Dep::Policies).chain(owned))
    }

    fn put_backend_tls(&mut self, key: &NsName, new: Option<Arc<BackendTlsPolicy>>) -> Vec<Dep> {
        let moved = put(&mut self.backend_tls, key, new);
        let (before, after) = moved.keys(backend_tls_targets);
        self.policies_of.shift(key, &before, &after);
        moved.touch_with(before.into_iter().chain(after).map(Dep::Policies))
    }

    fn put_slice(&mut self, key: &NsName, new: Option<Arc<EndpointSlice>>) -> Vec<Dep> {
        let moved = put(&mut self.slices, key, new);
        let (before, after) = moved.keys(|slice| {
            let service = NsName { namespace: slice.key.namespace.clone(), name: slice.service.clone() };
            if slice.service.is_empty() { Vec::new() } else { vec![service] }
        });
        self.slices_of.shift(key, &before, &after);
        moved.touch_with(before.into_iter().chain(after).map(Dep::Slices))
    }

    fn keep(&mut self, secret: NsName, before: Option<Arc<Secret>>) -> Vec<Dep> {
        let moved = match before {
            Some(before) => self.kept.insert(secret.clone(), before.clone()).as_ref() != Some(&before),
            None => self.kept.remove(&secret).is_some(),
        };
        moved.then_some(Dep::Object(Ref::new(Kind::Secret, secret))).into_iter().collect()
    }

    fn put_secret(&mut self, key: &NsName, new: Option<Arc<Secret>>) -> Vec<Dep> {
        let moved = put(&mut self.secrets, key, new);
        let owned = self.reown(&moved, |secret| secret.metadata.controller.as_ref());
        moved.touch_with(owned)
    }

    fn put_config_map(&mut self, key: &NsName, new: Option<Arc<ConfigMap>>) -> Vec<Dep> {
        let moved = put(&mut self.config_maps, key, new);
        let owned = self.reown(&moved, |map| map.metadata.controller.as_ref());
        moved.touch_with(owned)
    }

    fn put_certificate(&mut self, key: &NsName, new: Option<Arc<Certificate>>) -> Vec<Dep> {
        let moved = put(&mut self.certificates, key, new);
        let owned = self.reown(&moved, |certificate| certificate.metadata.controller.as_ref());
        moved.touch_with(owned)
    }

    /// Keeps the index of owned objects, and returns what it touched.
    fn reown<T: PartialEq>(&mut self, moved: &Moved<T>, owner: fn(&T) -> Option<&Owner>) -> Vec<Dep> {
        let namespace = &moved.reference.key.namespace;
        let (before, after) = moved.keys(|object| {
            let owner = owner(object).filter(|owner| &*owner.kind == Kind::GrpcService.name());
            let key = |owner: &Owner| NsName { namespace: namespace.clone(), name: owner.name.clone() };
            owner.map(|owner| (key(owner), owner.uid.clone())).into_iter().collect()
        });
        if before == after {
            return Vec::new();
        }
        self.owned_by.shift(&moved.reference, &before, &after);
        before.into_iter().chain(after).map(|(service, _)| Dep::Owned(service)).collect()
    }
}

/// The routes that a policy names, seen from its own namespace.
fn policy_targets(policy: &Own<GrpcPolicySpec>) -> Vec<Ref> {
    let namespace = &policy.metadata.key.namespace;
    let targets = policy.spec.target_refs.iter();
    targets
        .filter_map(|target| {
            let kind = Kind::named(&target.group, &target.kind).filter(|kind| kind.is_route())?;
            Some(Ref::new(kind, NsName { namespace: namespace.clone(), name: target.name.as_str().into() }))
        })
        .collect()
}

/// The Services that a policy names, seen from its own namespace.
fn backend_tls_targets(policy: &BackendTlsPolicy) -> Vec<Ref> {
    let services = policy.spec.target_refs.iter().filter_map(|target| backend_tls::service_of(policy, target));
    services.map(|service| Ref::new(Kind::Service, service)).collect()
}

/// What one write did to a table.
struct Moved<T> {
    reference: Ref,
    before: Option<Arc<T>>,
    after: Option<Arc<T>>,
}

impl<T: PartialEq> Moved<T> {
    fn touch(&self) -> Vec<Dep> {
        self.touch_with(std::iter::empty())
    }

    fn touch_with(&self, also: impl IntoIterator<Item = Dep>) -> Vec<Dep> {
        if self.before == self.after {
            return Vec::new();
        }
        std::iter::once(Dep::Object(self.reference.clone())).chain(also).collect()
    }

    fn keys<K>(&self, keys: impl Fn(&T) -> Vec<K>) -> (Vec<K>, Vec<K>) {
        let of = |side: &Option<Arc<T>>| side.as_deref().map(&keys).unwrap_or_default();
        (of(&self.before), of(&self.after))
    }
}

/// Says something of a Gateway, and keeps nothing where there is nothing to say; whether that is new.
fn set<V: Default + PartialEq>(of: &mut BTreeMap<NsName, V>, gateway: &NsName, value: V) -> bool {
    let nothing = V::default();
    if of.get(gateway).unwrap_or(&nothing) == &value {
        return false;
    }
    if value == nothing {
        of.remove(gateway);
    } else {
        of.insert(gateway.clone(), value);
    }
    true
}

fn put<T: Stored>(table: &mut Table<T>, key: &NsName, new: Option<Arc<T>>) -> Moved<T> {
    let before = match new.clone() {
        Some(new) => table.insert(key.clone(), new),
        None => table.remove(key),
    };
    Moved { reference: Ref::new(T::KIND, key.clone()), before, after: new }
}
