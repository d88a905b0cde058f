mod attachment;
mod backends;
mod said;

use super::lower;
use crate::{
    hostname::Hostname,
    ir::{Action, Forward, PathEdit, PathMatcher, Route, Upstream, ValueTest},
    key::{Kind, NsName, Ref},
    status::{
        Reason as _,
        route::{Finding, Problem},
    },
    translate::{AttachmentPolicy, Lowered, Offer, Surface},
    world::{Change, Object, Parent, Reader, Settings, Surfaces, World, gateway::Namespaces},
};
use serde_json::{Value, json};
use std::sync::Arc;

/// A world with a Gateway `default/edge` of ours, and a Service `default/echo` with the ports 9000 and 9001.
struct Fixture {
    world: World,
    surfaces: Surfaces,
}

fn offer(section: &str, protocol: &str, kinds: &[Kind]) -> Offer {
    Offer {
        section: section.into(),
        port: if protocol == "HTTPS" { 443 } else { 80 },
        protocol: protocol.into(),
        secure: protocol == "HTTPS",
        hostname: Hostname::parse(Some("*.example.com")),
        kinds: kinds.to_vec(),
        namespaces: Namespaces { from: Some("Same".into()), selector: None },
        serves: true,
    }
}

const STRICT: AttachmentPolicy =
    AttachmentPolicy { cleartext: false, shared_hostnames: false, grant_for_attachment: false };

fn gateway() -> Parent {
    Parent::Gateway(NsName::new("default", "edge"))
}

impl Fixture {
    fn new() -> Self {
        let mut fixture = Self { world: World::new(Settings::default()), surfaces: Surfaces::new() };
        fixture.offering(vec![
            offer("https", "HTTPS", &[Kind::GrpcRoute, Kind::HttpRoute]),
            offer("http", "HTTP", &[Kind::HttpRoute]),
        ]);
        fixture.put(Kind::Service, service("default", "echo", &json!({})));
        fixture
    }

    fn offering(&mut self, listeners: Vec<Offer>) {
        self.surface(STRICT, listeners);
    }

    fn surface(&mut self, policy: AttachmentPolicy, listeners: Vec<Offer>) {
        let surface = Surface { gateway: NsName::new("default", "edge"), policy, listeners };
        self.surfaces.insert(gateway(), Arc::new(surface));
    }

    fn put(&mut self, kind: Kind, value: Value) {
        self.world.apply(Change::Upsert(Object::decode(kind, value).unwrap()));
    }

    fn lower(&mut self, kind: Kind, spec: Value) -> Lowered {
        self.lower_from("default", kind, spec)
    }

    fn lower_from(&mut self, namespace: &str, kind: Kind, mut spec: Value) -> Lowered {
        let fields = spec.as_object_mut().unwrap();
        fields
            .entry("parentRefs")
            .or_insert_with(|| json!([{"name": "edge", "namespace": "default", "sectionName": "https"}]));
        fields.entry("hostnames").or_insert_with(|| json!(["grpc.example.com"]));
        self.put(kind, json!({"metadata": {"namespace": namespace, "name": "route", "generation": 7}, "spec": spec}));
        let route = Ref::new(kind, NsName::new(namespace, "route"));
        lower(&route, &Reader::new(&self.world, &self.surfaces)).unwrap()
    }

    fn rule(&mut self, rule: &Value) -> Lowered {
        self.lower(Kind::GrpcRoute, json!({"rules": [rule]}))
    }
}

fn service(namespace: &str, name: &str, extra: &Value) -> Value {
    let mut spec = json!({"ports": [{"port": 9000, "name": "grpc"}, {"port": 9001, "name": "other"}]});
    spec.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    json!({"metadata": {"namespace": namespace, "name": name}, "spec": spec})
}

fn echo() -> Value {
    json!({"name": "echo", "port": 9000})
}

fn only(lowered: &Lowered) -> &Route {
    assert_eq!(lowered.routes.len(), 1, "{:?}", lowered.problems);
    &lowered.routes[0].route
}

