//! Which listeners a refused resource takes with it.
//!
//! a [`Plan`] and what the proxies of its Gateway refused → the plan's report, in which the listeners concerned say so
//!
//! **Invariant:** a listener that uses nothing of what was refused says what it said before.
//!
//! Knows nothing of hosts and clusters: routes answer for these (see `quarantine`).

use sluice_core::{
    ir::{self, Protocol},
    key::Text,
    status::listener::Unresolved,
    translate::attach::{GatewayReport, ListenerReport, Plan},
};
use sluice_envoy::encode;
use sluice_xds::{Id, ResourceType};

/// The report of a plan of which something was refused. O(listeners · refusals).
pub(crate) fn blamed<'r>(plan: &Plan, refusals: impl Iterator<Item = (&'r Id, &'r Text)>) -> GatewayReport {
    let mut report = plan.report.clone();
    for (id, message) in refusals {
        let added = report.sets.iter_mut().flat_map(|set| &mut set.listeners);
        for listener in report.listeners.iter_mut().chain(added).filter(|listener| uses(plan, listener, id)) {
            blame(listener, id, message);
        }
    }
    report
}

fn blame(listener: &mut ListenerReport, id: &Id, message: &Text) {
    if id.kind == ResourceType::Secret {
        listener.unresolved.push(Unresolved::Refused { secret: id.name.clone(), message: message.clone() });
    }
    listener.rejection.get_or_insert_with(|| format!("{}: {message}", named(id)).into());
}

/// What people call the resource.
fn named(id: &Id) -> String {
    match id.kind {
        ResourceType::Secret => format!("Secret {}", id.name),
        ResourceType::Listener => format!("port {}", id.name),
        _ => format!("the routes of {}", id.name),
    }
}

fn uses(plan: &Plan, listener: &ListenerReport, id: &Id) -> bool {
    let port = plan.listeners.iter().find(|port| port.port == listener.port);
    port.is_some_and(|port| match id.kind {
        ResourceType::Listener => encode::listener(port).id == *id,
        ResourceType::Secret => chain(port, listener).is_some_and(|chain| {
            let authorities = chain.clients.iter().map(|clients| &clients.authorities);
            chain.certificates.iter().chain(authorities).any(|name| *name == id.name)
        }),
        ResourceType::RouteConfiguration => match &port.protocol {
            Protocol::Http { routes } => *routes == id.name,
            Protocol::Https { .. } => chain(port, listener).is_some_and(|chain| chain.routes == id.name),
        },
        _ => false,
    })
}

fn chain<'p>(port: &'p ir::Listener, listener: &ListenerReport) -> Option<&'p ir::Chain> {
    match &port.protocol {
        Protocol::Http { .. } => None,
        Protocol::Https { chains } => chains.iter().find(|chain| chain.sni == listener.hostname),
    }
}
