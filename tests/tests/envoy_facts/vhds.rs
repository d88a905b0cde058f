//! Virtual hosts by discovery: names, order, and what a removal needs.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use envoy_types::pb::envoy::{
    config::route::v3::{RouteConfiguration, VirtualHost},
    service::discovery::v3::DeltaDiscoveryRequest,
};
use sluice_envoy::encode;
use sluice_tests::{
    calls::{Outcome, Speech, call},
    envoy::{
        Answer, Message, News, Plane, Proxy, Rig, Stream,
        shapes::{configuration, edited, host, http, port, saying},
    },
    wire::Connection,
};
use sluice_xds::{Id, Resource, ResourceType};
use tonic::Code;

const PATH: &str = "/echo.Echo/Echo";

/// Shorter than any of Envoy's waits for what does not come (15 s).
const AT_ONCE: Duration = Duration::from_secs(10);

/// An Envoy that has asked for the hosts of the route configurations of these ports.
pub(super) async fn opened(ports: &[u16]) -> (Plane, Proxy, Stream) {
    let mut plane = Plane::start().await.unwrap();
    let proxy = Proxy::start(plane.address()).unwrap();
    let mut stream = plane.stream().await.unwrap();
    stream.asked(ResourceType::Cluster).await.unwrap();
    assert_eq!(stream.tell(ResourceType::Cluster, none()).await.unwrap(), Answer::Ack);
    stream.asked(ResourceType::Listener).await.unwrap();
    let listeners: Vec<_> = ports.iter().map(|port| Message::from(&encode::listener(&http(*port)))).collect();
    assert_eq!(stream.tell(ResourceType::Listener, listeners).await.unwrap(), Answer::Ack);
    for port in ports {
        let name = format!("http-{port}");
        stream.asked_for(ResourceType::RouteConfiguration, &name).await.unwrap();
        let told = stream.tell(ResourceType::RouteConfiguration, [&configuration(&name)]).await.unwrap();
        assert_eq!(told, Answer::Ack);
    }
    stream.asked(ResourceType::VirtualHost).await.unwrap();
    (plane, proxy, stream)
}

fn none() -> [Message; 0] {
    []
}

pub(super) async fn hosts(stream: &mut Stream, hosts: &[Arc<Resource>]) -> Answer {
    stream.tell(ResourceType::VirtualHost, hosts).await.unwrap()
}

/// What a listener answers a call to this host with.
pub(super) async fn said(proxy: &Proxy, listener: &str, host: &str) -> String {
    let connection = Connection::open_clear(proxy.listener(listener).await.unwrap(), host).await.unwrap();
    match call(&connection, Speech::Grpc, PATH, &[]).await.unwrap() {
        Outcome::Refused(_, words) => words,
        Outcome::Answered(by) => panic!("answered by {by}"),
    }
}

