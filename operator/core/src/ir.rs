//! The intermediate representation: what the proxies shall do, without a word of protobuf or of Kubernetes objects.
//!
//! `translate` → this → the Envoy encoder. Plain data: `Hash` is the version, `Debug` is what `sluice translate -o ir` shows.
//!
//! **Invariant:** names come from content, never from position.
//! **Invariant:** everything that a [`VirtualHost`] names exists in the same snapshot, or is the static cluster `unavailable`.

use crate::{
    hostname::Hostname,
    key::{Kind, NsName, Text},
    world::{backend::Endpoint, secret::Sensitive},
};
use serde::{Deserialize, Serialize};
use std::{
    fmt,
    hash::{Hash, Hasher},
    net::SocketAddr,
    ops::Deref,
    sync::Arc,
    time::Duration,
};
use twox_hash::XxHash64;

/// One bound port of a Gateway. Named by port, so that no edit of a name or label drains connections.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Listener {
    /// The port of the Gateway's listeners, 1-65535; the resource is `http-80` or `https-443`.
    pub port: u16,
    /// Where proxies bind it.
    pub bind: SocketAddr,
    /// What is spoken.
    pub protocol: Protocol,
}

/// What a port speaks.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// Cleartext HTTP/1.1 and HTTP/2 with prior knowledge; one route configuration for the port.
    Http {
        /// Name of the route configuration.
        routes: Text,
    },
    /// TLS; one chain for each SNI hostname, in order of hostname.
    Https {
        /// The chains.
        chains: Vec<Chain>,
    },
}

/// A filter chain: one SNI hostname, its certificates and its route configuration.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Chain {
    /// `*`: any name, and connections without SNI.
    pub sni: Hostname,
    /// SDS names ([`Certificate::name`]); never change on rotation.
    pub certificates: Vec<Text>,
    /// Whose certificates clients show; `None`: they are not asked for any.
    pub clients: Option<Clients>,
    /// Name of the route configuration.
    pub routes: Text,
}

/// The certificates of clients.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Clients {
    /// SDS name ([`Authorities::name`]).
    pub authorities: Text,
    /// Whether a client without a valid one is turned away.
    pub required: bool,
}

/// A route configuration. Its hosts come by VHDS, each under the name `<name>/<hostname>`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RouteConfiguration {
    /// `http-80` or `https-443/<sni>`.
    pub name: Text,
}

/// The routes of one hostname in one route configuration.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct VirtualHost {
    /// The route configuration.
    pub routes_of: Text,
    /// The hostname, `*` for everything that no other host of the configuration serves.
    pub domain: Hostname,
    /// In the order of matching (R15); what matches none of them is answered by `otherwise`.
    pub routes: Vec<Arc<Route>>,
    /// The last word.
    pub otherwise: Fallback,
}

impl VirtualHost {
    /// The resource name and, since Envoy looks removals up by it, also `VirtualHost.name`.
    pub fn name(&self) -> Text {
        format!("{}/{}", self.routes_of, self.domain).into()
    }

    /// The scheme and the port by which callers come, which the name of the route configuration begins with.
    pub fn listener(&self) -> Option<(&str, u16)> {
        let (scheme, rest) = self.routes_of.split_once('-')?;
        let port = rest.split('/').next()?.parse().ok()?;
        Some((scheme, port))
    }
}

/// What a host answers when no route matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fallback {
    /// 404, which gRPC clients see as UNIMPLEMENTED with a message.
    NotFound,
    /// 421: another listener of the port is responsible for this name.
    Misdirected,
}

/// Where a route comes from: for messages, access logs and quarantine.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Origin {
    /// `GRPCRoute` or `HTTPRoute`: the kind is never lost.
    pub kind: Kind,
    /// The route object.
    pub route: NsName,
    /// `rules[rule]`.
    pub rule: usize,
    /// `rules[].name`.
    pub rule_name: Option<Text>,
    /// `matches[matched]`.
    pub matched: usize,
}

impl Origin {
    /// `rules[2] canary`, for messages.
    pub fn rule_label(&self) -> String {
        match &self.rule_name {
            Some(name) => format!("rules[{}] {name}", self.rule),
            None => format!("rules[{}]", self.rule),
        }
    }
}

/// One match and what happens then.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Route {
    /// Where it comes from.
    pub origin: Origin,
    /// When it applies.
    pub matcher: Matcher,
    /// What happens.
    pub action: Action,
    /// Edits of request headers, before those of a backend.
    pub request_headers: Edits,
    /// Edits of response headers.
    pub response_headers: Edits,
    /// Deadlines.
    pub timeouts: Timeouts,
    /// Retries; boxed, for few routes have them and there are tens of thousands.
    pub retry: Option<Box<Retry>>,
}

