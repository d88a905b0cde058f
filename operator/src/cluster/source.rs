//! What is asked of the API server: a kind everywhere, or in one namespace.
//!
//! [`Source`] → requests
//!
//! **Invariant:** no more is asked for than what can matter: Namespaces come as metadata, and of Secrets only those of type
//! `kubernetes.io/tls`. All that Sluice reads or makes is of that type, CAs included; tokens, registries' passwords and Helm's
//! releases never enter this process. RBAC cannot say so, hence it is said here.
//!
//! Must not know: what is done with the answers.

use super::kinds::resource;
use http::Request;
use kube::{
    Resource,
    api::{ListParams, WatchParams},
    core::{DynamicObject, request},
};
use sluice_core::key::{Kind, Text};
use std::fmt;

/// Objects in a page of a list: at 100 endpoints a slice, the largest usual object, a page is about 5 MB.
const PAGE: u32 = 200;

/// How long the API server keeps a watch, in seconds, before it is asked again. It may end one at any time.
const KEEP: u32 = 290;

/// What one watch covers.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Source {
    /// The kind.
    pub(super) kind: Kind,
    /// Everywhere if absent.
    pub(super) namespace: Option<Text>,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.namespace {
            Some(namespace) => write!(f, "{} in namespace {namespace}", self.kind),
            None => self.kind.fmt(f),
        }
    }
}

impl Source {
    /// The request for a page of a list.
    pub(super) fn list(&self, next: Option<&str>) -> Result<Request<Vec<u8>>, request::Error> {
        let params = ListParams {
            field_selector: self.selector(),
            limit: Some(PAGE),
            continue_token: next.map(str::to_owned),
            ..ListParams::default()
        };
        let request = self.request();
        if self.is_metadata() { request.list_metadata(&params) } else { request.list(&params) }
    }

    /// The request for what happens after a version.
    pub(super) fn watch(&self, version: &str) -> Result<Request<Vec<u8>>, request::Error> {
        let params = WatchParams { field_selector: self.selector(), timeout: Some(KEEP), ..WatchParams::default() };
        let request = self.request();
        if self.is_metadata() { request.watch_metadata(&params, version) } else { request.watch(&params, version) }
    }

    fn request(&self) -> request::Request {
        request::Request::new(DynamicObject::url_path(&resource(self.kind), self.namespace.as_deref()))
    }

    fn selector(&self) -> Option<String> {
        (self.kind == Kind::Secret).then(|| "type=kubernetes.io/tls".to_owned())
    }

    fn is_metadata(&self) -> bool {
        self.kind == Kind::Namespace
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uri(request: Result<Request<Vec<u8>>, request::Error>) -> String {
        request.unwrap().uri().to_string()
    }

    #[test]
    fn a_source_asks_for_pages_of_its_kind_and_for_what_follows() {
        let routes = Source { kind: Kind::GrpcRoute, namespace: None };
        assert_eq!(uri(routes.list(None)), "/apis/gateway.networking.k8s.io/v1/grpcroutes?&limit=200");
        let watch = uri(routes.watch("7"));
        for part in ["watch=true", "timeoutSeconds=290", "allowWatchBookmarks=true", "resourceVersion=7"] {
            assert!(watch.contains(part), "{watch}");
        }
    }

    #[test]
    fn secrets_are_asked_for_by_type_and_namespaces_as_metadata() {
        let secrets = Source { kind: Kind::Secret, namespace: Some("a".into()) };
        let listed = uri(secrets.list(Some("more")));
        assert!(listed.starts_with("/api/v1/namespaces/a/secrets?"), "{listed}");
        for asked in [listed, uri(secrets.watch("1"))] {
            assert!(asked.contains("fieldSelector=type%3Dkubernetes.io%2Ftls"), "{asked}");
        }
        let namespaces = Source { kind: Kind::Namespace, namespace: None };
        for request in [namespaces.list(None), namespaces.watch("1")] {
            let accept = request.unwrap().headers()["accept"].clone();
            assert!(accept.to_str().unwrap().contains("as=PartialObjectMetadata"), "{accept:?}");
        }
    }
}
