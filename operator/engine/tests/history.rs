//! Whatever happened in a cluster, it comes to rest, and then what is there is what a recomputation gives.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test that cannot go on shall end")]

mod world;

use proptest::prelude::*;
use serde_json::{Value, json};
use sluice_api::{CONTROLLER_NAME, FINALIZER};
use sluice_core::key::{Kind, NsName, Ref};
use sluice_engine::{ProxyEvent, scratch};
use world::cluster::{Cluster, furnished, grpc_service, in_a, is_bare, is_deleting, own, shared};

/// One thing that happens.
#[derive(Clone, Debug)]
enum Op {
    /// Somebody writes `a/svc`.
    Apply(Value),
    Delete(Ref),
    /// The class `sluice` is there, with this controller.
    Class(&'static str),
    Tell(Kind, usize),
    /// The engine hears how so many writes ended.
    Hear(usize),
    /// Somebody changes an object that was generated.
    Overwrite(Ref, Edit),
    Acknowledge,
    Disconnect,
    /// The pods of all proxies take calls, or none.
    Pods(bool),
    Pass(i64),
    Restart,
    Lead(bool),
    OtherSays(&'static str),
    /// The API server repeats one of the statuses that there were.
    Echo(usize),
}

#[derive(Clone, Copy, Debug)]
enum Edit {
    Spec,
    Class,
    Label,
}

fn overwrite() -> impl Strategy<Value = Op> {
    let (route, gateway) = (in_a(Kind::GrpcRoute, "svc"), in_a(Kind::Gateway, "svc-own"));
    let all = [(&route, Edit::Spec), (&route, Edit::Label), (&gateway, Edit::Class), (&gateway, Edit::Label)];
    let all = all.map(|(object, edit)| Op::Overwrite(object.clone(), edit));
    prop::sample::select(all.to_vec())
}

fn edit(value: &mut Value, edit: Edit) {
    match edit {
        Edit::Spec => value["spec"]["hostnames"] = json!(["elsewhere.example.com"]),
        Edit::Class => value["spec"]["gatewayClassName"] = json!("other"),
        Edit::Label => value["metadata"]["labels"] = json!({}),
    }
}

const TOLD: [Kind; 5] = [Kind::GrpcService, Kind::Gateway, Kind::GrpcRoute, Kind::GrpcPolicy, Kind::ListenerSet];

fn service() -> impl Strategy<Value = Value> {
    let entry = prop::sample::select(vec![own("own"), own("edge"), shared("one"), shared("foreign")]);
    let entries = prop::collection::vec(entry, 0..3);
    (entries, any::<bool>(), any::<bool>()).prop_map(|(mut entries, orphans, slow)| {
        entries.dedup();
        let mut value = grpc_service(&json!(entries));
        value["spec"]["deletionPolicy"] = json!(if orphans { "Orphan" } else { "Delete" });
        let rule = if slow { json!({"name": "r", "timeouts": {"request": "2s"}}) } else { json!({"name": "r"}) };
        value["spec"]["rules"] = json!([rule]);
        value
    })
}

fn deletion() -> impl Strategy<Value = Op> {
    let objects = [
        in_a(Kind::GrpcService, "svc"),
        in_a(Kind::GrpcService, "svc"),
        in_a(Kind::Gateway, "svc-own"),
        in_a(Kind::Gateway, "one"),
        in_a(Kind::GrpcRoute, "svc"),
        Ref::new(Kind::GatewayClass, NsName::cluster("sluice")),
    ];
    prop::sample::select(objects.to_vec()).prop_map(Op::Delete)
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => service().prop_map(Op::Apply),
        3 => deletion(),
        1 => prop::sample::select(&[CONTROLLER_NAME, "example.com/other"][..]).prop_map(Op::Class),
        8 => (prop::sample::select(&TOLD[..]), 1..6_usize).prop_map(|(kind, count)| Op::Tell(kind, count)),
        4 => (1..6_usize).prop_map(Op::Hear),
        2 => overwrite(),
        3 => Just(Op::Acknowledge),
        1 => Just(Op::Disconnect),
        1 => Just(Op::Pods(true)),
        1 => Just(Op::Pods(false)),
        2 => (1..40_i64).prop_map(Op::Pass),
        1 => Just(Op::Restart),
        2 => any::<bool>().prop_map(Op::Lead),
        1 => prop::sample::select(&["True", "False"][..]).prop_map(Op::OtherSays),
        2 => any::<usize>().prop_map(Op::Echo),
    ]
}

fn run(cluster: &mut Cluster, op: &Op) {
    match op {
        Op::Apply(value) => cluster.apply(Kind::GrpcService, value),
        Op::Delete(object) => cluster.delete(object),
        Op::Class(controller) => {
            let class = json!({"metadata": {"name": "sluice"}, "spec": {"controllerName": controller}});
            cluster.apply(Kind::GatewayClass, &class);
            cluster.tell(Kind::GatewayClass, usize::MAX);
        }
        Op::Tell(kind, count) => drop(cluster.tell(*kind, *count)),
        Op::Hear(count) => drop(cluster.hear(*count)),
        Op::Overwrite(object, how) => cluster.overwrite(object, |value| edit(value, *how)),
        Op::Acknowledge => drop(cluster.acknowledge()),
        Op::Disconnect => drop(cluster.disconnect()),
        Op::Pods(true) => drop(cluster.pods(|gateway, proxy| ProxyEvent::Ready { gateway, proxy })),
        Op::Pods(false) => drop(cluster.pods(|gateway, proxy| ProxyEvent::Unready { gateway, proxy })),
        Op::Pass(seconds) => drop(cluster.pass(*seconds)),
        Op::Restart => drop(cluster.restart()),
        Op::Lead(leads) => drop(cluster.lead(*leads)),
        Op::OtherSays(status) => cluster.other_says(status),
        Op::Echo(number) => {
            let ours = scratch(cluster.engine.state()).statuses;
            let echo = cluster.echoes.get(number % cluster.echoes.len().max(1)).cloned();
            let echo = echo.filter(|(object, _)| ours.contains_key(object));
            let echo = echo.map(|(object, status)| cluster.echo(&object, &status));
            cluster.step(echo);
        }
    }
}

/// Nothing that is being deleted waits for us longer than 30 s, a Gateway from when its service let it go.
fn check_nothing_hangs(cluster: &mut Cluster) {
    for _ in 0..3 {
        cluster.tell_all();
        cluster.pass(30);
    }
    cluster.tell_all();
    let held = |value: &&Value| is_deleting(value) && value["metadata"]["finalizers"] == json!([FINALIZER]);
    assert_eq!(cluster.objects.values().find(held), None);
}

/// What we say of an object, as the API server has it; nothing where that is an empty list of entries.
fn said(cluster: &Cluster, object: &Ref) -> Value {
    let mut status = cluster.objects[object]["status"].clone();
    if let Some(parents) = status.get_mut("parents").and_then(Value::as_array_mut) {
        parents.retain(|parent| parent["controllerName"] == CONTROLLER_NAME);
    }
    if is_bare(&status) { Value::Null } else { status }
}

fn check_what_is_there(cluster: &Cluster) {
    let expected = scratch(cluster.engine.state());
    for (object, status) in &expected.statuses {
        let expected = if is_bare(status) { &Value::Null } else { status };
        assert_eq!(said(cluster, object), *expected, "status of {object}");
    }
    for (object, wanted) in &expected.desired {
        let (found, labels) = (&cluster.objects[object], &wanted["metadata"]["labels"]);
        assert_eq!((&found["spec"], &found["metadata"]["labels"]), (&wanted["spec"], labels), "{object}");
    }
    let services = cluster.objects.iter().filter(|(object, _)| object.kind == Kind::GrpcService);
    let mut owned: Vec<Ref> = services.flat_map(|(_, value)| cluster.owned(&value["metadata"]["uid"])).collect();
    let mut wanted: Vec<Ref> = expected.desired.keys().chain(&expected.leaving).cloned().collect();
    owned.retain(|object| object.kind != Kind::Secret);
    owned.sort();
    wanted.sort();
    assert_eq!(owned, wanted, "what services own");
}

fn check_echoes(cluster: &mut Cluster) {
    let ours = scratch(cluster.engine.state()).statuses;
    let echoes = cluster.echoes.clone().into_iter().rev();
    for (object, status) in echoes.filter(|(object, _)| ours.contains_key(object)) {
        let echo = cluster.echo(&object, &status);
        let effects = cluster.step([echo]);
        assert_eq!(effects.statuses, [], "echo of {object}: {status}");
    }
}

fn check_restart(cluster: &mut Cluster) {
    cluster.writes.clear();
    cluster.restart();
    cluster.settle();
    assert_eq!(cluster.writes, [] as [&str; 0], "an unchanged world is not written");
}

/// `PROPTEST_CASES` histories, by default 500.
fn config() -> ProptestConfig {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(500);
    ProptestConfig { cases, max_shrink_iters: 2000, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn after_any_history_a_cluster_comes_to_rest(ops in prop::collection::vec(op(), 1..40)) {
        let mut cluster = furnished();
        for op in &ops {
            run(&mut cluster, op);
        }
        cluster.lead(true);
        cluster.pods(|gateway, proxy| ProxyEvent::Ready { gateway, proxy });
        check_nothing_hangs(&mut cluster);
        cluster.settle();
        check_what_is_there(&cluster);
        check_echoes(&mut cluster);
        check_restart(&mut cluster);
    }
}
