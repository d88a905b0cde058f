//! Connections that no filter chain wants: how Envoy writes them down, and how that is read again.
//!
//! nothing → the access log of a listener; a line of it → [`Refusal`]
//!
//! **Invariant:** a line costs a refused connection, never a served one: the log is filtered by the flag that Envoy sets when no
//! filter chain matches.
//!
//! Must not know: which names are served, who reads the lines.

use crate::wire;
use envoy_types::pb::envoy::{
    config::{
        accesslog::v3::{
            AccessLog, AccessLogFilter, ResponseFlagFilter, access_log::ConfigType, access_log_filter::FilterSpecifier,
        },
        core::v3::{SubstitutionFormatString, substitution_format_string::Format},
    },
    extensions::access_loggers::stream::v3::{StdoutAccessLog, stdout_access_log::AccessLogFormat},
};

/// `NoRouteFound`: Envoy 1.40 sets it on a connection with the details `filter_chain_not_found`.
const NO_FILTER_CHAIN: &str = "NR";
/// What a line begins with.
const OPENING: &str = "no filter chain: ";
/// What Envoy writes for what it does not know.
const UNKNOWN: &str = "-";

/// A connection that was closed before its handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal<'a> {
    /// The name of the listener's resource.
    pub listener: &'a str,
    /// The address and port that the client connected from.
    pub client: &'a str,
    /// The name that it asked for; `None` if it named none, or did not speak TLS.
    pub server_name: Option<&'a str>,
}

impl<'a> Refusal<'a> {
    /// Reads a line of Envoy's standard output.
    pub fn parse(line: &'a str) -> Option<Self> {
        let (listener, rest) = line.strip_prefix(OPENING)?.split_once(' ')?;
        let (client, name) = rest.split_once(' ')?;
        Some(Self { listener, client, server_name: Some(name).filter(|name| *name != UNKNOWN) })
    }
}

/// Text and not JSON: the fields of a JSON format are a map, and a map in another order may pass for a changed listener, which
/// drains every connection. Envoy replaces what no hostname may hold in the name that a client sends, line breaks among it.
pub(crate) fn log(listener: &str) -> AccessLog {
    let line = format!("{OPENING}{listener} %DOWNSTREAM_REMOTE_ADDRESS% %REQUESTED_SERVER_NAME%\n");
    let format =
        SubstitutionFormatString { format: Some(Format::TextFormatSource(wire::text(line))), ..Default::default() };
    let output = StdoutAccessLog { access_log_format: Some(AccessLogFormat::LogFormat(format)) };
    let flag = ResponseFlagFilter { flags: vec![NO_FILTER_CHAIN.to_owned()] };
    AccessLog {
        name: "envoy.access_loggers.stdout".to_owned(),
        filter: Some(AccessLogFilter { filter_specifier: Some(FilterSpecifier::ResponseFlagFilter(flag)) }),
        config_type: Some(ConfigType::TypedConfig(wire::any(&output))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_log_is_read_and_every_other_line_is_not() {
        let refusal = |server_name| Refusal { listener: "https-443", client: "127.0.0.1:5", server_name };
        let cases = [
            ("no filter chain: https-443 127.0.0.1:5 a.example.com", Some(refusal(Some("a.example.com")))),
            ("no filter chain: https-443 127.0.0.1:5 -", Some(refusal(None))),
            ("no filter chain: https-443", None),
            ("something else", None),
            ("", None),
        ];
        for (line, expected) in cases {
            assert_eq!(Refusal::parse(line), expected, "{line}");
        }
    }
}
