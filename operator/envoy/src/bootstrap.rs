//! What Envoy is started with.
//!
//! [`Bootstrap`] → JSON for `--config-yaml` or a file
//!
//! **Invariant:** says nothing of any listener, route or backend: all of that is discovered.
//! **Invariant:** the admin interface, which can stop the proxy and shows its configuration, is bound to the loopback or to a file.
//!
//! Must not know: how Envoy is run.

use crate::encode::UNAVAILABLE;
use serde_json::{Value, json};
use std::{
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
};

/// The static cluster of the control plane.
const CONTROL_PLANE: &str = "sluice";

/// One proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bootstrap {
    /// `node.id`: unique among the proxies of a Gateway.
    pub id: String,
    /// `node.cluster`: `namespace/name` of the Gateway. Decides which snapshot the proxy is given.
    pub gateway: String,
    /// Where configuration comes from.
    pub source: Source,
    /// Where the admin interface listens.
    pub admin: Admin,
    /// Downstream connections above this number are refused; it bounds memory and files.
    pub max_connections: u32,
}

/// The address of the control plane, and how it is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// HTTP/2 in clear. For the loopback only: who can reach it reads every key.
    Cleartext(SocketAddr),
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
    json!({
        "node": { "id": bootstrap.id, "cluster": bootstrap.gateway },
        "dynamic_resources": discovery(),
        "static_resources": { "clusters": [control_plane(bootstrap.source), unavailable()] },
        "admin": admin(&bootstrap.admin),
        "layered_runtime": { "layers": [{ "name": "install", "static_layer": runtime() }] },
        "overload_manager": overload(bootstrap.max_connections),
        "stats_config": { "use_all_default_tags": true },
    })
}

/// One stream for all types, so that the control plane decides their order.
fn discovery() -> Value {
    let ads = json!({ "ads": {}, "resource_api_version": "V3" });
    let service = json!({ "envoy_grpc": { "cluster_name": CONTROL_PLANE } });
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

fn control_plane(source: Source) -> Value {
    let Source::Cleartext(address) = source;
    let http2 = json!({ "connection_keepalive": { "interval": "30s", "timeout": "5s" } });
    json!({
        "name": CONTROL_PLANE,
        "type": "STATIC",
        "connect_timeout": "1s",
        "load_assignment": assignment(address),
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                "explicit_http_config": { "http2_protocol_options": http2 },
            },
        },
    })
}

fn assignment(address: SocketAddr) -> Value {
    let endpoint = json!({ "endpoint": { "address": socket_address(address) } });
    json!({ "cluster_name": CONTROL_PLANE, "endpoints": [{ "lb_endpoints": [endpoint] }] })
}

/// The share of backends that do not exist or must not be used goes here: 503, which gRPC clients see as UNAVAILABLE.
fn unavailable() -> Value {
    json!({ "name": UNAVAILABLE, "type": "STATIC", "load_assignment": { "cluster_name": UNAVAILABLE } })
}

fn admin(admin: &Admin) -> Value {
    let address = match admin {
        Admin::Loopback(port) => socket_address((Ipv4Addr::LOCALHOST, *port).into()),
        Admin::Socket(path) => json!({ "pipe": { "path": path } }),
    };
    json!({ "address": address })
}

fn socket_address(address: SocketAddr) -> Value {
    json!({ "socket_address": { "address": address.ip().to_string(), "port_value": address.port() } })
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
    use super::{Admin, Bootstrap, Source, render};

    fn proxy(admin: Admin) -> Bootstrap {
        Bootstrap {
            id: "greeter-0".to_owned(),
            gateway: "default/greeter".to_owned(),
            source: Source::Cleartext(([127, 0, 0, 1], 18000).into()),
            admin,
            max_connections: 10_000,
        }
    }

    #[test]
    fn the_whole_bootstrap_is_as_written_down() {
        insta::assert_yaml_snapshot!(render(&proxy(Admin::Loopback(0))));
    }

    #[test]
    fn the_admin_interface_can_be_a_socket() {
        let value = render(&proxy(Admin::Socket("/run/sluice/admin.sock".into())));
        assert_eq!(value["admin"]["address"]["pipe"]["path"], "/run/sluice/admin.sock");
    }
}