/// When a route applies: path AND all of the rest.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Matcher {
    /// The path.
    pub path: PathMatcher,
    /// Only requests whose `content-type` starts with `application/grpc`.
    pub grpc_only: bool,
    /// HTTP method, of an HTTPRoute.
    pub method: Option<Text>,
    /// Headers, names in lower case and distinct.
    pub headers: Vec<ValueMatcher>,
    /// Query parameters, names distinct.
    pub query: Vec<ValueMatcher>,
}

/// How the path is matched.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum PathMatcher {
    /// Any path.
    Any,
    /// `/service/Method`, without the query.
    Exact(Text),
    /// Starts with this text: `/service/`.
    Prefix(Text),
    /// This path, or this path followed by `/` (HTTPRoute's `PathPrefix`); without a trailing `/`.
    Segments(Text),
    /// RE2, matched against the whole path.
    Regex(Text),
}

/// A named value to match.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ValueMatcher {
    /// Header (lower case) or query parameter.
    pub name: Text,
    /// What value.
    pub value: ValueTest,
}

/// A test of a value.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ValueTest {
    /// Equal.
    Exact(Text),
    /// RE2, matched against the whole value.
    Regex(Text),
}

/// What happens to a matched request.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Action {
    /// Sent to backends by weight.
    Forward(Forward),
    /// Answered with another place to ask.
    Redirect(Box<Redirect>),
    /// Nobody can answer: UNAVAILABLE of a GRPCRoute, 500 of an HTTPRoute, as their specifications have it. The text says why.
    Unavailable(Text),
}

/// Another place to ask, of an HTTPRoute. What is absent is the request's own.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Redirect {
    /// `http` or `https`.
    pub scheme: Option<Text>,
    /// Host without port.
    pub hostname: Option<Text>,
    /// The path.
    pub path: Option<PathEdit>,
    /// Absent: that of the scheme if there is one, else the listener's.
    pub port: Option<u16>,
    /// 301, 302, 303, 307 or 308.
    pub status: u16,
}

/// What of a request is written anew before it goes to a backend, of an HTTPRoute. What is absent stays.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Rewrite {
    /// The authority.
    pub hostname: Option<Text>,
    /// The path.
    pub path: Option<PathEdit>,
}

/// A new path.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum PathEdit {
    /// In place of the whole path.
    Full(Text),
    /// In place of the prefix that was matched; without a trailing `/`, so that empty means the root.
    Prefix(Text),
}

/// Backends by weight.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Forward {
    /// In order of the rule's backends, zero weights left out; shares of one cluster with equal edits are added up.
    pub shares: Vec<Share>,
    /// The weight of invalid and forbidden backends: goes to the static cluster `unavailable`.
    pub unavailable: u32,
    /// Copies.
    pub mirrors: Vec<Mirror>,
    /// Edits of host and path.
    pub rewrite: Option<Box<Rewrite>>,
}

impl Forward {
    /// The clusters that are named, copies included; may repeat.
    pub fn clusters(&self) -> impl Iterator<Item = &Text> {
        let copies = self.mirrors.iter().chain(self.shares.iter().flat_map(|share| &share.mirrors));
        self.shares.iter().map(|share| &share.cluster).chain(copies.map(|mirror| &mirror.cluster))
    }
}

/// A backend's part.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Share {
    /// Name of the cluster.
    pub cluster: Text,
    /// At least 1.
    pub weight: u32,
    /// Edits for this backend alone.
    pub request_headers: Edits,
    /// Edits for this backend alone.
    pub response_headers: Edits,
    /// Copies of this backend's requests alone.
    pub mirrors: Vec<Mirror>,
}

/// A copy of requests.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Mirror {
    /// Name of the cluster.
    pub cluster: Text,
    /// Of a million.
    pub parts_per_million: u32,
}

/// Header edits in Gateway API's order: set, add, remove. Values are literal: `%` is escaped by the encoder.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct HeaderEdits {
    /// Overwrite or add.
    pub set: Vec<(Text, Text)>,
    /// Append.
    pub add: Vec<(Text, Text)>,
    /// Remove.
    pub remove: Vec<Text>,
}

/// [`HeaderEdits`] in the size of a pointer: most routes and shares have none, and there are tens of thousands of them.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "HeaderEdits", into = "HeaderEdits")]
pub struct Edits(Option<Box<HeaderEdits>>);

static NO_EDITS: HeaderEdits = HeaderEdits { set: Vec::new(), add: Vec::new(), remove: Vec::new() };

impl Deref for Edits {
    type Target = HeaderEdits;

