//! Which listeners of a port cannot stand beside each other.
//!
//! listeners by precedence → for each, the conflict that it loses
//!
//! **Invariant:** inside a Gateway nobody wins: all that conflict are conflicted. Between a Gateway and ListenerSets,
//! and between ListenerSets, the one with precedence stays as it is.
//! **Invariant:** a listener that lost claims nothing, so that it cannot make a third one lose.
//!
//! Source: Gateway API, `GatewaySpec.listeners` (distinct by port, protocol and hostname), `ListenerSetSpec.listeners`
//! (precedence).

use super::Entry;
use crate::{hostname::Hostname, status::listener::Conflict};
use std::collections::{BTreeMap, BTreeSet};

/// What shares a port: protocols of one family may, told apart by hostname.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Family {
    Cleartext,
    Tls,
    Tcp,
}

impl Family {
    /// UDP shares no port space with TCP, and what an unknown protocol binds is not known: neither is in a family.
    fn of(protocol: &str) -> Option<Self> {
        match protocol {
            "HTTP" => Some(Self::Cleartext),
            "HTTPS" | "TLS" => Some(Self::Tls),
            "TCP" => Some(Self::Tcp),
            _ => None,
        }
    }
}

/// The claims on one port.
#[derive(Default)]
struct Port<'e> {
    families: BTreeSet<Family>,
    hostnames: BTreeMap<&'e Hostname, usize>,
}

/// The conflict of each entry, in their order. The first `own` entries are the Gateway's. O(n log n).
pub(super) fn find(entries: &[Entry], own: usize) -> Vec<Option<Conflict>> {
    let mut ports = BTreeMap::<u16, Port>::new();
    for entry in entries.iter().take(own) {
        claim(&mut ports, entry);
    }
    let inside = entries.iter().take(own).map(|entry| inside(&ports, entry)).collect::<Vec<_>>();
    let added = entries.iter().skip(own).map(|entry| {
        let conflict = against(&ports, entry);
        if conflict.is_none() {
            claim(&mut ports, entry);
        }
        conflict
    });
    let added = added.collect::<Vec<_>>();
    inside.into_iter().chain(added).collect()
}

fn claim<'e>(ports: &mut BTreeMap<u16, Port<'e>>, entry: &Entry<'e>) {
    if let Some(family) = Family::of(&entry.spec.protocol) {
        let port = ports.entry(entry.spec.port).or_default();
        port.families.insert(family);
        *port.hostnames.entry(&entry.spec.hostname).or_default() += 1;
    }
}

/// Among equals: everything that is claimed more than once is lost by all.
fn inside(ports: &BTreeMap<u16, Port>, entry: &Entry) -> Option<Conflict> {
    Family::of(&entry.spec.protocol)?;
    let port = ports.get(&entry.spec.port)?;
    if port.families.len() > 1 {
        return Some(Conflict::Protocol(entry.spec.port));
    }
    let claims = port.hostnames.get(&entry.spec.hostname).copied().unwrap_or_default();
    (claims > 1).then(|| Conflict::Hostname(entry.spec.port, entry.spec.hostname.clone()))
}

/// Against claims that have precedence.
fn against(ports: &BTreeMap<u16, Port>, entry: &Entry) -> Option<Conflict> {
    let family = Family::of(&entry.spec.protocol)?;
    let port = ports.get(&entry.spec.port)?;
    if port.families.iter().any(|other| *other != family) {
        return Some(Conflict::Protocol(entry.spec.port));
    }
    let taken = port.hostnames.contains_key(&entry.spec.hostname);
    taken.then(|| Conflict::Hostname(entry.spec.port, entry.spec.hostname.clone()))
}
