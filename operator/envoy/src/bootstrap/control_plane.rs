//! Where configuration comes from, and how the two sides know each other.
//!
//! [`Source`] → the static cluster of the control plane, and the files that say where its keys are

use super::{assignment, named_address, pipe};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// The static cluster of the control plane.
pub(super) const CONTROL_PLANE: &str = "sluice";

/// The proxy's certificate and key among [`Mutual::files`].
const IDENTITY: &str = "identity";
/// Whom the proxy trusts among [`Mutual::files`].
const AUTHORITY: &str = "authority";

const TLS: &str = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3";

/// The address of the control plane, and how it is spoken to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// HTTP/2 in clear over a socket in a folder that only the proxy's user can enter: who can reach it reads every key.
    Socket(PathBuf),
    /// HTTP/2 over TLS with certificates on both sides.
    Mutual(Mutual),
}

/// A control plane that proves who it is and asks the same of its proxies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mutual {
    /// Its name: looked up, asked for in the handshake, and demanded of its certificate.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// The folder of [`Mutual::files`].
    pub secrets: PathBuf,
}

impl Mutual {
    /// What the folder [`Mutual::secrets`] has to hold, by name. `identity` is the folder with `tls.crt`, `tls.key` and `ca.crt`:
    /// Envoy reads them again when something in it is moved, as the kubelet does with a Secret, so that no rotation needs a restart.
    pub fn files(&self, identity: &Path) -> [(String, Value); 2] {
        let file = |name: &str| json!({ "filename": identity.join(name) });
        let watched = json!({ "path": identity });
        let own = json!({
            "certificate_chain": file("tls.crt"),
            "private_key": file("tls.key"),
            "watched_directory": watched,
        });
        let host = json!({ "san_type": "DNS", "matcher": { "exact": self.host } });
        let trusted = json!({
            "trusted_ca": file("ca.crt"),
            "match_typed_subject_alt_names": [host],
            "watched_directory": watched,
        });
        [secret(IDENTITY, "tls_certificate", &own), secret(AUTHORITY, "validation_context", &trusted)]
    }

    fn transport(&self) -> Value {
        let context = json!({
            "@type": format!("{TLS}.UpstreamTlsContext"),
            "sni": self.host,
            "common_tls_context": {
                "tls_params": { "tls_minimum_protocol_version": "TLSv1_3", "tls_maximum_protocol_version": "TLSv1_3" },
                "alpn_protocols": ["h2"],
                "tls_certificate_sds_secret_configs": [self.read(IDENTITY)],
                "validation_context_sds_secret_config": self.read(AUTHORITY),
            },
        });
        json!({ "name": "envoy.transport_sockets.tls", "typed_config": context })
    }

    fn read(&self, name: &str) -> Value {
        let source = json!({ "path": self.secrets.join(file_name(name)) });
        json!({ "name": name, "sds_config": { "path_config_source": source, "resource_api_version": "V3" } })
    }
}

fn secret(name: &str, kind: &str, value: &Value) -> (String, Value) {
    let secret = json!({ "@type": format!("{TLS}.Secret"), "name": name, kind: value });
    (file_name(name), json!({ "resources": [secret] }))
}

fn file_name(name: &str) -> String {
    format!("{name}.json")
}

pub(super) fn cluster(source: &Source) -> Value {
    match source {
        Source::Socket(path) => json!({
            "name": CONTROL_PLANE,
            "type": "STATIC",
            "connect_timeout": "1s",
            "load_assignment": assignment(CONTROL_PLANE, &pipe(path)),
            "typed_extension_protocol_options": protocol(),
        }),
        Source::Mutual(mutual) => json!({
            "name": CONTROL_PLANE,
            "type": "STRICT_DNS",
            "dns_lookup_family": "V4_PREFERRED",
            "connect_timeout": "2s",
            "load_assignment": assignment(CONTROL_PLANE, &named_address(&mutual.host, mutual.port)),
            "typed_extension_protocol_options": protocol(),
            "transport_socket": mutual.transport(),
        }),
    }
}

/// A connection serves one stream. The next one would otherwise go to the replica that has just refused or ended this one, however
/// often it were tried, and with the certificate from before a rotation.
fn protocol() -> Value {
    const OPTIONS: &str = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";
    let http2 = json!({ "connection_keepalive": { "interval": "30s", "timeout": "5s" } });
    let options = json!({
        "@type": format!("type.googleapis.com/{OPTIONS}"),
        "common_http_protocol_options": { "max_requests_per_connection": 1 },
        "explicit_http_config": { "http2_protocol_options": http2 },
    });
    json!({ OPTIONS: options })
}
