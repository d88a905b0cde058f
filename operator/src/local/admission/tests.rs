use super::*;
use crate::local::manifest;

fn document(text: &str) -> Document {
    let manifest = manifest::parse(&"a.yaml".into(), text);
    assert_eq!(manifest.findings, [], "{text}");
    manifest.documents.into_iter().next().unwrap()
}

fn admit(text: &str) -> Result<Value, Vec<String>> {
    let document = document(text);
    let Subject::Known(reference) = subject(&document) else { panic!("{:?}", subject(&document)) };
    let admitted = Admission::default().admit(&reference, &document, None);
    admitted.map_err(|findings| findings.iter().map(ToString::to_string).collect())
}

const SERVICE: &str = "
apiVersion: sluice.dev/v1alpha1
kind: GrpcService
metadata: {name: echo}
spec:
  hostnames: [grpc.example.com]
  gateways: [{name: public, own: {gatewayClassName: sluice}}]
  tls: {type: SelfSigned}
  backends:
  - {name: stable, service: {name: grpc-echo, port: 9000}}
  rules:
  - name: first
    backends: [{name: stable}]
";

const ROUTE: &str = "
apiVersion: gateway.networking.k8s.io/v1
kind: GRPCRoute
metadata: {name: echo, namespace: team}
spec:
  parentRefs: [{name: edge}]
  rules:
  - matches: [{method: {service: echo.Echo}}]
    backendRefs: [{name: grpc-echo, port: 9000}]
";

#[test]
fn a_valid_object_gets_its_namespace_and_its_defaults() {
    let admitted = admit(ROUTE).unwrap();
    assert_eq!(admitted.pointer("/metadata/namespace"), Some(&Value::from("team")));
    let backend = admitted.pointer("/spec/rules/0/backendRefs/0").unwrap();
    assert_eq!(
        backend,
        &serde_json::json!({"group": "", "kind": "Service", "name": "grpc-echo", "port": 9000, "weight": 1})
    );
    let admitted = admit(SERVICE).unwrap();
    assert_eq!(admitted.pointer("/metadata/namespace"), Some(&Value::from("default")));
}

#[test]
fn each_mistake_is_named_with_its_line() {
    let cases = [
        (
            SERVICE,
            "hostnames:",
            "hostname:",
            "a.yaml:6: spec.hostname: unknown field \"hostname\": did you mean \"hostnames\"?",
        ),
        (
            SERVICE,
            "port: 9000",
            "port: '9000'",
            "a.yaml:10: spec.backends[0].service.port: must be a whole number, not \"9000\"",
        ),
        (
            SERVICE,
            "[{name: stable}]",
            "[{name: stabel}]",
            "a.yaml:5: spec: a rule names a backend that spec.backends does not have: add it there, or correct the name",
        ),
        (
            SERVICE,
            "  tls: {type: SelfSigned}\n",
            "",
            "a.yaml:5: spec: tls is required with an own Gateway: add tls, e.g. {type: SelfSigned}",
        ),
        (
            SERVICE,
            "[grpc.example.com]",
            "[10.0.0.1]",
            "a.yaml:6: spec.hostnames: [\"10.0.0.1\"]: a hostname is an IP address: write the DNS name that clients call",
        ),
        (SERVICE, "{name: echo}", "{name: ECHO}", "must be a DNS subdomain"),
        (
            ROUTE,
            "service: echo.Echo",
            "service: echo/Echo",
            "a.yaml:8: spec.rules[0].matches[0].method: service must only contain valid characters",
        ),
        (ROUTE, "service: echo.Echo", "type: Exact", "One or both of 'service' or 'method' must be specified"),
        (ROUTE, "port: 9000", "weight: 1", "Must have port for Service reference"),
        (
            ROUTE,
            "/v1\n",
            "/v7\n",
            "a.yaml:2: GRPCRoute has no apiVersion \"gateway.networking.k8s.io/v7\": write gateway.networking.k8s.io/v1",
        ),
        (ROUTE, "{name: echo, ", "{name: echo, label: {a: b}, ", "unknown field \"label\": did you mean \"labels\"?"),
    ];
    for (valid, from, to, expected) in cases {
        assert!(valid.contains(from), "{from}");
        let refused = admit(&valid.replacen(from, to, 1)).unwrap_err();
        assert!(refused.iter().any(|finding| finding.contains(expected)), "{expected}: {refused:#?}");
    }
}

