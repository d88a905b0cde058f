//! Routes of all kinds as the core keeps them: one shape, so that one code path lowers them.
//!
//! GRPCRoute and HTTPRoute differ only in what a match says; [`Matching`] carries that difference.

use super::{
    meta::{Meta, shrunk, tight},
    word::{shared, word, words},
};
use crate::{
    hostname::Hostname,
    key::{GATEWAY_GROUP, Kind, NsName, Text},
};
use serde::{Deserialize, Deserializer, Serialize};

/// A route of any kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// `GRPCRoute`, `HTTPRoute`, or a kind that only gets a status.
    pub kind: Kind,
    /// Metadata.
    pub metadata: Meta,
    /// Parents.
    pub parents: Vec<ParentRef>,
    /// Empty: all hostnames of the listener.
    pub hostnames: Vec<Hostname>,
    /// Rules; empty for kinds that are not implemented.
    pub rules: Vec<Rule>,
}

/// `parentRefs[]`, defaults filled in except the namespace (status repeats the reference as written).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ParentRef {
    /// API group.
    #[serde(default = "gateway_group", deserialize_with = "word")]
    pub group: Text,
    /// `Gateway` when absent.
    #[serde(default = "gateway_kind", deserialize_with = "word")]
    pub kind: Text,
    /// The route's own when absent.
    #[serde(default, deserialize_with = "words", skip_serializing_if = "Option::is_none")]
    pub namespace: Option<Text>,
    /// Name.
    #[serde(deserialize_with = "word")]
    pub name: Text,
    /// One listener by name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub section_name: Option<Text>,
    /// Listeners of one port.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
}

fn gateway_group() -> Text {
    shared(GATEWAY_GROUP)
}

fn gateway_kind() -> Text {
    shared("Gateway")
}

impl ParentRef {
    /// The Gateway or ListenerSet that is meant, seen from a route in `namespace`.
    pub fn target(&self, namespace: &Text) -> Option<super::Parent> {
        let key =
            NsName { namespace: self.namespace.clone().unwrap_or_else(|| namespace.clone()), name: self.name.clone() };
        match Kind::named(&self.group, &self.kind)? {
            Kind::Gateway => Some(super::Parent::Gateway(key)),
            Kind::ListenerSet => Some(super::Parent::ListenerSet(key)),
            _ => None,
        }
    }
}

/// `rules[]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rule {
    /// Optional name; policies attach to it.
    pub name: Option<Text>,
    /// ORed; never empty after decoding (an absent list is one match for everything).
    pub matches: Vec<Match>,
    /// Applied to every backend.
    pub filters: Vec<Filter>,
    /// Weighted backends.
    pub backends: Vec<BackendRef>,
    /// Fields that are present and not implemented, by name (HTTPRoute `timeouts`, `retry`, `sessionPersistence`).
    pub unsupported: Vec<Text>,
}

/// One match: `Matching` AND all headers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Match {
    /// What the route kind matches beside headers.
    pub on: Matching,
    /// All must match; of equal names only the first counts.
    pub headers: Vec<NamedMatch>,
}

/// What a match says beside headers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Matching {
    /// GRPCRoute: service and method.
    Grpc(Option<MethodMatch>),
    /// HTTPRoute: path, method, query parameters.
    Http(HttpMatch),
}

impl Default for Matching {
    fn default() -> Self {
        Self::Grpc(None)
    }
}

/// `matches[].method` of a GRPCRoute.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct MethodMatch {
    /// `Exact` when absent.
    #[serde(rename = "type", deserialize_with = "words")]
    pub kind: Option<Text>,
    /// Fully qualified service name, or an expression.
    #[serde(deserialize_with = "words")]
    pub service: Option<Text>,
    /// Method name, or an expression.
    #[serde(deserialize_with = "words")]
    pub method: Option<Text>,
}

/// A match of an HTTPRoute, headers aside.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HttpMatch {
    /// `PathPrefix`, `Exact` or `RegularExpression`, and the value; `PathPrefix /` when absent.
    pub path: PathMatch,
    /// `GET` …
    pub method: Option<Text>,
    /// All must match.
    pub query: Vec<NamedMatch>,
}

