//! Statuses: ours beside those of others.

use std::time::Duration;

use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use crate::room::{Room, server};

const OTHER: &str = "example.com/other";

fn entry_of<'s>(route: &'s Value, controller: &str) -> Option<&'s Value> {
    let parents = route["status"]["parents"].as_array()?;
    parents.iter().find(|entry| entry["controllerName"] == controller)
}

fn says(route: &Value, controller: &str, generation: i64) -> bool {
    let conditions = entry_of(route, controller).and_then(|entry| entry["conditions"].as_array());
    conditions.is_some_and(|all| all.iter().all(|condition| condition["observedGeneration"] == generation))
}

fn gateway() -> Value {
    json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway",
        "metadata": {"namespace": "storm", "name": "edge"},
        "spec": {"gatewayClassName": "sluice", "listeners": [{"name": "http", "port": 80, "protocol": "HTTP"}]},
    })
}

fn route(service: &str) -> Value {
    json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "GRPCRoute",
        "metadata": {"namespace": "storm", "name": "echo"},
        "spec": {
            "parentRefs": [{"name": "edge"}],
            "rules": [{"matches": [{"method": {"service": service}}], "backendRefs": [{"name": "echo", "port": 9000}]}],
        },
    })
}

/// What another controller says the `count`-th time, with what only JSON can say.
fn word(count: usize) -> Value {
    json!({
        "parentRef": {"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "edge", "namespace": "elsewhere", "sectionName": "z", "port": 443},
        "controllerName": OTHER,
        "conditions": [
            {"type": "Zeal", "status": "Unknown", "reason": "Count", "message": format!("{count}\u{2028}"),
                "lastTransitionTime": "2001-02-03T04:05:06Z"},
            {"type": "Accepted", "status": "True", "reason": "Accepted", "message": "",
                "lastTransitionTime": "2001-02-03T04:05:06Z", "observedGeneration": 1},
        ],
    })
}

/// Writes the other controller's entry so often, as fast as it can; each time over the latest, as a controller does. How often it
/// found its entry other than it had left it.
async fn hammer(room: &Room, times: usize) -> usize {
    let (api, mut lost, mut count) = (room.api("GRPCRoute"), 0, 0);
    while count < times {
        let live = serde_json::to_value(api.get("echo").await.unwrap()).unwrap();
        let held = entry_of(&live, OTHER);
        lost += usize::from(held != (count > 0).then(|| word(count)).as_ref());
        let mut parents = live["status"]["parents"].as_array().cloned().unwrap_or_default();
        parents.retain(|entry| entry["controllerName"] != OTHER);
        parents.insert(0, word(count + 1));
        let body = json!({
            "metadata": {"resourceVersion": live["metadata"]["resourceVersion"]}, "status": {"parents": parents},
        });
        if api.patch_status("echo", &PatchParams::default(), &Patch::Merge(body)).await.is_ok() {
            count += 1;
        }
    }
    lost
}

#[tokio::test(flavor = "multi_thread")]
async fn entries_of_another_controller_survive_a_storm_of_writes_and_so_do_ours() {
    let room = Room::new("storm").await;
    let audit = server().audit().unwrap();
    let _operator = room.operator("one", &[]);
    room.apply(&gateway()).await;
    room.apply(&route("a.A")).await;
    room.until("GRPCRoute", "echo", |route| says(route, "sluice.dev/gateway-controller", 1)).await;
    let (times, edits) = (200, 20);
    let (lost, ()) = tokio::join!(hammer(&room, times), async {
        for edit in 0..edits {
            room.apply(&route(&format!("a.A{edit}"))).await;
            let done = |route: &Value| says(route, "sluice.dev/gateway-controller", edit + 2);
            room.until("GRPCRoute", "echo", done).await;
        }
    });
    assert_eq!(lost, 0, "our writes put back an older word of the other");
    let live = room.get("GRPCRoute", "echo").await.unwrap();
    assert_eq!(entry_of(&live, OTHER), Some(&word(times)));
    let ours = room.written(&audit, "one").into_iter().filter(|write| write.resource == "grpcroutes/status");
    let (kept, stale): (Vec<_>, Vec<_>) = ours.partition(|write| write.code == 200);
    let edits = usize::try_from(edits).unwrap();
    assert!(kept.len() <= 2 * (edits + 1), "{} writes for {} generations", kept.len(), edits + 1);
    assert!(stale.len() <= 2 * times, "{} attempts against {times} writes", stale.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_time_moves_with_its_status_and_with_nothing_else() {
    let room = Room::new("times").await;
    let _operator = room.operator("one", &[]);
    room.settle("echo").await;
    let accepted = |service: &Value| crate::room::condition(&service["status"], "Accepted");
    let before = room.get("GrpcService", "echo").await.unwrap();
    // house(sleep): times have a resolution of a second.
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    room.merge(
        "GrpcService",
        "echo",
        &json!({"spec": {"backends": [{"name": "stable", "service": {"name": "other", "port": 9000}}]}}),
    )
    .await;
    let after = room.until("GrpcService", "echo", |service| service["status"]["observedGeneration"] == 2).await;
    assert_eq!(accepted(&after)["lastTransitionTime"], accepted(&before)["lastTransitionTime"]);
    assert_eq!(accepted(&after)["observedGeneration"], 2);
}
