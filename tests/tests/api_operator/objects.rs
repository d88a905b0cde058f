//! Objects: written once, left alone when they are another's.

use serde_json::{Value, json};

use crate::room::{Room, assert_same, condition, is_judged, server, service};

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_over_an_unchanged_world_writes_nothing() {
    let room = Room::new("restart").await;
    let operator = room.operator("one", &[]);
    room.settle("echo").await;
    room.settle("first").await;
    let before = room.versions("echo").await;
    assert_eq!(before.len(), 10, "{before:?}");
    operator.signal("KILL").unwrap();
    operator.ended().await.unwrap();

    let audit = server().audit().unwrap();
    let _again = room.operator("two", &[]);
    room.settle("second").await;
    assert_same(&before, &room.versions("echo").await);
    let mut written = room.written(&audit, "two");
    written.retain(|write| !write.name.contains("/second") && !write.resource.starts_with("endpointslices"));
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