/// `matches[].path` of an HTTPRoute.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct PathMatch {
    /// `PathPrefix`, `Exact` or `RegularExpression`.
    #[serde(rename = "type")]
    pub kind: Text,
    /// Starts with `/` unless it is an expression.
    pub value: Text,
}

impl Default for PathMatch {
    fn default() -> Self {
        Self { kind: "PathPrefix".into(), value: "/".into() }
    }
}

/// A header or query parameter to match.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct NamedMatch {
    /// `Exact` when absent, or `RegularExpression`.
    #[serde(rename = "type", default, deserialize_with = "words")]
    pub kind: Option<Text>,
    /// Name.
    #[serde(deserialize_with = "word")]
    pub name: Text,
    /// Value or expression.
    pub value: Text,
}

/// `filters[]`; unknown ones keep their type, so that the status can name it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Filter {
    /// As written.
    #[serde(rename = "type")]
    pub kind: Text,
    /// With `RequestHeaderModifier`.
    pub request_header_modifier: Option<HeaderModifier>,
    /// With `ResponseHeaderModifier`.
    pub response_header_modifier: Option<HeaderModifier>,
    /// With `RequestMirror`.
    pub request_mirror: Option<Mirror>,
    /// With `RequestRedirect`, of an HTTPRoute.
    pub request_redirect: Option<RequestRedirect>,
    /// With `URLRewrite`, of an HTTPRoute.
    pub url_rewrite: Option<UrlRewrite>,
    /// With `ExtensionRef`.
    pub extension_ref: Option<super::gateway::ParametersRef>,
}

/// Header edits.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct HeaderModifier {
    /// Replace.
    pub set: Vec<HeaderValue>,
    /// Append.
    pub add: Vec<HeaderValue>,
    /// Remove by name.
    pub remove: Vec<Text>,
}

/// A header's name and value.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct HeaderValue {
    /// Name.
    pub name: Text,
    /// Value.
    pub value: Text,
}

/// `requestRedirect`: what is absent is the request's own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RequestRedirect {
    /// `http` or `https`.
    pub scheme: Option<Text>,
    /// Without port.
    pub hostname: Option<Text>,
    /// The new path.
    pub path: Option<PathModifier>,
    /// The new port.
    pub port: Option<u16>,
    /// 302 when absent.
    pub status_code: Option<u16>,
}

/// `urlRewrite`: what is absent stays.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct UrlRewrite {
    /// The new authority.
    pub hostname: Option<Text>,
    /// The new path.
    pub path: Option<PathModifier>,
}

/// How a path is written anew.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PathModifier {
    /// `ReplaceFullPath` or `ReplacePrefixMatch`.
    #[serde(rename = "type")]
    pub kind: Text,
    /// With `ReplaceFullPath`.
    pub replace_full_path: Option<Text>,
    /// With `ReplacePrefixMatch`.
    pub replace_prefix_match: Option<Text>,
}

/// `requestMirror`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Mirror {
    /// Where copies go.
    pub backend_ref: BackendTarget,
    /// 0-100; everything when both are absent.
    pub percent: Option<u32>,
    /// numerator / denominator (100 when absent).
    pub fraction: Option<Fraction>,
}

/// A share.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Fraction {
    /// At least 0.
    pub numerator: u32,
    /// 100 when absent.
    pub denominator: Option<u32>,
}

/// What a backend reference points to.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Deserialize)]
pub struct BackendTarget {
    /// Core group when absent.
    #[serde(default, deserialize_with = "word")]
    pub group: Text,
    /// `Service` when absent.
    #[serde(default = "service_kind", deserialize_with = "word")]
    pub kind: Text,
    /// The route's own when absent.
    #[serde(default, deserialize_with = "words")]
    pub namespace: Option<Text>,
    /// Name.
    pub name: Text,
    /// The Service's port (never the target port).
    pub port: Option<u16>,
}

fn service_kind() -> Text {
    shared("Service")
}

/// `backendRefs[]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct BackendRef {
    /// What it points to.
    #[serde(flatten)]
    pub target: BackendTarget,
    /// 0-1,000,000; 1 when absent.
    #[serde(default = "one")]
    pub weight: u32,
    /// Applied to this backend alone.
    #[serde(default)]
    pub filters: Vec<Filter>,
}

