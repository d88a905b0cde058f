//! Clusters: warming, endpoints, and what a cluster that Envoy cannot use does to all others.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use envoy_types::pb::{
    envoy::config::cluster::v3::{
        Cluster,
        cluster::{LbConfig, LbPolicy, RingHashLbConfig},
    },
    google::protobuf::{self, UInt64Value},
};
use sluice_core::{ir, world::backend::EndpointState};
use sluice_envoy::encode;
use sluice_tests::{
    calls::{Outcome, Speech},
    echoes::Echo,
    envoy::{
        Answer, Message, News, Plane, Proxy, Rig, Stream,
        shapes::{assignment, backend, cluster, edited, forward, host, port, route, share},
    },
};
use sluice_xds::{Event, Id, Resource, ResourceType};
use tonic::Code;

pub(super) const PATH: &str = "/echo.Echo/Echo";
pub(super) const HOST: &str = "a.example.com";

/// An Envoy with the cluster `a`, past its start: it holds back nothing at first.
pub(super) async fn with_cluster() -> (Plane, Proxy, Stream) {
    let mut plane = Plane::start().await.unwrap();
    let proxy = Proxy::start(plane.address()).unwrap();
    let mut stream = plane.stream().await.unwrap();
    let [cluster, endpoints] = backend(&cluster("a"), &[]);
    stream.asked(ResourceType::Cluster).await.unwrap();
    let nonce = stream.send(ResourceType::Cluster, [&cluster], &[]).await.unwrap();
    stream.asked_for(ResourceType::Assignment, "default/a/9000/h2").await.unwrap();
    assert_eq!(stream.tell(ResourceType::Assignment, [&endpoints]).await.unwrap(), Answer::Ack);
    assert_eq!(stream.answer(&nonce).await.unwrap(), Answer::Ack);
    stream.asked(ResourceType::Listener).await.unwrap();
    assert_eq!(stream.tell(ResourceType::Listener, [] as [Message; 0]).await.unwrap(), Answer::Ack);
    (plane, proxy, stream)
}

fn connecting_within(seconds: i64) -> Arc<Resource> {
    let edit = |cluster: &mut Cluster| cluster.connect_timeout = Some(protobuf::Duration { seconds, nanos: 0 });
    edited(&encode::cluster(&cluster("a")), edit).unwrap()
}

/// Well-formed, but Envoy finds when it builds it that the ring is to be larger than it may be.
pub(super) fn unusable(of: &ir::Cluster) -> Arc<Resource> {
    let size = |value| Some(UInt64Value { value });
    let ring = RingHashLbConfig { minimum_ring_size: size(2048), maximum_ring_size: size(1024), ..Default::default() };
    let edit = |cluster: &mut Cluster| {
        cluster.lb_policy = LbPolicy::RingHash.into();
        cluster.lb_config = Some(LbConfig::RingHashLbConfig(ring));
    };
    edited(&encode::cluster(of), edit).unwrap()
}

pub(super) fn sent_to(clusters: &[(&ir::Cluster, u32)]) -> Arc<Resource> {
    encode::virtual_host(&host("http-80", HOST, [forward(clusters)]))
}

pub(super) fn suspects(news: &News) -> Option<Vec<Id>> {
    match news {
        News::Learned(Event::Stalled { forms }) => Some(forms.iter().map(|(id, _)| id.clone()).collect()),
        News::Learned(Event::Refused { id, .. }) => Some(vec![id.clone()]),
        _ => None,
    }
}