pub(super) async fn until_said(proxy: &Proxy, host: &str, words: &str) {
    let ask = async || (said(proxy, "http-80", host).await == words).then_some(());
    proxy.until(&format!("{words} for {host}"), ask).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn exact_wildcard_and_any_hosts_come_by_vhds_over_the_one_stream() {
    let (_plane, proxy, mut stream) = opened(&[80]).await;
    let domains = ["a.example.com", "*.example.com", "*"];
    assert_eq!(hosts(&mut stream, &domains.map(|domain| saying("http-80", domain, domain))).await, Answer::Ack);
    for (host, by) in [
        ("a.example.com", "a.example.com"),
        ("a.example.com:8443", "a.example.com"),
        ("b.example.com", "*.example.com"),
        ("b.c.example.com", "*.example.com"),
        ("example.com", "*"),
        ("other.test", "*"),
    ] {
        assert_eq!(said(&proxy, "http-80", host).await, by, "{host}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_host_is_looked_up_by_the_name_inside_of_it() {
    let (_plane, proxy, mut stream) = opened(&[80]).await;
    let [any, right] = ["*", "right.example.com"].map(|domain| saying("http-80", domain, domain));
    let wrong = saying("http-80", "wrong.example.com", "wrong");
    let renamed = edited(&wrong, |host: &mut VirtualHost| host.name = "wrong.example.com".to_owned()).unwrap();
    assert_eq!(hosts(&mut stream, &[any, right]).await, Answer::Ack);
    assert_eq!(stream.tell(ResourceType::VirtualHost, [&renamed]).await.unwrap(), Answer::Ack);
    until_said(&proxy, "wrong.example.com", "wrong").await;
    assert_eq!(stream.remove(ResourceType::VirtualHost, "http-80/wrong.example.com").await.unwrap(), Answer::Ack);
    assert_eq!(stream.remove(ResourceType::VirtualHost, "http-80/right.example.com").await.unwrap(), Answer::Ack);
    until_said(&proxy, "right.example.com", "*").await;
    assert_eq!(said(&proxy, "http-80", "wrong.example.com").await, "wrong", "Envoy now removes by resource name");
}

#[tokio::test(flavor = "multi_thread")]
async fn hosts_before_their_route_configuration_are_dropped_and_never_asked_for_again() {
    let (_plane, proxy, mut stream) = opened(&[80]).await;
    let (first, early) = (saying("http-80", "*", "first"), saying("http-81", "*", "second"));
    assert_eq!(hosts(&mut stream, &[first, early.clone()]).await, Answer::Ack);
    proxy.listener("http-80").await.unwrap();
    let second = encode::listener(&http(81));
    assert_eq!(stream.tell(ResourceType::Listener, [&second]).await.unwrap(), Answer::Ack);
    stream.asked_for(ResourceType::RouteConfiguration, "http-81").await.unwrap();
    let started = Instant::now();
    let told = stream.tell(ResourceType::RouteConfiguration, [&configuration("http-81")]).await.unwrap();
    assert_eq!(told, Answer::Ack);
    proxy.until_stat("listener_manager.total_listeners_warming", 1).await.unwrap();
    assert_eq!(hosts(&mut stream, &[early]).await, Answer::Ack);
    assert_eq!(said(&proxy, "http-81", "a.example.com").await, "second");
    assert!(started.elapsed() < AT_ONCE, "after {:?}", started.elapsed());
    let asked = stream.heard(ResourceType::VirtualHost).filter(|request| request.response_nonce.is_empty());
    assert_eq!(asked.count(), 1, "Envoy now asks for the hosts of each route configuration");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_route_configuration_that_went_and_came_back_serves_its_hosts_again() {
    let mut rig = Rig::start(port(80).into_iter().chain(port(81))).await.unwrap();
    let second = saying("http-81", "a.example.com", "second");
    let gone = port(81).map(|resource| resource.id.clone());
    rig.publish([second.clone()], []).unwrap();
    rig.synced().await.unwrap();
    rig.publish([], gone.into_iter().chain([second.id.clone()])).unwrap();
    rig.synced().await.unwrap();
    rig.publish(port(81).into_iter().chain([second]), []).unwrap();
    rig.synced().await.unwrap();
    assert_eq!(said(&rig.proxy, "http-81", "a.example.com").await, "second");
}

#[tokio::test(flavor = "multi_thread")]
async fn hosts_left_behind_by_a_route_configuration_are_claimed_for_ever() {
    let (mut plane, proxy, mut stream) = opened(&[80, 81]).await;
    assert_eq!(hosts(&mut stream, &["http-80", "http-81"].map(|of| saying(of, "*", of))).await, Answer::Ack);
    proxy.listener("http-81").await.unwrap();
    assert_eq!(stream.remove(ResourceType::Listener, "http-81").await.unwrap(), Answer::Ack);
    let wanted =
        |request: &DeltaDiscoveryRequest| request.resource_names_unsubscribe.iter().any(|name| name == "http-81");
    stream.until("unsubscription from http-81", wanted).await.unwrap();
    drop(stream);
    let again = plane.stream().await.unwrap().asked(ResourceType::VirtualHost).await.unwrap();
    assert!(again.initial_resource_versions.contains_key("http-81/*"), "Envoy now forgets the hosts of what went");
}

#[tokio::test(flavor = "multi_thread")]
async fn our_session_removes_the_hosts_of_what_went_so_that_later_claims_are_true() {
    let mut rig = Rig::start(port(80).into_iter().chain(port(81))).await.unwrap();
    rig.publish([], port(81).map(|resource| resource.id.clone())).unwrap();
    rig.synced().await.unwrap();
    rig.reconnect().await.unwrap();
    let hosts = |news: &News| match news {
        News::Heard(request) if request.type_url == ResourceType::VirtualHost.type_url() => {
            Some(request.initial_resource_versions.keys().cloned().collect::<Vec<_>>())
        }
        _ => None,
    };
    let claimed = rig.served.until("request for virtual hosts", hosts).await.unwrap();
    assert_eq!(claimed, ["http-80/*"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_route_configuration_without_a_host_holds_its_listener_for_fifteen_seconds() {
    let (_plane, proxy, mut stream) = opened(&[80]).await;
    assert_eq!(hosts(&mut stream, &[saying("http-80", "*", "first")]).await, Answer::Ack);
    assert_eq!(said(&proxy, "http-80", "a.example.com").await, "first");
    assert_eq!(stream.tell(ResourceType::Listener, [&encode::listener(&http(81))]).await.unwrap(), Answer::Ack);
    stream.asked_for(ResourceType::RouteConfiguration, "http-81").await.unwrap();
    let told = stream.tell(ResourceType::RouteConfiguration, [&configuration("http-81")]).await.unwrap();
    assert_eq!(told, Answer::Ack);
    let started = Instant::now();
    assert_eq!(stream.tell(ResourceType::VirtualHost, none()).await.unwrap(), Answer::Ack);
    proxy.listener("http-81").await.unwrap();
    assert!(started.elapsed() > AT_ONCE, "Envoy now waits only {:?}", started.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_host_for_all_names_grpc_web_gets_no_status() {
    let (_plane, proxy, mut stream) = opened(&[80]).await;
    assert_eq!(hosts(&mut stream, &[saying("http-80", "a.example.com", "a")]).await, Answer::Ack);
    let address = proxy.listener("http-80").await.unwrap();
    let connection = Connection::open_clear(address, "b.example.com").await.unwrap();
    let bare = call(&connection, Speech::Web, PATH, &[]).await.unwrap_err().to_string();
    assert!(bare.contains("no grpc-status"), "{bare}");
    let any = encode::virtual_host(&host("http-80", "*", []));
    assert_eq!(hosts(&mut stream, &[any]).await, Answer::Ack);
    for speech in [Speech::Grpc, Speech::Web] {
        let ask = async || {
            let outcome = call(&connection, speech, PATH, &[]).await.ok()?;
            (outcome.code() == Code::Unimplemented).then_some(())
        };
        proxy.until(&format!("UNIMPLEMENTED in {speech:?}"), ask).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_domain_both_inline_and_by_vhds_is_refused() {
    let (_plane, proxy, mut stream) = opened(&[80]).await;
    assert_eq!(hosts(&mut stream, &[saying("http-80", "*", "any")]).await, Answer::Ack);
    let inline = prost_host("a.example.com", "inline");
    let with = |routes: &mut RouteConfiguration| routes.virtual_hosts = vec![inline];
    let doubled = edited(&configuration("http-80"), with).unwrap();
    assert_eq!(stream.tell(ResourceType::RouteConfiguration, [&doubled]).await.unwrap(), Answer::Ack);
    let twice = hosts(&mut stream, &[saying("http-80", "a.example.com", "discovered")]).await;
    assert!(matches!(&twice, Answer::Nack(words) if words.contains("a.example.com")), "{twice:?}");
    assert_eq!(hosts(&mut stream, &[saying("http-80", "b.example.com", "b")]).await, Answer::Ack);
    until_said(&proxy, "b.example.com", "b").await;
    assert_eq!(said(&proxy, "http-80", "a.example.com").await, "inline");
}

fn prost_host(domain: &str, words: &str) -> VirtualHost {
    prost::Message::decode(saying("inline", domain, words).bytes.clone()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_reconnect_the_request_for_hosts_claims_all_and_names_none() {
    let (mut plane, proxy, mut stream) = opened(&[80]).await;
    let sent = ["a.example.com", "*"].map(|domain| saying("http-80", domain, domain));
    assert_eq!(hosts(&mut stream, &sent).await, Answer::Ack);
    drop(stream);
    let mut again = plane.stream().await.unwrap();
    let request = again.asked(ResourceType::VirtualHost).await.unwrap();
    let claimed = |resource: &Arc<Resource>| request.initial_resource_versions.get(&*resource.id.name).cloned();
    for resource in &sent {
        assert_eq!(claimed(resource), Some(resource.version.to_string()));
    }
    assert_eq!(request.resource_names_subscribe, Vec::<String>::new());
    // Still the wildcard: a host that it never named is taken.
    assert_eq!(hosts(&mut again, &[saying("http-80", "new.example.com", "new")]).await, Answer::Ack);
    until_said(&proxy, "new.example.com", "new").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_whose_rules_miss_does_not_fall_back_to_the_wildcard() {
    let (_plane, proxy, mut stream) = opened(&[80]).await;
    let exact = encode::virtual_host(&host("http-80", "a.example.com", []));
    assert_eq!(hosts(&mut stream, &[exact, saying("http-80", "*.example.com", "wildcard")]).await, Answer::Ack);
    assert_eq!(said(&proxy, "http-80", "b.example.com").await, "wildcard");
    assert!(said(&proxy, "http-80", "a.example.com").await.starts_with("no rule matches host a.example.com"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_changes_is_replaced_and_one_that_goes_is_gone_through_our_session() {
    let mut rig = Rig::start(port(80)).await.unwrap();
    for words in ["one", "two"] {
        rig.publish([saying("http-80", "a.example.com", words)], []).unwrap();
        rig.synced().await.unwrap();
        until_said(&rig.proxy, "a.example.com", words).await;
    }
    rig.publish([], [Id::new(ResourceType::VirtualHost, "http-80/a.example.com")]).unwrap();
    rig.synced().await.unwrap();
    let outcome = async || {
        let outcome = rig.call("a.example.com", Speech::Grpc, PATH).await.ok()?;
        (outcome.code() == Code::Unimplemented).then_some(())
    };
    rig.proxy.until("UNIMPLEMENTED", outcome).await.unwrap();
}
