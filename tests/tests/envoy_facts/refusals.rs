//! What Envoy refuses, what it says then, and how our session finds the culprit.

use std::sync::Arc;

use envoy_types::pb::{
    envoy::config::{
        cluster::v3::{Cluster, cluster::LbPolicy},
        listener::v3::Listener,
    },
    google::protobuf,
};
use sluice_core::ir::{Action, PathMatcher};
use sluice_envoy::encode;
use sluice_tests::{
    calls::{Speech, call},
    envoy::{
        Answer, News, Plane, Proxy, Rig, Served,
        shapes::{assignment, cluster, edited, host, http, on, port, route, saying},
    },
};
use sluice_xds::{Event, Id, Resource, ResourceType, Snapshot};

use crate::{
    clusters::{PATH, with_cluster},
    vhds::{hosts, opened, said, until_said},
};

/// A host with one rule for a path.
fn expecting(domain: &str, expression: &str) -> Arc<Resource> {
    let mut only = route(Action::Unavailable("matched".into()));
    only.matcher.path = PathMatcher::Regex(expression.into());
    encode::virtual_host(&host("http-80", domain, [only]))
}

fn words(answer: &Answer) -> &str {
    match answer {
        Answer::Nack(words) => words,
        Answer::Ack => panic!("Envoy now takes it"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_good_clusters_and_listeners_of_a_refused_response_are_applied_and_the_bad_are_named() {
    let (_plane, _proxy, mut stream) = with_cluster().await;
    let without_balancer = |cluster: &mut Cluster| cluster.lb_policy = LbPolicy::ClusterProvided.into();
    let bad = edited(&encode::cluster(&cluster("bad")), without_balancer).unwrap();
    let nonce = stream.send(ResourceType::Cluster, &[encode::cluster(&cluster("good")), bad], &[]).await.unwrap();
    stream.asked_for(ResourceType::Assignment, "default/good/9000/h2").await.unwrap();
    assert_eq!(stream.tell(ResourceType::Assignment, [&assignment(&cluster("good"), &[])]).await.unwrap(), Answer::Ack);
    let refused = stream.answer(&nonce).await.unwrap();
    assert!(words(&refused).contains("default/bad/9000/h2") && !words(&refused).contains("good"), "{refused:?}");
    let without_filters = |listener: &mut Listener| listener.filter_chains.clear();
    let listeners = [encode::listener(&http(80)), edited(&encode::listener(&http(81)), without_filters).unwrap()];
    let refused = stream.tell(ResourceType::Listener, &listeners).await.unwrap();
    assert!(words(&refused).contains("http-81") && !words(&refused).contains("http-80"), "{refused:?}");
    stream.asked_for(ResourceType::RouteConfiguration, "http-80").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invalid_field_of_a_cluster_refuses_the_whole_response_and_only_its_dump_names_it() {
    let (_plane, proxy, mut stream) = with_cluster().await;
    let at_once = |cluster: &mut Cluster| cluster.connect_timeout = Some(protobuf::Duration::default());
    let invalid = edited(&encode::cluster(&cluster("invalid")), at_once).unwrap();
    let refused = stream.tell(ResourceType::Cluster, &[encode::cluster(&cluster("good")), invalid]).await.unwrap();
    assert!(
        words(&refused).contains("\"default/invalid/9000/h2\"") && !words(&refused).contains("good"),
        "{refused:?}"
    );
    // The two of the bootstrap and `a`.
    assert_eq!(proxy.stat("cluster_manager.active_clusters").await, Some(3), "Envoy now applies the good part");
    assert_eq!(proxy.stat("cluster_manager.warming_clusters").await, Some(0), "Envoy now applies the good part");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_response_with_a_bad_host_is_refused_whole_and_without_a_name() {
    let (_plane, proxy, mut stream) = opened(&[80]).await;
    assert_eq!(hosts(&mut stream, &[saying("http-80", "*", "any")]).await, Answer::Ack);
    let both = [saying("http-80", "good.example.com", "good"), expecting("bad.example.com", "((")];
    let refused = hosts(&mut stream, &both).await;
    assert!(!words(&refused).contains("example.com"), "Envoy now names it: {refused:?}");
    assert_eq!(hosts(&mut stream, &[saying("http-80", "later.example.com", "later")]).await, Answer::Ack);
    until_said(&proxy, "later.example.com", "later").await;
    assert_eq!(said(&proxy, "http-80", "good.example.com").await, "any", "Envoy now applies the good part");
}

#[tokio::test(flavor = "multi_thread")]
async fn our_session_finds_one_bad_host_among_two_hundred_and_serves_the_others() {
    let domains: Vec<_> = (0..200).map(|index| format!("h{index}.example.com")).collect();
    let bad = "h137.example.com";
    let each = |domain: &String| {
        if domain == bad { expecting(domain, "((") } else { saying("http-80", domain, domain) }
    };
    let mut rig = Rig::start(port(80).into_iter().chain(domains.iter().map(each))).await.unwrap();
    let culprits = rig.served.news().iter().filter_map(|news| match news {
        News::Learned(Event::Refused { id, message, .. }) => Some((id.clone(), message.contains("missing )"))),
        _ => None,
    });
    let id = Id::new(ResourceType::VirtualHost, format!("http-80/{bad}"));
    assert_eq!(culprits.collect::<Vec<_>>(), [(id, true)]);
    assert!(
        rig.served.responses(ResourceType::VirtualHost) <= 2 * 8 + 1,
        "more than two halves at each of eight levels"
    );
    rig.publish([saying("http-80", bad, bad)], []).unwrap();
    rig.synced().await.unwrap();
    until_said(&rig.proxy, bad, bad).await;
    let connection = rig.connect("http-80", bad).await.unwrap();
    for domain in &domains {
        let outcome = call(&connection.towards(domain).unwrap(), Speech::Grpc, PATH, &[]).await.unwrap();
        assert!(
            matches!(&outcome, sluice_tests::calls::Outcome::Refused(_, by) if by == domain),
            "{domain}: {outcome:?}"
        );
    }
}

/// What Envoy says of an expression when it is started with or without our bootstrap's level.
async fn verdict(expression: &str, edit: impl FnOnce(&mut serde_json::Value)) -> Option<String> {
    let mut plane = Plane::start().await.unwrap();
    let proxy = Proxy::start_as(plane.address(), edit).unwrap();
    let resources = port(80).into_iter().chain([expecting("a.example.com", expression)]);
    let mut served = Served::start(plane.stream().await.unwrap(), on(&Snapshot::empty(), resources).unwrap());
    served.synced(1).await.unwrap();
    drop(proxy);
    served.news().iter().find_map(|news| match news {
        News::Learned(Event::Refused { message, .. }) => Some(message.clone()),
        _ => None,
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn expressions_of_any_size_are_taken_with_our_bootstrap_alone_and_repetition_ends_at_a_thousand() {
    let large = "/(?:[a-z]{1,300})/(?:Get|List)";
    assert_eq!(verdict(large, |_| {}).await, None);
    assert_eq!(verdict("/(?:a{1000})/x", |_| {}).await, None);
    let repetition = verdict("/(?:a{1001})/x", |_| {}).await.unwrap_or_default();
    assert!(repetition.contains("repetition"), "{repetition:?}");
    let without = |bootstrap: &mut serde_json::Value| bootstrap["layered_runtime"] = serde_json::json!({});
    let size = verdict(large, without).await.unwrap_or_default();
    assert!(size.contains("program size"), "Envoy's own limit has gone: {size:?}");
}
