//! Which gRPC status a reply of Envoy's own carries.
//!
//! HTTP status of the reply → `grpc-status`
//!
//! **Invariant:** plain gRPC and gRPC-Web clients see the same status, and answers of backends are left as they are.
//!
//! Two halves, because the gRPC-Web filter overwrites what the first one says: `local_reply_config` notes the status in a header
//! of its own, and a filter in front of gRPC-Web's (so behind it on the way back) puts it into place and removes the note.

use envoy_types::pb::envoy::{
    config::{
        accesslog::v3::{
            AccessLogFilter, ComparisonFilter, StatusCodeFilter, access_log_filter::FilterSpecifier,
            comparison_filter::Op,
        },
        common::mutation_rules::v3::{HeaderMutation as Mutation, header_mutation::Action},
        core::v3::{HeaderValue, HeaderValueOption, RuntimeUInt32, header_value_option::HeaderAppendAction},
    },
    extensions::filters::{
        http::header_mutation::v3::{HeaderMutation, Mutations},
        network::http_connection_manager::v3::{LocalReplyConfig, ResponseMapper},
    },
};

/// The note. It never leaves the proxy, and counts only where there is a `grpc-status` to repair.
const NOTE: &str = "x-sluice-grpc-status";

/// HTTP status and gRPC status of it, where Envoy's own choice (by `httpToGrpcStatus`) misleads clients.
const STATUSES: [(u32, &str); 5] = [
    (408, "4"),  // a deadline, before the request was complete: DEADLINE_EXCEEDED
    (413, "8"),  // larger than a buffer: RESOURCE_EXHAUSTED
    (421, "14"), // another connection is needed: UNAVAILABLE
    (429, "8"),  // limited: RESOURCE_EXHAUSTED
    (504, "4"),  // a deadline: DEADLINE_EXCEEDED
];

pub(super) fn config() -> LocalReplyConfig {
    LocalReplyConfig { mappers: STATUSES.map(|(http, grpc)| mapper(http, grpc)).into(), ..Default::default() }
}

pub(super) fn status_repair() -> HeaderMutation {
    let place = header("grpc-status", &format!("%RESP({NOTE})%"), HeaderAppendAction::OverwriteIfExists);
    let response_mutations =
        [Action::Append(place), Action::Remove(NOTE.to_owned())].map(|action| Mutation { action: Some(action) }).into();
    let mutations = Mutations { response_mutations, ..Default::default() };
    HeaderMutation { mutations: Some(mutations), ..Default::default() }
}

fn mapper(http: u32, grpc: &str) -> ResponseMapper {
    ResponseMapper {
        filter: Some(status_is(http)),
        headers_to_add: vec![header(NOTE, grpc, HeaderAppendAction::OverwriteIfExistsOrAdd)],
        ..Default::default()
    }
}

fn header(name: &str, value: &str, append: HeaderAppendAction) -> HeaderValueOption {
    HeaderValueOption {
        header: Some(HeaderValue { key: name.to_owned(), value: value.to_owned(), ..Default::default() }),
        append_action: append.into(),
        ..Default::default()
    }
}

/// The runtime key is required and never set.
fn status_is(http: u32) -> AccessLogFilter {
    let value = RuntimeUInt32 { default_value: http, runtime_key: "sluice.none".to_owned() };
    let comparison = ComparisonFilter { op: Op::Eq.into(), value: Some(value) };
    let filter = StatusCodeFilter { comparison: Some(comparison) };
    AccessLogFilter { filter_specifier: Some(FilterSpecifier::StatusCodeFilter(filter)) }
}
