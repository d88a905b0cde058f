//! What becomes of one call: which route takes it, and why those before it do not.
//!
//! a [`Listener`] and the hosts of a Gateway, a [`Call`] → a [`Trace`]
//!
//! **Invariant:** reads what the proxies are given, in the order in which they try it: nothing of routes as they are written.
//!
//! Knows nothing of endpoints, certificates and time, nor of what Envoy does to a call before it looks for a route: paths are taken as
//! they are, and headers that Envoy adds (`x-forwarded-proto`, `x-request-id`) are not there. That Envoy decides alike is tested with the
//! calls of the envoy suite's matches.

use crate::{
    hostname::Hostname,
    ir::{Chain, Listener, Matcher, PathMatcher, Protocol, Route, ValueMatcher, ValueTest, VirtualHost},
    key::Text,
};
use regex::bytes::RegexBuilder;
use std::{collections::BTreeMap, fmt};

/// A call as it comes to a listener. Names of headers are in lower case; values that were sent apart are joined by commas, as Envoy does.
#[derive(Clone, Debug, Default)]
pub struct Call {
    /// The host of `:authority`, and of SNI.
    pub host: Text,
    /// Without the query.
    pub path: Text,
    /// The HTTP method.
    pub method: Text,
    /// The headers.
    pub headers: BTreeMap<Text, Text>,
    /// The parameters of the query; of those sent twice the first.
    pub query: BTreeMap<Text, Text>,
}

/// How a call went through a listener.
#[derive(Clone, Debug)]
pub struct Trace<'p> {
    /// The filter chain by SNI; `None` on a cleartext port.
    pub chain: Option<&'p Chain>,
    /// The host that takes the call; nobody else is asked afterwards.
    pub host: Option<&'p VirtualHost>,
    /// The host's routes up to the one that takes the call, each with what it lacks.
    pub tried: Vec<(&'p Route, Option<Mismatch<'p>>)>,
}

impl<'p> Trace<'p> {
    /// The route that takes the call.
    pub fn taken(&self) -> Option<&'p Route> {
        self.tried.last().filter(|(_, lacks)| lacks.is_none()).map(|(route, _)| *route)
    }
}

/// The first thing that a call lacks for a matcher.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mismatch<'p> {
    /// It is another path.
    Path(&'p PathMatcher),
    /// It is no gRPC call.
    Grpc,
    /// It has another HTTP method.
    Method(&'p Text),
    /// A header is absent, or another.
    Header(&'p ValueMatcher, Option<Text>),
    /// A parameter is absent, or another.
    Query(&'p ValueMatcher, Option<Text>),
}

impl fmt::Display for Mismatch<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = |f: &mut fmt::Formatter<'_>, what: &str, wanted: &ValueMatcher, found: &Option<Text>| {
            let name = &wanted.name;
            match (found, &wanted.value) {
                (None, _) => write!(f, "has no {what} {name}"),
                (Some(found), ValueTest::Exact(value)) => write!(f, "{what} {name} is {found:?}, not {value:?}"),
                (Some(found), ValueTest::Regex(value)) => write!(f, "{what} {name} is {found:?}, not like {value:?}"),
            }
        };
        match self {
            Self::Path(PathMatcher::Any) => write!(f, "has no path"),
            Self::Path(PathMatcher::Exact(path)) => write!(f, "path is not {path}"),
            Self::Path(PathMatcher::Prefix(path)) => write!(f, "path does not begin with {path}"),
            Self::Path(PathMatcher::Segments(path)) => write!(f, "path is not {path}, nor below it"),
            Self::Path(PathMatcher::Regex(expression)) => write!(f, "path is not like {expression:?}"),
            Self::Grpc => write!(f, "content-type does not begin with application/grpc"),
            Self::Method(method) => write!(f, "HTTP method is not {method}"),
            Self::Header(wanted, found) => value(f, "header", wanted, found),
            Self::Query(wanted, found) => value(f, "query parameter", wanted, found),
        }
    }
}

/// Follows a call through a listener. `hosts` are those of the Gateway, in any order. O(hosts of the listener + routes of the host).
pub fn explain<'p>(listener: &'p Listener, hosts: impl IntoIterator<Item = &'p VirtualHost>, call: &Call) -> Trace<'p> {
    let name = Hostname::parse(Some(&call.host));
    let (chain, routes) = match &listener.protocol {
        Protocol::Http { routes } => (None, Some(routes)),
        Protocol::Https { chains } => {
            let chain = narrowest(chains, |chain| &chain.sni, &name);
            (chain, chain.map(|chain| &chain.routes))
        }
    };
    let own = hosts.into_iter().filter(|host| Some(&host.routes_of) == routes);
    let host = narrowest(own, |host| &host.domain, &name);
    let mut tried = Vec::new();
    for route in host.into_iter().flat_map(|host| &host.routes) {
        let lacks = mismatch(&route.matcher, call);
        let is_taken = lacks.is_none();
        tried.push((&**route, lacks));
        if is_taken {
            break;
        }
    }
    Trace { chain, host, tried }
}

