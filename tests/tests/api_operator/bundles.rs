//! The oldest bundle of the Gateway API, and the way from it to that of the repository.

use std::{env, path::PathBuf, sync::Arc, time::Duration};

use serde_json::{Value, json};
use sluice_tests::{
    api_server::{ApiServer, repository},
    manifests::Certificate,
};
use tokio::{
    task::block_in_place,
    time::{sleep, timeout},
};

use crate::room::{PATIENCE, Room, condition, is_judged, service};

const HOST: &str = "hand.example.com";

/// A Gateway and a route that somebody has written, with what they refer to.
fn written_by_hand() -> [Value; 4] {
    let named = |name: &str| json!({"namespace": "oldest", "name": name});
    let mut secret = Certificate::new(&[HOST]).unwrap().secret("edge");
    secret["metadata"] = named("edge");
    let listener = json!({
        "name": "https", "port": 443, "protocol": "HTTPS", "hostname": HOST,
        "tls": {"certificateRefs": [{"name": "edge"}]},
    });
    let backends = json!([{"name": "echo", "port": 9000}]);
    [
        secret,
        json!({"apiVersion": "v1", "kind": "Service", "metadata": named("echo"), "spec": {"ports": [{"port": 9000}]}}),
        json!({
            "apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway", "metadata": named("edge"),
            "spec": {"gatewayClassName": "sluice", "listeners": [listener]},
        }),
        json!({
            "apiVersion": "gateway.networking.k8s.io/v1", "kind": "GRPCRoute", "metadata": named("hand"),
            "spec": {"parentRefs": [{"name": "edge"}], "rules": [{"backendRefs": backends}]},
        }),
    ]
}

/// A service with a hostname and a certificate of its own on that Gateway.
fn shared() -> Value {
    let mut shared = service("oldest", "shared");
    shared["spec"]["gateways"] = json!([{"name": "edge", "ref": {"name": "edge"}}]);
    shared
}

/// Whether a status has this condition, of the generation that the object has now.
fn says(object: &Value, status: &Value, kind: &str, truth: &str) -> bool {
    let condition = condition(status, kind);
    condition["status"] == truth && condition["observedGeneration"] == object["metadata"]["generation"]
}

/// Lets services on the Gateway. The API server takes a moment to learn a new schema, tells nobody when it has, and until then drops
/// the fields that it does not know.
async fn open(room: &Room) {
    let allow = json!({"spec": {"allowedListeners": {"namespaces": {"from": "Same"}}}});
    let known = async {
        while room.get("Gateway", "edge").await.unwrap()["spec"]["allowedListeners"].is_null() {
            room.merge("Gateway", "edge", &allow).await;
            // house(sleep): the pace of a poll with a deadline.
            sleep(Duration::from_millis(100)).await;
        }
    };
    timeout(PATIENCE, known).await.unwrap();
}

/// What holds with either bundle.
async fn own_and_handwritten_are_judged(room: &Room) {
    room.until("GrpcService", "own", is_judged).await;
    room.until("Gateway", "edge", |it| {
        let listener = &it["status"]["listeners"][0];
        says(it, &it["status"], "Accepted", "True")
            && says(it, listener, "ResolvedRefs", "True")
            && listener["attachedRoutes"] == 1
    })
    .await;
    room.until("GRPCRoute", "hand", |it| {
        let parent = &it["status"]["parents"][0];
        says(it, parent, "Accepted", "True") && says(it, parent, "ResolvedRefs", "True")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_the_oldest_bundle_only_what_it_lacks_is_refused_and_that_works_once_the_bundle_is_upgraded() {
    let oldest = PathBuf::from(env::var_os("SLUICE_OLDEST_BUNDLE").expect("SLUICE_OLDEST_BUNDLE: run hack/test api"));
    let server = Arc::new(block_in_place(|| ApiServer::start_with(&[oldest, repository().join("crds")])).unwrap());
    let room = Room::on(&server, "oldest").await;
    let _operator = room.operator_everywhere("one");
    for object in written_by_hand().into_iter().chain([service("oldest", "own"), shared()]) {
        room.apply(&object).await;
    }
    own_and_handwritten_are_judged(&room).await;
    let lacking = room.until("GrpcService", "shared", |it| says(it, &it["status"], "Generated", "False")).await;
    for kind in ["Generated", "Ready"] {
        let said = condition(&lacking["status"], kind);
        assert_eq!((&said["status"], &said["reason"]), (&json!("False"), &json!("KindNotServed")), "{said}");
        let words = "install the CRDs of Gateway API v1.5 or later";
        assert!(said["message"].as_str().unwrap().contains(words), "{said}");
    }
    let version = |class: &Value| condition(&class["status"], "SupportedVersion");
    let class = room.until("GatewayClass", "sluice", |class| version(class)["status"] == "True").await;
    assert!(version(&class)["message"].as_str().unwrap().contains("it does not serve ListenerSet"), "{class:#}");

    block_in_place(|| server.install(&[repository().join("crds/gateway-api")])).unwrap();
    open(&room).await;
    room.until("GrpcService", "shared", is_judged).await;
    own_and_handwritten_are_judged(&room).await;
    room.until("GatewayClass", "sluice", |class| !version(class)["message"].as_str().unwrap().contains("not serve"))
        .await;
}
