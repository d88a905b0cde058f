use super::lower;
use crate::{
    hostname::Hostname,
    ir::{Action, Forward, PathEdit, PathMatcher, Route, Upstream, ValueTest},
    key::{Kind, NsName, Ref},
    status::{
        Delivery, Reason as _,
        route::{Accepted, Finding, Problem, Standing, project},
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

#[test]
fn an_invalid_backend_keeps_its_share() {
    let backends = json!([{"name": "echo", "port": 9000, "weight": 3}, {"name": "gone", "port": 1, "weight": 2},
        {"name": "echo", "port": 9000, "weight": 4}, {"name": "echo", "port": 9001, "weight": 0}]);
    let lowered = Fixture::new().rule(&json!({"backendRefs": backends}));
    let forward = forward(&lowered);
    assert_eq!((forward.shares.len(), forward.shares[0].weight, forward.unavailable), (1, 7, 2));
    assert_eq!(lowered.clusters.len(), 1, "a weight of 0 needs no cluster");
    assert!(lowered.attachments[0].refusal.is_none(), "a bad backend leaves the route accepted");
}

#[test]
fn each_fault_of_a_backend_has_its_reason_and_its_fix() {
    let mut fixture = Fixture::new();
    fixture.put(Kind::Service, service("other", "echo", &json!({})));
    fixture.put(Kind::Service, service("default", "alias", &json!({"type": "ExternalName"})));
    let ports = json!({"ports": [{"port": 9000, "appProtocol": "kubernetes.io/ws"}, {"port": 53, "protocol": "UDP"}]});
    fixture.put(Kind::Service, service("default", "socket", &ports));
    let table = [
        (json!({"name": "gone", "port": 9000}), "BackendNotFound", "Service default/gone not found"),
        (json!({"name": "echo", "port": 80}), "BackendNotFound", "no TCP port 80: use one of its ports (9000, 9001)"),
        (json!({"name": "echo"}), "BackendNotFound", "use one of its ports (9000, 9001)"),
        (json!({"name": "socket", "port": 53}), "BackendNotFound", "no TCP port 53"),
        (json!({"kind": "Bucket", "name": "b"}), "InvalidKind", "use a Service"),
        (json!({"group": "x.io", "name": "b"}), "InvalidKind", "kind Service of group x.io"),
        (json!({"name": "alias", "port": 9000}), "InvalidKind", "ExternalName"),
        (json!({"name": "socket", "port": 9000}), "UnsupportedProtocol", "kubernetes.io/ws"),
        (
            json!({"name": "echo", "namespace": "other", "port": 9000}),
            "RefNotPermitted",
            "create in namespace other a ReferenceGrant",
        ),
        (json!({"name": "secret", "namespace": "other", "port": 9000}), "RefNotPermitted", "ReferenceGrant"),
    ];
    for (backend, reason, words) in table {
        let lowered = fixture.rule(&json!({"backendRefs": [backend]}));
        let (found, message) = unresolved(&lowered);
        assert_eq!(found, reason, "{backend}");
        assert!(message.contains(words) && message.starts_with("rules[0].backendRefs[0]: "), "{backend}: {message}");
        assert!(matches!(only(&lowered).action, Action::Unavailable(_)) && lowered.clusters.is_empty());
    }
}

#[test]
fn a_grant_permits_a_backend_of_another_namespace_until_it_is_removed() {
    let mut fixture = Fixture::new();
    fixture.put(Kind::Service, service("other", "echo", &json!({})));
    let rule = json!({"backendRefs": [{"name": "echo", "namespace": "other", "port": 9000}]});
    fixture.put(Kind::ReferenceGrant, grant("other", "default", &json!({"group": "", "kind": "Service"})));
    assert_eq!(&*forward(&fixture.rule(&rule)).shares[0].cluster, "other/echo/9000/h2");
    fixture.world.apply(Change::Delete(Ref::new(Kind::ReferenceGrant, NsName::new("other", "grant"))));
    assert_eq!(unresolved(&fixture.rule(&rule)).0, "RefNotPermitted");
}

fn grant(namespace: &str, from: &str, to: &Value) -> Value {
    let from = json!({"group": "gateway.networking.k8s.io", "kind": "GRPCRoute", "namespace": from});
    json!({"metadata": {"namespace": namespace, "name": "grant"}, "spec": {"from": [from], "to": [to]}})
}

#[test]
fn a_rule_without_usable_backends_answers_unavailable() {
    let table = [json!({}), json!({"backendRefs": [{"name": "echo", "port": 9000, "weight": 0}]})];
    for rule in table {
        let lowered = Fixture::new().rule(&rule);
        assert!(matches!(only(&lowered).action, Action::Unavailable(_)), "{rule}");
        assert_eq!(lowered.problems, [], "{rule}");
    }
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

#[test]
fn a_mirror_copies_its_share_and_a_bad_one_is_left_out() {
    for (share, parts) in [
        (json!({}), 1_000_000),
        (json!({"percent": 5}), 50_000),
        (json!({"fraction": {"numerator": 1, "denominator": 1000}}), 1_000),
        (json!({"fraction": {"numerator": 7}}), 70_000),
    ] {
        let lowered = Fixture::new().rule(&mirror(&share));
        let mirrors = &forward(&lowered).mirrors;
        assert_eq!((&*mirrors[0].cluster, mirrors[0].parts_per_million), ("default/echo/9001/h2", parts), "{share}");
    }
    let mut bad = mirror(&json!({}));
    bad["filters"][0]["requestMirror"]["backendRef"]["name"] = json!("gone");
    let lowered = Fixture::new().rule(&bad);
    assert_eq!((forward(&lowered).mirrors.len(), unresolved(&lowered).0), (0, "BackendNotFound"));
}

#[test]
fn a_mirror_of_one_backend_stays_with_it() {
    let filters = mirror(&json!({}))["filters"].clone();
    let mirrored = json!({"name": "echo", "port": 9000, "filters": filters});
    let lowered = Fixture::new().rule(&json!({"backendRefs": [mirrored, {"name": "echo", "port": 9001}]}));
    let forward = forward(&lowered);
    let copies: Vec<usize> = forward.shares.iter().map(|share| share.mirrors.len()).collect();
    assert_eq!((forward.mirrors.len(), copies), (0, vec![1, 0]));
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
fn each_way_of_not_attaching_has_its_reason_and_its_fix() {
    let everywhere = json!([{"name": "edge", "namespace": "default"}]);
    let table = [
        (
            "default",
            json!({"parentRefs": [{"name": "edge", "sectionName": "http"}]}),
            "NotAllowedByListeners",
            "listener http has protocol HTTP",
        ),
        (
            "default",
            json!({"parentRefs": [{"name": "edge", "sectionName": "none"}]}),
            "NoMatchingParent",
            "it has https, http",
        ),
        ("default", json!({"parentRefs": [{"name": "edge", "port": 1}]}), "NoMatchingParent", "on port 1"),
        (
            "default",
            json!({"parentRefs": [{"name": "edge", "sectionName": "https", "port": 80}]}),
            "NoMatchingParent",
            "https on port 80",
        ),
        (
            "default",
            json!({"hostnames": ["example.org", "example.com"]}),
            "NoMatchingListenerHostname",
            "*.example.com",
        ),
        ("other", json!({"parentRefs": everywhere}), "NotAllowedByListeners", "no routes from namespace other"),
    ];
    for (namespace, spec, reason, words) in table {
        let lowered = Fixture::new().lower_from(namespace, Kind::GrpcRoute, spec.clone());
        let (found, message) = refusal(&lowered);
        assert_eq!(found, reason, "{spec}");
        assert!(message.contains(words), "{spec}: {message}");
        assert!(lowered.attachments[0].bindings.is_empty());
    }
}

#[test]
fn a_listener_that_takes_other_kinds_names_them() {
    let mut fixture = Fixture::new();
    fixture.offering(vec![offer("https", "HTTPS", &[Kind::HttpRoute])]);
    let (reason, message) = refusal(&fixture.rule(&json!({})));
    assert_eq!(reason, "NotAllowedByListeners");
    assert!(message.contains("does not take GRPCRoute, only HTTPRoute"), "{message}");
}

#[test]
fn a_kind_that_is_not_implemented_says_so() {
    for kind in [Kind::TlsRoute, Kind::TcpRoute, Kind::UdpRoute] {
        let lowered = Fixture::new().lower(kind, json!({"rules": [{"backendRefs": [echo()]}]}));
        let (reason, message) = refusal(&lowered);
        assert_eq!(reason, "NotAllowedByListeners");
        assert!(message.contains("does not implement"), "{message}");
        assert!(lowered.routes.is_empty());
    }
}

#[test]
fn a_parent_that_is_not_ours_gets_no_entry() {
    let foreign = json!({"parentRefs": [{"name": "foreign"}, {"group": "", "kind": "Service", "name": "echo"}]});
    assert_eq!(Fixture::new().lower(Kind::GrpcRoute, foreign).attachments, []);
    let rules = json!([{"backendRefs": [{"name": "echo", "port": 9000}, {"name": "absent", "port": 9000}]}]);
    let foreign = json!({"parentRefs": [{"name": "foreign"}], "rules": rules});
    assert_eq!(Fixture::new().lower(Kind::GrpcRoute, foreign), super::nothing(), "nobody here serves its rules");
}

#[test]
fn one_listener_that_takes_the_route_is_enough() {
    let lowered = Fixture::new().lower(Kind::GrpcRoute, json!({"parentRefs": [{"name": "edge"}]}));
    let sections: Vec<_> = lowered.attachments[0].bindings.iter().map(|binding| &*binding.listener.section).collect();
    assert_eq!((sections, &lowered.attachments[0].refusal), (vec!["https"], &None));
}

#[test]
fn cleartext_is_served_where_the_class_allows_it() {
    let mut fixture = Fixture::new();
    let http = offer("http", "HTTP", &[Kind::GrpcRoute, Kind::HttpRoute]);
    fixture.surface(AttachmentPolicy { cleartext: true, ..STRICT }, vec![http]);
    let lowered = fixture.lower(Kind::GrpcRoute, json!({"parentRefs": [{"name": "edge"}]}));
    assert_eq!(lowered.attachments[0].refusal, None);
}

#[test]
fn a_selector_reads_the_labels_of_the_namespace() {
    let mut fixture = Fixture::new();
    let selector = serde_json::from_value(json!({"matchLabels": {"team": "a"}})).unwrap();
    let namespaces = Namespaces { from: Some("Selector".into()), selector: Some(selector) };
    fixture.offering(vec![Offer { namespaces, ..offer("https", "HTTPS", &[Kind::GrpcRoute]) }]);
    let refused = fixture.lower_from("other", Kind::GrpcRoute, json!({}));
    assert_eq!(refusal(&refused).0, "NotAllowedByListeners", "an unknown namespace has no label but its name");
    fixture.put(Kind::Namespace, json!({"metadata": {"name": "other", "labels": {"team": "a"}}}));
    assert_eq!(fixture.lower_from("other", Kind::GrpcRoute, json!({})).attachments[0].refusal, None);
}

#[test]
fn a_class_may_ask_for_a_grant_beside_allowed_routes() {
    let mut fixture = Fixture::new();
    let all = Namespaces { from: Some("All".into()), selector: None };
    let listener = Offer { namespaces: all, ..offer("https", "HTTPS", &[Kind::GrpcRoute]) };
    fixture.surface(AttachmentPolicy { grant_for_attachment: true, ..STRICT }, vec![listener]);
    let (reason, message) = refusal(&fixture.lower_from("other", Kind::GrpcRoute, json!({})));
    assert_eq!(reason, "NotAllowedByListeners");
    assert!(message.contains("create in namespace default a ReferenceGrant"), "{message}");
    let gateways = json!({"group": "gateway.networking.k8s.io", "kind": "Gateway"});
    fixture.put(Kind::ReferenceGrant, grant("default", "other", &gateways));
    assert_eq!(fixture.lower_from("other", Kind::GrpcRoute, json!({})).attachments[0].refusal, None);
}

#[test]
fn hostnames_that_narrow_to_one_keep_the_most_specific_as_written() {
    let mut fixture = Fixture::new();
    let listener =
        Offer { hostname: Hostname::parse(Some("a.example.com")), ..offer("https", "HTTPS", &[Kind::GrpcRoute]) };
    fixture.offering(vec![listener]);
    let lowered = fixture.lower(Kind::GrpcRoute, json!({"hostnames": ["*.com", "*.example.com", "b.example.com"]}));
    let bindings: Vec<_> = lowered.attachments[0].bindings.iter().collect();
    assert_eq!(bindings.len(), 1);
    assert_eq!((bindings[0].domain.as_str(), bindings[0].written.as_str()), ("a.example.com", "*.example.com"));
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

#[test]
fn the_status_of_a_policy_says_what_became_of_it() {
    let mut fixture = Fixture::new();
    let timeouts = json!({"timeouts": {"request": "2s"}});
    fixture.put(Kind::GrpcPolicy, policy("good", 1, &json!({}), &timeouts));
    fixture.put(Kind::GrpcPolicy, policy("late", 2, &json!({}), &timeouts));
    fixture.put(Kind::GrpcPolicy, policy("lost", 3, &json!({"sectionName": "none"}), &timeouts));
    fixture.put(Kind::GrpcPolicy, policy("bad", 4, &json!({}), &json!({"timeouts": {"request": "2x"}})));
    let per_try = json!({"timeouts": {"request": "2s"}, "retry": {"attempts": 1, "perTryTimeout": "3s"}});
    fixture.put(Kind::GrpcPolicy, policy("long", 5, &json!({}), &per_try));
    fixture.lower(Kind::GrpcRoute, json!({"rules": [{}]}));
    let reader = Reader::new(&fixture.world, &fixture.surfaces);
    let table = [
        ("good", "Accepted", "in force"),
        ("late", "Conflicted", "GrpcPolicy default/good is older"),
        ("lost", "TargetNotFound", "rule none not found"),
        ("bad", "Invalid", "timeouts.request"),
        ("long", "Invalid", "retry.perTryTimeout"),
    ];
    for (name, reason, words) in table {
        let status = crate::status::policy::project(&NsName::new("default", name), &reader).unwrap();
        let condition = &status.ancestors[0].conditions[0];
        assert_eq!((condition.reason, &*status.ancestors[0].ancestor_ref.name), (reason, "edge"), "{name}");
        assert!(condition.message.contains(words), "{name}: {}", condition.message);
    }
}

fn statuses(fixture: &mut Fixture, spec: Value, standing: Standing) -> Value {
    let lowered = fixture.lower(Kind::GrpcRoute, spec);
    let route = Ref::new(Kind::GrpcRoute, NsName::new("default", "route"));
    let reader = Reader::new(&fixture.world, &fixture.surfaces);
    let status = project(reader.route(&route).unwrap(), &lowered, reader.controller(), &[standing]);
    serde_json::to_value(status).unwrap()
}

fn reasons(status: &Value) -> Vec<String> {
    let conditions = status["parents"][0]["conditions"].as_array().unwrap();
    let short = |one: &Value| format!("{}={}/{}", one["type"], one["status"], one["reason"]).replace('"', "");
    conditions.iter().map(short).collect()
}

const SERVED: Standing = Standing { lost_to: None, delivery: Delivery::Programmed };

#[test]
fn a_status_repeats_the_parent_as_written_and_has_every_condition() {
    let status = statuses(&mut Fixture::new(), json!({"rules": [{"backendRefs": [echo()]}]}), SERVED);
    let parent = json!({"group": "gateway.networking.k8s.io", "kind": "Gateway", "namespace": "default", "name": "edge", "sectionName": "https"});
    assert_eq!(status["parents"][0]["parentRef"], parent);
    assert_eq!(status["parents"][0]["controllerName"], "sluice.dev/gateway-controller");
    assert_eq!(status["parents"][0]["conditions"][0]["observedGeneration"], 7);
    assert_eq!(
        reasons(&status),
        ["Accepted=True/Accepted", "ResolvedRefs=True/ResolvedRefs", "sluice.dev/Programmed=True/Programmed"]
    );
}

#[test]
fn a_partly_invalid_route_says_which_rules_are_dropped() {
    let rules = json!({"rules": [{"filters": [{"type": "CORS"}]}, {"backendRefs": [{"name": "gone", "port": 1}]}]});
    let rejected = Delivery::Rejected { message: "missing )".into(), rule: Some("rules[1]".into()), last_good: false };
    let status = statuses(&mut Fixture::new(), rules, Standing { lost_to: None, delivery: rejected });
    assert_eq!(
        reasons(&status),
        [
            "Accepted=True/Accepted",
            "ResolvedRefs=False/BackendNotFound",
            "PartiallyInvalid=True/UnsupportedValue",
            "sluice.dev/Programmed=False/Rejected"
        ]
    );
    let message = |index: usize| status["parents"][0]["conditions"][index]["message"].as_str().unwrap().to_owned();
    assert!(message(2).starts_with("Dropped Rule"), "{}", message(2));
    assert!(message(3).contains("refused rules[1]: missing ); its calls answer UNAVAILABLE"), "{}", message(3));
}

#[test]
fn a_route_that_lost_its_hostname_names_the_winner_and_still_resolves() {
    let winner = Ref::new(Kind::HttpRoute, NsName::new("default", "web"));
    let standing = Standing { lost_to: Some(winner), delivery: Delivery::Programmed };
    let status = statuses(&mut Fixture::new(), json!({"rules": [{"backendRefs": [echo()]}]}), standing);
    assert_eq!(reasons(&status), ["Accepted=False/NotAllowedByListeners", "ResolvedRefs=True/ResolvedRefs"]);
    let message = status["parents"][0]["conditions"][0]["message"].as_str().unwrap();
    assert!(message.starts_with("HTTPRoute default/web is older"), "{message}");
    assert_eq!(Accepted::NotAllowedByListeners.as_str(), "NotAllowedByListeners");
}

#[test]
fn backends_with_pods_in_common_are_served_and_said() {
    let mut fixture = Fixture::new();
    let selecting = |labels: Value| json!({"selector": labels});
    fixture.put(Kind::Service, service("default", "v1", &selecting(json!({"app": "echo"}))));
    fixture.put(Kind::Service, service("default", "v2", &selecting(json!({"app": "echo", "version": "v2"}))));
    let backends = json!([{"name": "v1", "port": 9000}, {"name": "v2", "port": 9000}]);
    let lowered = fixture.rule(&json!({"backendRefs": backends}));
    assert_eq!(forward(&lowered).shares.len(), 2);
    let [problem] = lowered.problems.as_slice() else { panic!("{:?}", lowered.problems) };
    assert_eq!(problem.finding(), Finding::Informs);
    let words = "Service default/v1 selects app=echo and so reaches the pods of Service default/v2 (app=echo,version=v2) \
                 too: add version to its selector";
    assert!(problem.to_string().starts_with(words), "{problem}");
    fixture.put(Kind::Service, service("default", "v1", &selecting(json!({"app": "echo", "version": "v1"}))));
    assert_eq!(fixture.rule(&json!({"backendRefs": backends})).problems, []);
}
