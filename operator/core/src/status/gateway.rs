//! The status of a Gateway.
//!
//! [`GatewayReport`], counts of routes, [`Delivery`], addresses → [`GatewayStatus`]
//!
//! **Invariant:** `Programmed` is only True when an address is assigned, a listener is served and the proxies
//! acknowledged.

use super::{
    Condition, Delivery, Reason, Truth, listener,
    listener::{ListenerStatus, Unresolved},
    look, verdicts,
};
use crate::{
    key::Text,
    translate::{
        ListenerId,
        attach::{GatewayRefusal, GatewayReport, ListenerReport, Reach, SetReport, Standing},
    },
    world::{Scope, gateway::Address},
};
use serde::Serialize;
use sluice_api::profile::ServiceType;
use std::net::IpAddr;

/// `Accepted` of a Gateway. Source: Gateway API, `GatewayConditionReason`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accepted {
    /// All listeners are accepted.
    Accepted,
    /// Some are: True, with the reason `ListenersNotValid`.
    SomeListeners,
    /// None is: False, with the same reason.
    NoListener,
    /// `parametersRef` of the Gateway or of its class.
    InvalidParameters,
    /// A type in `spec.addresses`.
    UnsupportedAddress,
    /// It is being deleted.
    Deleting,
}

impl Reason for Accepted {
    const TYPE: &'static str = "Accepted";

    fn status(self) -> Truth {
        match self {
            Self::Accepted | Self::SomeListeners => Truth::True,
            Self::NoListener | Self::InvalidParameters | Self::UnsupportedAddress | Self::Deleting => Truth::False,
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "Accepted",
            Self::SomeListeners | Self::NoListener => "ListenersNotValid",
            Self::InvalidParameters => "InvalidParameters",
            Self::UnsupportedAddress => "UnsupportedAddress",
            Self::Deleting => "Deleting",
        }
    }
}

verdicts! {
    /// `Programmed` of a Gateway.
    Programmed = "Programmed" {
        Programmed = True,
        Invalid = False,
        Pending = False,
        AddressNotAssigned = False,
        AddressNotUsable = False,
    }
}

verdicts! {
    /// `ResolvedRefs` of a Gateway.
    ResolvedRefs = "ResolvedRefs" {
        ResolvedRefs = True,
        ListenersNotResolved = False,
        InvalidClientCertificateRef = False,
        RefNotPermitted = False,
    }
}

verdicts! {
    /// `InsecureFrontendValidationMode` of a Gateway; absent unless clients are let in without a valid certificate.
    InsecureFrontendValidationMode = "InsecureFrontendValidationMode" {
        ConfigurationChanged = True,
    }
}

/// `Gateway.status`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GatewayStatus {
    /// Where it is reached.
    pub addresses: Vec<GatewayAddress>,
    /// ListenerSets that are accepted; not said where there are none, because the field came with them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attached_listener_sets: Option<usize>,
    /// Conditions.
    pub conditions: Vec<Condition>,
    /// Its own listeners.
    pub listeners: Vec<ListenerStatus>,
}

/// `status.addresses[]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct GatewayAddress {
    /// `IPAddress` or `Hostname`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// The address.
    pub value: Text,
}

impl GatewayAddress {
    fn new(value: &Text) -> Self {
        let kind = if value.parse::<IpAddr>().is_ok() { "IPAddress" } else { "Hostname" };
        Self { kind, value: value.clone() }
    }
}

/// The status. `attached` counts the accepted routes of a listener; `assigned` are the addresses that the proxies have.
pub fn project(
    report: &GatewayReport,
    attached: &dyn Fn(&ListenerId) -> u32,
    delivery: &Delivery,
    assigned: &[Text],
) -> GatewayStatus {
    let mut conditions = vec![accepted(report), programmed(report, delivery, assigned), resolved(report)];
    conditions.extend(report.insecure.then(|| insecure(report.generation)));
    let listeners = report.listeners.iter();
    GatewayStatus {
        addresses: addresses(report, assigned),
        attached_listener_sets: report.serves_sets.then(|| attached_sets(report)),
        conditions,
        listeners: listeners
            .map(|listener| listener::project(listener, attached(&listener.id), delivery, report.generation))
            .collect(),
    }
}

fn attached_sets(report: &GatewayReport) -> usize {
    report.sets.iter().filter(|set| set.is_accepted()).count()
}

fn accepted(report: &GatewayReport) -> Condition {
    let say = |verdict, message: String| Condition::new(verdict, message, report.generation);
    if let Some(refusal) = &report.refusal {
        return say(refused(refusal), refusal.to_string());
    }
    let bad = report.listeners.iter().filter(|listener| !listener.is_accepted()).collect::<Vec<_>>();
    let named = bad.iter().map(|listener| &*listener.id.section).collect::<Vec<_>>().join(", ");
    if bad.is_empty() {
        say(Accepted::Accepted, all_accepted(&report.scope).to_owned())
    } else if bad.len() < report.listeners.len() {
        say(Accepted::SomeListeners, format!("Gateway is accepted without listeners {named}; see their conditions"))
    } else {
        say(Accepted::NoListener, format!("No listener is accepted: {named}; see their conditions"))
    }
}

/// Where statuses of classes cannot be written, this is the only place to say whose profile holds.
fn all_accepted(scope: &Scope) -> &'static str {
    match scope {
        Scope::Cluster => "Gateway is accepted",
        Scope::Namespaces(_) => {
            "Gateway is accepted; its class and profile are those that this install was given, GatewayClass objects are \
             neither read nor written"
        }
    }
}

