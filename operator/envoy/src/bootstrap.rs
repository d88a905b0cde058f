//! What Envoy is started with.
//!
//! [`Bootstrap`] → JSON for `--config-yaml` or a file
//!
//! **Invariant:** says nothing of any listener, route or backend of a Gateway: all of that is discovered.
//! **Invariant:** the admin interface, which can stop the proxy and shows its configuration, is bound to the loopback or to a file.
//! **Invariant:** the proxy listens to nobody before it has a first whole configuration.
//!
//! Must not know: how Envoy is run.

mod control_plane;
mod probes;

pub use control_plane::{Mutual, Source};
pub use probes::{Probes, STATISTICS};

use crate::encode::UNAVAILABLE;
use control_plane::CONTROL_PLANE;
use serde_json::{Value, json};
use std::{
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    path::{Path, PathBuf},
};

/// One proxy, or many that are alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bootstrap {
    /// Who the proxy is; `None`: `--service-node` and `--service-cluster` say it.
    pub node: Option<Node>,
    /// Where configuration comes from.
    pub source: Source,
    /// Where the admin interface listens.
    pub admin: Admin,
    /// What others may ask of the proxy; `None`: nothing.
    pub probes: Option<Probes>,
    /// Downstream connections above this number are refused; it bounds memory and files.
    pub max_connections: u32,
}

/// How a proxy introduces itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// `node.id`: unique among the proxies of a Gateway.
    pub id: String,
    /// `node.cluster`: `namespace/name` of the Gateway. Decides which snapshot the proxy is given.
    pub gateway: String,
}

/// The admin interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Admin {
    /// A port of the loopback; 0 lets the system choose (`--admin-address-path` tells which).
    Loopback(u16),
    /// A socket in a folder that only the proxy's user can enter.
    Socket(PathBuf),
}

/// The bootstrap as JSON, which Envoy reads as YAML.
pub fn render(bootstrap: &Bootstrap) -> Value {
    let mut whole = json!({
        "dynamic_resources": discovery(),
        "static_resources": resources(bootstrap),
        "admin": { "address": admin(&bootstrap.admin) },
        "layered_runtime": { "layers": [{ "name": "install", "static_layer": runtime() }] },
        "overload_manager": overload(bootstrap.max_connections),
        "stats_config": { "use_all_default_tags": true },
    });
    if let (Some(node), Some(fields)) = (&bootstrap.node, whole.as_object_mut()) {
        fields.insert("node".to_owned(), json!({ "id": node.id, "cluster": node.gateway }));
    }
    whole
}

/// One stream for all types, so that the control plane decides their order.
fn discovery() -> Value {
    // By default Envoy begins to listen after 15 s without an answer, and has nothing to say to its first callers.
    let ads = json!({ "ads": {}, "resource_api_version": "V3", "initial_fetch_timeout": "0s" });
    let service = json!({
        "envoy_grpc": { "cluster_name": CONTROL_PLANE },
        // By default up to 30 s. The wait grows with every stream that brings nothing new, however long it lasted.
        "retry_policy": { "retry_back_off": { "base_interval": "0.5s", "max_interval": "2s" } },
    });
    json!({
        "ads_config": {
            "api_type": "DELTA_GRPC",
            "transport_api_version": "V3",
            "grpc_services": [service],
            "set_node_on_first_message_only": true,
        },
        "cds_config": ads,
        "lds_config": ads,
    })
}

fn resources(bootstrap: &Bootstrap) -> Value {
    let mut clusters = vec![control_plane::cluster(&bootstrap.source), unavailable()];
    let Some(probes) = bootstrap.probes else { return json!({ "clusters": clusters }) };
    clusters.push(probes::statistics_cluster(&admin(&bootstrap.admin)));
    json!({ "clusters": clusters, "listeners": probes::listeners(probes) })
}

/// The share of backends that do not exist or must not be used goes here: 503, which gRPC clients see as UNAVAILABLE.
fn unavailable() -> Value {
    json!({ "name": UNAVAILABLE, "type": "STATIC", "load_assignment": { "cluster_name": UNAVAILABLE } })
}

fn admin(admin: &Admin) -> Value {
    match admin {
        Admin::Loopback(port) => socket_address((Ipv4Addr::LOCALHOST, *port).into()),
        Admin::Socket(path) => pipe(path),
    }
}

fn pipe(path: &Path) -> Value {
    json!({ "pipe": { "path": path } })
}

fn socket_address(address: SocketAddr) -> Value {
    let mut value = named_address(&address.ip().to_string(), address.port());
    if let Some(socket) = value.get_mut("socket_address").filter(|_| address.ip() == Ipv6Addr::UNSPECIFIED) {
        // `::` is every address of both families.
        socket["ipv4_compat"] = true.into();
    }
    value
}

fn named_address(host: &str, port: u16) -> Value {
    json!({ "socket_address": { "address": host, "port_value": port } })
}

/// A cluster's one endpoint.
fn assignment(cluster: &str, address: &Value) -> Value {
    let endpoint = json!({ "endpoint": { "address": address } });
    json!({ "cluster_name": cluster, "endpoints": [{ "lb_endpoints": [endpoint] }] })
}

/// By default Envoy refuses expressions above a program size of 100; what is allowed is decided before they get here.
fn runtime() -> Value {
    json!({ "re2.max_program_size.error_level": u32::MAX })
}

fn overload(max_connections: u32) -> Value {
    let config = json!({
        "@type": "type.googleapis.com/envoy.extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig",
        "max_active_downstream_connections": max_connections,
    });
    json!({
        "resource_monitors": [{ "name": "envoy.resource_monitors.global_downstream_max_connections", "typed_config": config }],
    })
}

#[cfg(test)]
mod tests {
    use super::{Admin, Bootstrap, Mutual, Node, Probes, Source, render};
    use std::net::Ipv4Addr;

    fn local() -> Bootstrap {
        Bootstrap {
            node: Some(Node { id: "greeter-0".to_owned(), gateway: "default/greeter".to_owned() }),
            source: Source::Socket("/home/me/.local/state/sluice/0/run/xds.sock".into()),
            admin: Admin::Loopback(0),
            probes: None,
            max_connections: 10_000,
        }
    }

    fn in_a_pod() -> Bootstrap {
        let mutual = Mutual {
            host: "sluice-xds.sluice-system.svc".to_owned(),
            port: 18000,
            secrets: "/etc/sluice/bootstrap".into(),
        };
        Bootstrap {
            node: None,
            source: Source::Mutual(mutual),
            admin: Admin::Socket("/run/sluice/admin.sock".into()),
            probes: Some(Probes { everywhere: Ipv4Addr::UNSPECIFIED.into(), readiness: 19001, metrics: 19002 }),
            max_connections: 10_000,
        }
    }

    #[test]
    fn the_whole_bootstrap_is_as_written_down() {
        insta::assert_yaml_snapshot!(render(&local()));
    }

    #[test]
    fn the_whole_bootstrap_of_a_pod_is_as_written_down() {
        insta::assert_yaml_snapshot!(render(&in_a_pod()));
    }

    #[test]
    fn the_files_that_tell_where_keys_are_hold_none() {
        let Source::Mutual(mutual) = in_a_pod().source else { panic!() };
        insta::assert_yaml_snapshot!(mutual.files("/etc/sluice/identity".as_ref()));
    }
}
