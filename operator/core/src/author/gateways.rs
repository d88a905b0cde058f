//! Where a service is reachable: Gateways of its own, ListenerSets on shared ones, and the parentRefs of its route.

use super::{
    Draft, GatewayReport,
    frame::Frame,
    rails::{Refusal, allows},
    tls,
};
use crate::{
    key::{GATEWAY_GROUP, Kind, NsName, Ref, Text},
    translate::profile,
    world::{Reader, gateway::ListenerSet, route::ParentRef},
};
use serde_json::{Map, Value, json};
use sluice_api::{
    GATEWAY_CLASS, GrpcServiceSpec,
    gateway_api::{gateways::GatewayListenersAllowedRoutes, grpcroutes::GrpcRouteParentRefs},
    grpcservice::{GatewayEntry, OwnGateway},
};

/// The parents of the route, and the objects that have to exist for them.
#[derive(Default)]
pub(super) struct Reach {
    pub(super) objects: Vec<Draft>,
    pub(super) gateways: Vec<GatewayReport>,
    pub(super) refusals: Vec<Refusal>,
}

impl Reach {
    /// The parentRefs of the route: those that are wanted, then those that it is to leave.
    pub(super) fn with(&self, leaving: &[Ref]) -> Vec<ParentRef> {
        let left = leaving.iter().map(|object| parent(object.kind, &object.key));
        self.gateways.iter().map(|gateway| gateway.parent_ref.clone()).chain(left).collect()
    }
}

/// The port of a listener that is added to a shared Gateway.
const SHARED_PORT: u16 = 443;

pub(super) fn author(
    frame: &Frame,
    spec: &GrpcServiceSpec,
    hostnames: Option<&[Text]>,
    certificate: &tls::Plan,
    read: &Reader,
) -> Reach {
    let names = hostnames.unwrap_or_default();
    let mut author = Author { frame, names, certificate, read, reach: Reach::default() };
    match spec.gateways.as_deref() {
        None | Some([]) => author.on_default(),
        Some(entries) => entries.iter().for_each(|entry| author.entry(entry)),
    }
    author.reach
}

struct Author<'a, 'w> {
    frame: &'a Frame,
    names: &'a [Text],
    certificate: &'a tls::Plan,
    read: &'a Reader<'w>,
    reach: Reach,
}

impl Author<'_, '_> {
    fn entry(&mut self, entry: &GatewayEntry) {
        match (&entry.own, &entry.ref_) {
            (Some(own), _) => self.own(&entry.name, own),
            (None, Some(wanted)) => self.shared(&entry.name, &reference(wanted)),
            (None, None) => {}
        }
    }

    fn own(&mut self, entry: &str, own: &OwnGateway) {
        let class = own.gateway_class_name.as_str();
        if let Err(refusal) = self.may_own(entry, class) {
            self.reach.refusals.push(refusal);
            return;
        }
        if self.names.is_empty() {
            return;
        }
        let key = self.frame.sibling(entry);
        let port = u16::try_from(own.port()).unwrap_or(SHARED_PORT);
        let mut spec = Map::new();
        spec.insert("gatewayClassName".into(), class.into());
        spec.insert("listeners".into(), self.listeners(port, own.allowed_routes.as_ref()));
        if let Some(infrastructure) = &own.infrastructure {
            spec.insert("infrastructure".into(), json!(infrastructure));
        }
        self.reach.objects.push(self.frame.draft(Kind::Gateway, key.clone(), Value::Object(spec)));
        let parent_ref = parent(Kind::Gateway, &key);
        self.attach(GatewayReport {
            entry: entry.into(),
            parent_ref,
            gateway: key,
            port: Some(port),
            listener_set: None,
        });
    }

    fn may_own(&self, entry: &str, class: &str) -> Result<(), Refusal> {
        let profile = profile::named(class, self.read).map_err(Refusal::Platform)?;
        let rule = profile.and_then(|profile| profile.own_gateways.as_ref());
        let allowed = allows(rule, &self.frame.service.namespace, self.read);
        allowed.then_some(()).ok_or_else(|| Refusal::OwnGateway { entry: entry.into() })
    }

    fn on_default(&mut self) {
        let profile = profile::named(GATEWAY_CLASS, self.read);
        match profile.map(|profile| profile.and_then(|profile| profile.default_gateway.as_ref())) {
            Err(problem) => self.reach.refusals.push(Refusal::Platform(problem)),
            Ok(None) => self.reach.refusals.push(Refusal::NoDefaultGateway),
            Ok(Some(gateway)) => {
                let key = NsName::new(gateway.namespace.as_str(), gateway.name.as_str());
                self.shared("default", &parent(Kind::Gateway, &key));
            }
        }
    }

