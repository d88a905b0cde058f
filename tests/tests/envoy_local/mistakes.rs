//! Mistakes in manifests: each is said with its place, and costs nobody else anything.

use serde_json::{Value, json};
use sluice_tests::{
    calls::Outcome,
    manifests::{everything_to, file, route, service},
    stage::Stage,
};

const ECHO: &str = "/echo.Echo/Echo";
const HOST: &str = "edited.example.com";

/// The route that each mistake is made in, as people write it: line 6 is where they begin.
const GOOD: &str = "apiVersion: gateway.networking.k8s.io/v1
kind: GRPCRoute
metadata:
  name: edited
spec:
  parentRefs: [{name: gateway}]
  hostnames: [edited.example.com]
  rules:
  - backendRefs: [{name: echo, port: 9000}]
";

fn answered() -> Outcome {
    Outcome::Answered("echo".to_owned())
}

async fn stage() -> Stage {
    let stage =
        Stage::new(&["echo", "second"], [route("other", "other.example.com", &everything_to("echo"))]).await.unwrap();
    stage.sluice.apply("edited.yaml", GOOD).unwrap();
    stage.in_force("other").await.unwrap();
    stage.in_force("edited").await.unwrap();
    stage
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mistake_is_said_with_its_line_and_everything_else_and_the_last_good_version_stay_served() {
    let stage = stage().await;
    let cases = [
        ("an unknown field", GOOD.replace("hostnames", "hostname"), "edited.yaml:7:", "hostnames"),
        ("a wrong type", GOOD.replace("port: 9000", "port: nine"), "edited.yaml:9:", "port"),
        ("a violated rule", GOOD.replace("port: 9000", "weight: 1"), "edited.yaml:", "port"),
        ("broken YAML", GOOD.replace("kind: GRPCRoute", "kind: GRPC: Route"), "edited.yaml:2:", ""),
    ];
    for (case, text, place, word) in cases {
        stage.sluice.apply("edited.yaml", &text).unwrap();
        let said = |finding: &String| finding.starts_with(place) && finding.contains(word);
        let found = stage.sluice.until(case, || stage.sluice.findings().into_iter().find(said)).await;
        found.unwrap_or_else(|error| panic!("{case}: {:?} {error}", stage.sluice.findings()));
        assert_eq!(stage.call(HOST, ECHO, &[]).await.unwrap(), answered(), "{case}: the last good version");
        assert_eq!(stage.call("other.example.com", ECHO, &[]).await.unwrap(), answered(), "{case}: everything else");
    }
    stage.sluice.apply("edited.yaml", &GOOD.replace("name: echo", "name: second")).unwrap();
    let second = Outcome::Answered("second".to_owned());
    stage.until_answer(HOST, ECHO, |outcome| *outcome == second).await.unwrap();
    let silent = || stage.sluice.findings().iter().all(|finding| !finding.starts_with("edited.yaml")).then_some(());
    stage.sluice.until("silence about the mended file", silent).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mistake_in_one_document_of_a_file_leaves_the_others_of_that_file_alone() {
    let stage = stage().await;
    let third = route("third", "third.example.com", &everything_to("second"));
    stage.sluice.apply("edited.yaml", &format!("{}---\n{third:#}\n", GOOD.replace("hostnames", "hostname"))).unwrap();
    stage.in_force("third").await.unwrap();
    assert_eq!(stage.call("third.example.com", ECHO, &[]).await.unwrap(), Outcome::Answered("second".to_owned()));
    assert_eq!(stage.call(HOST, ECHO, &[]).await.unwrap(), answered());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_deleted_is_served_no_more_and_what_comes_back_is() {
    let stage = stage().await;
    stage.sluice.delete("edited.yaml").unwrap();
    stage.until_answer(HOST, ECHO, |outcome| *outcome != answered()).await.unwrap();
    assert_eq!(stage.call("other.example.com", ECHO, &[]).await.unwrap(), answered());
    stage.sluice.apply("edited.yaml", GOOD).unwrap();
    stage.until_answer(HOST, ECHO, |outcome| *outcome == answered()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_without_endpoints_is_told_what_to_write() {
    let stage = Stage::new(&["echo"], [service("lonely")]).await.unwrap();
    let advice = |finding: &String| finding.contains("lonely") && finding.contains("--endpoints default/lonely=");
    stage.sluice.until("advice", || stage.sluice.findings().into_iter().find(advice)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grpcservice_that_breaks_a_rule_of_its_schema_is_refused_with_the_rules_words() {
    let service = |hostnames: &Value| {
        json!({
            "apiVersion": "sluice.dev/v1alpha1", "kind": "GrpcService", "metadata": {"name": "svc"},
            "spec": {
                "hostnames": hostnames,
                "gateways": [{"name": "shared", "ref": {"name": "gateway"}}],
                "backends": [{"name": "a", "service": {"name": "echo", "port": 9000}}],
            },
        })
    };
    let stage = Stage::new(&["echo"], [service(&json!(["svc.example.com"]))]).await.unwrap();
    stage.sluice.condition(("GrpcService", "svc"), "Ready", "True").await.unwrap();
    stage.apply([service(&json!(["10.0.0.1"]))]).unwrap();
    let said = |finding: &String| finding.starts_with("test.yaml:") && finding.contains("IP address");
    stage.sluice.until("a refusal", || stage.sluice.findings().into_iter().find(said)).await.unwrap();
    assert_eq!(stage.call("svc.example.com", ECHO, &[]).await.unwrap(), answered());
}

#[tokio::test(flavor = "multi_thread")]
async fn two_documents_of_one_object_are_a_mistake_and_the_first_counts() {
    let stage = stage().await;
    let twice = route("edited", HOST, &everything_to("second"));
    stage.sluice.apply("zz-again.yaml", &file([twice])).unwrap();
    let said = |finding: &String| finding.starts_with("zz-again.yaml:") && finding.contains("edited.yaml");
    stage.sluice.until("a finding", || stage.sluice.findings().into_iter().find(said)).await.unwrap();
    assert_eq!(stage.call(HOST, ECHO, &[]).await.unwrap(), answered());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handshake_for_a_name_that_is_not_served_is_told_with_the_names_that_are() {
    let stage = Stage::new(&["echo"], [route("other", "other.example.com", &everything_to("echo"))]).await.unwrap();
    stage.in_force("other").await.unwrap();
    assert!(stage.connect("unknown.example.org").await.is_err());
    let told = |said: String| {
        let lines: Vec<_> =
            said.lines().filter(|line| line.contains("served: *.example.com;")).map(str::to_owned).collect();
        (!lines.is_empty()).then_some(lines)
    };
    let lines = stage.sluice.until("a word about the refusal", || told(stage.sluice.said())).await.unwrap();
    assert!(lines.iter().all(|line| line.contains("Gateway default/gateway https-443: ")), "{lines:?}");
    assert!(lines.iter().all(|line| line.contains(" for unknown.example.org (from 127.0.0.1:")), "{lines:?}");
    assert_eq!(lines.len(), 1, "served connections are not told: {lines:?}");
}
