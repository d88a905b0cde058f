//! Our kinds: the CRDs are accepted, each rule refuses what it should with words that help, and `kubectl explain` reads well.

use serde_json::{Value, json};
use sluice_tests::api_server::Keep;

use crate::{accepts, edited, refuses, server};

/// One that uses every field.
pub(crate) fn service() -> Value {
    json!({
        "apiVersion": "sluice.dev/v1alpha1", "kind": "GrpcService", "metadata": {"name": "echo", "namespace": "default"},
        "spec": {
            "hostnames": ["grpc.example.com", "*.grpc.example.com"],
            "gateways": [
                {"name": "public", "own": {
                    "gatewayClassName": "sluice", "port": 443, "allowedRoutes": {"namespaces": {"from": "Same"}},
                    "infrastructure": {"annotations": {"example.com/lb": "internal"}},
                }},
                {"name": "shared", "ref": {"namespace": "infra", "name": "edge", "sectionName": "https"}},
            ],
            "tls": {"type": "SelfSigned"},
            "backends": [
                {"name": "stable", "weight": 100, "service": {"name": "grpc-echo", "port": 9000}},
                {"name": "canary", "weight": 0, "service": {"name": "grpc-echo-v2", "namespace": "team-b", "port": 9000}},
            ],
            "rules": [
                {
                    "name": "canary-header",
                    "matches": [{"headers": [{"type": "Exact", "name": "env", "value": "canary"}]}],
                    "backends": [{"name": "canary"}],
                },
                {
                    "name": "v2-method",
                    "matches": [{"method": {"service": "echo.Echo", "method": "EchoV2"}}],
                    "filters": [{
                        "type": "RequestHeaderModifier",
                        "requestHeaderModifier": {"set": [{"name": "a", "value": "b"}]},
                    }],
                    "backends": [{"name": "canary", "weight": 1}, {"name": "stable", "weight": 3}],
                    "timeouts": {"request": "2s", "idle": "60s", "maxStream": "1h"},
                    "retry": {"attempts": 2, "on": ["Unavailable"], "perTryTimeout": "500ms", "budgetPercent": 20},
                },
                {"name": "default"},
            ],
            "reflection": {"backend": "stable"},
            "grants": [{"to": "Service", "namespace": "app-b"}, {"to": "Gateway", "namespace": "app-c"}],
            "generatedMetadata": {"annotations": {"external-dns.kubernetes.io/ttl": "60"}},
        },
    })
}

fn profile() -> Value {
    json!({
        "apiVersion": "sluice.dev/v1alpha1", "kind": "GatewayProfile", "metadata": {"name": "platform"},
        "spec": {
            "cleartext": "Allow", "sharedHostnames": "ByContentType", "crossNamespaceAttachment": "AllowedRoutes",
            "defaultGateway": {"namespace": "infra", "name": "edge"},
            "ownGateways": {"from": "Selector", "selector": {"matchLabels": {"team": "platform"}}},
            "grants": {"from": "None"},
            "hostnames": [{"suffix": "example.com", "namespaces": {"from": "All"}}],
            "proxies": {
                "replicas": 3, "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}},
                "service": {"type": "LoadBalancer", "loadBalancerClass": "example.com/internal"},
                "drain": {"timeout": "30s"},
            },
        },
    })
}

fn policy() -> Value {
    let target = |rule: &str| json!({"group": "gateway.networking.k8s.io", "kind": "GRPCRoute", "name": "echo", "sectionName": rule});
    json!({
        "apiVersion": "sluice.dev/v1alpha1", "kind": "GrpcPolicy", "metadata": {"name": "echo", "namespace": "default"},
        "spec": {
            "targetRefs": [target("a"), target("b")],
            "timeouts": {"request": "2s"}, "retry": {"attempts": 2, "perTryTimeout": "500ms"},
        },
    })
}

#[test]
fn the_names_of_a_grpcservice_leave_room_for_what_is_generated() {
    accepts(&edited(service(), "/metadata/name", json!("a".repeat(52))));
    let name = "metadata.name must be a DNS label of at most 52 characters";
    refuses(
        &service(),
        vec![
            ("/metadata/name", json!("a".repeat(53)), name),
            ("/metadata/name", json!("echo.v1"), name),
            ("/spec/gateways/0/name", json!("p".repeat(63)), "shorten metadata.name or the entry's name"),
        ],
    );
}

