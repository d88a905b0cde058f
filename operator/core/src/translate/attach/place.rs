//! Where names go: ports, chains, route configurations and the hosts that exist without any route.
//!
//! judged listeners → [`Plan`]
//!
//! Cleartext has one route configuration for a port, so that isolation between its listeners is a choice of hosts. TLS
//! has one for each chain; a request that comes over a chain for a name of another listener is answered 421.

use super::{
    Entry, GatewayReport, ListenerReport, Standing,
    judge::{Clients, Judged},
};
use crate::{
    hostname::Hostname,
    ir,
    key::{NsName, Text},
    translate::{HostKey, ListenerId, Material, Surface, infrastructure::Infrastructure},
    world::{Parent, Reader},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// What follows from a Gateway and its ListenerSets before any route is looked at.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// The Gateway.
    pub gateway: NsName,
    /// What each parent offers to routes; ListenerSets that are not allowed offer nothing.
    pub surfaces: Vec<(Parent, Arc<Surface>)>,
    /// The ports that are bound and have something to serve, in order.
    pub listeners: Vec<ir::Listener>,
    /// The route configurations of `listeners`, in order of port and hostname.
    pub routing: Vec<Routing>,
    /// What the chains name, and what backends are shown; sorted, distinct; each loads.
    pub materials: Vec<Material>,
    /// The certificate that backends are shown where they are spoken to over TLS.
    pub shown: Option<NsName>,
    /// What has to run; `None` while the Gateway is refused.
    pub infrastructure: Option<Arc<Infrastructure>>,
    /// Everything that statuses say.
    pub report: GatewayReport,
    /// Who owns a hostname on a port.
    owners: BTreeMap<(u16, Hostname), Owner>,
    /// The port of each listener that is served.
    served: BTreeMap<ListenerId, u16>,
}

/// A route configuration and the hosts that it always has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Routing {
    /// `http-80` or `https-443/<sni>`.
    pub name: Text,
    /// The port.
    pub port: u16,
    hosts: BTreeMap<Hostname, ir::Fallback>,
}

/// The listener that a hostname of a port belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Owner {
    listener: ListenerId,
    /// Its route configuration; `None` while it is not served.
    routes: Option<Text>,
    secure: bool,
    /// SDS names.
    certificates: Vec<Text>,
    clients: Option<ir::Clients>,
}

/// The parts of a plan that are made elsewhere.
pub(super) struct Rest {
    pub shown: Option<NsName>,
    pub infrastructure: Option<Arc<Infrastructure>>,
    pub report: GatewayReport,
    pub surfaces: Vec<(Parent, Arc<Surface>)>,
}

/// Puts a plan together.
pub(super) fn plan(entries: &[Entry], judged: &[Judged], rest: Rest, read: &Reader) -> Plan {
    let Rest { infrastructure, report, surfaces, shown } = rest;
    let added = report.sets.iter().flat_map(|set| &set.listeners);
    let reports = report.listeners.iter().chain(added).collect::<Vec<_>>();
    let mut owners = BTreeMap::new();
    let mut served = BTreeMap::new();
    let mut materials: BTreeSet<Material> = shown.iter().cloned().map(Material::Certificate).collect();
    for ((entry, judged), report) in entries.iter().zip(judged).zip(reports) {
        if report.standing == Standing::Served {
            served.insert(report.id.clone(), report.port);
            materials.extend(judged.certificates.iter().cloned().map(Material::Certificate));
            materials.extend(judged.clients.iter().map(|clients| Material::Authorities(clients.authorities.clone())));
        }
        if report.is_accepted() {
            owners.insert((report.port, report.hostname.clone()), owner(entry, judged, report));
        }
    }
    let gateway = report.gateway.clone();
    Plan {
        listeners: listeners(&owners, &gateway, read),
        routing: routing(&owners),
        materials: materials.into_iter().collect(),
        shown,
        gateway,
        surfaces,
        infrastructure,
        report,
        owners,
        served,
    }
}

fn owner(entry: &Entry, judged: &Judged, report: &ListenerReport) -> Owner {
    let name = || if entry.is_secure() { chain_routes(report) } else { format!("http-{}", report.port) };
    Owner {
        listener: report.id.clone(),
        routes: (report.standing == Standing::Served).then(|| name().into()),
        secure: entry.is_secure(),
        certificates: judged.certificates.iter().map(|secret| secret.to_string().into()).collect(),
        clients: judged.clients.as_ref().map(clients),
    }
}

fn clients(of: &Clients) -> ir::Clients {
    ir::Clients { authorities: ir::Authorities::name_of(&of.authorities), required: of.required }
}

fn chain_routes(report: &ListenerReport) -> String {
    format!("https-{}/{}", report.port, report.hostname)
}

