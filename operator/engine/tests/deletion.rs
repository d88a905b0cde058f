//! What becomes of generated objects when their service goes.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test that cannot go on shall end")]

mod world;

use serde_json::json;
use sluice_core::key::{Kind, NsName, Ref};
use sluice_engine::{Apply, Engine, Input};
use world::{class, delete, engine, meta, put, service};

fn grpc_service(policy: &str) -> Input {
    let backends = json!([{"name": "only", "service": {"name": "s", "port": 9000}}]);
    let gateways = json!([{"name": "own", "own": {"gatewayClassName": "sluice"}}]);
    let spec = json!({
        "hostnames": ["a.example.com"], "gateways": gateways, "tls": {"type": "SelfSigned"}, "backends": backends,
        "deletionPolicy": policy,
    });
    put(Kind::GrpcService, json!({"metadata": meta("a", "svc", 1, 5), "spec": spec}))
}

fn removed_with(engine: &mut Engine) -> Vec<Ref> {
    let effects = engine.step([delete(Kind::GrpcService, "a", "svc")]);
    let removed = |apply: Apply| match apply {
        Apply::Remove { reference, .. } => Some(reference),
        Apply::Put { .. } | Apply::Orphan { .. } => None,
    };
    effects.applies.into_iter().filter_map(removed).collect()
}

#[test]
fn objects_go_with_their_service_unless_it_orphans_them() {
    let route = Ref::new(Kind::GrpcRoute, NsName::new("a", "svc"));
    for (policies, goes) in [(&["Delete"][..], true), (&["Orphan"], false), (&["Orphan", "Delete"], true)] {
        let mut engine = engine();
        engine.step([class(None), service("a", "s", 9000)]);
        for policy in policies {
            engine.step([grpc_service(policy)]);
        }
        assert!(engine.state().world.contains(&route), "{policies:?}");
        assert_eq!(removed_with(&mut engine).contains(&route), goes, "{policies:?}");
        assert_eq!(engine.state().world.contains(&route), !goes, "{policies:?}");
    }
}
