//! The one gate through which everything goes that changes the cluster.
//!
//! a request → its answer, or the [`Fault`] that tells what to do next
//!
//! **Invariant:** no request that changes anything is sent by a process that does not lead right then.
//! **Invariant:** a request is given up before the lease could be somebody else's.
//!
//! Must not know: what is written, and why.

use super::{fail::FailPoint, kinds, leadership::Leadership};
use kube::{Client, Error, core::DynamicObject};
use prometheus_client::{
    metrics::{counter::Counter, family::Family},
    registry::Registry,
};
use sluice_core::key::{Ref, Text};
use std::{fmt, sync::Arc, time::Duration};
use tokio::time::timeout;

/// The field manager, and the reporter of Events.
pub(super) const MANAGER: &str = "sluice";

/// How a request changes the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    /// Server-side apply.
    Apply,
    /// Everything but the status, precondition included.
    Patch,
    /// The status alone.
    Status,
    /// A new object.
    Create,
    /// The whole object, precondition included.
    Update,
    /// The end of an object.
    Delete,
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Apply => "apply",
            Self::Patch => "patch",
            Self::Status => "status",
            Self::Create => "create",
            Self::Update => "update",
            Self::Delete => "delete",
        })
    }
}

/// Why a request came to nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Fault {
    /// This process does not lead. Whoever does has been told what there is to do.
    #[error("another one leads")]
    Standby,
    /// The object moved meanwhile: it has to be read again.
    #[error("the object changed meanwhile")]
    Stale,
    /// Other field managers hold what was to be written.
    #[error("{0} manages fields of it")]
    Owned(Text),
    /// The object, its namespace or its kind is not there.
    #[error("not found: {0}")]
    Absent(Text),
    /// Its namespace is going away.
    #[error("its namespace is being deleted")]
    Leaving,
    /// The API server says no, in its words; the same request would be refused again.
    #[error("{0}")]
    Refused(Text),
    /// The API server cannot answer now.
    #[error("the API server cannot be reached or is busy: {0}")]
    Busy(Text),
}

impl Fault {
    /// What a metric calls it.
    const fn label(&self) -> &'static str {
        match self {
            Self::Standby => "standby",
            Self::Stale => "stale",
            Self::Owned(_) => "foreign",
            Self::Absent(_) => "absent",
            Self::Leaving => "leaving",
            Self::Refused(_) => "refused",
            Self::Busy(_) => "busy",
        }
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        match error {
            Error::Api(status) => said(&status),
            other => Self::Busy(other.to_string().into()),
        }
    }
}

/// Source: Kubernetes, API conventions, "Error codes"; `metav1.CauseTypeFieldManagerConflict`, `corev1.NamespaceTerminatingCause`.
fn said(status: &kube::core::Status) -> Fault {
    let causes = status.details.iter().flat_map(|details| &details.causes);
    let words: Text = status.message.as_str().into();
    let has = |reason: &str| causes.clone().any(|cause| cause.reason == reason);
    match status.code {
        404 => Fault::Absent(words),
        409 if has("FieldManagerConflict") => Fault::Owned(managers(causes.map(|cause| cause.message.as_str()))),
        409 => Fault::Stale,
        403 if has("NamespaceTerminating") => Fault::Leaving,
        // An object that says more than the schema of its kind has is a 500 to server-side apply.
        500 if status.message.contains("not declared in schema") => Fault::Refused(words),
        400 | 403 | 405 | 406 | 413 | 415 | 422 => Fault::Refused(words),
        _ => Fault::Busy(words),
    }
}

/// The names in `conflict with "kubectl" using v1`, each once.
fn managers<'m>(messages: impl Iterator<Item = &'m str>) -> Text {
    let mut names: Vec<&str> = messages.filter_map(|message| message.split('"').nth(1)).collect();
    names.sort_unstable();
    names.dedup();
    if names.is_empty() { "another field manager".into() } else { names.join(", ").into() }
}