pub(super) async fn answered_by(rig: &Rig, name: &str) {
    let ask = async || {
        let outcome = rig.call(HOST, Speech::Grpc, PATH).await.ok()?;
        (outcome == Outcome::Answered(name.to_owned())).then_some(())
    };
    rig.proxy.until(&format!("an answer by {name}"), ask).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_cluster_is_acknowledged_after_fifteen_seconds_unless_its_endpoints_follow_at_once() {
    let (_plane, _proxy, mut stream) = with_cluster().await;
    let started = Instant::now();
    let nonce = stream.send(ResourceType::Cluster, [&connecting_within(6)], &[]).await.unwrap();
    stream.send(ResourceType::Assignment, [&assignment(&cluster("a"), &[])], &[]).await.unwrap();
    assert_eq!(stream.answer(&nonce).await.unwrap(), Answer::Ack);
    assert!(started.elapsed() < Duration::from_secs(5), "after {:?}", started.elapsed());
    let started = Instant::now();
    assert_eq!(stream.tell(ResourceType::Cluster, [&connecting_within(7)]).await.unwrap(), Answer::Ack);
    assert!(started.elapsed() > Duration::from_secs(10), "Envoy now waits only {:?}", started.elapsed());
}

/// So a question that answers nothing comes from an Envoy that has not seen what is under way, and is answered by it.
#[tokio::test(flavor = "multi_thread")]
async fn endpoints_right_behind_a_new_cluster_are_asked_for_before_they_are_seen_and_warm_it() {
    let mut plane = Plane::start().await.unwrap();
    let proxy = Proxy::start(plane.address()).unwrap();
    let mut stream = plane.stream().await.unwrap();
    stream.asked(ResourceType::Cluster).await.unwrap();
    // One at Envoy's start, when it holds back nothing, and one later.
    for name in ["a", "b"] {
        let (of, started) = (cluster(name), Instant::now());
        let [form, endpoints] = backend(&of, &[([127, 0, 0, 1], 9).into()]);
        let told = stream.send(ResourceType::Cluster, [&form], &[]).await.unwrap();
        let followed = stream.send(ResourceType::Assignment, [&endpoints], &[]).await.unwrap();
        for nonce in [&followed, &told] {
            assert_eq!(stream.answer(nonce).await.unwrap(), Answer::Ack);
        }
        let resource = format!("default/{name}/9000/h2");
        let heard: Vec<_> = stream.heard(ResourceType::Assignment).collect();
        let asked = heard.iter().position(|request| request.resource_names_subscribe.contains(&resource));
        let answered = heard.iter().position(|request| request.response_nonce == followed);
        assert!(asked.unwrap() < answered.unwrap(), "{heard:#?}");
        assert_eq!(heard[asked.unwrap()].response_nonce, "");
        proxy.until_stat(&format!("cluster.{resource}.membership_total"), 1).await.unwrap();
        if name == "a" {
            stream.asked(ResourceType::Listener).await.unwrap();
            assert_eq!(stream.tell(ResourceType::Listener, [] as [Message; 0]).await.unwrap(), Answer::Ack);
        }
        assert!(started.elapsed() < Duration::from_secs(5), "after {:?}", started.elapsed());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn our_session_lets_endpoints_follow_a_changed_cluster_at_once() {
    let echo = Echo::start("a").await.unwrap();
    let of = cluster("a");
    let mut rig = Rig::start(port(80).into_iter().chain(backend(&of, &[echo.address()]))).await.unwrap();
    let started = Instant::now();
    rig.publish([connecting_within(6), sent_to(&[(&of, 1)])], []).unwrap();
    rig.synced().await.unwrap();
    assert!(started.elapsed() < Duration::from_secs(5), "after {:?}", started.elapsed());
    answered_by(&rig, "a").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unusable_cluster_wedges_discovery_until_it_is_removed() {
    let (mut plane, proxy, mut stream) = with_cluster().await;
    let refused = stream.tell(ResourceType::Cluster, [&unusable(&cluster("bad"))]).await.unwrap();
    assert!(matches!(&refused, Answer::Nack(words) if words.contains("default/bad/9000/h2")), "{refused:?}");
    let later = stream.send(ResourceType::Cluster, [&encode::cluster(&cluster("good"))], &[]).await.unwrap();
    stream.asked_for(ResourceType::Assignment, "default/good/9000/h2").await.unwrap();
    assert_eq!(stream.tell(ResourceType::Assignment, [&assignment(&cluster("good"), &[])]).await.unwrap(), Answer::Ack);
    proxy.until_stat("cluster_manager.warming_clusters", 1).await.unwrap();
    let answers = stream.heard(ResourceType::Cluster).filter(|request| request.response_nonce == later);
    assert_eq!(answers.count(), 0, "Envoy now answers");
    drop(stream);
    let mut again = plane.stream().await.unwrap();
    again.asked(ResourceType::Listener).await.unwrap();
    again.asked(ResourceType::Assignment).await.unwrap();
    assert_eq!(again.heard(ResourceType::Cluster).count(), 0, "Envoy now asks for clusters");
    assert_eq!(again.remove(ResourceType::Cluster, "default/bad/9000/h2").await.unwrap(), Answer::Ack);
    proxy.until_stat("cluster_manager.warming_clusters", 0).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn our_session_names_a_new_unusable_cluster_and_moves_on_without_it() {
    let echo = Echo::start("good").await.unwrap();
    let (bad, good) = (cluster("bad"), cluster("good"));
    let mut rig = Rig::start(port(80)).await.unwrap();
    rig.publish([unusable(&bad), assignment(&bad, &[])], []).unwrap();
    let named = rig.served.until("a suspect", suspects).await.unwrap();
    let id = Id::new(ResourceType::Cluster, bad.name());
    assert_eq!(named, std::slice::from_ref(&id));
    let added = backend(&good, &[echo.address()]).into_iter().chain([sent_to(&[(&good, 1)])]);
    rig.publish(added, [id, Id::new(ResourceType::Assignment, bad.name())]).unwrap();
    rig.synced().await.unwrap();
    answered_by(&rig, "good").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn our_session_suspects_the_unusable_cluster_of_a_response_that_is_never_answered() {
    let echo = Echo::start("new").await.unwrap();
    // In this order the new one starts to warm once the unusable one is stuck.
    let (bad, new) = (cluster("bad"), cluster("new"));
    let mut rig = Rig::start(port(80)).await.unwrap();
    let good = backend(&new, &[echo.address()]).into_iter().chain([sent_to(&[(&new, 1)])]);
    rig.publish([unusable(&bad), assignment(&bad, &[])].into_iter().chain(good), []).unwrap();
    let named = rig.served.until("a suspect", suspects).await.unwrap();
    assert_eq!(named, [Id::new(ResourceType::Cluster, bad.name())]);
    rig.publish([], [ResourceType::Cluster, ResourceType::Assignment].map(|kind| Id::new(kind, bad.name()))).unwrap();
    rig.synced().await.unwrap();
    answered_by(&rig, "new").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_envoy_that_starts_waits_fifteen_seconds_to_be_answered_about_clusters_and_ours_for_ever() {
    let (mut by_default, mut ours) = (Plane::start().await.unwrap(), Plane::start().await.unwrap());
    let own_default = |bootstrap: &mut serde_json::Value| {
        for kind in ["cds_config", "lds_config"] {
            bootstrap["dynamic_resources"][kind].as_object_mut().unwrap().remove("initial_fetch_timeout").unwrap();
        }
    };
    let _proxies = (Proxy::start_as(by_default.address(), own_default).unwrap(), Proxy::start(ours.address()).unwrap());
    let (mut impatient, mut patient) = (by_default.stream().await.unwrap(), ours.stream().await.unwrap());
    impatient.asked(ResourceType::Cluster).await.unwrap();
    patient.asked(ResourceType::Cluster).await.unwrap();
    let started = Instant::now();
    impatient.asked(ResourceType::Listener).await.unwrap();
    assert!(started.elapsed() > Duration::from_secs(10), "Envoy now waits only {:?}", started.elapsed());
    let word = tokio::time::timeout(Duration::from_secs(5), patient.asked(ResourceType::Listener)).await;
    assert!(word.is_err(), "with our bootstrap Envoy goes on without an answer");
    let started = Instant::now();
    let rig = Rig::start(port(80)).await.unwrap();
    assert_eq!(rig.call(HOST, Speech::Grpc, PATH).await.unwrap().code(), Code::Unimplemented);
    assert!(started.elapsed() < Duration::from_secs(10), "after {:?}", started.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn our_session_repairs_a_cluster_that_became_unusable_with_its_last_good_form() {
    let echo = Echo::start("a").await.unwrap();
    let of = cluster("a");
    let resources = port(80).into_iter().chain(backend(&of, &[echo.address()])).chain([sent_to(&[(&of, 1)])]);
    let mut rig = Rig::start(resources).await.unwrap();
    answered_by(&rig, "a").await;
    rig.publish([unusable(&of)], []).unwrap();
    let named = rig.served.until("a suspect", suspects).await.unwrap();
    assert_eq!(named, [Id::new(ResourceType::Cluster, of.name())]);
    answered_by(&rig, "a").await;
    let later = Echo::start("b").await.unwrap();
    let next = cluster("b");
    rig.publish([encode::cluster(&of)], []).unwrap();
    rig.synced().await.unwrap();
    rig.publish(backend(&next, &[later.address()]).into_iter().chain([sent_to(&[(&next, 1)])]), []).unwrap();
    rig.synced().await.unwrap();
    answered_by(&rig, "b").await;
    rig.proxy.until_stat("cluster_manager.warming_clusters", 0).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_never_asks_for_clusters_is_given_them_by_our_session() {
    let echo = Echo::start("good").await.unwrap();
    let (bad, good) = (cluster("bad"), cluster("good"));
    let mut rig = Rig::start(port(80)).await.unwrap();
    rig.publish([unusable(&bad), assignment(&bad, &[])], []).unwrap();
    rig.served.until("a suspect", suspects).await.unwrap();
    rig.reconnect().await.unwrap();
    let added = backend(&good, &[echo.address()]).into_iter().chain([sent_to(&[(&good, 1)])]);
    let gone = [ResourceType::Cluster, ResourceType::Assignment].map(|kind| Id::new(kind, bad.name()));
    rig.publish(added, gone).unwrap();
    rig.synced().await.unwrap();
    answered_by(&rig, "good").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn weights_that_sum_to_nothing_are_refused() {
    let (a, b) = (cluster("a"), cluster("b"));
    let clusters = [backend(&a, &[]), backend(&b, &[])].into_iter().flatten();
    let mut rig = Rig::start(port(80).into_iter().chain(clusters)).await.unwrap();
    rig.publish([sent_to(&[(&a, 0), (&b, 0)])], []).unwrap();
    let named = rig.served.until("a refusal", suspects).await.unwrap();
    assert_eq!(named, [Id::new(ResourceType::VirtualHost, format!("http-80/{HOST}"))]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_share_of_the_static_cluster_is_unavailable() {
    let echo = Echo::start("a").await.unwrap();
    let of = cluster("a");
    let half = ir::Forward { shares: vec![share(&of, 1)], unavailable: 1, ..Default::default() };
    let hosts = encode::virtual_host(&host("http-80", HOST, [route(ir::Action::Forward(half))]));
    let resources = port(80).into_iter().chain(backend(&of, &[echo.address()])).chain([hosts]);
    let rig = Rig::start(resources).await.unwrap();
    let connection = rig.connect("http-80", HOST).await.unwrap();
    let mut codes = [0, 0];
    for _ in 0..200 {
        let outcome = sluice_tests::calls::call(&connection, Speech::Grpc, PATH, &[]).await.unwrap();
        match outcome.code() {
            Code::Ok => codes[0] += 1,
            Code::Unavailable => codes[1] += 1,
            other => panic!("{other:?}"),
        }
    }
    // More than six standard deviations of 200 fair coins.
    assert!(codes.iter().all(|count| (50..=150).contains(count)), "{codes:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn draining_endpoints_get_nothing_even_when_there_is_no_other() {
    let (first, second) = (Echo::start("first").await.unwrap(), Echo::start("second").await.unwrap());
    let of = cluster("a");
    let state = |state| (first.address(), state);
    let all = assignment(&of, &[state(EndpointState::Draining)]);
    let resources = port(80).into_iter().chain([encode::cluster(&of), all, sent_to(&[(&of, 1)])]);
    let mut rig = Rig::start(resources).await.unwrap();
    assert_eq!(rig.call(HOST, Speech::Grpc, PATH).await.unwrap().code(), Code::Unavailable);
    let ready = (second.address(), EndpointState::Ready);
    rig.publish([assignment(&of, &[state(EndpointState::Draining), ready])], []).unwrap();
    rig.synced().await.unwrap();
    answered_by(&rig, "second").await;
    for _ in 0..20 {
        let outcome = rig.call(HOST, Speech::Grpc, PATH).await.unwrap();
        assert_eq!(outcome, Outcome::Answered("second".to_owned()));
    }
}