    fn deref(&self) -> &HeaderEdits {
        self.0.as_deref().unwrap_or(&NO_EDITS)
    }
}

impl From<HeaderEdits> for Edits {
    fn from(edits: HeaderEdits) -> Self {
        Self((edits != NO_EDITS).then(|| Box::new(edits)))
    }
}

impl From<Edits> for HeaderEdits {
    fn from(edits: Edits) -> Self {
        (*edits).clone()
    }
}

/// As if the pointer were not there: versions and fingerprints go by it.
impl Hash for Edits {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (**self).hash(state);
    }
}

impl fmt::Debug for Edits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

/// Deadlines. What is absent is not limited.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Timeouts {
    /// From the first byte of the request to the last of the response; a shorter `grpc-timeout` of the client is honoured.
    pub request: Option<Duration>,
    /// Without a byte in either direction.
    pub idle: Option<Duration>,
    /// Of a stream, however busy; the smaller of this and `request` is enforced.
    pub max_stream: Option<Duration>,
}

/// Retries before anything was sent downstream.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Retry {
    /// Beside the first.
    pub attempts: u32,
    /// gRPC status names as Envoy's `retry_on` knows them; connection failures and refused streams are always included.
    pub on: Vec<Text>,
    /// Of each attempt.
    pub per_try: Option<Duration>,
    /// Of active requests, 0-100.
    pub budget_percent: Option<u32>,
}

/// How backends of a cluster are spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Upstream {
    /// HTTP/1.1.
    H1,
    /// HTTP/2 with prior knowledge.
    H2,
}

/// A Service's port, spoken to in one way. Shared by every rule that uses it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Cluster {
    /// The Service.
    pub service: NsName,
    /// Its port.
    pub port: u16,
    /// The protocol.
    pub upstream: Upstream,
    /// Over TLS, if so.
    pub tls: Option<Arc<Tls>>,
}

/// TLS towards backends.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Tls {
    /// The server name that is asked for.
    pub sni: Text,
    /// The backend's certificate is valid for one of these; never empty.
    pub names: Vec<SubjectName>,
    /// The ConfigMaps of those who may have signed it, in order; never empty.
    pub authorities: Vec<NsName>,
}

/// A name in a certificate.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum SubjectName {
    /// A hostname.
    Dns(Text),
    /// A URI, as SPIFFE has it.
    Uri(Text),
}

impl Cluster {
    /// `ns/service/port/h2` or `ns/service/port/h2tls/<hash of what TLS asks for>`: from content, stable under every edit of routes
    /// and under every rotation.
    pub fn name(&self) -> Text {
        let upstream = match self.upstream {
            Upstream::H1 => "h1",
            Upstream::H2 => "h2",
        };
        match &self.tls {
            None => format!("{}/{}/{upstream}", self.service, self.port).into(),
            Some(tls) => format!("{}/{}/{upstream}tls/{:016x}", self.service, self.port, tls.fingerprint()).into(),
        }
    }
}

impl Tls {
    /// The same on every machine and in every version: it is part of a name.
    fn fingerprint(&self) -> u64 {
        let names = self.names.iter().map(|name| match name {
            SubjectName::Dns(name) => format!("dns:{name}"),
            SubjectName::Uri(name) => format!("uri:{name}"),
        });
        let parts: Vec<String> = [self.sni.to_string(), Authorities::name_of(&self.authorities).to_string()]
            .into_iter()
            .chain(names)
            .collect();
        XxHash64::oneshot(0, parts.join("\n").as_bytes())
    }
}

/// The endpoints of a cluster.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Assignment {
    /// Name of the cluster.
    pub cluster: Text,
    /// Sorted, distinct.
    pub endpoints: Vec<Target>,
}

/// An endpoint with its port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Target {
    /// Address and state. When a Service has no ready endpoint, draining ones are given as ready (as kube-proxy does).
    pub endpoint: Endpoint,
    /// The target port.
    pub port: u16,
}

/// A certificate with its key, served by SDS.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Certificate {
    /// `namespace/name` of the Secret: never changes on rotation.
    pub name: Text,
    /// PEM chain, leaf first.
    pub chain: Sensitive,
    /// PEM key.
    pub key: Sensitive,
}

/// Those whose signature counts, served by SDS.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Authorities {
    /// [`Authorities::name_of`] the ConfigMaps: never changes on rotation.
    pub name: Text,
    /// PEM.
    pub pem: Text,
}

impl Authorities {
    /// `configmap/namespace/name`, with further ones behind a `+`. No Secret is called so.
    pub fn name_of(maps: &[NsName]) -> Text {
        let maps: Vec<String> = maps.iter().map(ToString::to_string).collect();
        format!("configmap/{}", maps.join("+")).into()
    }
}
