//! Timeouts and retries: what GRPCRoute cannot say, shared by `GrpcService` rules and `GrpcPolicy`.
//!
//! YAML → types
//!
//! **Invariant:** durations stay the strings that were written, in the Gateway API's format (GEP-2257), so that copying
//! them into a generated object changes nothing.
//!
//! It must not know how a proxy expresses any of it.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::standard;

/// CEL, on an object with `timeouts` and `retry`: an attempt cannot outlast the call that it belongs to.
pub(crate) const PER_TRY_WITHIN_REQUEST: &str = "!has(self.retry) || !has(self.retry.perTryTimeout) \
    || !has(self.timeouts) || !has(self.timeouts.request) || duration(self.timeouts.request) == duration('0s') \
    || duration(self.retry.perTryTimeout) <= duration(self.timeouts.request)";

/// Timeouts of a call. Each is a Gateway API duration, such as `2s`, `1m30s` or `500ms`; `0s` switches it off.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, Hash, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.request) || has(self.idle) || has(self.maxStream)")
        .message("timeouts is empty: set request, idle or maxStream, or remove it")
)]
pub struct Timeouts {
    /// Deadline of a whole call, retries included, as a duration. The client's own grpc-timeout is honoured below it. A call
    /// that exceeds it ends with DEADLINE_EXCEEDED if nothing was answered yet, otherwise with a reset. Default: none
    /// (the client's grpc-timeout alone).
    #[schemars(schema_with = "standard::duration")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<String>,
    /// How long a stream may carry no message in either direction, as a duration. Default: none.
    #[schemars(schema_with = "standard::duration")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle: Option<String>,
    /// The longest life of a stream, however busy, as a duration. Default: none.
    #[schemars(schema_with = "standard::duration")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_stream: Option<String>,
}

/// Retries by the proxy, before any part of an answer was passed on to the client.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, Hash, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Retry {
    /// How often a failed call is tried again, beyond the first attempt: 1 to 10.
    #[schemars(range(min = 1, max = 10))]
    pub attempts: i32,
    /// The gRPC statuses that are retried. Default: Unavailable.
    #[schemars(length(min = 1, max = 5))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub on: Option<Vec<RetryOn>>,
    /// Deadline of each attempt, as a duration. Default: none (timeouts.request bounds them together).
    #[schemars(schema_with = "standard::duration")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_try_timeout: Option<String>,
    /// How many of the calls in flight to one backend may be retries, in percent: 1 to 100. Default: 20.
    #[schemars(range(min = 1, max = 100))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget_percent: Option<i32>,
}

impl Retry {
    /// The statuses that are retried, with the default.
    pub fn on(&self) -> &[RetryOn] {
        self.on.as_deref().unwrap_or(&[RetryOn::Unavailable])
    }

    /// The share of retries among the calls in flight in percent, with the default.
    pub fn budget_percent(&self) -> i32 {
        self.budget_percent.unwrap_or(20)
    }
}

/// A gRPC status that a proxy can retry.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, JsonSchema)]
pub enum RetryOn {
    /// CANCELLED.
    Cancelled,
    /// DEADLINE_EXCEEDED.
    DeadlineExceeded,
    /// INTERNAL.
    Internal,
    /// RESOURCE_EXHAUSTED.
    ResourceExhausted,
    /// UNAVAILABLE.
    Unavailable,
}
