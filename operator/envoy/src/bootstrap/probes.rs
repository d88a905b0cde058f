//! What others may ask of a proxy: whether it is ready, and its statistics. Nothing else of the admin interface is reachable.
//!
//! [`Probes`] → static listeners
//!
//! **Invariant:** they answer even when the proxy takes no more connections: otherwise a busy proxy would be taken for a dead one.

use super::{assignment, socket_address};
use serde_json::{Value, json};
use std::net::{IpAddr, SocketAddr};

/// The path of statistics, in the format of Prometheus.
pub const STATISTICS: &str = "/stats/prometheus";

/// The admin interface as a backend.
const ADMIN: &str = "sluice-admin";

/// Where they are asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Probes {
    /// Every address of the pod: `0.0.0.0`, or `::` for both families.
    pub everywhere: IpAddr,
    /// `/ready`: 200 from the first whole configuration on, 503 once the proxy drains.
    pub readiness: u16,
    /// [`STATISTICS`].
    pub metrics: u16,
}

pub(super) fn listeners(probes: Probes) -> Value {
    let at = |port| SocketAddr::new(probes.everywhere, port);
    json!([
        listener("sluice-readiness", at(probes.readiness), &json!([]), vec![readiness()]),
        listener("sluice-metrics", at(probes.metrics), &json!([statistics()]), vec![]),
    ])
}

pub(super) fn statistics_cluster(admin: &Value) -> Value {
    json!({ "name": ADMIN, "type": "STATIC", "load_assignment": assignment(ADMIN, admin) })
}

fn listener(name: &str, address: SocketAddr, routes: &Value, mut filters: Vec<Value>) -> Value {
    filters.push(extension("envoy.filters.http.router", "envoy.extensions.filters.http.router.v3.Router", json!({})));
    let host = json!({ "name": name, "domains": ["*"], "routes": routes });
    let connections = extension(
        "envoy.filters.network.http_connection_manager",
        "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        json!({ "stat_prefix": name, "route_config": { "virtual_hosts": [host] }, "http_filters": filters }),
    );
    json!({
        "name": name,
        "stat_prefix": name,
        "address": socket_address(address),
        "ignore_global_conn_limit": true,
        "filter_chains": [{ "filters": [connections] }],
    })
}

fn readiness() -> Value {
    let path = json!({ "name": ":path", "string_match": { "exact": "/ready" } });
    extension(
        "envoy.filters.http.health_check",
        "envoy.extensions.filters.http.health_check.v3.HealthCheck",
        json!({ "pass_through_mode": false, "headers": [path] }),
    )
}

/// One exact path: whatever else were let through, the admin interface would do.
fn statistics() -> Value {
    let read = json!({ "name": ":method", "string_match": { "exact": "GET" } });
    json!({ "match": { "path": STATISTICS, "headers": [read] }, "route": { "cluster": ADMIN } })
}

fn extension(name: &str, message: &str, mut config: Value) -> Value {
    if let Some(fields) = config.as_object_mut() {
        fields.insert("@type".to_owned(), json!(format!("type.googleapis.com/{message}")));
    }
    json!({ "name": name, "typed_config": config })
}