#[test]
fn hostnames_gateways_and_tls_of_a_grpcservice_fit_together() {
    let secrets = json!({"type": "SelfSigned", "certificateRefs": [{"name": "a"}]});
    let issuer = json!({"type": "SelfSigned", "issuerRef": {"name": "a"}});
    refuses(
        &service(),
        vec![
            ("/spec/hostnames", Value::Null, "hostnames is required with an own Gateway"),
            ("/spec/hostnames", json!(["10.0.0.1"]), "a hostname is an IP address: write the DNS name"),
            ("/spec/hostnames", json!(["grpc.example.com:443"]), "spec.hostnames[0]"),
            ("/spec/hostnames", json!(["a.b", "a.b"]), "duplicate entries"),
            ("/spec/tls", Value::Null, "tls is required with an own Gateway: add tls"),
            ("/spec/tls/type", json!("Secret"), "tls.certificateRefs goes with type: Secret"),
            ("/spec/tls", secrets, "tls.certificateRefs goes with type: Secret"),
            ("/spec/tls/type", json!("CertManager"), "tls.issuerRef goes with type: CertManager"),
            ("/spec/tls", issuer, "tls.issuerRef goes with type: CertManager"),
            ("/spec/gateways/0/own", Value::Null, "exactly one of own"),
            ("/spec/gateways/0/ref", json!({"name": "edge"}), "exactly one of own"),
            ("/spec/gateways/1/name", json!("public"), "duplicate entries"),
            ("/spec/gateways/1/ref/kind", json!("Service"), "supported values: \"Gateway\", \"ListenerSet\""),
            ("/spec/gateways/0/own/port", json!(70000), "less than or equal to 65535"),
        ],
    );
}

#[test]
fn a_grpcservice_of_references_needs_hostnames_for_a_certificate_only() {
    let mut service = edited(service(), "/spec/gateways", json!([{"name": "shared", "ref": {"name": "edge"}}]));
    service = edited(edited(service, "/spec/tls", Value::Null), "/spec/hostnames", Value::Null);
    let tls = json!({"type": "SelfSigned"});
    refuses(&service, vec![("/spec/tls", tls, "tls needs hostnames to be a certificate for: add hostnames")]);
}

#[test]
fn backends_and_rules_of_a_grpcservice_fit_together() {
    let mut unweighted = service()["spec"]["backends"].clone();
    unweighted.as_array_mut().unwrap().push(json!({"name": "c", "service": {"name": "c", "port": 1}}));
    refuses(
        &service(),
        vec![
            ("/spec/backends", Value::Null, "Required value"),
            ("/spec/backends", unweighted, "set weight on all of them or on none"),
            ("/spec/backends/1/name", json!("stable"), "duplicate entries"),
            ("/spec/backends/1/weight", json!(-1), "greater than or equal to 0"),
            ("/spec/backends/1/service/port", Value::Null, "Required value"),
            (
                "/spec/rules/0/backends/0/name",
                json!("kanary"),
                "a rule names a backend that spec.backends does not have",
            ),
            (
                "/spec/rules/1/backends/0/weight",
                Value::Null,
                "some backends of a rule have a weight and some have none",
            ),
            ("/spec/rules/1/name", json!("default"), "duplicate entries"),
            ("/spec/rules/1/name", json!("V2"), "spec.rules[1].name"),
            ("/spec/rules/1/timeouts/request", json!("100ms"), "retry.perTryTimeout is longer than timeouts.request"),
            ("/spec/rules/1/timeouts/request", json!("2 s"), "spec.rules[1].timeouts.request"),
            ("/spec/rules/1/retry/attempts", json!(0), "greater than or equal to 1"),
            ("/spec/rules/1/retry/on", json!(["Unavailable", "Unavailable"]), "duplicate entries"),
            ("/spec/rules/1/retry/on", json!(["Unknown"]), "Unsupported value"),
            ("/spec/reflection/backend", json!("kanary"), "reflection.backend is not in spec.backends"),
            ("/spec/grants/1", json!({"to": "Service", "namespace": "app-b"}), "duplicate entries"),
            ("/spec/grants/1/to", json!("Secret"), "Unsupported value"),
            ("/spec/deletionPolicy", json!("Keep"), "Unsupported value"),
            ("/spec/unknown", json!(1), "field not declared in schema"),
        ],
    );
}

