//! When the virtual hosts of a route configuration may go.
//!
//! RDS subscriptions and acknowledgements → [`Gate`] of each route configuration
//!
//! Envoy has one wildcard subscription for all virtual hosts and never asks again: hosts that come before their route configuration
//! are acknowledged and dropped, and hosts of one that went are still claimed.
//!
//! **Invariant:** hosts go only while their route configuration is acknowledged and subscribed to; in full whenever it is newly
//! subscribed to; and are removed once it is not, so that what the proxy claims on a later stream is true.
//!
//! Must not know: what is in a virtual host. Its name is `<route configuration>/<host>`, without `/` in the host.

use std::collections::BTreeSet;

use super::Session;
use super::subscription::Moved;
use crate::resource::{Name, ResourceType};

/// The state of one route configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gate {
    /// The proxy has it: hosts may go.
    Open,
    /// The proxy asked for it, or may still: nothing goes.
    Waiting,
    /// The proxy does not have it: hosts go away.
    Closed,
}

/// Which route configurations the proxy has.
#[derive(Debug, Default)]
pub(super) struct Gates {
    open: BTreeSet<Name>,
    /// Subscribed to anew, although open: its hosts are sent in full once it is acknowledged.
    renew: BTreeSet<Name>,
}

/// The route configuration of a virtual host.
fn owner(host: &str) -> Option<&str> {
    host.rsplit_once('/').map(|(owner, _)| owner)
}

impl Session {
    /// Whether a virtual host may go. A name without an owner may always.
    pub(super) fn gate(&self, host: &str) -> Gate {
        let Some(owner) = owner(host) else { return Gate::Open };
        let asked = &self.channels.get(ResourceType::RouteConfiguration).subscription;
        if self.gates.open.contains(owner) {
            Gate::Open
        } else if asked.wants(owner) || !(asked.asked() || self.late) {
            Gate::Waiting
        } else {
            Gate::Closed
        }
    }

    /// Follows a changed RDS subscription. A name of the first request with a claimed version has been there all along, and its
    /// hosts' claims are true; every other name is new.
    pub(super) fn follow_gates(&mut self, moved: &Moved) {
        let channel = self.channels.get(ResourceType::RouteConfiguration);
        let gone = |name: &&Name| !channel.subscription.wants(name);
        let closed: Vec<Name> = self.gates.open.iter().chain(&moved.unsubscribed).filter(gone).cloned().collect();
        let (kept, new): (Vec<Name>, Vec<Name>) =
            moved.subscribed.iter().cloned().partition(|name| moved.first && channel.claims(name));
        for name in &closed {
            self.gates.open.remove(name);
            self.gates.renew.remove(name);
            self.touch_hosts(name);
        }
        self.gates.renew.extend(new);
        for name in kept {
            self.touch_hosts(&name);
            self.gates.open.insert(name);
        }
        if moved.first {
            self.touch_claimed_hosts();
        }
    }

    /// The proxy acknowledged a route configuration.
    pub(super) fn open_gate(&mut self, owner: &Name) {
        if !self.channels.get(ResourceType::RouteConfiguration).subscription.wants(owner) {
            return;
        }
        let renewed = self.gates.renew.remove(owner);
        if self.gates.open.insert(owner.clone()) || renewed {
            let since = self.anew();
            let hosts = self.hosts(owner);
            let channel = self.channels.get_mut(ResourceType::VirtualHost);
            for host in &hosts {
                channel.resend(host, since);
            }
        }
    }

    /// The proxy may claim hosts of route configurations that it no longer has.
    pub(super) fn touch_claimed_hosts(&mut self) {
        let since = self.anew();
        let channel = self.channels.get_mut(ResourceType::VirtualHost);
        let claimed: Vec<Name> = channel.doubt.keys().cloned().collect();
        for host in &claimed {
            channel.touch(host, since);
        }
    }

    fn touch_hosts(&mut self, owner: &Name) {
        let since = self.anew();
        let hosts = self.hosts(owner);
        let channel = self.channels.get_mut(ResourceType::VirtualHost);
        for host in &hosts {
            channel.touch(host, since);
        }
    }

    /// Every host of a route configuration that the proxy has, claims, gets or should have. Costs O(hosts of it · log n).
    fn hosts(&self, owner: &str) -> BTreeSet<Name> {
        let channel = self.channels.get(ResourceType::VirtualHost);
        let start = Name::from(format!("{owner}/"));
        let below = |name: &&Name| name.starts_with(start.as_ref());
        let held = channel.held.range(start.clone()..).map(|(name, _)| name).take_while(below);
        let claimed = channel.doubt.range(start.clone()..).map(|(name, _)| name).take_while(below);
        let under_way =
            channel.flights.iter().flat_map(|flight| flight.items.range(start.clone()..)).map(|(name, _)| name);
        let table = self.snapshot.iter().flat_map(|s| s.table(ResourceType::VirtualHost).range(start.clone()..));
        let should = table.map(|(name, _)| name).take_while(below);
        let all = held.chain(claimed).chain(under_way).chain(should);
        all.filter(|name| self::owner(name) == Some(owner)).cloned().collect()
    }
}
