//! What is deployed for a Gateway.
//!
//! [`Infrastructure`], [`Settings`] → for each kind of object, whether it is to be there, and how
//!
//! **Invariant:** the same arguments give the same objects, written as the API server stores them, so that what is there compares
//! equal to what is wanted.
//! **Invariant:** nothing that a port, a route or a certificate changes is in the pods' template: only an edit of the Gateway's
//! `infrastructure`, of the profile or of the installation replaces proxies.
//!
//! Must not know: what is in the cluster.

mod workload;

use super::{addresses, names};
use crate::cluster::families::Families;
use k8s_openapi::api::{
    apps::v1::{DaemonSet, Deployment},
    autoscaling::v2::HorizontalPodAutoscaler,
    core::v1::{ConfigMap, Secret, Service, ServiceAccount},
    policy::v1::PodDisruptionBudget,
};
use kube::core::{ApiResource, Resource};
use serde_json::{Value, json};
use sluice_api::profile::{ProxyKind, ServiceType};
use sluice_core::translate::infrastructure::Infrastructure;
use sluice_envoy::bootstrap::{self, Admin, Bootstrap, Mutual, Probes, Source};
use std::path::Path;
use twox_hash::XxHash64;

/// The kinds of objects that are made for a Gateway, in the order in which they are written: what pods need comes before them, and so
/// does the Service, since an address takes its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs, reason = "named after the kinds")]
pub(super) enum Piece {
    ServiceAccount,
    ConfigMap,
    Secret,
    Service,
    Deployment,
    DaemonSet,
    HorizontalPodAutoscaler,
    PodDisruptionBudget,
}

impl Piece {
    /// All of them, in that order.
    pub(super) const ALL: [Self; 8] = [
        Self::ServiceAccount,
        Self::ConfigMap,
        Self::Secret,
        Self::Deployment,
        Self::DaemonSet,
        Self::HorizontalPodAutoscaler,
        Self::PodDisruptionBudget,
        Self::Service,
    ];

    /// How the API server calls it.
    pub(super) fn resource(self) -> ApiResource {
        match self {
            Self::ServiceAccount => erased::<ServiceAccount>(),
            Self::ConfigMap => erased::<ConfigMap>(),
            Self::Secret => erased::<Secret>(),
            Self::Deployment => erased::<Deployment>(),
            Self::DaemonSet => erased::<DaemonSet>(),
            Self::HorizontalPodAutoscaler => erased::<HorizontalPodAutoscaler>(),
            Self::PodDisruptionBudget => erased::<PodDisruptionBudget>(),
            Self::Service => erased::<Service>(),
        }
    }
}

fn erased<K: Resource<DynamicType = ()>>() -> ApiResource {
    ApiResource::erase::<K>(&())
}

/// What is the same for all proxies of an installation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Settings {
    /// The image of the proxies: Envoy and `sluice`.
    pub(crate) image: String,
    /// `imagePullPolicy`.
    pub(crate) pull_policy: String,
    /// The name of the control plane's Service, as certificates have it.
    pub(crate) host: String,
    /// Its port.
    pub(crate) port: u16,
    /// The families of pods' addresses.
    pub(crate) families: Families,
}

/// What is wanted of an object.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Want {
    /// To be like this.
    Present(Value),
    /// Not to be there.
    Absent,
    /// To stay as it is, if it is there.
    AsIs,
    /// To hold a certificate of the proxies: made elsewhere.
    Identity,
}

/// The port of `/ready`.
const READINESS: u16 = 19001;
/// The port of statistics.
const METRICS: u16 = 19002;
/// What listeners cannot have, for the proxies have it.
pub(crate) const RESERVED: [u16; 2] = [READINESS, METRICS];
/// Connections of one proxy; each costs it some 50 KiB at rest.
const MAX_CONNECTIONS: u32 = 50_000;

const BOOTSTRAP: &str = "/etc/sluice/bootstrap";
const IDENTITY: &str = "/etc/sluice/identity";
const RUN: &str = "/run/sluice";