#[test]
fn a_rule_that_reads_an_absent_field_refuses_with_its_own_words() {
    let gateway = "
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: edge}
spec:
  gatewayClassName: sluice
  listeners:
  - {name: https, protocol: HTTPS, port: 443, tls: {mode: Terminate}}
";
    let words = "spec.listeners[0].tls: certificateRefs or options must be specified when mode is Terminate";
    assert_eq!(admit(gateway).unwrap_err(), [format!("a.yaml:8: {words}")]);
}

#[test]
fn core_kinds_are_checked_as_strictly_as_our_own() {
    let cases = [
        (
            "apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {ports: [{port: http}]}",
            "spec.ports[0].port: must be a whole number, not \"http\"",
        ),
        (
            "apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {port: 1}",
            "unknown field \"port\": did you mean \"ports\"?",
        ),
        (
            "apiVersion: v1\nkind: Secret\nmetadata: {name: a}\ndata: {k: '%'}",
            "data.k: is not base64: put plain text into stringData",
        ),
        (
            "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {name: a}\nendpoints: [{addresses: 10.0.0.1}]",
            "endpoints[0].addresses: must be a list, not \"10.0.0.1\"",
        ),
    ];
    for (text, expected) in cases {
        let refused = admit(text).unwrap_err();
        assert!(refused.iter().any(|finding| finding.contains(expected)), "{expected}: {refused:#?}");
    }
    let service = "apiVersion: v1\nkind: Service\nmetadata: {name: a, annotations: {x: y}}\nspec: {selector: {app: a}, ports: [{port: 1, targetPort: http, name: x}]}";
    admit(service).unwrap();
}

#[test]
fn no_finding_about_a_secret_contains_a_value_of_it() {
    let mistakes = [
        "data: {tls.key: '-----BEGIN hunter2'}",
        "data: hunter2",
        "data: [hunter2]",
        "data: {tls.key: {inner: hunter2}}",
        "data: {tls.key: [hunter2]}",
        "data: {tls.key: 47114711}",
        "stringData: {tls.key: 47114711}",
        "stringData: 47114711",
        "tls.key: hunter2",
        "immutable: hunter2",
        "type: [hunter2]",
        "type: 47114711",
    ];
    for mistake in mistakes {
        let refused = admit(&format!("apiVersion: v1\nkind: Secret\nmetadata: {{name: a}}\n{mistake}")).unwrap_err();
        let told = |finding: &String| finding.contains("hunter2") || finding.contains("4711");
        assert!(!refused.is_empty() && !refused.iter().any(told), "{mistake}: {refused:#?}");
    }
}

#[test]
fn foreign_kinds_are_skipped_and_mistaken_groups_are_refused() {
    let skipped = subject(&document("apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a}"));
    assert!(
        matches!(&skipped, Subject::Skipped(note) if note.message.contains("Deployment is skipped")),
        "{skipped:?}"
    );
    let broken = subject(&document("apiVersion: networking.k8s.io/v1\nkind: GrpcRoute\nmetadata: {name: a}"));
    let expected = "write apiVersion: gateway.networking.k8s.io/v1, kind: GRPCRoute";
    assert!(matches!(&broken, Subject::Broken(error) if error.message.contains(expected)), "{broken:?}");
}

#[test]
fn a_rule_about_the_old_version_sees_it() {
    let grown = ROUTE.replace("namespace: team", "namespace: team, labels: {a: b}");
    let document = document(&grown);
    let Subject::Known(reference) = subject(&document) else { panic!("known") };
    let mut admission = Admission::default();
    let old = admission.admit(&reference, &document, None).unwrap();
    assert_eq!(admission.admit(&reference, &document, Some(&old)).unwrap(), old);
}
