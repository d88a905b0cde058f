//! What callers are told when no backend answers, in gRPC and in gRPC-Web.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sluice_tests::{
    calls::{Outcome, Speech, call},
    manifests::{backend, everything_to, policy, route, service},
    stage::Stage,
};
use tonic::Code;

const SPEECHES: [Speech; 2] = [Speech::Grpc, Speech::Web];
const ECHO: &str = "/echo.Echo/Echo";
const HANG: &str = "/echo.Stream/Hang";

fn refused(outcome: &Outcome) -> (Code, &str) {
    match outcome {
        Outcome::Refused(code, message) => (*code, message),
        Outcome::Answered(by) => panic!("answered by {by}"),
    }
}

fn shared(name: &str, weights: &[(&str, u32)]) -> Value {
    let backends: Vec<_> =
        weights.iter().map(|(service, weight)| json!({"name": service, "port": 9000, "weight": weight})).collect();
    route(name, &format!("{name}.example.com"), &json!([{"backendRefs": backends}]))
}

fn unavailable() -> Vec<Value> {
    let to = |name: &str, rules: &Value| route(name, &format!("{name}.example.com"), rules);
    vec![
        service("other/elsewhere"),
        service("empty"),
        to("absent", &everything_to("nobody")),
        to("no-port", &json!([{"backendRefs": [{"name": "echo", "port": 1}]}])),
        to("forbidden", &json!([{"backendRefs": [{"name": "elsewhere", "namespace": "other", "port": 9000}]}])),
        to("idle", &everything_to("empty")),
        to("nothing", &json!([{"matches": [{"method": {"service": "echo.Echo"}}]}])),
        shared("weightless", &[("echo", 0)]),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_no_rule_takes_is_unimplemented_and_the_message_names_host_service_and_method() {
    let rules = json!([{"matches": [{"method": {"service": "echo.Stream"}}], "backendRefs": [backend("echo")]}]);
    let stage = Stage::new(&["echo"], [route("some", "some.example.com", &rules)]).await.unwrap();
    stage.in_force("some").await.unwrap();
    for host in ["some.example.com", "unknown.example.com"] {
        let connection = stage.connect(host).await.unwrap();
        for speech in SPEECHES {
            let outcome = call(&connection, speech, ECHO, &[]).await.unwrap();
            let (code, message) = refused(&outcome);
            assert_eq!(code, Code::Unimplemented, "{host} {speech:?}: {message}");
            for word in [host, "echo.Echo", "Echo"] {
                assert!(message.contains(word), "{host} {speech:?}: {message} lacks {word}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_without_a_backend_that_can_answer_is_unavailable() {
    let stage = Stage::new(&["echo"], unavailable()).await.unwrap();
    for name in ["absent", "no-port", "forbidden", "idle", "nothing", "weightless"] {
        stage.in_force(name).await.unwrap();
        let connection = stage.connect(&format!("{name}.example.com")).await.unwrap();
        for speech in SPEECHES {
            let outcome = call(&connection, speech, ECHO, &[]).await.unwrap();
            assert_eq!(outcome.code(), Code::Unavailable, "{name} {speech:?}: {outcome:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_without_any_backend_serves_at_once() {
    let started = Instant::now();
    let stage = Stage::new(&[], [route("absent", "absent.example.com", &everything_to("nobody"))]).await.unwrap();
    stage.in_force("absent").await.unwrap();
    // Envoy would wait 15 s for a first word about clusters.
    assert!(started.elapsed() < Duration::from_secs(12), "after {:?}", started.elapsed());
    let outcome = stage.call("absent.example.com", ECHO, &[]).await.unwrap();
    assert_eq!(outcome.code(), Code::Unavailable);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_share_of_an_invalid_backend_is_unavailable_and_the_rest_is_answered() {
    let stage = Stage::new(&["echo"], [shared("half", &[("echo", 1), ("nobody", 1)])]).await.unwrap();
    stage.in_force("half").await.unwrap();
    let connection = stage.connect("half.example.com").await.unwrap();
    let mut answered = 0;
    for _ in 0..400 {
        match call(&connection, Speech::Grpc, ECHO, &[]).await.unwrap() {
            Outcome::Answered(_) => answered += 1,
            Outcome::Refused(code, message) => assert_eq!(code, Code::Unavailable, "{message}"),
        }
    }
    // Six standard deviations of 400 fair coins.
    assert!((140..=260).contains(&answered), "{answered} of 400 calls were answered");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deadline_ends_a_call_although_the_backend_ignores_it() {
    let timeouts = |request: &str| json!({"timeouts": {"request": request}});
    let documents = [
        route("short", "short.example.com", &everything_to("echo")),
        policy("short", &timeouts("300ms")),
        route("long", "long.example.com", &everything_to("echo")),
        policy("long", &timeouts("20s")),
        route("none", "none.example.com", &everything_to("echo")),
    ];
    let stage = Stage::new(&["echo"], &documents).await.unwrap();
    let patience: &[(&str, &str)] = &[("grpc-timeout", "300m")];
    for (name, headers) in [("short", &[][..]), ("long", patience), ("none", patience)] {
        stage.in_force(name).await.unwrap();
        let connection = stage.connect(&format!("{name}.example.com")).await.unwrap();
        for speech in SPEECHES {
            let started = Instant::now();
            let outcome = call(&connection, speech, HANG, headers).await.unwrap();
            assert_eq!(outcome.code(), Code::DeadlineExceeded, "{name} {speech:?}: {outcome:?}");
            let took = started.elapsed();
            assert!((Duration::from_millis(250)..Duration::from_secs(10)).contains(&took), "{name}: after {took:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clients_longer_deadline_does_not_beat_the_policys() {
    let documents = [
        route("short", "short.example.com", &everything_to("echo")),
        policy("short", &json!({"timeouts": {"request": "300ms"}})),
    ];
    let stage = Stage::new(&["echo"], &documents).await.unwrap();
    stage.in_force("short").await.unwrap();
    let connection = stage.connect("short.example.com").await.unwrap();
    let started = Instant::now();
    let outcome = call(&connection, Speech::Grpc, HANG, &[("grpc-timeout", "20S")]).await.unwrap();
    assert_eq!(outcome.code(), Code::DeadlineExceeded);
    assert!(started.elapsed() < Duration::from_secs(10), "after {:?}", started.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_backends_own_statuses_reach_both_kinds_of_client() {
    let stage = Stage::new(&["echo"], [route("all", "all.example.com", &everything_to("echo"))]).await.unwrap();
    stage.in_force("all").await.unwrap();
    let connection = stage.connect("all.example.com").await.unwrap();
    for speech in SPEECHES {
        let answered = call(&connection, speech, ECHO, &[]).await.unwrap();
        assert_eq!(answered, Outcome::Answered("echo".to_owned()), "{speech:?}");
        let unknown = call(&connection, speech, "/echo.Echo/Nothing", &[]).await.unwrap();
        assert_eq!(unknown.code(), Code::Unimplemented, "{speech:?}");
    }
}
