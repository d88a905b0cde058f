//! Ports of this machine for the listeners of Gateways.
//!
//! (Gateway, port of a listener) → an address to bind
//!
//! **Invariant:** a listener keeps its address as long as it exists.
//! **Invariant:** a listener that found no free port is tried again after [`RETRY`], and said once.
//!
//! It must not know who binds: a port is tried and given back, so another process may still take it first.

use sluice_core::key::NsName;
use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    net::{IpAddr, SocketAddr, TcpListener},
    str::FromStr,
    time::{Duration, Instant},
};

/// What is added to a port that only root may bind: 443 becomes 8443.
const UNPRIVILEGED: u16 = 8000;
/// How many ports are tried after a busy one.
const ATTEMPTS: u16 = 200;

/// How long a listener that found no free port is left alone: each try costs [`ATTEMPTS`] sockets.
const RETRY: Duration = Duration::from_secs(10);

/// A listener's port of a Gateway.
pub(crate) type Slot = (NsName, u16);

/// `443=8443`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mapping {
    from: u16,
    to: u16,
}

/// Why an argument is not a [`Mapping`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a port mapping: write LISTENER=LOCAL, such as 443=8443")]
pub(crate) struct Malformed(String);

impl FromStr for Mapping {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let parsed =
            text.split_once('=').and_then(|(from, to)| Some(Self { from: from.parse().ok()?, to: to.parse().ok()? }));
        parsed.ok_or_else(|| Malformed(text.to_owned()))
    }
}

/// What became of a slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It is bound here, in place of another port if that one was wanted first and busy.
    Bound(SocketAddr, Option<u16>),
    /// Its listener is gone.
    Released,
    /// No port is free.
    Failed(String),
}

/// All ports in use.
#[derive(Debug)]
pub(crate) struct Ports {
    address: IpAddr,
    mapped: BTreeMap<u16, u16>,
    bound: BTreeMap<Slot, SocketAddr>,
    /// When each that found no free port was last tried.
    failed: BTreeMap<Slot, Instant>,
}

impl Ports {
    /// Ports of one address.
    pub(crate) fn new(address: IpAddr, mappings: &[Mapping]) -> Self {
        let mapped = mappings.iter().map(|mapping| (mapping.from, mapping.to)).collect();
        Self { address, mapped, bound: BTreeMap::new(), failed: BTreeMap::new() }
    }

    /// What is bound, by Gateway and listener's port.
    pub(crate) fn bound(&self) -> &BTreeMap<Slot, SocketAddr> {
        &self.bound
    }

    /// Makes exactly the wanted slots bound, and says what changed.
    pub(crate) fn settle(&mut self, wanted: &BTreeSet<Slot>, now: Instant) -> Vec<(Slot, Outcome)> {
        let gone: Vec<_> = self.bound.keys().filter(|slot| !wanted.contains(*slot)).cloned().collect();
        let mut outcomes: Vec<_> = gone.into_iter().map(|slot| (slot, Outcome::Released)).collect();
        self.bound.retain(|slot, _| wanted.contains(slot));
        self.failed.retain(|slot, _| wanted.contains(slot));
        for slot in wanted {
            if !self.bound.contains_key(slot) && self.failed.get(slot).is_none_or(|tried| now >= *tried + RETRY) {
                outcomes.extend(self.attempt(slot, now).map(|outcome| (slot.clone(), outcome)));
            }
        }
        outcomes
    }

    /// Nothing if it failed as it did before.
    fn attempt(&mut self, slot: &Slot, now: Instant) -> Option<Outcome> {
        let outcome = self.bind(slot);
        let before = match outcome {
            Outcome::Failed(_) => self.failed.insert(slot.clone(), now),
            _ => self.failed.remove(slot).and(None),
        };
        before.is_none().then_some(outcome)
    }

    fn bind(&mut self, slot: &Slot) -> Outcome {
        let first = self.mapped.get(&slot.1).copied().unwrap_or_else(|| self.default_port(slot.1));
        let candidates = (first..=u16::MAX).take(usize::from(ATTEMPTS)).map(|port| SocketAddr::new(self.address, port));
        let free = candidates.into_iter().find(|address| !self.is_taken(*address));
        match free {
            Some(address) => {
                self.bound.insert(slot.clone(), address);
                Outcome::Bound(address, (address.port() != first).then_some(first))
            }
            None => Outcome::Failed(format!(
                "no free port on {} from {first} on: choose one by --port-map {}=PORT",
                self.address, slot.1
            )),
        }
    }

    /// The listener's own port, unless only root may bind it.
    fn default_port(&self, port: u16) -> u16 {
        match TcpListener::bind((self.address, port)) {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => port.saturating_add(UNPRIVILEGED),
            _ => port,
        }
    }

    fn is_taken(&self, address: SocketAddr) -> bool {
        self.bound.values().any(|bound| *bound == address) || TcpListener::bind(address).is_err()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    fn slot(gateway: &str, port: u16) -> Slot {
        (NsName::new("default", gateway), port)
    }

    #[test]
    fn a_busy_port_gives_the_next_free_one_and_says_which_was_wanted() {
        let busy = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let wanted = busy.local_addr().unwrap().port();
        let mapping = format!("443={wanted}").parse().unwrap();
        let mut ports = Ports::new(Ipv4Addr::LOCALHOST.into(), &[mapping]);
        let both = BTreeSet::from([slot("a", 443), slot("b", 443)]);
        let now = Instant::now();
        let outcomes = ports.settle(&both, now);
        let bound: BTreeSet<_> = outcomes
            .iter()
            .map(|(_, outcome)| match outcome {
                Outcome::Bound(address, instead_of) => {
                    assert_eq!(*instead_of, Some(wanted));
                    address.port()
                }
                other => panic!("{other:?}"),
            })
            .collect();
        assert!(bound.len() == 2 && !bound.contains(&wanted), "{bound:?}");
        assert_eq!(ports.settle(&both, now), []);
        assert_eq!(ports.settle(&BTreeSet::from([slot("a", 443)]), now), [(slot("b", 443), Outcome::Released)]);
    }

    #[test]
    fn a_listener_without_a_free_port_is_said_once_and_tried_again_later() {
        // The last port there is, so that no other can stand in for it.
        let busy = TcpListener::bind((Ipv4Addr::LOCALHOST, u16::MAX)).unwrap();
        let mut ports = Ports::new(Ipv4Addr::LOCALHOST.into(), &["443=65535".parse().unwrap()]);
        let (wanted, now) = (BTreeSet::from([slot("a", 443)]), Instant::now());
        let first = ports.settle(&wanted, now);
        assert!(matches!(first.as_slice(), [(_, Outcome::Failed(reason))] if reason.contains("--port-map 443=")));
        assert_eq!(ports.settle(&wanted, now + RETRY), []);
        drop(busy);
        assert_eq!(ports.settle(&wanted, now + RETRY), []);
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, u16::MAX));
        assert_eq!(ports.settle(&wanted, now + 2 * RETRY), [(slot("a", 443), Outcome::Bound(address, None))]);
    }

    #[test]
    fn a_malformed_mapping_says_what_to_write() {
        for text in ["443", "443=", "a=b", "1=70000"] {
            assert!(text.parse::<Mapping>().unwrap_err().to_string().contains("443=8443"), "{text}");
        }
    }
}