#[test]
fn keys_by_which_tools_track_objects_are_refused() {
    let message = "a key by which Argo CD, Flux, Helm, kubectl or Sluice track objects is not allowed here";
    let keys = [
        "argocd.argoproj.io/instance",
        "argocd.argoproj.io/tracking-id",
        "app.kubernetes.io/instance",
        "app.kubernetes.io/managed-by",
        "kustomize.toolkit.fluxcd.io/name",
        "helm.toolkit.fluxcd.io/name",
        "meta.helm.sh/release-name",
        "kubectl.kubernetes.io/last-applied-configuration",
        "sluice.dev/grpcservice",
    ];
    let fields = ["/spec/generatedMetadata/labels", "/spec/generatedMetadata/annotations"];
    let rows = keys.iter().flat_map(|key| fields.map(|path| (path, json!({*key: "a"}), message)));
    let malformed = ("/spec/generatedMetadata/labels", json!({"-a": "b"}), "Label keys must be in the form");
    refuses(&service(), rows.chain([malformed]).collect());
}

#[test]
fn what_a_grpcroute_refuses_in_matches_and_filters_a_grpcservice_refuses_too() {
    let mirror = |more: Value| {
        let mut mirror = json!({"backendRef": {"name": "a", "port": 1}});
        mirror.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!([{"type": "RequestMirror", "requestMirror": mirror}])
    };
    let modifier = json!({"type": "ResponseHeaderModifier", "responseHeaderModifier": {"remove": ["a"]}});
    let twice = json!([modifier, modifier]);
    let portless = mirror(json!({"backendRef": {"name": "a"}}));
    let both = mirror(json!({"percent": 1, "fraction": {"numerator": 1}}));
    let crowd = |count: usize| (0..count).map(|_| json!({"method": {"service": "a"}})).collect::<Vec<_>>();
    let crowds = json!([{"name": "a", "matches": crowd(64)}, {"name": "b", "matches": crowd(63)}]);
    let extension = json!({"group": "", "kind": "A", "name": "a"});
    accepts(&edited(service(), "/spec/rules/1/filters", mirror(json!({"fraction": {"numerator": 100}}))));
    refuses(
        &service(),
        vec![
            ("/spec/rules/1/matches/0/method", json!({}), "One or both of 'service' or 'method' must be specified"),
            ("/spec/rules/1/matches/0/method", json!({"service": "a/B"}), "service must only contain valid characters"),
            ("/spec/rules/1/matches/0/method", json!({"method": "A.B"}), "method must only contain valid characters"),
            ("/spec/rules/0/matches/0/headers/0/name", json!("a b"), "spec.rules[0].matches[0].headers[0].name"),
            ("/spec/rules/1/filters", twice.clone(), "ResponseHeaderModifier filter cannot be repeated"),
            ("/spec/rules/1/filters", json!([{"type": "RequestMirror"}]), "filter.requestMirror must be specified"),
            ("/spec/rules/1/filters/0/extensionRef", extension, "filter.extensionRef must be nil"),
            ("/spec/rules/1/filters/0/type", json!("ExtensionRef"), "filter.requestHeaderModifier must be nil"),
            ("/spec/rules/1/filters", portless, "Must have port for Service reference"),
            ("/spec/rules/1/filters", both, "Only one of percent or fraction"),
            (
                "/spec/rules/1/filters",
                mirror(json!({"fraction": {"numerator": 101}})),
                "numerator must be less than or equal",
            ),
            ("/spec/rules/0/backends/0/filters", twice, "ResponseHeaderModifier filter cannot be repeated"),
            ("/spec/rules", crowds, "more than 126 matches together"),
        ],
    );
}