    /// Somebody else's Gateway: with a certificate of our own, listeners are added to it by a ListenerSet.
    fn shared(&mut self, entry: &str, wanted: &ParentRef) {
        let namespace = wanted.namespace.clone().unwrap_or_else(|| self.frame.service.namespace.clone());
        let target = NsName { namespace, name: wanted.name.clone() };
        let is_gateway = &*wanted.kind == Kind::Gateway.name();
        if self.certificate.refs.is_empty() || !is_gateway {
            let gateway = if is_gateway { Some(target) } else { self.gateway_of(&target) };
            let Some(gateway) = gateway else { return self.attach_to_absent(entry, wanted) };
            return self.attach(GatewayReport {
                entry: entry.into(),
                parent_ref: wanted.clone(),
                gateway,
                port: wanted.port,
                listener_set: None,
            });
        }
        if !self.names.is_empty() {
            self.listener_set(entry, &target, wanted.port.unwrap_or(SHARED_PORT));
        }
    }

    fn gateway_of(&self, set: &NsName) -> Option<NsName> {
        self.read.get::<ListenerSet>(set)?.gateway()
    }

    /// The ListenerSet that is referred to is not there: the parentRef still is, so that the route attaches once it is.
    fn attach_to_absent(&mut self, entry: &str, wanted: &ParentRef) {
        let gateway = NsName::new(wanted.namespace.clone().unwrap_or_default(), wanted.name.clone());
        self.attach(GatewayReport {
            entry: entry.into(),
            parent_ref: wanted.clone(),
            gateway,
            port: None,
            listener_set: None,
        });
    }

    fn listener_set(&mut self, entry: &str, gateway: &NsName, port: u16) {
        let key = self.frame.sibling(entry);
        let parent_ref = json!({
            "group": GATEWAY_GROUP, "kind": "Gateway", "namespace": gateway.namespace, "name": gateway.name,
        });
        let spec = json!({"parentRef": parent_ref, "listeners": self.listeners(port, None)});
        self.reach.objects.push(self.frame.draft(Kind::ListenerSet, key.clone(), spec));
        self.attach(GatewayReport {
            entry: entry.into(),
            parent_ref: parent(Kind::ListenerSet, &key),
            gateway: gateway.clone(),
            port: Some(port),
            listener_set: Some(key),
        });
    }

    fn attach(&mut self, report: GatewayReport) {
        self.reach.gateways.push(report);
    }

    /// One HTTPS listener for each hostname; names come from the hostname, so that reordering changes none.
    fn listeners(&self, port: u16, allowed: Option<&GatewayListenersAllowedRoutes>) -> Value {
        let listeners = self.names.iter().map(|hostname| {
            json!({
                "name": section(hostname),
                "hostname": hostname,
                "port": port,
                "protocol": "HTTPS",
                "tls": {"mode": "Terminate", "certificateRefs": self.certificate.refs},
                "allowedRoutes": allowed_routes(allowed),
            })
        });
        listeners.collect()
    }
}

/// `allowedRoutes` with the defaults of the service's API: GRPCRoutes of the same namespace.
fn allowed_routes(written: Option<&GatewayListenersAllowedRoutes>) -> Value {
    let mut value = json!(written.cloned().unwrap_or_default());
    let Some(fields) = value.as_object_mut() else { return value };
    fields.entry("namespaces").or_insert_with(|| json!({"from": "Same"}));
    let grpc = || json!([{"group": GATEWAY_GROUP, "kind": "GRPCRoute"}]);
    fields.entry("kinds").or_insert_with(grpc);
    value
}

/// A listener's name out of its hostname: `grpc-example-com`, `wildcard.example-com`. No two hostnames share one:
/// hyphens of the hostname are doubled, and only a wildcard leaves a dot.
fn section(hostname: &str) -> String {
    let dashed = |name: &str| name.replace('-', "--").replace('.', "-");
    match hostname.strip_prefix("*.") {
        Some(domain) => format!("wildcard.{}", dashed(domain)),
        None => dashed(hostname),
    }
}

fn parent(kind: Kind, key: &NsName) -> ParentRef {
    ParentRef {
        group: GATEWAY_GROUP.into(),
        kind: kind.name().into(),
        namespace: Some(key.namespace.clone()),
        name: key.name.clone(),
        section_name: None,
        port: None,
    }
}

fn reference(wanted: &GrpcRouteParentRefs) -> ParentRef {
    ParentRef {
        group: wanted.group.as_deref().unwrap_or(GATEWAY_GROUP).into(),
        kind: wanted.kind.as_deref().unwrap_or(Kind::Gateway.name()).into(),
        namespace: wanted.namespace.as_deref().map(Text::from),
        name: wanted.name.as_str().into(),
        section_name: wanted.section_name.as_deref().map(Text::from),
        port: wanted.port.and_then(|port| u16::try_from(port).ok()),
    }
}