/// As Envoy chooses: the name itself, then the longest wildcard, then whoever takes all.
fn narrowest<'p, T>(
    all: impl IntoIterator<Item = &'p T>,
    hostname: impl Fn(&T) -> &Hostname,
    name: &Hostname,
) -> Option<&'p T> {
    let covering = all.into_iter().filter(|one| hostname(one).covers(name));
    covering.max_by_key(|one| hostname(one).specificity())
}

fn mismatch<'p>(matcher: &'p Matcher, call: &Call) -> Option<Mismatch<'p>> {
    if !is_path(&matcher.path, &call.path) {
        return Some(Mismatch::Path(&matcher.path));
    }
    let kind = call.headers.get("content-type");
    if matcher.grpc_only && !kind.is_some_and(|kind| kind.starts_with("application/grpc")) {
        return Some(Mismatch::Grpc);
    }
    if let Some(method) = matcher.method.as_ref().filter(|method| **method != call.method) {
        return Some(Mismatch::Method(method));
    }
    let lacking = |wanted: &'p [ValueMatcher], found: &BTreeMap<Text, Text>| {
        let mut pairs = wanted.iter().map(|wanted| (wanted, found.get(&wanted.name).cloned()));
        pairs.find(|(wanted, found)| !found.as_ref().is_some_and(|found| is_value(&wanted.value, found)))
    };
    let header = lacking(&matcher.headers, &call.headers).map(|(wanted, found)| Mismatch::Header(wanted, found));
    header.or_else(|| lacking(&matcher.query, &call.query).map(|(wanted, found)| Mismatch::Query(wanted, found)))
}