#[test]
fn a_gatewayprofile_is_refused_with_words_that_say_what_to_do() {
    refuses(
        &profile(),
        vec![
            ("/spec/cleartext", json!("Maybe"), "supported values: \"Reject\", \"Allow\""),
            ("/spec/sharedHostnames", json!("Allow"), "supported values: \"Reject\", \"ByContentType\""),
            ("/spec/crossNamespaceAttachment", json!("Reject"), "Unsupported value"),
            ("/spec/ownGateways/selector", Value::Null, "selector goes with from: Selector"),
            ("/spec/grants/selector", json!({}), "selector goes with from: Selector"),
            ("/spec/hostnames/0/suffix", json!("*.example.com"), "spec.hostnames[0].suffix"),
            ("/spec/proxies/replicas", json!(-1), "greater than or equal to 0"),
            ("/spec/proxies/service/type", json!("ClusterIP"), "loadBalancerClass needs type: LoadBalancer"),
            ("/spec/proxies/drain/timeout", json!("1d"), "spec.proxies.drain.timeout"),
        ],
    );
}

#[test]
fn a_grpcpolicy_is_refused_with_words_that_say_what_to_do() {
    refuses(
        &policy(),
        vec![
            ("/spec/targetRefs", json!([]), "at least 1 items"),
            ("/spec/targetRefs/0/kind", json!("HTTPRoute"), "supported values: \"GRPCRoute\""),
            (
                "/spec/targetRefs/1/sectionName",
                json!("a"),
                "two targetRefs name the same route and section: remove one",
            ),
            ("/spec/timeouts/request", json!("100ms"), "retry.perTryTimeout is longer than timeouts.request"),
            ("/spec/timeouts", json!({}), "timeouts is empty: set request, idle or maxStream"),
        ],
    );
    let silent = edited(policy(), "/spec/retry", Value::Null);
    refuses(&silent, vec![("/spec/timeouts", Value::Null, "the policy says nothing: set timeouts or retry")]);
}

#[test]
fn defaults_stand_outside_of_lists_only() {
    let stored = server().apply(&service().to_string(), Keep::DryRun).unwrap();
    let mut expected = service()["spec"].clone();
    expected["deletionPolicy"] = json!("Delete");
    assert_eq!(stored["spec"], expected);

    // Server-side apply turns an empty object into null, so one field is written.
    let empty = edited(profile(), "/spec", json!({"cleartext": "Reject"}));
    let stored = server().apply(&empty.to_string(), Keep::DryRun).unwrap();
    let expected =
        json!({"cleartext": "Reject", "sharedHostnames": "Reject", "crossNamespaceAttachment": "AllowedRoutes"});
    assert_eq!(stored["spec"], expected);
}

#[test]
fn applying_an_object_twice_changes_nothing() {
    for object in [service(), profile(), policy()] {
        let first = server().apply(&object.to_string(), Keep::Stored).unwrap();
        let second = server().apply(&object.to_string(), Keep::Stored).unwrap();
        let version = &first["metadata"]["resourceVersion"];
        assert!(version.is_string());
        assert_eq!(&second["metadata"]["resourceVersion"], version, "{}", object["kind"]);
    }
}

#[test]
fn kubectl_explains_every_kind_with_units_and_defaults() {
    for (path, words) in [
        ("gsvc", "exposes gRPC backends under hostnames"),
        ("gsvc.spec.hostnames", "No IP address"),
        ("gsvc.spec.gateways.own.port", "Default: 443"),
        ("gsvc.spec.rules.timeouts.request", "DEADLINE_EXCEEDED"),
        ("gsvc.spec.rules.matches.headers.type", "Default: Exact"),
        ("gatewayprofile.spec.proxies.drain.timeout", "Default: 60s"),
        ("grpcpolicy.spec.retry.budgetPercent", "in percent"),
    ] {
        let text = server().explain(path).unwrap();
        let flowing = text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(flowing.contains(words), "{path}: expected {words} in {text}");
    }
}

#[test]
fn an_own_gateway_survives_when_its_last_option_is_taken_out() {
    let own =
        |options: Value| edited(edited(service(), "/metadata/name", json!("own")), "/spec/gateways/0/own", options);
    server().apply(&own(json!({"gatewayClassName": "sluice", "port": 8443})).to_string(), Keep::Stored).unwrap();
    let left = server().apply(&own(json!({"gatewayClassName": "sluice"})).to_string(), Keep::Stored).unwrap();
    assert_eq!(left["spec"]["gateways"][0]["own"], json!({"gatewayClassName": "sluice"}));
    let nameless = own(json!({"port": 443}));
    assert!(server().apply(&nameless.to_string(), Keep::DryRun).unwrap_err().message.contains("gatewayClassName"));
}
