//! Connection managers by discovery (ECDS): why that of each chain is in its listener.
//!
//! A manager that is made once its listener is ready is made with what the listener was warmed with, which is spent by then, and
//! freed after the next change of a chain. A test that fails says that a reason has gone. Without all of them, a chain costs its
//! listener 300 bytes instead of 1.6 kB.

use std::time::Instant;

use envoy_types::pb::{
    envoy::{
        config::{
            core::v3::{ExtensionConfigSource, TypedExtensionConfig},
            listener::v3::{Listener, filter::ConfigType},
        },
        extensions::filters::network::http_connection_manager::v3::HttpConnectionManager,
    },
    google::protobuf::Any,
};
use prost::{Message as _, Name};
use sluice_envoy::encode;
use sluice_tests::{
    envoy::{
        Answer, Message,
        shapes::{edited, https},
    },
    local::PATIENCE,
};
use sluice_xds::ResourceType::{ExtensionConfig, RouteConfiguration};
use tonic::Code;

use crate::port::{A, B, Port, SHARED, Talk, ads, named};

/// The listener with a name in place of each manager.
fn listener(hosts: &[&str]) -> Message {
    let names: Vec<_> = hosts.iter().map(|host| (*host, SHARED)).collect();
    let discovery = ExtensionConfigSource {
        config_source: Some(ads()),
        type_urls: vec![HttpConnectionManager::full_name()],
        ..Default::default()
    };
    let edit = |listener: &mut Listener| {
        for (chain, host) in listener.filter_chains.iter_mut().zip(hosts) {
            chain.filters[0].name = named(host);
            chain.filters[0].config_type = Some(ConfigType::ConfigDiscovery(discovery.clone()));
        }
    };
    Message::from(&edited(&encode::listener(&https(&names)), edit).unwrap())
}

/// The manager of a host as the product has it in the listener, edited.
fn manager(host: &str, version: &str, edit: impl FnOnce(&mut HttpConnectionManager)) -> Message {
    let listener = Listener::decode(encode::listener(&https(&[(host, SHARED)])).bytes.clone()).unwrap();
    let Some(ConfigType::TypedConfig(inline)) = &listener.filter_chains[0].filters[0].config_type else {
        panic!("the manager is not in the listener");
    };
    let mut manager = HttpConnectionManager::decode(inline.value.as_slice()).unwrap();
    edit(&mut manager);
    let any = Any { value: manager.encode_to_vec(), ..inline.clone() };
    let config = TypedExtensionConfig { name: named(host), typed_config: Some(any) };
    Message { name: named(host), version: version.to_owned(), bytes: config.encode_to_vec() }
}

fn changed(host: &str, version: &str) -> Message {
    manager(host, version, |manager| version.clone_into(&mut manager.via))
}

/// With the managers of these hosts, and everything that they need.
async fn started(hosts: &[&str]) -> Port {
    let mut port = Port::start().await;
    port.listen(listener(hosts)).await;
    for host in hosts {
        bring(&mut port, host).await;
    }
    port.proxy.listener("https-443").await.unwrap();
    port
}

async fn bring(port: &mut Port, host: &str) {
    port.bring(ExtensionConfig, host, manager(host, "1", |_| {})).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hostname_more_cuts_nobody_and_waits_for_its_manager_while_the_others_are_served() {
    let mut port = started(&[A]).await;
    let mut talk = Talk::open(&port, A).await;
    port.listen(listener(&[A, B])).await;
    port.stream.asked_for(ExtensionConfig, &named(B)).await.unwrap();
    assert_eq!(port.proxy.stat("listener_manager.total_listeners_warming").await, Some(1));
    port.until_answered(A, Code::Ok).await;
    bring(&mut port, B).await;
    port.until_answered(B, Code::Ok).await;
    assert_eq!(port.updates_in_place().await, Some(1));
    talk.says("second").await;
    assert!(!talk.connection.is_closed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_manager_cuts_nobody() {
    let mut port = started(&[A]).await;
    let mut talk = Talk::open(&port, A).await;
    assert_eq!(port.stream.tell(ExtensionConfig, [changed(A, "2")]).await.unwrap(), Answer::Ack);
    port.until_answered(A, Code::Ok).await;
    talk.says("second").await;
    assert!(!talk.connection.is_closed(), "Envoy now drains it");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manager_that_comes_once_its_listener_is_ready_never_has_routes() {
    let mut port = started(&[A]).await;
    port.listen(listener(&[A, B])).await;
    port.stream.asked_for(ExtensionConfig, &named(B)).await.unwrap();
    // Any refusal lets every listener wait no more, as 15 s do for one.
    let refused = manager(A, "2", |manager| manager.stat_prefix.clear());
    let answer = port.stream.tell(ExtensionConfig, [refused]).await.unwrap();
    assert!(matches!(answer, Answer::Nack(_)), "{answer:?}");
    port.proxy.until_stat("listener_manager.total_listeners_warming", 0).await.unwrap();
    assert_eq!(port.stream.tell(ExtensionConfig, [manager(B, "1", |_| {})]).await.unwrap(), Answer::Ack);
    port.until_answered(B, Code::Unimplemented).await;
    // By now it has asked for all that it will.
    assert_eq!(port.stream.tell(ExtensionConfig, [manager(A, "1", |_| {})]).await.unwrap(), Answer::Ack);
    let asked = port.stream.heard(RouteConfiguration).flat_map(|request| &request.resource_names_subscribe);
    assert_eq!(asked.collect::<Vec<_>>(), [&named(A)], "Envoy now asks for them");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_a_manager_ends_envoy_once_another_chain_has_come() {
    let mut port = started(&[A]).await;
    port.listen(listener(&[A, B])).await;
    bring(&mut port, B).await;
    port.until_answered(B, Code::Ok).await;
    // What the listener was warmed with goes with its old form, after the drain time of one second.
    let (began, mut version) = (Instant::now(), 1);
    while port.stream.tell(ExtensionConfig, [changed(A, &version.to_string())]).await.is_ok() {
        assert!(began.elapsed() < PATIENCE, "Envoy now survives it");
        version += 1;
        // Answers once Envoy has been through its events.
        port.proxy.stat("listener_manager.total_listeners_active").await;
    }
    let ended = async || port.proxy.get("/ready").await.is_err().then_some(());
    port.proxy.until("end of Envoy", ended).await.unwrap();
}
