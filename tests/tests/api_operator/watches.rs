//! Watches that break again and again, under load.

use std::{fs, sync::Arc, time::Duration};

use serde_json::{Value, json};
use sluice_tests::{
    load::{Load, Plan},
    relay::Relay,
};
use tokio::time::{Instant, interval_at};

use crate::{
    front::{Front, is_served},
    proxies::programmed,
    room::{Room, server},
};

/// As in production: a lease is not lost to a second without the API server.
const TERMS: [&str; 3] = ["15s", "10s", "2s"];
const LOAD: Plan = Plan { per_second: 50, connections: 2, fresh: 10, streams: 5 };
const SECOND: Duration = Duration::from_secs(1);
/// Cuts while the service is edited, and while nothing happens.
const CUTS: (usize, usize) = (10, 3);

/// Cuts every connection so often, once a second.
async fn cut(relay: &Relay, times: usize) {
    let mut clock = interval_at(Instant::now() + SECOND, SECOND);
    for _ in 0..times {
        clock.tick().await;
        assert!(relay.cut() > 0, "the operator is not connected");
    }
}

/// Edits the service for so long, each time once what it was edited to is served.
async fn edit(room: &Room, span: Duration) {
    let end = Instant::now() + span;
    for count in 0.. {
        if Instant::now() > end {
            return;
        }
        let matches = json!([{"headers": [{"name": "edit", "value": count.to_string()}]}]);
        let rules = json!([{"name": "edited", "matches": matches}, {"name": "default"}]);
        room.merge("GrpcService", "echo", &json!({"spec": {"rules": rules}})).await;
        room.until("GrpcService", "echo", is_served).await;
    }
}

fn generation(object: &Value) -> usize {
    object["metadata"]["generation"].as_u64().unwrap().try_into().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn watches_that_are_cut_every_second_cost_no_call_no_edit_and_no_write() {
    let (room, relay) = (Room::new("cut").await, Relay::start(server().address()).await.unwrap());
    let direct = fs::read_to_string(server().kubeconfig("one").unwrap()).unwrap();
    let kubeconfig = tempfile::NamedTempFile::new().unwrap();
    fs::write(&kubeconfig, direct.replace(&server().address().to_string(), &relay.address().to_string())).unwrap();
    let _operator = room.operator_for("one", TERMS, &[("KUBECONFIG", &kubeconfig.path().display().to_string())]);
    let front = Arc::new(Front::set(&room).await);
    let proxy = Front::proxy(&room).await;
    programmed(&room, "echo-public").await;
    let before = room.until("GrpcService", "echo", is_served).await;
    let route = room.get("GRPCRoute", "echo").await.unwrap();

    let (load, edited) = (Load::start(front, LOAD).await.unwrap(), server().audit().unwrap());
    tokio::join!(cut(&relay, CUTS.0), edit(&room, SECOND * u32::try_from(CUTS.0).unwrap()));
    let edits = generation(&room.until("GrpcService", "echo", is_served).await) - generation(&before);
    let (written, calm) = (room.written(&edited, "one"), server().audit().unwrap());
    cut(&relay, CUTS.1).await;
    room.settle("after").await;
    load.stop().await.unwrap().flawless().unwrap();

    for removed in ["cluster_manager.cluster_removed", "listener_manager.listener_removed"] {
        assert_eq!(proxy.proxy().stat(removed).await, Some(0), "{removed}");
    }
    assert!(edits >= CUTS.0 / 2, "only {edits} edits came through");
    assert_eq!(generation(&room.get("GRPCRoute", "echo").await.unwrap()) - generation(&route), edits);
    assert!(written.iter().all(|write| write.name == "cut/echo"), "{written:#?}");
    let of = |resource: &str| written.iter().filter(|write| write.resource == resource).count();
    // One whose answer was cut is sent again.
    assert!(of("grpcroutes") <= edits + CUTS.0, "{} for {edits} edits", of("grpcroutes"));
    for status in ["grpcroutes/status", "grpcservices/status"] {
        // One says that it is accepted, and one, where Envoy takes its time, that it is programmed.
        assert!(of(status) <= 2 * edits, "{} of {status} for {edits} edits", of(status));
    }
    let idle = room.written(&calm, "one").into_iter().filter(|write| !write.name.starts_with("cut/after"));
    assert_eq!(idle.collect::<Vec<_>>(), []);
}
