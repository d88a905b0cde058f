//! The least that Envoy can be told to do the same: the floor of the data plane.
//!
//! certificate, backend → a bootstrap with one listener, one route, one cluster, and no filter but the router
//!
//! **Invariant:** TLS, windows and protocols are those of the configuration that it is compared with; all else is Envoy's default.

use std::net::SocketAddr;

use serde_json::{Value, json};

use crate::manifests::Certificate;

/// The name of the listener.
pub const LISTENER: &str = "minimal";

const TYPES: &str = "type.googleapis.com/envoy.extensions";

/// Makes a bootstrap minimal.
pub fn edit(bootstrap: &mut Value, certificate: &Certificate, backend: SocketAddr) {
    bootstrap["dynamic_resources"] = Value::Null;
    bootstrap["static_resources"] = json!({"listeners": [listener(certificate)], "clusters": [cluster(backend)]});
}

fn listener(certificate: &Certificate) -> Value {
    let inline = |text: &str| json!({"inline_string": text});
    let tls = json!({
        "@type": format!("{TYPES}.transport_sockets.tls.v3.DownstreamTlsContext"),
        "common_tls_context": {
            "alpn_protocols": ["h2"],
            "tls_certificates": [
                {"certificate_chain": inline(&certificate.pem), "private_key": inline(&certificate.key)},
            ],
        },
    });
    let router = json!({
        "name": "envoy.filters.http.router",
        "typed_config": {"@type": format!("{TYPES}.filters.http.router.v3.Router")},
    });
    let connections = json!({
        "@type": format!("{TYPES}.filters.network.http_connection_manager.v3.HttpConnectionManager"),
        "stat_prefix": "minimal",
        "http2_protocol_options": {
            "max_concurrent_streams": 1024, "initial_stream_window_size": 1 << 20, "initial_connection_window_size": 16 << 20,
        },
        "route_config": {"virtual_hosts": [{
            "name": "all", "domains": ["*"],
            "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "backend", "timeout": "0s"}}],
        }]},
        "http_filters": [router],
    });
    json!({
        "name": LISTENER,
        "address": socket(([127, 0, 0, 1], 0).into()),
        "filter_chains": [{
            "filters": [{"name": "connections", "typed_config": connections}],
            "transport_socket": {"name": "tls", "typed_config": tls},
        }],
    })
}

fn cluster(backend: SocketAddr) -> Value {
    let options = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";
    json!({
        "name": "backend",
        "type": "STATIC",
        "load_assignment": {
            "cluster_name": "backend",
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": socket(backend)}}]}],
        },
        "typed_extension_protocol_options": {
            options: {
                "@type": format!("{TYPES}.upstreams.http.v3.HttpProtocolOptions"),
                "explicit_http_config": {"http2_protocol_options": {}},
            },
        },
    })
}

fn socket(address: SocketAddr) -> Value {
    json!({"socket_address": {"address": address.ip().to_string(), "port_value": address.port()}})
}