fn refused(refusal: &GatewayRefusal) -> Accepted {
    match refusal {
        GatewayRefusal::Class { .. } | GatewayRefusal::Parameters { .. } => Accepted::InvalidParameters,
        GatewayRefusal::Address(_) => Accepted::UnsupportedAddress,
        GatewayRefusal::Deleting => Accepted::Deleting,
    }
}

fn programmed(report: &GatewayReport, delivery: &Delivery, assigned: &[Text]) -> Condition {
    let say = |verdict, message: String| Condition::new(verdict, message, report.generation);
    let unusable = unusable(&report.requested, assigned);
    if report.refusal.is_some() {
        say(Programmed::Invalid, "Gateway is not served because it is not accepted; see Accepted".to_owned())
    } else if !unusable.is_empty() {
        say(Programmed::AddressNotUsable, not_usable(report, &unusable, assigned))
    } else if all_listeners(report).all(|listener| is_dead(listener.standing)) {
        say(Programmed::Invalid, "No listener can be served; see the conditions of the listeners".to_owned())
    } else if assigned.is_empty() {
        say(Programmed::AddressNotAssigned, unassigned(report))
    } else if !all_listeners(report).any(|listener| listener.standing == Standing::Served) {
        say(Programmed::Pending, "Waiting for a proxy to bind the ports of the listeners".to_owned())
    } else if let Some(rejection) = listener::rejection(&report.listeners) {
        say(Programmed::Invalid, rejection)
    } else {
        delivered(delivery, report.generation)
    }
}

/// What the profile stands in the way of is told by the name of the setting.
fn not_usable(report: &GatewayReport, unusable: &[Text], assigned: &[Text]) -> String {
    match &report.reach {
        Reach::Service { class, denied, .. } if unusable.iter().any(|address| denied.contains(address)) => format!(
            "spec.addresses asks for {}, and proxies.service.externalIPs in the GatewayProfile of GatewayClass {class} has no \
             network with it: ask for an address in one of its networks, or for none",
            list(denied)
        ),
        _ => format!(
            "spec.addresses asks for {}, usable is {}: ask for one of these, or for none",
            list(unusable),
            list(assigned)
        ),
    }
}

/// Nobody can tell a load balancer that is slow from one that does not exist, so both ways out are named.
fn unassigned(report: &GatewayReport) -> String {
    match &report.reach {
        Reach::Host => "Waiting for an address".to_owned(),
        Reach::Service { class, kind: ServiceType::LoadBalancer, .. } => format!(
            "No load balancer has given an address to the Gateway's Service: {}; in a cluster without load balancers, set \
             proxies.service.type to NodePort or ClusterIP in the GatewayProfile of GatewayClass {class}",
            look("service", &report.gateway)
        ),
        Reach::Service { .. } => {
            format!("The Gateway's Service has no address yet: {}", look("service", &report.gateway))
        }
    }
}

/// Whether waiting does not help.
fn is_dead(standing: Standing) -> bool {
    matches!(standing, Standing::Refused | Standing::WithoutCertificate | Standing::GatewayRefused)
}

fn delivered(delivery: &Delivery, generation: i64) -> Condition {
    match delivery {
        Delivery::Programmed => Condition::new(Programmed::Programmed, "Gateway is served by every proxy", generation),
        Delivery::Pending(what) | Delivery::NoProxy(what) => Condition::new(Programmed::Pending, &**what, generation),
        Delivery::Rejected { message, .. } => {
            Condition::new(Programmed::Invalid, format!("The proxies refused the configuration: {message}"), generation)
        }
    }
}

fn resolved(report: &GatewayReport) -> Condition {
    let say = |verdict, message: String| Condition::new(verdict, message, report.generation);
    let bad = report.listeners.iter().filter(|listener| !listener.unresolved.is_empty());
    let named = bad.map(|listener| &*listener.id.section).collect::<Vec<_>>();
    if let Some(problem) = &report.shown {
        let reason = match problem {
            Unresolved::NotPermitted { .. } => ResolvedRefs::RefNotPermitted,
            _ => ResolvedRefs::InvalidClientCertificateRef,
        };
        say(reason, format!("The certificate for backends (spec.tls.backend.clientCertificateRef): {problem}"))
    } else if !named.is_empty() {
        let message = format!("References of listeners {} are not resolved; see their ResolvedRefs", named.join(", "));
        say(ResolvedRefs::ListenersNotResolved, message)
    } else {
        say(ResolvedRefs::ResolvedRefs, "All references are resolved".to_owned())
    }
}

fn insecure(generation: i64) -> Condition {
    let message = "spec.tls.frontend has mode AllowInsecureFallback: clients are let in without a valid certificate, \
                   and backends have to tell them apart";
    Condition::new(InsecureFrontendValidationMode::ConfigurationChanged, message, generation)
}

fn all_listeners(report: &GatewayReport) -> impl Iterator<Item = &ListenerReport> {
    let added = report.sets.iter().flat_map(|set: &SetReport| &set.listeners);
    report.listeners.iter().chain(added)
}

/// Requested values that the proxies do not have.
fn unusable(requested: &[Address], assigned: &[Text]) -> Vec<Text> {
    requested.iter().filter_map(|address| address.value.clone()).filter(|value| !assigned.contains(value)).collect()
}

/// Those that were asked for, if any were asked for by value; else all.
fn addresses(report: &GatewayReport, assigned: &[Text]) -> Vec<GatewayAddress> {
    if report.refusal.is_some() {
        return Vec::new();
    }
    let wanted = report.requested.iter().filter_map(|address| address.value.as_ref()).collect::<Vec<_>>();
    let chosen = assigned.iter().filter(|value| wanted.is_empty() || wanted.contains(value));
    chosen.map(GatewayAddress::new).collect()
}

fn list(values: &[Text]) -> String {
    if values.is_empty() { "none yet".to_owned() } else { values.join(", ") }
}
