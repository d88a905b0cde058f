//! Ends and beginnings: of Envoy, and of Sluice.

use std::{os::unix::fs::PermissionsExt as _, process::Command};

use serde_json::json;
use sluice_echo::proto::{Ending, ServerRequest, stream_client::StreamClient};
use sluice_tests::{
    calls::{Outcome, Speech, call},
    local::Sluice,
    manifests::{Certificate, everything_to, file, gateway, route, service},
    stage::Stage,
};

const ECHO: &str = "/echo.Echo/Echo";

fn answered() -> Outcome {
    Outcome::Answered("echo".to_owned())
}

async fn stage() -> Stage {
    let stage = Stage::new(&["echo"], [route("one", "one.example.com", &everything_to("echo"))]).await.unwrap();
    stage.in_force("one").await.unwrap();
    stage
}

fn kill(pid: u32) {
    let ended = Command::new("kill").args(["-KILL", &pid.to_string()]).status().unwrap();
    assert!(ended.success(), "no process {pid}");
}

/// How often it was said that the Gateway is not served.
fn denials(stage: &Stage) -> usize {
    stage.sluice.said().matches("Gateway default/gateway: Programmed=False").count()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_envoy_that_is_killed_comes_back_serving_and_the_status_tells_the_truth_meanwhile() {
    let stage = stage().await;
    let before = stage.sluice.envoys();
    assert_eq!(before.len(), 1, "one Gateway, one Envoy");
    let told = denials(&stage);
    kill(before[0]);
    // It may be back before anybody can ask for the status, but each turn of a condition is said.
    let truth = || (denials(&stage) > told).then_some(());
    stage.sluice.until("word of the killed Envoy", truth).await.unwrap();
    stage.sluice.condition(("Gateway", "gateway"), "Programmed", "True").await.unwrap();
    stage.until_answer("one.example.com", ECHO, |outcome| *outcome == answered()).await.unwrap();
    assert_ne!(stage.sluice.envoys(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_proxies_are_told_is_for_this_user_alone_and_a_crash_leaves_nothing_in_the_way() {
    let mut stage = stage().await;
    let socket = stage.sluice.ads("gateway").unwrap();
    let mode = std::fs::metadata(socket.parent().unwrap()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700, "{}", socket.display());
    stage.sluice.crash().await.unwrap();
    assert!(socket.exists());
    stage.sluice.run().await.unwrap();
    stage.in_force("one").await.unwrap();
    stage.until_answer("one.example.com", ECHO, |outcome| *outcome == answered()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn sluice_started_again_has_the_same_statuses_and_serves_the_same() {
    let mut stage = stage().await;
    let generation = |stage: &Stage| stage.sluice.object("GRPCRoute", "one").unwrap()["metadata"].clone();
    let before = generation(&stage);
    let envoys = stage.sluice.envoys();
    stage.sluice.stop();
    for pid in envoys {
        assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists(), "Envoy {pid} outlived Sluice");
    }
    stage.sluice.run().await.unwrap();
    stage.in_force("one").await.unwrap();
    assert_eq!(stage.call("one.example.com", ECHO, &[]).await.unwrap(), answered());
    assert_eq!(generation(&stage), before, "uid, generation and time of creation survive");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_under_way_when_sluice_is_ended_comes_to_its_own_end() {
    let mut stage = stage().await;
    let connection = stage.connect("one.example.com").await.unwrap();
    let mut client = StreamClient::with_origin(connection.clone(), connection.origin());
    let wanted = ServerRequest { text: "a".into(), count: 4, interval_ms: 400, ending: Ending::Ok.into() };
    let mut answers = client.server(wanted).await.unwrap().into_inner();
    assert!(answers.message().await.unwrap().is_some());
    let ended = tokio::task::spawn_blocking(move || {
        stage.sluice.stop();
        stage
    });
    for _ in 0..3 {
        assert!(answers.message().await.unwrap().is_some());
    }
    assert!(answers.message().await.unwrap().is_none());
    let stage = ended.await.unwrap();
    assert!(stage.connect("one.example.com").await.is_err(), "nobody listens any more");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotated_certificate_reaches_new_handshakes_and_cuts_no_connection() {
    let stage = stage().await;
    let old = stage.connect("one.example.com").await.unwrap();
    let renewed = Certificate::new(&["*.example.com"]).unwrap();
    let gateway = gateway("gateway", &["*.example.com"], "certificate");
    stage.sluice.apply("gateway.yaml", &file([renewed.secret("certificate"), gateway])).unwrap();
    let asked = || std::time::Instant::now();
    let deadline = asked() + sluice_tests::local::PATIENCE;
    let fresh = loop {
        match sluice_tests::wire::Connection::open(stage.sluice.https(), "one.example.com", &renewed.pem).await {
            Ok(connection) => break connection,
            Err(error) => assert!(asked() < deadline, "{error:#}"),
        }
    };
    for connection in [&old, &fresh] {
        assert_eq!(call(connection, Speech::Grpc, ECHO, &[]).await.unwrap(), answered());
    }
    assert!(!old.is_closed());
}

#[tokio::test(flavor = "multi_thread")]
async fn endpoints_may_be_given_on_the_command_line() {
    let echo = sluice_tests::echoes::Echo::start("echo").await.unwrap();
    let certificate = Certificate::new(&["*.example.com"]).unwrap();
    let manifest = file([
        certificate.secret("certificate"),
        gateway("gateway", &["*.example.com"], "certificate"),
        service("echo"),
        route("one", "one.example.com", &json!([{"backendRefs": [{"name": "echo", "port": 9000}]}])),
    ]);
    let arguments = ["--endpoints".to_owned(), format!("default/echo={}", echo.address())];
    let sluice = Sluice::start_with(&[("all.yaml", manifest)], &arguments).await.unwrap();
    sluice.condition(("GRPCRoute", "one"), "sluice.dev/Programmed", "True").await.unwrap();
    let connection =
        sluice_tests::wire::Connection::open(sluice.https(), "one.example.com", &certificate.pem).await.unwrap();
    assert_eq!(call(&connection, Speech::Grpc, ECHO, &[]).await.unwrap(), answered());
}
