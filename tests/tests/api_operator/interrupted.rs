//! The operator killed at each of its writes.

use kube::api::ListParams;
use sluice_tests::operator::Operator;

use crate::room::{Room, is_judged, service};

/// Exit status of a process that `SIGABRT` has ended, as a shell has it.
const ABORTED: i32 = 134;

/// Everything that a service becomes, without what no two lives of it share.
async fn generated(room: &Room, name: &str) -> Vec<String> {
    let mut all = Vec::new();
    for kind in ["Gateway", "GRPCRoute", "GrpcPolicy", "ReferenceGrant", "ConfigMap", "Secret"] {
        for object in room.api(kind).list(&ListParams::default()).await.unwrap() {
            let object = serde_json::to_value(object).unwrap();
            if object["metadata"]["labels"]["sluice.dev/grpcservice"] == name {
                let (own, spec) = (object["metadata"]["name"].as_str().unwrap(), object["spec"].to_string());
                all.push(format!("{kind} {own} {spec}").replace(name, "NAME"));
            }
        }
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_each_of_its_writes_it_comes_to_the_same_end() {
    let room = Room::new("killed").await;
    let calm = room.operator("one", &[]);
    room.settle("calm").await;
    calm.signal("TERM").unwrap();
    calm.ended().await.unwrap();
    let expected = generated(&room, "calm").await;
    assert_eq!(expected.len(), 7, "{expected:#?}");

    let mut met = Vec::new();
    for (verb, side) in ["apply", "status", "patch"].into_iter().flat_map(|verb| [(verb, "before"), (verb, "after")]) {
        for nth in 1.. {
            let name = format!("{verb}{side}{nth}");
            room.apply(&service("killed", &name)).await;
            let doomed = room.operator("one", &[("SLUICE_FAIL_POINT", &format!("{verb}::{nth}:{side}"))]);
            if !ends_itself(&room, &doomed, &name).await {
                break;
            }
            let again = room.operator("one", &[]);
            room.until("GrpcService", &name, is_judged).await;
            again.signal("TERM").unwrap();
            again.ended().await.unwrap();
            assert_eq!(generated(&room, &name).await, expected, "{name}");
            met.push(name);
        }
    }
    for least in ["applybefore7", "applyafter7", "statusbefore3", "statusafter3"] {
        assert!(met.iter().any(|name| name == least), "only these writes were met: {met:?}");
    }
}

/// Whether the operator came to the point where it ends itself, or has finished without.
async fn ends_itself(room: &Room, doomed: &Operator, name: &str) -> bool {
    tokio::select! {
        status = doomed.ended() => {
            assert_eq!(status.unwrap(), ABORTED, "{}", doomed.log().unwrap());
            true
        }
        _ = room.until("GrpcService", name, is_judged) => {
            // The status is not always the last write.
            let _may_have_ended = doomed.signal("TERM");
            doomed.ended().await.unwrap() == ABORTED
        }
    }
}