/// One listener for each port with something to serve.
fn listeners(owners: &BTreeMap<(u16, Hostname), Owner>, gateway: &NsName, read: &Reader) -> Vec<ir::Listener> {
    let mut protocols = BTreeMap::<u16, ir::Protocol>::new();
    for ((port, hostname), owner) in owners {
        let Some(routes) = owner.routes.clone() else { continue };
        if !owner.secure {
            protocols.insert(*port, ir::Protocol::Http { routes });
            continue;
        }
        let (certificates, clients) = (owner.certificates.clone(), owner.clients.clone());
        let chain = ir::Chain { sni: hostname.clone(), certificates, clients, routes };
        match protocols.entry(*port).or_insert_with(|| ir::Protocol::Https { chains: Vec::new() }) {
            ir::Protocol::Https { chains } => chains.push(chain),
            // Listeners of two protocols on a port conflict, so that neither is an owner.
            ir::Protocol::Http { .. } => {}
        }
    }
    let bound = |(port, protocol)| Some(ir::Listener { port, bind: read.bind(gateway, port)?, protocol });
    protocols.into_iter().filter_map(bound).collect()
}

/// The route configurations with their standing hosts. O(owners · labels).
fn routing(owners: &BTreeMap<(u16, Hostname), Owner>) -> Vec<Routing> {
    let mut on_port = BTreeMap::<u16, usize>::new();
    for (port, _) in owners.keys() {
        *on_port.entry(*port).or_default() += 1;
    }
    let mut all = BTreeMap::<(u16, Text), Routing>::new();
    for ((port, hostname), owner) in owners {
        if let Some(name) = &owner.routes {
            let routing = all.entry((*port, name.clone())).or_insert_with(|| Routing {
                name: name.clone(),
                port: *port,
                hosts: BTreeMap::from([(
                    Hostname::any(),
                    elsewhere(owner, on_port.get(port).copied().unwrap_or_default()),
                )]),
            });
            routing.hosts.insert(hostname.clone(), ir::Fallback::NotFound);
        }
    }
    for (port, hostname) in owners.keys() {
        for routes in wider_chains(owners, *port, hostname) {
            if let Some(routing) = all.get_mut(&(*port, routes)) {
                routing.hosts.insert(hostname.clone(), ir::Fallback::Misdirected);
            }
        }
    }
    all.into_values().collect()
}

/// What a name that is none of the route configuration's is answered. On a chain of its own beside others it is 421,
/// for another listener may serve it; to find out which would take a host for each pair of listeners.
fn elsewhere(owner: &Owner, on_port: usize) -> ir::Fallback {
    if owner.secure && on_port > 1 { ir::Fallback::Misdirected } else { ir::Fallback::NotFound }
}

/// Chains over which a request for `hostname` may come although a more specific listener owns the name.
fn wider_chains(owners: &BTreeMap<(u16, Hostname), Owner>, port: u16, hostname: &Hostname) -> Vec<Text> {
    let wider = hostname.covering().into_iter().skip(1).filter_map(|name| owners.get(&(port, name)));
    wider.filter(|owner| owner.secure).filter_map(|owner| owner.routes.clone()).collect()
}

impl Plan {
    /// The host that serves `domain` for a listener; `None` if the listener is not served, or a more specific listener
    /// of the port owns the name.
    pub fn place(&self, listener: &ListenerId, domain: &Hostname) -> Option<HostKey> {
        let port = *self.served.get(listener)?;
        let owner = domain.covering().into_iter().find_map(|name| self.owners.get(&(port, name)))?;
        let routes = owner.routes.as_ref().filter(|_| owner.listener == *listener)?;
        Some(HostKey { gateway: self.gateway.clone(), routes_of: routes.clone(), domain: domain.clone() })
    }

    /// Whether [`Self::place`] answers every question as that of another plan does. O(owners).
    pub fn places_alike(&self, other: &Self) -> bool {
        fn places(plan: &Plan) -> impl Iterator<Item = (&(u16, Hostname), &ListenerId, Option<&Text>)> {
            plan.owners.iter().map(|(name, owner)| (name, &owner.listener, owner.routes.as_ref()))
        }
        self.gateway == other.gateway && self.served == other.served && places(self).eq(places(other))
    }

    /// The hosts that exist without any route, in order, and what they answer when no route matches: `*` of each route
    /// configuration (one without hosts would hold its listener back), the hostname of each listener (or its requests
    /// would fall to a less specific one), and inside a chain the more specific hostnames of others.
    pub fn standing_hosts(&self) -> Vec<(HostKey, ir::Fallback)> {
        let hosts = self.routing.iter().flat_map(|routing| routing.hosts.iter().map(move |host| (routing, host)));
        hosts.map(|(routing, (domain, fallback))| (self.host(routing, domain), *fallback)).collect()
    }

    fn host(&self, routing: &Routing, domain: &Hostname) -> HostKey {
        HostKey { gateway: self.gateway.clone(), routes_of: routing.name.clone(), domain: domain.clone() }
    }
}
