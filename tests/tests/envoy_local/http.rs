//! HTTPRoutes: where they send a caller, what they make of a URL, and what they answer where nobody can.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use serde_json::{Value, json};
use sluice_tests::{
    calls::{Outcome, Speech, call},
    manifests::{backend, route},
    recorder::Recorder,
    stage::Stage,
};

/// Of a hostname, attached to the Gateway `gateway`.
fn http(name: &str, rules: &Value) -> Value {
    let mut route = route(name, &format!("{name}.example.com"), rules);
    route["kind"] = json!("HTTPRoute");
    route
}

/// A Service that says it speaks HTTP/2, so that an HTTPRoute sends gRPC on as it came.
fn h2c(name: &str, recorder: &Recorder) -> [Value; 2] {
    let mut service = sluice_tests::manifests::service(name);
    service["spec"]["ports"][0]["appProtocol"] = json!("kubernetes.io/h2c");
    [service, sluice_tests::manifests::endpoints(name, recorder.address())]
}

async fn in_force(stage: &Stage, route: &str) {
    stage.sluice.condition(("HTTPRoute", route), "sluice.dev/Programmed", "True").await.unwrap();
}

fn redirect(path: &str, to: &Value) -> Value {
    json!({
        "matches": [{"path": {"type": "PathPrefix", "value": path}}],
        "filters": [{"type": "RequestRedirect", "requestRedirect": to}],
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_says_where_to_ask_instead() {
    let prefix = |with: &str| json!({"type": "ReplacePrefixMatch", "replacePrefixMatch": with});
    let full = json!({"type": "ReplaceFullPath", "replaceFullPath": "/there"});
    let rules = json!([
        redirect("/host", &json!({"hostname": "a.org"})),
        redirect("/status", &json!({"hostname": "a.org", "statusCode": 308})),
        redirect("/scheme", &json!({"scheme": "http"})),
        redirect("/port", &json!({"port": 8443})),
        redirect("/full", &json!({"path": full, "statusCode": 301})),
        redirect("/prefix", &json!({"path": prefix("/new")})),
        redirect("/gone", &json!({"path": prefix("/"), "statusCode": 303})),
    ]);
    let stage = Stage::new(&[], [http("there", &rules)]).await.unwrap();
    in_force(&stage, "there").await;
    let connection = stage.connect("there.example.com").await.unwrap();
    let table = [
        ("/host/x", 302, "https://a.org/host/x"),
        ("/status", 308, "https://a.org/status"),
        ("/scheme", 302, "http://there.example.com:80/scheme"),
        ("/port", 302, "https://there.example.com:8443/port"),
        ("/full/x?q=1", 301, "https://there.example.com/there?q=1"),
        ("/prefix", 302, "https://there.example.com/new"),
        ("/prefix/x", 302, "https://there.example.com/new/x"),
        ("/gone/x", 303, "https://there.example.com/x"),
        ("/gone", 303, "https://there.example.com/"),
    ];
    for (path, status, location) in table {
        let answer = connection.post(path, HeaderMap::new(), Bytes::new()).await.unwrap();
        let found = answer.headers.get("location").map(HeaderValue::as_bytes);
        assert_eq!((answer.status, found), (status, Some(location.as_bytes())), "{path}: {found:?}");
    }
}

fn rewritten(path: &str, by: &Value) -> Value {
    json!({
        "matches": [{"path": {"type": "PathPrefix", "value": path}}],
        "filters": [{"type": "URLRewrite", "urlRewrite": by}],
        "backendRefs": [backend("kept")],
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backend_is_asked_for_the_url_that_was_written_for_it() {
    let kept = Recorder::start("kept").await.unwrap();
    let prefix = |with: &str| json!({"path": {"type": "ReplacePrefixMatch", "replacePrefixMatch": with}});
    let rules = json!([
        rewritten("/host", &json!({"hostname": "inside.local"})),
        rewritten("/full", &json!({"path": {"type": "ReplaceFullPath", "replaceFullPath": "/a\\1b"}})),
        rewritten("/pre.fix", &prefix("/new")),
        rewritten("/gone", &prefix("")),
        rewritten("/", &prefix("/under/")),
    ]);
    let documents = h2c("kept", &kept).into_iter().chain([http("rewritten", &rules)]);
    let stage = Stage::new(&[], documents).await.unwrap();
    in_force(&stage, "rewritten").await;
    let connection = stage.connect("rewritten.example.com").await.unwrap();
    let own = "rewritten.example.com";
    let table = [
        ("/host/x", "inside.local", "/host/x"),
        ("/full/x", own, "/a\\1b"),
        ("/pre.fix", own, "/new"),
        ("/pre.fix/x", own, "/new/x"),
        ("/preXfix", own, "/under/preXfix"),
        ("/gone/x/y", own, "/x/y"),
        ("/gone", own, "/"),
        ("/a", own, "/under/a"),
    ];
    for (path, authority, expected) in table {
        call(&connection, Speech::Grpc, path, &[]).await.unwrap();
        let seen = kept.seen().pop().unwrap();
        assert_eq!((&*seen.authority, &*seen.path), (authority, expected), "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_share_of_a_backend_that_is_not_there_is_500_and_the_rest_goes_on() {
    let there = Recorder::start("there").await.unwrap();
    let weighted = |name: &str, weight: u32| json!({"name": name, "port": 9000, "weight": weight});
    let rules = json!([
        {"matches": [{"path": {"value": "/none"}}], "backendRefs": [weighted("absent", 1)]},
        {"matches": [{"path": {"value": "/nobody"}}]},
        {"backendRefs": [weighted("absent", 1), weighted("there", 3)]},
    ]);
    let documents = h2c("there", &there).into_iter().chain([http("partly", &rules)]);
    let stage = Stage::new(&[], documents).await.unwrap();
    in_force(&stage, "partly").await;
    let connection = stage.connect("partly.example.com").await.unwrap();
    let mut counts = BTreeMap::<u16, u32>::new();
    for _ in 0..400 {
        let answer = connection.post("/x", HeaderMap::new(), Bytes::new()).await.unwrap();
        *counts.entry(answer.status).or_default() += 1;
    }
    // Six standard deviations around 100.
    assert!((48..=152).contains(&counts[&500]) && counts[&500] + counts[&200] == 400, "{counts:?}");
    for path in ["/none", "/nobody"] {
        assert_eq!(connection.post(path, HeaderMap::new(), Bytes::new()).await.unwrap().status, 500, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_verb_and_a_parameter_choose_the_rule() {
    let rule = |matched: Value, to: &str| json!({"matches": [matched], "backendRefs": [backend(to)]});
    let (hit, miss) = (Recorder::start("hit").await.unwrap(), Recorder::start("miss").await.unwrap());
    let rules = json!([
        rule(json!({"method": "POST", "queryParams": [{"name": "v", "value": "2"}]}), "hit"),
        rule(json!({"method": "DELETE"}), "hit"),
        rule(json!({}), "miss"),
    ]);
    let documents = h2c("hit", &hit).into_iter().chain(h2c("miss", &miss)).chain([http("chosen", &rules)]);
    let stage = Stage::new(&[], documents).await.unwrap();
    in_force(&stage, "chosen").await;
    let connection = stage.connect("chosen.example.com").await.unwrap();
    for (path, expected) in
        [("/a?v=2", "hit"), ("/a?x=1&v=2", "hit"), ("/a?v=22", "miss"), ("/a?V=2", "miss"), ("/a", "miss")]
    {
        let outcome = call(&connection, Speech::Grpc, path, &[]).await.unwrap();
        assert_eq!(outcome, Outcome::Answered(expected.to_owned()), "{path}");
    }
}
