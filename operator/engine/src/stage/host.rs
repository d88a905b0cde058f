//! Hosts: who contributes to each, and the clusters that each needs.

use crate::{dirty::Stage, engine::Engine, few::Few};
use chrono::{DateTime, Utc};
use sluice_core::{
    hostname::Hostname,
    ir::{self, Action, Fallback},
    key::{NsName, Ref, Text},
    translate::{
        HostKey, Lowered,
        merge::{Contribution, merge},
    },
};
use sluice_envoy::encode;
use sluice_xds::{Id, ResourceType};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// The hosts of all Gateways.
#[derive(Debug, Default)]
pub(crate) struct Hosts(BTreeMap<HostKey, Host>);

#[derive(Debug, Default)]
struct Host {
    /// Set for hosts that exist without any route.
    standing: Option<Fallback>,
    seats: Few<(Ref, Hostname), Seat>,
    clusters: Few<Text, ()>,
}

/// What a route brings to a host.
#[derive(Clone, Debug)]
pub(crate) struct Seat {
    /// Its creation.
    pub(crate) created: DateTime<Utc>,
    /// What it became.
    pub(crate) lowered: Arc<Lowered>,
}

impl Host {
    fn is_vacant(&self) -> bool {
        self.standing.is_none() && self.seats.is_empty()
    }

    /// O(routes of the host).
    fn merged(&self, key: &HostKey) -> ir::VirtualHost {
        let contribution = |((route, written), seat): (&(Ref, Hostname), &Seat)| Contribution {
            written: written.clone(),
            created: seat.created,
            route: route.clone(),
            lowered: seat.lowered.clone(),
        };
        let contributions: Vec<_> = self.seats.iter().map(contribution).collect();
        merge(key, self.standing.unwrap_or(Fallback::NotFound), &contributions)
    }

    /// The clusters that contributions offer, by name.
    fn offered(&self) -> BTreeMap<Text, ir::Cluster> {
        let clusters = self.seats.iter().flat_map(|(_, seat)| &seat.lowered.clusters);
        clusters.map(|cluster| (cluster.name(), cluster.clone())).collect()
    }
}

/// The clusters that a host names.
pub(crate) fn named(host: &ir::VirtualHost) -> BTreeSet<Text> {
    named_by(host.routes.iter().map(|route| &**route))
}

/// The clusters that routes name.
pub(crate) fn named_by<'r>(routes: impl Iterator<Item = &'r ir::Route>) -> BTreeSet<Text> {
    let forwards = routes.filter_map(|route| match &route.action {
        Action::Forward(forward) => Some(forward),
        Action::Redirect(_) | Action::Unavailable(_) => None,
    });
    forwards.flat_map(ir::Forward::clusters).cloned().collect()
}

impl Hosts {
    /// The routes on the host of this resource name.
    pub(crate) fn seated(&self, gateway: &NsName, name: &str) -> BTreeSet<Ref> {
        let Some((routes_of, domain)) = name.rsplit_once('/') else { return BTreeSet::new() };
        let key =
            HostKey { gateway: gateway.clone(), routes_of: routes_of.into(), domain: Hostname::parse(Some(domain)) };
        self.0.get(&key).into_iter().flat_map(|host| host.seats.keys()).map(|(route, _)| route.clone()).collect()
    }
}

impl Engine {
    /// A host exists without any route, or does not any more.
    pub(crate) fn set_standing(&mut self, key: &HostKey, fallback: Option<Fallback>) {
        let host = self.hosts.0.entry(key.clone()).or_default();
        if host.standing != fallback || host.is_vacant() {
            host.standing = fallback;
            self.dirty.hosts.insert(key.clone());
        }
    }

    /// A route brings something to a host.
    pub(crate) fn seat(&mut self, key: &HostKey, route: &Ref, written: &Hostname, seat: Seat) {
        let host = self.hosts.0.entry(key.clone()).or_default();
        host.seats.insert((route.clone(), written.clone()), seat);
        self.dirty.hosts.insert(key.clone());
    }

    /// A route's new form says the same to a host.
    pub(crate) fn reform(&mut self, key: &HostKey, route: &Ref, written: &Hostname, seat: &Seat) {
        let slot = self.hosts.0.get_mut(key).and_then(|host| host.seats.get_mut(&(route.clone(), written.clone())));
        if let Some(slot) = slot {
            slot.clone_from(seat);
        }
    }

    /// A route has nothing to bring to a host any more.
    pub(crate) fn unseat(&mut self, key: &HostKey, route: &Ref, written: &Hostname) {
        if let Some(host) = self.hosts.0.get_mut(key) {
            host.seats.remove(&(route.clone(), written.clone()));
            self.dirty.hosts.insert(key.clone());
        }
    }

    /// Merges the hosts that moved.
    pub(crate) fn merge_hosts(&mut self) {
        while let Some(key) = self.dirty.hosts.pop_first() {
            self.merge_host(&key);
        }
    }

    fn merge_host(&mut self, key: &HostKey) {
        self.count(Stage::Merge);
        let Some(host) = self.hosts.0.get(key) else { return };
        let merged = host.merged(key);
        if host.is_vacant() {
            let gone = self.hosts.0.remove(key).map(|host| host.clusters).unwrap_or_default();
            self.gateways.remove(&key.gateway, Id::new(ResourceType::VirtualHost, merged.name()));
            self.exchange(key, &gone, &BTreeMap::new());
            return;
        }
        let mut needed = host.offered();
        let names = named(&merged);
        needed.retain(|name, _| names.contains(name));
        let before =
            self.hosts.0.get_mut(key).map(|host| std::mem::replace(&mut host.clusters, names.into_iter().collect()));
        self.exchange(key, &before.unwrap_or_default(), &needed);
        self.gateways.set(&key.gateway, encode::virtual_host(&merged));
    }

    /// Takes up the clusters that a host newly needs, and lets go of those that it needs no more.
    fn exchange(&mut self, key: &HostKey, before: &Few<Text, ()>, after: &BTreeMap<Text, ir::Cluster>) {
        for cluster in after.iter().filter(|(name, _)| !before.contains(name)).map(|(_, cluster)| cluster) {
            self.use_cluster(&key.gateway, cluster);
        }
        for name in before.keys().filter(|name| !after.contains_key(*name)) {
            self.drop_cluster(&key.gateway, name);
        }
    }
}