/// How many writes of a kind ended how.
#[derive(Clone, Debug, Default)]
pub(super) struct Writes(Family<[(&'static str, String); 3], Counter>);

impl Writes {
    /// A counter that is in a registry.
    pub(super) fn register(registry: &mut Registry) -> Self {
        let writes = Self::default();
        registry.register("writes", "Requests that change the cluster, by how they ended", writes.0.clone());
        writes
    }

    fn count(&self, kind: &str, verb: Verb, outcome: &str) {
        let labels = [("kind", kind.to_owned()), ("verb", verb.to_string()), ("outcome", outcome.to_owned())];
        self.0.get_or_create(&labels).inc();
    }
}

/// The gate.
#[derive(Clone)]
pub(super) struct Writer {
    pub(super) client: Client,
    pub(super) leadership: Leadership,
    pub(super) writes: Writes,
    /// Where the process ends itself, for those who test what it leaves behind.
    pub(super) fail: Option<Arc<FailPoint>>,
    /// How long a request may take: less than what lies between the end of our term and the beginning of another's.
    pub(super) limit: Duration,
}

impl Writer {
    /// An object as the API server has it now; `None` if it, or its kind, is not there.
    pub(super) async fn get(&self, object: &Ref) -> Result<Option<DynamicObject>, Fault> {
        let api = kinds::api(self.client.clone(), object);
        self.ask(api.get_opt(&object.key.name)).await
    }

    /// Sends a request that changes an object of a kind.
    pub(super) async fn send<T>(
        &self,
        verb: Verb,
        kind: &str,
        request: impl Future<Output = kube::Result<T>>,
    ) -> Result<T, Fault> {
        let fenced = async { if self.leadership.leads() { self.ask(request).await } else { Err(Fault::Standby) } };
        self.pass(verb, kind, fenced).await
    }

    /// Sends a request that decides who leads, and therefore cannot ask for it.
    pub(super) async fn send_unled<T>(
        &self,
        verb: Verb,
        kind: &str,
        request: impl Future<Output = kube::Result<T>>,
    ) -> Result<T, Fault> {
        self.pass(verb, kind, self.ask(request)).await
    }

    /// Between the points where the process may end itself; counted.
    async fn pass<T>(&self, verb: Verb, kind: &str, write: impl Future<Output = Result<T, Fault>>) -> Result<T, Fault> {
        let point = self.fail.as_ref().and_then(|point| point.reached(verb, kind));
        FailPoint::end_before(point);
        let answer = write.await;
        FailPoint::end_after(point);
        self.writes.count(kind, verb, answer.as_ref().map_or_else(Fault::label, |_| "ok"));
        answer
    }

    /// Sends a request and waits for its answer, within the limit.
    pub(super) async fn ask<T>(&self, request: impl Future<Output = kube::Result<T>>) -> Result<T, Fault> {
        match timeout(self.limit, request).await {
            Ok(answer) => Ok(answer?),
            Err(_) => Err(Fault::Busy(format!("no answer within {:?}", self.limit).into())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn fault(status: serde_json::Value) -> Fault {
        said(&serde_json::from_value(status).unwrap())
    }

    #[test]
    fn answers_tell_what_to_do_next() {
        let owned = json!({"code": 409, "reason": "Conflict", "details": {"causes": [
            {"reason": "FieldManagerConflict", "message": "conflict with \"kubectl\" using v1", "field": ".spec.a"},
            {"reason": "FieldManagerConflict", "message": "conflict with \"argocd\" using v1", "field": ".spec.b"},
            {"reason": "FieldManagerConflict", "message": "conflict with \"kubectl\" using v1", "field": ".spec.c"},
        ]}});
        assert_eq!(fault(owned), Fault::Owned("argocd, kubectl".into()));
        assert_eq!(fault(json!({"code": 409, "reason": "Conflict"})), Fault::Stale);
        assert_eq!(fault(json!({"code": 409, "reason": "AlreadyExists"})), Fault::Stale);
        let leaving = json!({"code": 403, "details": {"causes": [{"reason": "NamespaceTerminating"}]}});
        assert_eq!(fault(leaving), Fault::Leaving);
        for code in [400, 403, 413, 422] {
            assert_eq!(fault(json!({"code": code, "message": "no"})), Fault::Refused("no".into()), "{code}");
        }
        let undeclared = ".spec.x: field not declared in schema";
        assert_eq!(fault(json!({"code": 500, "message": undeclared})), Fault::Refused(undeclared.into()));
        for code in [401, 408, 429, 500, 502, 503, 504] {
            assert_eq!(fault(json!({"code": code, "message": "no"})), Fault::Busy("no".into()), "{code}");
        }
    }
}
