//! The only way for a pure function to read the world: it records what was read.

use super::{
    Dep, Exposure, Parent, Scope, Stored, World, backend::EndpointSlice, backend::ReferenceGrant, meta::Meta,
    observed::Observed, route::Route, secret::Secret,
};
use crate::{
    key::{Kind, NsName, Ref, Text},
    translate::Surface,
};
use chrono::{DateTime, Utc};
use rustc_hash::FxHashSet;
use std::{cell::RefCell, collections::BTreeMap, net::SocketAddr, sync::Arc};

/// What the parents offer to routes: computed before routes are lowered, read like a table.
pub type Surfaces = BTreeMap<Parent, Arc<Surface>>;

/// A view of one revision that records what is read, absence included.
///
/// Recording is local to one evaluation against one frozen revision, so that a dependency cannot be read twice differently.
#[derive(Debug)]
pub struct Reader<'w> {
    world: &'w World,
    surfaces: &'w Surfaces,
    reads: RefCell<FxHashSet<Dep>>,
}

impl<'w> Reader<'w> {
    /// A view that has read nothing.
    pub fn new(world: &'w World, surfaces: &'w Surfaces) -> Self {
        Self { world, surfaces, reads: RefCell::default() }
    }

    /// What was read, in no order.
    pub fn into_reads(self) -> FxHashSet<Dep> {
        self.reads.into_inner()
    }

    fn note(&self, dep: Dep) {
        self.reads.borrow_mut().insert(dep);
    }

    /// The controller that we are. Fixed, hence not recorded.
    pub fn controller(&self) -> &'w Text {
        &self.world.settings.controller
    }

    /// What of the cluster is seen. Fixed, hence not recorded.
    pub fn scope(&self) -> &'w Scope {
        &self.world.settings.scope
    }

    /// Whether proxies have a port for themselves. Fixed, hence not recorded.
    pub fn is_reserved(&self, port: u16) -> bool {
        self.world.settings.reserved.contains(&port)
    }

    /// How callers reach listeners. Fixed, hence not recorded.
    pub fn exposure(&self) -> Exposure {
        self.world.settings.exposure
    }

    /// Whether the API server serves a kind.
    pub fn serves(&self, kind: Kind) -> bool {
        self.note(Dep::Served(kind));
        !self.world.unserved.contains(&kind)
    }

    /// An object of a kind with a table.
    pub fn get<T: Stored>(&self, key: &NsName) -> Option<&'w Arc<T>> {
        self.note(Dep::Object(Ref::new(T::KIND, key.clone())));
        T::table(self.world).get(key)
    }

    /// A route of any kind.
    pub fn route(&self, reference: &Ref) -> Option<&'w Arc<Route>> {
        self.note(Dep::Object(reference.clone()));
        self.world.routes.get(reference)
    }

    /// What a status says.
    pub fn observed(&self, reference: &Ref) -> Option<&'w Arc<Observed>> {
        self.note(Dep::Observed(reference.clone()));
        self.world.observed.get(reference)
    }

    /// What a Secret held before its certificate became unfit.
    pub fn kept(&self, secret: &NsName) -> Option<&'w Arc<Secret>> {
        self.note(Dep::Object(Ref::new(Kind::Secret, secret.clone())));
        self.world.kept.get(secret)
    }

    /// The grants in a namespace, by name.
    pub fn grants(&self, namespace: &Text) -> Vec<&'w Arc<ReferenceGrant>> {
        self.note(Dep::Grants(namespace.clone()));
        self.world.grants_in.get(namespace).filter_map(|key| self.world.grants.get(key)).collect()
    }

    /// The names of the policies that target a route, in order; read each by [`Reader::get`].
    pub fn policies(&self, route: &Ref) -> Vec<&'w NsName> {
        self.note(Dep::Policies(route.clone()));
        self.world.policies_of.get(route).collect()
    }

    /// The names of the ListenerSets that name a Gateway, in order; read each by [`Reader::get`].
    pub fn listener_sets(&self, gateway: &NsName) -> Vec<&'w NsName> {
        self.note(Dep::ListenerSets(gateway.clone()));
        self.world.sets_of.get(gateway).collect()
    }

    /// The slices of a Service, by name.
    pub fn slices(&self, service: &NsName) -> Vec<&'w Arc<EndpointSlice>> {
        self.note(Dep::Slices(service.clone()));
        self.world.slices_of.get(service).filter_map(|key| self.world.slices.get(key)).collect()
    }

    /// The objects whose controller is this GrpcService, in order.
    pub fn owned(&self, service: &Meta) -> Vec<&'w Ref> {
        self.note(Dep::Owned(service.key.clone()));
        self.world.owned(service)
    }

    /// The listeners that a parent offers to routes.
    pub fn surface(&self, parent: &Parent) -> Option<&'w Arc<Surface>> {
        self.note(Dep::Surface(parent.clone()));
        self.surfaces.get(parent)
    }

    /// Where the proxies of a Gateway bind a listener's port.
    pub fn bind(&self, gateway: &NsName, port: u16) -> Option<SocketAddr> {
        match self.world.settings.exposure {
            Exposure::Service => Some(SocketAddr::from((self.world.settings.everywhere, port))),
            Exposure::Host => {
                self.note(Dep::Binding(gateway.clone()));
                self.world.binds.get(&(gateway.clone(), port)).copied()
            }
        }
    }

    /// The port at which callers reach a listener's.
    pub fn reached_at(&self, gateway: &NsName, port: u16) -> u16 {
        match self.world.settings.exposure {
            Exposure::Service => {
                self.note(Dep::Ports(gateway.clone()));
                self.world.ports.get(gateway).and_then(|ports| ports.get(&port)).copied().unwrap_or(port)
            }
            Exposure::Host => self.bind(gateway, port).map_or(port, |address| address.port()),
        }
    }

    /// The addresses at which a Gateway is reached.
    pub fn addresses(&self, gateway: &NsName) -> &'w [Text] {
        self.note(Dep::Binding(gateway.clone()));
        self.world.addresses.get(gateway).map_or(&[], Vec::as_slice)
    }

    /// Whether an instant is reached. Only a future one is recorded: the past does not change.
    pub fn reached(&self, instant: DateTime<Utc>) -> bool {
        let reached = self.world.now >= instant;
        if !reached {
            self.note(Dep::Deadline(instant));
        }
        reached
    }

    /// The time, for what is made out of it once (a certificate's first day). Not recorded: use [`Reader::reached`] to decide.
    pub fn now(&self) -> DateTime<Utc> {
        self.world.now
    }
}