const fn one() -> u32 {
    1
}

/// The wire form of a route of kind `M`.
#[derive(Deserialize)]
pub(super) struct Wire<M> {
    metadata: Meta,
    spec: WireSpec<M>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", bound = "M: Deserialize<'de>")]
struct WireSpec<M> {
    #[serde(default, deserialize_with = "tight")]
    parent_refs: Vec<ParentRef>,
    #[serde(default, deserialize_with = "hostnames")]
    hostnames: Vec<Hostname>,
    #[serde(default = "Vec::new")]
    rules: Vec<WireRule<M>>,
}

fn hostnames<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Hostname>, D::Error> {
    let names = Option::<Vec<String>>::deserialize(deserializer)?.unwrap_or_default();
    Ok(names.iter().map(|name| Hostname::parse(Some(name))).collect())
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", bound = "M: Deserialize<'de>")]
struct WireRule<M> {
    name: Option<Text>,
    #[serde(default = "Vec::new")]
    matches: Vec<M>,
    #[serde(default, deserialize_with = "tight")]
    filters: Vec<Filter>,
    #[serde(default, deserialize_with = "tight")]
    backend_refs: Vec<BackendRef>,
    timeouts: Option<serde::de::IgnoredAny>,
    retry: Option<serde::de::IgnoredAny>,
    session_persistence: Option<serde::de::IgnoredAny>,
}

/// The wire form of one match of a route kind. One implementation per kind: the only place where kinds differ on the way in.
pub(super) trait WireMatch: for<'de> Deserialize<'de> {
    /// The match for everything.
    fn everything() -> Match;
    /// The unified match.
    fn unify(self) -> Match;
}

#[derive(Deserialize)]
pub(super) struct GrpcWire {
    method: Option<MethodMatch>,
    #[serde(default, deserialize_with = "tight")]
    headers: Vec<NamedMatch>,
}

impl WireMatch for GrpcWire {
    fn everything() -> Match {
        Match::default()
    }

    fn unify(self) -> Match {
        Match { on: Matching::Grpc(self.method), headers: self.headers }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct HttpWire {
    path: Option<PathMatch>,
    method: Option<Text>,
    #[serde(default, deserialize_with = "tight")]
    headers: Vec<NamedMatch>,
    #[serde(default, deserialize_with = "tight")]
    query_params: Vec<NamedMatch>,
}

impl WireMatch for HttpWire {
    fn everything() -> Match {
        Match { on: Matching::Http(HttpMatch::default()), headers: Vec::new() }
    }

    fn unify(self) -> Match {
        let http = HttpMatch { path: self.path.unwrap_or_default(), method: self.method, query: self.query_params };
        Match { on: Matching::Http(http), headers: self.headers }
    }
}

/// Rules of kinds that are not implemented: nothing of them is kept.
#[derive(Deserialize)]
pub(super) struct OpaqueWire {}

impl WireMatch for OpaqueWire {
    fn everything() -> Match {
        Match::default()
    }

    fn unify(self) -> Match {
        Match::default()
    }
}

impl<M: WireMatch> Wire<M> {
    pub(super) fn into_route(self, kind: Kind) -> Route {
        Route {
            kind,
            metadata: self.metadata,
            parents: self.spec.parent_refs,
            hostnames: self.spec.hostnames,
            rules: shrunk(self.spec.rules.into_iter().map(WireRule::into_rule).collect()),
        }
    }
}

impl<M: WireMatch> WireRule<M> {
    fn into_rule(self) -> Rule {
        let mut matches: Vec<Match> = self.matches.into_iter().map(M::unify).collect();
        if matches.is_empty() {
            matches.push(M::everything());
        }
        let matches = shrunk(matches);
        let fields =
            [("timeouts", self.timeouts), ("retry", self.retry), ("sessionPersistence", self.session_persistence)];
        let unsupported =
            fields.into_iter().filter(|(_, value)| value.is_some()).map(|(name, _)| name.into()).collect();
        Rule { name: self.name, matches, filters: self.filters, backends: self.backend_refs, unsupported }
    }
}