fn is_path(matcher: &PathMatcher, path: &str) -> bool {
    match matcher {
        PathMatcher::Any => true,
        PathMatcher::Exact(wanted) => **wanted == *path,
        PathMatcher::Prefix(prefix) => path.starts_with(&**prefix),
        PathMatcher::Segments(prefix) => {
            path.strip_prefix(&**prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        }
        PathMatcher::Regex(expression) => is_like(expression, path),
    }
}

fn is_value(test: &ValueTest, value: &str) -> bool {
    match test {
        ValueTest::Exact(wanted) => **wanted == *value,
        ValueTest::Regex(expression) => is_like(expression, value),
    }
}

/// By bytes, as RE2 does inside Envoy. Where categories of characters are asked for, each byte is the character of that number, as there;
/// `\w` and the like then take more letters than there.
fn is_like(expression: &str, value: &str) -> bool {
    let whole = format!("^(?:{expression})$");
    if let Ok(compiled) = RegexBuilder::new(&whole).unicode(false).build() {
        return compiled.is_match(value.as_bytes());
    }
    let letters: String = value.bytes().map(char::from).collect();
    RegexBuilder::new(&whole).build().is_ok_and(|compiled| compiled.is_match(letters.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        ir::{Action, Edits, Fallback, Origin, Timeouts},
        key::{Kind, NsName},
    };
    use std::sync::Arc;

    fn call(host: &str, path: &str, headers: &[(&str, &str)]) -> Call {
        let headers = headers.iter().chain(&[("content-type", "application/grpc")]);
        Call {
            host: host.into(),
            path: path.into(),
            method: "POST".into(),
            headers: headers.map(|(name, value)| ((*name).into(), (*value).into())).collect(),
            query: BTreeMap::new(),
        }
    }

    fn matcher(path: PathMatcher, headers: Vec<ValueMatcher>) -> Matcher {
        Matcher { path, grpc_only: true, method: None, headers, query: Vec::new() }
    }

    fn header(name: &str, value: ValueTest) -> ValueMatcher {
        ValueMatcher { name: name.into(), value }
    }

    fn host(routes_of: &str, domain: &str, matchers: Vec<Matcher>) -> VirtualHost {
        let route = |(rule, matcher)| Route {
            origin: Origin { kind: Kind::GrpcRoute, route: NsName::new("ns", "r"), rule, rule_name: None, matched: 0 },
            matcher,
            action: Action::Unavailable("".into()),
            request_headers: Edits::default(),
            response_headers: Edits::default(),
            timeouts: Timeouts::default(),
            retry: None,
        };
        VirtualHost {
            routes_of: routes_of.into(),
            domain: Hostname::parse(Some(domain)),
            routes: matchers.into_iter().enumerate().map(route).map(Arc::new).collect(),
            otherwise: Fallback::NotFound,
        }
    }

    fn https(names: &[&str]) -> Listener {
        let chain = |name: &&str| Chain {
            sni: Hostname::parse(Some(name)),
            certificates: Vec::new(),
            clients: None,
            routes: format!("https-443/{name}").into(),
        };
        let chains = names.iter().map(chain).collect();
        Listener { port: 443, bind: ([0, 0, 0, 0], 443).into(), protocol: Protocol::Https { chains } }
    }

    #[test]
    fn the_narrowest_chain_and_the_narrowest_host_in_it_take_a_call_and_nobody_after_them() {
        let listener = https(&["*", "*.b.c", "a.b.c"]);
        let any = || vec![matcher(PathMatcher::Any, Vec::new())];
        let hosts = [
            host("https-443/*", "*", any()),
            host("https-443/*", "a.b.c", any()),
            host("https-443/*.b.c", "*.b.c", Vec::new()),
            host("https-443/*.b.c", "x.b.c", any()),
            host("https-443/a.b.c", "a.b.c", any()),
        ];
        let taken = |name: &str| {
            let call = call(name, "/s/M", &[]);
            let trace = explain(&listener, &hosts, &call);
            (trace.host.map(VirtualHost::name).unwrap_or_default().to_string(), trace.taken().is_some())
        };
        assert_eq!(taken("a.b.c"), ("https-443/a.b.c/a.b.c".into(), true));
        assert_eq!(taken("x.b.c"), ("https-443/*.b.c/x.b.c".into(), true));
        assert_eq!(taken("y.b.c"), ("https-443/*.b.c/*.b.c".into(), false));
        assert_eq!(taken("other.net"), ("https-443/*/*".into(), true));
        let strict = https(&["a.b.c"]);
        assert!(explain(&strict, &hosts, &call("other.net", "/s/M", &[])).chain.is_none());
    }

    #[test]
    fn each_route_says_the_first_thing_that_it_misses() {
        let listener = Listener {
            port: 80,
            bind: ([0, 0, 0, 0], 80).into(),
            protocol: Protocol::Http { routes: "http-80".into() },
        };
        let mut get = matcher(PathMatcher::Any, Vec::new());
        (get.grpc_only, get.method) = (false, Some("GET".into()));
        let hosts = [host(
            "http-80",
            "*",
            vec![
                matcher(PathMatcher::Exact("/s/Other".into()), Vec::new()),
                matcher(PathMatcher::Prefix("/t/".into()), Vec::new()),
                matcher(PathMatcher::Segments("/s/M/x".into()), Vec::new()),
                matcher(PathMatcher::Regex("/s/N|/s".into()), Vec::new()),
                matcher(PathMatcher::Any, vec![header("env", ValueTest::Exact("canary".into()))]),
                matcher(PathMatcher::Any, vec![header("env", ValueTest::Regex("can.*".into()))]),
                matcher(PathMatcher::Any, vec![header("team", ValueTest::Exact("a".into()))]),
                get,
                matcher(PathMatcher::Regex("/s/[MN]".into()), Vec::new()),
                matcher(PathMatcher::Any, Vec::new()),
            ],
        )];
        let call = call("any", "/s/M", &[("env", "a canary")]);
        let trace = explain(&listener, &hosts, &call);
        let words: Vec<String> =
            trace.tried.iter().map(|(_, lacks)| lacks.as_ref().map(ToString::to_string).unwrap_or_default()).collect();
        assert_eq!(
            words,
            [
                "path is not /s/Other",
                "path does not begin with /t/",
                "path is not /s/M/x, nor below it",
                "path is not like \"/s/N|/s\"",
                "header env is \"a canary\", not \"canary\"",
                "header env is \"a canary\", not like \"can.*\"",
                "has no header team",
                "HTTP method is not GET",
                "",
            ]
        );
        assert_eq!(trace.taken().map(|route| route.origin.rule), Some(8));
    }

    #[test]
    fn expressions_are_read_by_bytes_and_whole() {
        assert!(is_like("a|bc", "bc") && !is_like("a|bc", "abc"));
        assert!(is_like("..", "\u{e9}") && !is_like(".", "\u{e9}"));
        assert!(is_like("\\p{L}+", "abc") && !is_like("\\p{L}+", "\u{e9}"), "its second byte is no letter");
    }
}
