//! What a rule does beside choosing: edits of headers, shares, and permissions that come and go.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use sluice_echo::proto::{EchoRequest, stream_client::StreamClient};
use sluice_tests::{
    calls::{Outcome, Speech, call},
    manifests::{backend, everything_to, route},
    stage::Stage,
};
use tonic::{Code, Request};

const ECHO: &str = "/echo.Echo/Echo";

fn edits(kind: &str, field: &str) -> Value {
    json!({"type": kind, field: {
        "set": [{"name": "x-set", "value": "100% %REQ(:path)%"}],
        "add": [{"name": "x-add", "value": "more"}],
        "remove": ["x-gone", "x-source"],
    }})
}

fn edited() -> Value {
    let mut to_backend = backend("echo");
    to_backend["filters"] = json!([{"type": "RequestHeaderModifier", "requestHeaderModifier": {"set": [{"name": "x-late", "value": "backend"}]}}]);
    json!([{
        "filters": [
            edits("RequestHeaderModifier", "requestHeaderModifier"),
            edits("ResponseHeaderModifier", "responseHeaderModifier"),
        ],
        "backendRefs": [to_backend],
    }])
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_are_set_added_and_removed_on_the_way_there_and_back_and_values_are_literal() {
    let stage = Stage::new(&["echo"], [route("edited", "edited.example.com", &edited())]).await.unwrap();
    stage.in_force("edited").await.unwrap();
    let connection = stage.connect("edited.example.com").await.unwrap();
    let mut client = StreamClient::with_origin(connection.clone(), connection.origin());
    let mut request = Request::new(EchoRequest::default());
    for (name, value) in [("x-set", "old"), ("x-add", "first"), ("x-gone", "1"), ("x-kept", "1")] {
        request.metadata_mut().insert(name, value.parse().unwrap());
    }
    let response = client.metadata(request).await.unwrap();
    let back = |name: &str| response.metadata().get(name).map(|value| value.to_str().unwrap().to_owned());
    assert_eq!(back("x-set").as_deref(), Some("100% %REQ(:path)%"));
    assert_eq!(back("x-add").as_deref(), Some("more"));
    let mut there = BTreeMap::<&str, Vec<&str>>::new();
    for entry in &response.get_ref().entries {
        there.entry(&entry.key).or_default().push(&entry.value);
    }
    assert_eq!(there.get("x-set"), Some(&vec!["100% %REQ(:path)%"]));
    assert_eq!(there.get("x-add").map(|values| values.join(",")), Some("first,more".to_owned()));
    assert_eq!(there.get("x-late"), Some(&vec!["backend"]));
    assert_eq!((there.get("x-gone"), there.get("x-kept")), (None, Some(&vec!["1"])));
}

#[tokio::test(flavor = "multi_thread")]
async fn weights_share_calls_and_a_weight_of_zero_gets_none() {
    let shares = json!([{"backendRefs": [
        {"name": "a", "port": 9000, "weight": 3},
        {"name": "b", "port": 9000, "weight": 1},
        {"name": "c", "port": 9000, "weight": 0},
    ]}]);
    let stage = Stage::new(&["a", "b", "c"], [route("shared", "shared.example.com", &shares)]).await.unwrap();
    stage.in_force("shared").await.unwrap();
    let connection = stage.connect("shared.example.com").await.unwrap();
    let mut counts = BTreeMap::<String, u32>::new();
    for _ in 0..400 {
        match call(&connection, Speech::Grpc, ECHO, &[]).await.unwrap() {
            Outcome::Answered(by) => *counts.entry(by).or_default() += 1,
            refused @ Outcome::Refused(..) => panic!("{refused:?}"),
        }
    }
    // Six standard deviations around 100.
    assert!((48..=152).contains(&counts["b"]) && !counts.contains_key("c"), "{counts:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backend_of_another_namespace_is_used_as_long_as_the_grant_is_there() {
    let grant = json!({
        "apiVersion": "gateway.networking.k8s.io/v1beta1", "kind": "ReferenceGrant",
        "metadata": {"name": "grant", "namespace": "other"},
        "spec": {
            "from": [{"group": "gateway.networking.k8s.io", "kind": "GRPCRoute", "namespace": "default"}],
            "to": [{"group": "", "kind": "Service"}],
        },
    });
    let rules = json!([{"backendRefs": [{"name": "echo", "namespace": "other", "port": 9000}]}]);
    let crossing = route("crossing", "crossing.example.com", &rules);
    let stage = Stage::new(&["other/echo", "own"], [crossing.clone(), grant.clone()]).await.unwrap();
    let served = |outcome: &Outcome| *outcome == Outcome::Answered("other/echo".to_owned());
    stage.until_answer("crossing.example.com", ECHO, served).await.unwrap();
    stage.apply([&crossing]).unwrap();
    let refused = |outcome: &Outcome| outcome.code() == Code::Unavailable;
    stage.until_answer("crossing.example.com", ECHO, refused).await.unwrap();
    let said = stage.sluice.condition(("GRPCRoute", "crossing"), "ResolvedRefs", "False").await.unwrap();
    assert!(said.iter().all(|said| said.reason == "RefNotPermitted"), "{said:?}");
    stage.apply([&crossing, &grant]).unwrap();
    stage.until_answer("crossing.example.com", ECHO, served).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_moves_is_followed_without_a_failed_call() {
    let stage =
        Stage::new(&["echo", "next"], [route("moving", "moving.example.com", &everything_to("echo"))]).await.unwrap();
    stage.in_force("moving").await.unwrap();
    let connection = stage.connect("moving.example.com").await.unwrap();
    let moved = sluice_tests::manifests::endpoints("echo", stage.echo("next").unwrap().address());
    let file = sluice_tests::manifests::file([sluice_tests::manifests::service("echo"), moved]);
    stage.sluice.apply("backends.yaml", &file).unwrap();
    let deadline = std::time::Instant::now() + sluice_tests::local::PATIENCE;
    loop {
        match call(&connection, Speech::Grpc, ECHO, &[]).await.unwrap() {
            Outcome::Answered(by) if by == "next" => return,
            Outcome::Answered(_) => assert!(std::time::Instant::now() < deadline, "never followed"),
            refused @ Outcome::Refused(..) => panic!("{refused:?}"),
        }
    }
}
