//! What clients are told by Envoy itself, in gRPC and in gRPC-Web.

use std::{sync::Arc, time::Duration};

use envoy_types::pb::envoy::config::route::v3::{VirtualHost, route::Action as WireAction};
use sluice_core::ir::{Action, Fallback, Forward, Route, Timeouts};
use sluice_envoy::encode;
use sluice_tests::{
    calls::{Outcome, Speech, call},
    echoes::Echo,
    envoy::{
        Rig,
        shapes::{backend, cluster, edited, forward, host, port, route},
    },
};
use sluice_xds::Resource;
use tonic::Code;

const ECHO: &str = "/echo.Echo/Echo";
const HANG: &str = "/echo.Stream/Hang";

fn with(domain: &str, routes: impl IntoIterator<Item = Route>) -> Arc<Resource> {
    encode::virtual_host(&host("http-80", domain, routes))
}

/// A host that answers every call with an HTTP status, as a filter that refuses would.
fn replying(domain: &str, status: u32) -> Arc<Resource> {
    let edit = |host: &mut VirtualHost| {
        let actions = host.routes.iter_mut().filter_map(|route| route.action.as_mut());
        actions.for_each(|action| {
            if let WireAction::DirectResponse(reply) = action {
                reply.status = status;
            }
        });
    };
    edited(&with(domain, [route(Action::Unavailable("says why".into()))]), edit).unwrap()
}

fn limited(mut to: Route, deadline: Duration) -> Route {
    to.timeouts = Timeouts { request: Some(deadline), ..Timeouts::default() };
    to
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reply_of_envoys_own_has_the_same_status_in_grpc_and_in_grpc_web() {
    let echo = Echo::start("echo").await.unwrap();
    let (good, empty) = (cluster("good"), cluster("empty"));
    let lost = Forward { shares: Vec::new(), unavailable: 1, ..Default::default() };
    let elsewhere = encode::virtual_host(&sluice_core::ir::VirtualHost {
        otherwise: Fallback::Misdirected,
        ..host("http-80", "elsewhere.test", [])
    });
    let hosts = [
        with("nothing.test", []),
        with("says.test", [route(Action::Unavailable("says why".into()))]),
        with("lost.test", [route(Action::Forward(lost))]),
        with("empty.test", [forward(&[(&empty, 1)])]),
        with("slow.test", [limited(forward(&[(&good, 1)]), Duration::from_millis(300))]),
        elsewhere,
        replying("limited.test", 429),
        replying("large.test", 413),
        replying("late.test", 504),
        replying("forbidden.test", 403),
        replying("unknown.test", 401),
    ];
    let clusters = backend(&good, &[echo.address()]).into_iter().chain(backend(&empty, &[]));
    let rig = Rig::start(port(80).into_iter().chain(clusters).chain(hosts)).await.unwrap();
    let connection = rig.connect("http-80", "any.test").await.unwrap();
    for (host, path, code, words) in [
        ("any.test", ECHO, Code::Unimplemented, "no rule matches host any.test path /echo.Echo/Echo"),
        ("nothing.test", ECHO, Code::Unimplemented, "no rule matches host nothing.test path /echo.Echo/Echo"),
        ("says.test", ECHO, Code::Unavailable, "says why"),
        ("lost.test", ECHO, Code::Unavailable, "no backend of this rule can be used"),
        ("empty.test", ECHO, Code::Unavailable, "no healthy upstream"),
        ("slow.test", HANG, Code::DeadlineExceeded, ""),
        ("elsewhere.test", ECHO, Code::Unavailable, "host elsewhere.test"),
        ("limited.test", ECHO, Code::ResourceExhausted, "says why"),
        ("large.test", ECHO, Code::ResourceExhausted, "says why"),
        ("late.test", ECHO, Code::DeadlineExceeded, "says why"),
        ("forbidden.test", ECHO, Code::PermissionDenied, "says why"),
        ("unknown.test", ECHO, Code::Unauthenticated, "says why"),
    ] {
        for speech in [Speech::Grpc, Speech::Web] {
            match call(&connection.towards(host).unwrap(), speech, path, &[]).await.unwrap() {
                Outcome::Refused(found, message) => {
                    assert_eq!(found, code, "{host} {speech:?}: {message}");
                    assert!(message.contains(words), "{host} {speech:?}: {message}");
                }
                Outcome::Answered(by) => panic!("{host} {speech:?}: answered by {by}"),
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_of_backends_are_left_as_they_are() {
    let echo = Echo::start("echo").await.unwrap();
    let good = cluster("good");
    let host = with("a.test", [forward(&[(&good, 1)])]);
    let rig = Rig::start(port(80).into_iter().chain(backend(&good, &[echo.address()])).chain([host])).await.unwrap();
    let connection = rig.connect("http-80", "a.test").await.unwrap();
    for speech in [Speech::Grpc, Speech::Web] {
        let answer = call(&connection, speech, ECHO, &[]).await.unwrap();
        assert_eq!(answer, Outcome::Answered("echo".to_owned()), "{speech:?}");
        let note = [("x-sluice-grpc-status", "8")];
        let answer = call(&connection, speech, ECHO, &note).await.unwrap();
        assert_eq!(answer, Outcome::Answered("echo".to_owned()), "{speech:?}, and a client's own note");
    }
}
