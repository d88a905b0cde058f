//! Certificates that do not cover the hostnames they are served for.
//!
//! Source: RFC 6125, section 6.4.3: a wildcard stands for one label; in the Gateway API it stands for any number.

use super::Finding;
use crate::{
    author::Held,
    hostname::Hostname,
    key::{Kind, NsName, Ref, Text},
    world::{
        Parent, World,
        gateway::{Gateway, Listener, ListenerSet},
        route::{ParentRef, Route},
        secret::Secret,
    },
};
use std::collections::BTreeSet;

/// An object with listeners.
struct Owner<'w> {
    reference: Ref,
    parent: Parent,
    listeners: &'w [Listener],
}

pub(super) fn gaps(world: &World) -> Vec<Finding> {
    let gateways = world.all::<Gateway>().iter().map(|(key, gateway)| Owner {
        reference: Ref::new(Kind::Gateway, key.clone()),
        parent: Parent::Gateway(key.clone()),
        listeners: &gateway.spec.listeners,
    });
    let sets = world.all::<ListenerSet>().iter().map(|(key, set)| Owner {
        reference: Ref::new(Kind::ListenerSet, key.clone()),
        parent: Parent::ListenerSet(key.clone()),
        listeners: &set.spec.listeners,
    });
    gateways.chain(sets).flat_map(|owner| of(world, &owner)).collect()
}

fn of(world: &World, owner: &Owner) -> Vec<Finding> {
    let listeners = owner.listeners.iter().enumerate();
    listeners.filter_map(|(at, listener)| gap(world, owner, at, listener)).collect()
}

/// The first hostname that no certificate of a listener covers. Secrets that are absent or broken have a status.
fn gap(world: &World, owner: &Owner, at: usize, listener: &Listener) -> Option<Finding> {
    let secrets = secrets(owner, listener);
    let held: Vec<Held> = secrets.iter().filter_map(|key| Held::read(world.all::<Secret>().get(key)?)).collect();
    if held.is_empty() || held.len() < secrets.len() {
        return None;
    }
    let sans: BTreeSet<&Text> = held.iter().flat_map(|held| &held.sans).collect();
    let hostname = served(world, &owner.parent, listener).into_iter().find(|name| !covers(&sans, name))?;
    let names = secrets.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let message = format!("the certificate of Secret {names} {}", words(&sans, &hostname));
    Some(Finding::new(owner.reference.clone(), format!("spec.listeners[{at}].tls.certificateRefs"), message))
}

fn words(sans: &BTreeSet<&Text>, hostname: &Hostname) -> String {
    let list = sans.iter().map(|name| &***name).collect::<Vec<_>>().join(", ");
    let advice = format!("add {hostname} to its subject alternative names, or use another certificate");
    if sans.is_empty() {
        return format!(
            "names no host as a subject alternative name, and clients no longer read the common name: {advice}"
        );
    }
    let wildcard = sans.iter().find(|name| Hostname::parse(Some(name)).covers(hostname));
    match wildcard {
        Some(wildcard) => format!(
            "does not cover {hostname}: {wildcard} in a certificate stands for one label only, while a listener's \
            stands for any \
             number; {advice}"
        ),
        None => format!("does not cover {hostname}, only {list}: {advice}"),
    }
}

fn secrets(owner: &Owner, listener: &Listener) -> Vec<NsName> {
    let refs = listener.tls.iter().flat_map(|tls| &tls.certificate_refs);
    let own = &owner.reference.key.namespace;
    refs.map(|wanted| NsName {
        namespace: wanted.namespace.clone().unwrap_or_else(|| own.clone()),
        name: wanted.name.clone(),
    })
    .collect()
}

/// What callers of a listener ask for: the hostnames of its routes within its own, or its own if it has no routes.
fn served(world: &World, parent: &Parent, listener: &Listener) -> BTreeSet<Hostname> {
    let attached = world.routes().values().filter(|route| attaches(route, parent, listener));
    let own = [listener.hostname.clone()];
    let mut names = BTreeSet::new();
    for route in attached {
        let written = if route.hostnames.is_empty() { &own[..] } else { &route.hostnames };
        names.extend(written.iter().filter_map(|name| name.intersect(&listener.hostname)));
    }
    if names.is_empty() {
        names.extend(own);
    }
    names.retain(|name| !name.is_any());
    names
}

fn attaches(route: &Route, parent: &Parent, listener: &Listener) -> bool {
    let fits = |wanted: &ParentRef| {
        wanted.target(&route.metadata.key.namespace).as_ref() == Some(parent)
            && wanted.section_name.as_ref().is_none_or(|section| *section == listener.name)
            && wanted.port.is_none_or(|port| port == listener.port)
    };
    route.parents.iter().any(fits)
}

fn covers(sans: &BTreeSet<&Text>, hostname: &Hostname) -> bool {
    let name = hostname.as_str();
    // The part after the first label, with its dot.
    let domain = name.find('.').map(|dot| name.split_at(dot).1);
    sans.iter().any(|san| &***san == name || san.strip_prefix('*').is_some_and(|suffix| Some(suffix) == domain))
}
