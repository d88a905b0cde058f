//! How downstream connections are spoken to: the connection manager.
//!
//! names of a chain and of its route configuration → `HttpConnectionManager`
//!
//! **Invariant:** nothing here can cut a living stream: deadlines and idle times are the routes' own.
//!
//! Must not know: routes, certificates.

use super::{filter, reply};
use crate::wire;
use envoy_types::pb::envoy::{
    config::core::v3::{Http2ProtocolOptions, HttpProtocolOptions, KeepaliveSettings, http_protocol_options},
    extensions::filters::network::http_connection_manager::v3::{
        HttpConnectionManager, Rds,
        http_connection_manager::{CodecType, InternalAddressConfig, PathWithEscapedSlashesAction, RouteSpecifier},
    },
};

/// Envoy's own default since 1.36. The hundred of its edge guide makes a client of many long streams wait without a word.
const STREAMS: u32 = 1024;
/// Throughput of a stream is a window for each round trip: 64 KiB at 10 ms are 6.4 MB/s.
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 16 << 20;

pub(super) fn message(name: &str, routes: &str) -> HttpConnectionManager {
    HttpConnectionManager {
        codec_type: CodecType::Auto.into(),
        stat_prefix: name.to_owned(),
        route_specifier: Some(RouteSpecifier::Rds(Rds {
            config_source: Some(wire::ads()),
            route_config_name: routes.to_owned(),
        })),
        http_filters: filter::chain(),
        local_reply_config: Some(reply::config()),
        http2_protocol_options: Some(http2()),
        common_http_protocol_options: Some(common()),
        // Counts until the route is chosen, which has an idle time of its own.
        stream_idle_timeout: wire::seconds(300),
        // Headers that trickle in are not a stream yet.
        request_headers_timeout: wire::seconds(10),
        use_remote_address: wire::yes(),
        // None: with `use_remote_address` a private address of a client must not make it trusted.
        internal_address_config: Some(InternalAddressConfig::default()),
        normalize_path: wire::yes(),
        // A gRPC path is a name, not a path of files: `//` and `%2F` stay what they are.
        merge_slashes: false,
        path_with_escaped_slashes_action: PathWithEscapedSlashesAction::KeepUnchanged.into(),
        strip_trailing_host_dot: true,
        ..Default::default()
    }
}

fn http2() -> Http2ProtocolOptions {
    Http2ProtocolOptions {
        max_concurrent_streams: wire::count(STREAMS),
        initial_stream_window_size: wire::count(STREAM_WINDOW),
        initial_connection_window_size: wire::count(CONNECTION_WINDOW),
        connection_keepalive: Some(keepalive()),
        // A malformed message ends its own stream, not its neighbours'.
        override_stream_error_on_invalid_http_message: wire::yes(),
        ..Default::default()
    }
}

/// Finds clients that vanished without a word, so that their streams do not stay open at backends.
fn keepalive() -> KeepaliveSettings {
    KeepaliveSettings { interval: wire::seconds(30), timeout: wire::seconds(10), ..Default::default() }
}

/// Underscores are legal in the names of gRPC metadata.
fn common() -> HttpProtocolOptions {
    HttpProtocolOptions {
        headers_with_underscores_action: http_protocol_options::HeadersWithUnderscoresAction::Allow.into(),
        ..Default::default()
    }
}
