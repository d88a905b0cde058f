//! Objects: written once, repaired when somebody changes them, left alone when they are another's.

use serde_json::{Value, json};
use sluice_tests::cluster::{Audit, Write};

use crate::room::{Room, assert_same, condition, is_judged, server, service};

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_over_an_unchanged_world_writes_nothing() {
    let room = Room::new("restart").await;
    let operator = room.operator("one", &[]);
    // The status of a Gateway rests for a second after each write: the next one may still be to come when everything else is said.
    let is_done = |gateway: &Value| {
        let is_resolved = condition(&gateway["status"], "ResolvedRefs")["status"] == "True";
        is_resolved && gateway["status"]["listeners"][0]["attachedRoutes"] == 1
    };
    for name in ["echo", "first"] {
        room.settle(name).await;
        room.until("Gateway", &format!("{name}-public"), is_done).await;
    }
    // What these made others say has been said by then.
    room.settle("last").await;
    let before = room.versions("echo").await;
    assert_eq!(before.len(), 10, "{before:?}");
    operator.signal("KILL").unwrap();
    operator.ended().await.unwrap();

    let audit = server().audit().unwrap();
    let _again = room.operator("two", &[]);
    room.settle("second").await;
    assert_same(&before, &room.versions("echo").await);
    let mut written = room.written(&audit, "two");
    let is_sentinel = |write: &Write| ["/last", "/second"].iter().any(|name| write.name.contains(name));
    written.retain(|write| !is_sentinel(write) && !write.resource.starts_with("endpointslices"));
    assert_eq!(written, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_of_somebody_else_is_left_alone_until_it_is_given_to_us() {
    let room = Room::new("foreign").await;
    let theirs = json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway",
        "metadata": {"namespace": "foreign", "name": "echo-public", "labels": {"app.kubernetes.io/managed-by": "sluice"}},
        "spec": {"gatewayClassName": "other", "listeners": [{"name": "x", "port": 8080, "protocol": "HTTP"}]},
    });
    let before = room.apply(&theirs).await;
    let _operator = room.operator("one", &[]);
    room.apply(&service("foreign", "echo")).await;
    let is_foreign = |service: &Value| {
        let resources = service["status"]["resources"].as_array().into_iter().flatten();
        resources.clone().any(|object| object["name"] == "echo-public" && object["state"] == "Foreign")
            && condition(&service["status"], "Generated")["status"] == "False"
    };
    room.until("GrpcService", "echo", is_foreign).await;
    room.settle("other").await;
    assert_eq!(room.get("Gateway", "echo-public").await.unwrap()["spec"], before["spec"]);

    let given = json!({"metadata": {"annotations": {"sluice.dev/adopt": "echo"}}});
    room.merge("Gateway", "echo-public", &given).await;
    room.until("GrpcService", "echo", is_judged).await;
    let ours = room.get("Gateway", "echo-public").await.unwrap();
    assert_eq!(ours["metadata"]["ownerReferences"][0]["name"], "echo");
    assert_eq!(ours["spec"]["gatewayClassName"], "sluice");
}

/// What our operator has written of the route since.
fn routes_written(room: &Room, audit: &Audit) -> usize {
    let name = format!("{}/echo", room.namespace);
    let is_it = |write: &&Write| write.resource == "grpcroutes" && write.name == name && write.code == 200;
    room.written(audit, "one").iter().filter(is_it).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_somebody_makes_of_a_generated_object_is_repaired_by_one_write() {
    let room = Room::new("undone").await;
    let _operator = room.operator("one", &[]);
    room.settle("echo").await;
    let before = room.get("GRPCRoute", "echo").await.unwrap();
    let audit = server().audit().unwrap();
    let elsewhere = json!({"spec": {"rules": [{"backendRefs": [{"name": "elsewhere", "port": 1}]}]}});
    room.merge("GRPCRoute", "echo", &elsewhere).await;
    let is_repaired = |route: &Value| {
        let generation = |route: &Value| route["metadata"]["generation"].as_i64().unwrap();
        generation(route) == generation(&before) + 2 && route["spec"] == before["spec"]
    };
    room.until("GRPCRoute", "echo", is_repaired).await;
    room.until("GrpcService", "echo", is_judged).await;
    room.merge("GRPCRoute", "echo", &json!({"metadata": {"labels": {"sluice.dev/grpcservice": "other"}}})).await;
    room.until("GRPCRoute", "echo", |route| route["metadata"]["labels"] == before["metadata"]["labels"]).await;
    room.settle("after").await;
    assert_eq!(routes_written(&room, &audit), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn with_somebody_who_insists_there_is_no_race_and_the_status_names_him() {
    let room = Room::new("insisted").await;
    let _operator = room.operator("one", &[]);
    room.settle("echo").await;
    let audit = server().audit().unwrap();
    let theirs = json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "GRPCRoute",
        "metadata": {"namespace": "insisted", "name": "echo"}, "spec": {"hostnames": ["elsewhere.example.com"]},
    });
    let insist = async {
        loop {
            room.apply(&theirs).await;
            let undone = |route: &Value| route["spec"]["hostnames"] != theirs["spec"]["hostnames"];
            room.until("GRPCRoute", "echo", undone).await;
        }
    };
    let is_named = |service: &Value| condition(&service["status"], "Generated")["reason"] == "FieldConflict";
    let service = tokio::select! {
        service = room.until("GrpcService", "echo", is_named) => service,
        () = insist => unreachable!("it never gives up"),
    };
    let message = condition(&service["status"], "Generated")["message"].clone();
    assert!(message.as_str().unwrap().contains("managed by somebody"), "{message}");
    let written = routes_written(&room, &audit);
    assert!((1..=3).contains(&written), "{written} repairs at once");
}