/// What is wanted of each object, in the order in which they are written.
pub(super) fn render(of: &Infrastructure, settings: &Settings) -> Vec<(Piece, Want)> {
    let config = bootstrap(settings);
    let hash = format!("{:016x}", XxHash64::oneshot(0, config.to_string().as_bytes()));
    let pods = workload::Pods { of, settings, bootstrap: hash };
    let is_daemon = of.proxies.kind() == ProxyKind::DaemonSet;
    let only = |wanted: bool, value: Value| if wanted { Want::Present(value) } else { Want::Absent };
    let autoscaler = of.proxies.autoscaling.as_ref().filter(|_| !is_daemon);
    vec![
        (Piece::ServiceAccount, Want::Present(object(of, Piece::ServiceAccount, account()))),
        (Piece::ConfigMap, Want::Present(object(of, Piece::ConfigMap, json!({ "data": config })))),
        (Piece::Secret, Want::Identity),
        (Piece::Service, service(of, settings.families)),
        (Piece::Deployment, only(!is_daemon, object(of, Piece::Deployment, json!({ "spec": pods.deployment() })))),
        (Piece::DaemonSet, only(is_daemon, object(of, Piece::DaemonSet, json!({ "spec": pods.daemon_set() })))),
        (
            Piece::HorizontalPodAutoscaler,
            autoscaler.map_or(Want::Absent, |bounds| {
                let spec = workload::autoscaler(&name(of), bounds);
                Want::Present(object(of, Piece::HorizontalPodAutoscaler, json!({ "spec": spec })))
            }),
        ),
        (
            Piece::PodDisruptionBudget,
            // Drains of nodes leave DaemonSets alone.
            only(!is_daemon, object(of, Piece::PodDisruptionBudget, json!({ "spec": workload::budget(of) }))),
        ),
    ]
}

/// The name of everything that is made for a Gateway.
pub(super) fn name(of: &Infrastructure) -> String {
    names::object(&of.gateway, &of.class)
}

/// An object with the metadata that all of them have.
pub(super) fn object(of: &Infrastructure, piece: Piece, mut rest: Value) -> Value {
    let resource = piece.resource();
    let owner = json!({
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "Gateway",
        "name": of.gateway.name,
        "uid": of.uid,
        "controller": true,
    });
    let metadata = json!({
        "namespace": of.gateway.namespace,
        "name": name(of),
        "labels": names::labels(of),
        "annotations": names::annotations(of),
        "ownerReferences": [owner],
    });
    if let Some(fields) = rest.as_object_mut() {
        fields.insert("apiVersion".to_owned(), json!(resource.api_version));
        fields.insert("kind".to_owned(), json!(resource.kind));
        fields.insert("metadata".to_owned(), metadata);
    }
    rest
}

/// Proxies never speak to the API server.
fn account() -> Value {
    json!({ "automountServiceAccountToken": false })
}

/// The files of [`BOOTSTRAP`].
fn bootstrap(settings: &Settings) -> Value {
    let mutual = Mutual { host: settings.host.clone(), port: settings.port, secrets: BOOTSTRAP.into() };
    let secrets = mutual.files(Path::new(IDENTITY));
    let envoy = bootstrap::render(&Bootstrap {
        node: None,
        source: Source::Mutual(mutual),
        admin: Admin::Socket(admin_socket().into()),
        probes: Some(Probes { everywhere: settings.families.everywhere(), readiness: READINESS, metrics: METRICS }),
        max_connections: MAX_CONNECTIONS,
    });
    let files = secrets.into_iter().chain([("envoy.json".to_owned(), envoy)]);
    files.map(|(name, value)| (name, json!(value.to_string()))).collect::<serde_json::Map<_, _>>().into()
}

fn admin_socket() -> String {
    format!("{RUN}/admin.sock")
}

/// A Service without ports is refused, and one that goes loses its address: while every listener is being mended, it stays as it is.
fn service(of: &Infrastructure, families: Families) -> Want {
    if of.ports.is_empty() {
        return Want::AsIs;
    }
    let from = of.proxies.service.clone().unwrap_or_default();
    let port =
        |port: &u16| json!({ "name": format!("port-{port}"), "port": port, "protocol": "TCP", "targetPort": port });
    let mut spec = json!({
        "type": from.service_type(),
        "selector": names::selector(of),
        "ports": of.ports.iter().map(port).collect::<Vec<_>>(),
    });
    let mut set = |field: &str, value: Option<Value>| {
        if let (Some(fields), Some(value)) = (spec.as_object_mut(), value) {
            fields.insert(field.to_owned(), value);
        }
    };
    // What takes calls of both families is reached by both.
    set("ipFamilyPolicy", (families == Families::Both).then(|| json!("PreferDualStack")));
    let requested = addresses::requested(of);
    match from.service_type() {
        ServiceType::LoadBalancer => set("loadBalancerIP", requested.first().map(|address| json!(address))),
        // Deprecated upstream without a successor; what else makes nodes answer for an address.
        ServiceType::NodePort | ServiceType::ClusterIP => {
            set("externalIPs", (!requested.is_empty()).then(|| json!(requested)));
        }
    }
    set("loadBalancerClass", from.load_balancer_class.as_deref().map(Value::from));
    if from.service_type() != ServiceType::ClusterIP {
        set("externalTrafficPolicy", Some(json!(from.external_traffic_policy.unwrap_or_default())));
    }
    Want::Present(object(of, Piece::Service, json!({ "spec": spec })))
}

#[cfg(test)]
mod tests;