fn forward(lowered: &Lowered) -> &Forward {
    match &only(lowered).action {
        Action::Forward(forward) => forward,
        other => panic!("{other:?}; {:?}", lowered.problems),
    }
}

fn refusal(lowered: &Lowered) -> (&'static str, String) {
    let problem = lowered.attachments[0].refusal.as_ref().expect("a refusal");
    match problem.finding() {
        Finding::Accepted(reason) => (reason.as_str(), problem.to_string()),
        other => panic!("{other:?}"),
    }
}

fn unresolved(lowered: &Lowered) -> (&'static str, String) {
    let problem = lowered.problems.first().expect("a problem");
    match problem.finding() {
        Finding::ResolvedRefs(reason) => (reason.as_str(), problem.to_string()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_guides_route_binds_its_hostname_and_forwards_to_its_service_by_http_2() {
    let lowered = Fixture::new().rule(&json!({"backendRefs": [echo()]}));
    let bindings = &lowered.attachments[0].bindings;
    assert_eq!(bindings.iter().map(|binding| binding.domain.as_str()).collect::<Vec<_>>(), ["grpc.example.com"]);
    assert_eq!(&*forward(&lowered).shares[0].cluster, "default/echo/9000/h2");
    assert_eq!(lowered.clusters[0].upstream, Upstream::H2);
    assert!(only(&lowered).matcher.grpc_only && only(&lowered).matcher.path == PathMatcher::Any);
    assert_eq!(lowered.problems, []);
}

#[test]
fn a_method_match_becomes_the_path_that_it_stands_for() {
    let table = [
        (json!({"service": "echo.Echo", "method": "EchoV2"}), PathMatcher::Exact("/echo.Echo/EchoV2".into())),
        (json!({"service": "echo.Echo"}), PathMatcher::Prefix("/echo.Echo/".into())),
        (json!({"method": "EchoV2"}), PathMatcher::Regex("/[^/]+/EchoV2".into())),
        (
            json!({"type": "RegularExpression", "service": "a|b", "method": "Get|List"}),
            PathMatcher::Regex("/(?:a|b)/(?:Get|List)".into()),
        ),
        (json!({"type": "RegularExpression", "service": "a.*"}), PathMatcher::Regex("/(?:a.*)/[^/]+".into())),
        (json!({"type": "RegularExpression", "method": "Get.*"}), PathMatcher::Regex("/[^/]+/(?:Get.*)".into())),
    ];
    for (method, expected) in table {
        let lowered = Fixture::new().rule(&json!({"matches": [{"method": method}], "backendRefs": [echo()]}));
        assert_eq!(only(&lowered).matcher.path, expected, "{method}");
    }
}

#[test]
fn of_equal_header_names_the_first_counts() {
    let headers = json!([{"name": "Env", "value": "canary"}, {"name": "env", "value": "other"},
        {"type": "RegularExpression", "name": "user", "value": "a.*"}]);
    let lowered = Fixture::new().rule(&json!({"matches": [{"headers": headers}], "backendRefs": [echo()]}));
    let headers = &only(&lowered).matcher.headers;
    let read: Vec<_> = headers.iter().map(|header| (&*header.name, &header.value)).collect();
    let canary = ValueTest::Exact("canary".into());
    let expression = ValueTest::Regex("a.*".into());
    assert_eq!(read, [("env", &canary), ("user", &expression)]);
    assert_eq!(lowered.routes[0].rank.headers, 2);
}

#[test]
fn a_rule_that_cannot_be_served_is_dropped_and_the_others_are_served() {
    let table = [
        ("an unknown type of method", json!({"matches": [{"method": {"type": "Glob", "service": "a"}}]}), "Glob"),
        ("a malformed service", json!({"matches": [{"method": {"service": "a/b"}}]}), "service name"),
        ("a malformed method", json!({"matches": [{"method": {"method": "1"}}]}), "method name"),
        (
            "a bad expression",
            json!({"matches": [{"method": {"type": "RegularExpression", "method": "("}}]}),
            "unclosed",
        ),
        (
            "an unknown type of header",
            json!({"matches": [{"headers": [{"type": "X", "name": "a", "value": "b"}]}]}),
            "X is unknown",
        ),
        ("a pseudo-header", json!({"matches": [{"headers": [{"name": ":path", "value": "b"}]}]}), "header name"),
        ("an unknown filter", json!({"filters": [{"type": "CORS"}]}), "CORS is not implemented"),
        ("a field that is not implemented", json!({"sessionPersistence": {}}), "sessionPersistence"),
        ("an edit of Host", edit(&json!({"set": [{"name": "Host", "value": "x"}]})), "belongs to the protocol"),
        (
            "an edit of a pseudo-header",
            edit(&json!({"set": [{"name": ":path", "value": "x"}]})),
            "belongs to the protocol",
        ),
        ("a removed hop-by-hop header", edit(&json!({"remove": ["Connection"]})), "belongs to the protocol"),
        ("a line break in a value", edit(&json!({"add": [{"name": "a", "value": "x\r\ny: z"}]})), "control character"),
        ("a NUL in a value", edit(&json!({"add": [{"name": "a", "value": "x\0"}]})), "control character"),
        ("a share above 1", mirror(&json!({"fraction": {"numerator": 2, "denominator": 1}})), "between 0 and 1"),
        ("a share of nothing", mirror(&json!({"fraction": {"numerator": 2, "denominator": 0}})), "between 0 and 1"),
    ];
    for (name, bad, words) in table {
        let lowered = Fixture::new().lower(Kind::GrpcRoute, json!({"rules": [bad, {"backendRefs": [echo()]}]}));
        assert_eq!(only(&lowered).origin.rule, 1, "{name}");
        assert!(lowered.attachments[0].refusal.is_none(), "{name}");
        let problem = &lowered.problems[0];
        assert!(matches!(problem, Problem::RuleDropped(_)), "{name}: {problem}");
        assert!(
            problem.to_string().contains(words) && problem.to_string().starts_with("rules[0]"),
            "{name}: {problem}"
        );
    }
}

fn edit(modifier: &Value) -> Value {
    json!({"filters": [{"type": "RequestHeaderModifier", "requestHeaderModifier": modifier}], "backendRefs": [echo()]})
}

fn mirror(share: &Value) -> Value {
    let mut body = json!({"backendRef": {"name": "echo", "port": 9001}});
    body.as_object_mut().unwrap().extend(share.as_object().unwrap().clone());
    json!({"filters": [{"type": "RequestMirror", "requestMirror": body}], "backendRefs": [echo()]})
}

#[test]
fn a_route_without_a_valid_rule_is_not_accepted() {
    let lowered = Fixture::new().rule(&json!({"filters": [{"type": "CORS"}]}));
    let (reason, message) = refusal(&lowered);
    assert_eq!(reason, "UnsupportedValue");
    assert!(message.contains("CORS is not implemented"), "{message}");
    assert!(lowered.attachments[0].bindings.is_empty() && lowered.problems.is_empty());
}

fn grant(namespace: &str, from: &str, to: &Value) -> Value {
    let from = json!({"group": "gateway.networking.k8s.io", "kind": "GRPCRoute", "namespace": from});
    json!({"metadata": {"namespace": namespace, "name": "grant"}, "spec": {"from": [from], "to": [to]}})
}

#[test]
fn an_extension_that_leads_nowhere_is_never_skipped() {
    let extension = json!({"type": "ExtensionRef", "extensionRef": {"group": "x.io", "kind": "Auth", "name": "a"}});
    let lowered = Fixture::new().rule(&json!({"filters": [extension], "backendRefs": [echo()]}));
    assert!(matches!(only(&lowered).action, Action::Unavailable(_)));
    assert_eq!(unresolved(&lowered).0, "InvalidKind");
    let of_one = json!([{"name": "echo", "port": 9000, "filters": [extension]}, {"name": "echo", "port": 9001}]);
    let lowered = Fixture::new().rule(&json!({"backendRefs": of_one}));
    assert_eq!((forward(&lowered).unavailable, forward(&lowered).shares.len()), (1, 1));
}

fn http(filters: &Value, matched: &Value) -> Value {
    json!({"rules": [{"matches": [{"path": matched}], "filters": filters, "backendRefs": [echo()]}]})
}

#[test]
fn a_redirect_and_a_rewrite_are_what_they_say_or_a_fault() {
    let (prefix, exact) = (json!({"type": "PathPrefix", "value": "/a"}), json!({"type": "Exact", "value": "/a"}));
    let redirect = |body: Value| json!([{"type": "RequestRedirect", "requestRedirect": body}]);
    let rewrite = |body: Value| json!([{"type": "URLRewrite", "urlRewrite": body}]);
    let by_prefix = json!({"type": "ReplacePrefixMatch", "replacePrefixMatch": "/b/"});
    let full = |path: &str| json!({"type": "ReplaceFullPath", "replaceFullPath": path});
    let two = json!([redirect(json!({}))[0], rewrite(json!({}))[0]]);
    let table = [
        ("a scheme", redirect(json!({"scheme": "ftp"})), &prefix, "http or https"),
        ("a status", redirect(json!({"statusCode": 200})), &prefix, "308"),
        ("a host", redirect(json!({"hostname": "*.io"})), &prefix, "without a wildcard"),
        ("a path", redirect(json!({"path": full("/a?b")})), &prefix, "no query"),
        ("a type of path", rewrite(json!({"path": {"type": "X"}})), &prefix, "ReplaceFullPath"),
        ("a prefix without one", rewrite(json!({"path": by_prefix})), &exact, "PathPrefix"),
        ("both", two, &prefix, "URLRewrite"),
    ];
    for (name, filters, matched, said) in table {
        let lowered = Fixture::new().lower(Kind::HttpRoute, http(&filters, matched));
        let (_, message) = refusal(&lowered);
        assert!(message.contains(said), "{name}: {message}");
    }
    let lowered = Fixture::new().lower(Kind::HttpRoute, http(&redirect(json!({"hostname": "a.io"})), &exact));
    let Action::Redirect(to) = &only(&lowered).action else { panic!("{lowered:?}") };
    assert_eq!((to.hostname.as_deref(), to.status, lowered.clusters.len()), (Some("a.io"), 302, 0));
    let lowered = Fixture::new().lower(Kind::HttpRoute, http(&rewrite(json!({"path": by_prefix})), &prefix));
    let by = forward(&lowered).rewrite.as_deref().and_then(|rewrite| rewrite.path.clone());
    assert_eq!(by, Some(PathEdit::Prefix("/b".into())));
}

#[test]
fn a_method_of_grpc_is_no_url_to_change() {
    let filters = json!([{"type": "URLRewrite", "urlRewrite": {"hostname": "a.io"}}]);
    let lowered = Fixture::new().rule(&json!({"filters": filters, "backendRefs": [echo()]}));
    assert_eq!(refusal(&lowered).0, "IncompatibleFilters");
}

#[test]
fn header_edits_are_kept_by_rule_and_by_backend() {
    let set = json!({"set": [{"name": "X-A", "value": "100%"}, {"name": "x-a", "value": "2"}], "remove": ["X-B"]});
    let response =
        json!({"type": "ResponseHeaderModifier", "responseHeaderModifier": {"add": [{"name": "r", "value": "1"}]}});
    let mut rule = edit(&set);
    rule["backendRefs"][0]["filters"] = json!([response]);
    let lowered = Fixture::new().rule(&rule);
    let edits = &only(&lowered).request_headers;
    assert_eq!((edits.set.as_slice(), edits.remove.len()), ([("x-a".into(), "100%".into())].as_slice(), 1));
    assert_eq!(forward(&lowered).shares[0].response_headers.add.len(), 1);
}

#[test]
fn an_http_route_matches_paths_methods_and_parameters() {
    let table = [
        (json!({}), PathMatcher::Any),
        (json!({"path": {"type": "PathPrefix", "value": "/v1/"}}), PathMatcher::Segments("/v1".into())),
        (json!({"path": {"type": "Exact", "value": "/v1/"}}), PathMatcher::Exact("/v1/".into())),
        (json!({"path": {"type": "RegularExpression", "value": "/v[12]"}}), PathMatcher::Regex("/v[12]".into())),
    ];
    for (one, expected) in table {
        let rules = json!({"rules": [{"matches": [one], "backendRefs": [echo()]}]});
        let lowered = Fixture::new().lower(Kind::HttpRoute, rules);
        assert_eq!(only(&lowered).matcher.path, expected, "{one}");
        assert!(!only(&lowered).matcher.grpc_only);
        assert_eq!(lowered.clusters[0].upstream, Upstream::H1);
    }
    let one = json!({"method": "GET", "queryParams": [{"name": "a", "value": "1"}, {"name": "a", "value": "2"}]});
    let lowered =
        Fixture::new().lower(Kind::HttpRoute, json!({"rules": [{"matches": [one], "backendRefs": [echo()]}]}));
    assert_eq!((only(&lowered).matcher.method.as_deref(), only(&lowered).matcher.query.len()), (Some("GET"), 1));
}

#[test]
fn a_filter_of_http_routes_that_is_not_implemented_drops_its_rule_by_name() {
    for filter in ["RequestRedirect", "URLRewrite", "CORS"] {
        let lowered = Fixture::new().lower(Kind::HttpRoute, json!({"rules": [{"filters": [{"type": filter}]}, {}]}));
        assert!(lowered.problems[0].to_string().contains(filter), "{}", lowered.problems[0]);
    }
}

#[test]
fn policies_reach_the_rule_that_they_name_and_the_older_one_holds() {
    let mut fixture = Fixture::new();
    fixture
        .put(Kind::GrpcPolicy, policy("whole", 2, &json!({}), &json!({"timeouts": {"request": "2s", "idle": "0s"}})));
    fixture.put(Kind::GrpcPolicy, policy("late", 3, &json!({}), &json!({"timeouts": {"request": "9s"}})));
    let retry = json!({"retry": {"attempts": 2, "perTryTimeout": "500ms"}});
    fixture.put(Kind::GrpcPolicy, policy("one", 9, &json!({"sectionName": "canary"}), &retry));
    fixture.put(Kind::GrpcPolicy, policy("bad", 1, &json!({}), &json!({"timeouts": {"request": "soon"}})));
    let lowered = fixture.lower(Kind::GrpcRoute, json!({"rules": [{"name": "canary"}, {}]}));
    let (canary, rest) = (&lowered.routes[0].route, &lowered.routes[1].route);
    assert_eq!((rest.timeouts.request.unwrap().as_secs(), rest.timeouts.idle, &rest.retry), (2, None, &None));
    let retry = canary.retry.as_ref().unwrap();
    assert_eq!((retry.attempts, retry.per_try.unwrap().as_millis(), retry.budget_percent), (2, 500, Some(20)));
    assert_eq!((&*retry.on[0], canary.timeouts.request), ("unavailable", None));
}

fn policy(name: &str, second: u32, section: &Value, spec: &Value) -> Value {
    let mut target = json!({"group": "gateway.networking.k8s.io", "kind": "GRPCRoute", "name": "route"});
    target.as_object_mut().unwrap().extend(section.as_object().unwrap().clone());
    let mut spec = spec.clone();
    spec["targetRefs"] = json!([target]);
    let created = format!("2026-01-01T00:00:{second:02}Z");
    json!({"metadata": {"namespace": "default", "name": name, "creationTimestamp": created, "generation": 1}, "spec": spec})
}
