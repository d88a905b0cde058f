//! Filter chains by discovery (FCDS), which Envoy has and its documentation hides: why each chain of a TLS port is in its listener.
//!
//! A test that fails says that a reason has gone. Without the last three, a hostname more can cost a listener its name alone.

use std::sync::Arc;

use envoy_types::pb::{
    envoy::{
        config::listener::v3::{FilterChain, Listener, listener::FcdsConfig},
        extensions::matching::common_inputs::network::v3::ServerNameInput,
        service::discovery::v3::DeltaDiscoveryRequest,
    },
    google::protobuf::{Any, StringValue},
    xds::{
        core::v3::TypedExtensionConfig,
        r#type::matcher::v3::{
            Matcher,
            matcher::{
                MatcherTree, MatcherType, OnMatch,
                matcher_tree::{MatchMap, TreeType},
                on_match::OnMatch::Action,
            },
        },
    },
};
use prost::{Message as _, Name};
use sluice_envoy::encode;
use sluice_tests::envoy::{
    Answer, Message,
    shapes::{edited, https},
};
use sluice_xds::{Resource, ResourceType::Secret};
use tonic::Code;

use crate::port::{A, B, Port, SHARED, Talk, ads, named};

const CHAIN: &str = "type.googleapis.com/envoy.config.listener.v3.FilterChain";

/// Whether one chain is in the listener, that nobody is sent to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Inline {
    Nothing,
    Idle,
}

fn extension<T: prost::Message + Name>(message: &T) -> TypedExtensionConfig {
    let any = Any { type_url: T::type_url(), value: message.encode_to_vec() };
    TypedExtensionConfig { name: "x".to_owned(), typed_config: Some(any) }
}

/// The listener of the product, for these hosts.
fn whole(hosts: &[&str], secret: &str) -> Arc<Resource> {
    let names: Vec<_> = hosts.iter().map(|host| (*host, secret)).collect();
    encode::listener(&https(&names))
}

/// The chain of a host, as the product has it in the listener.
fn chain(host: &str, secret: &str) -> Message {
    let mut listener = Listener::decode(whole(&[host], secret).bytes.clone()).unwrap();
    let chain = FilterChain { name: named(host), filter_chain_match: None, ..listener.filter_chains.remove(0) };
    Message { name: named(host), version: secret.to_owned(), bytes: chain.encode_to_vec() }
}

/// The listener with names of chains in place of chains.
fn listener(hosts: &[&str], inline: Inline) -> Message {
    let to = |host: &&str| {
        let action = Action(extension(&StringValue { value: named(host) }));
        ((*host).to_owned(), OnMatch { on_match: Some(action), ..Default::default() })
    };
    let tree = MatcherTree {
        input: Some(extension(&ServerNameInput {})),
        tree_type: Some(TreeType::ExactMatchMap(MatchMap { map: hosts.iter().map(to).collect() })),
    };
    let idle = FilterChain { name: "idle".to_owned(), ..Default::default() };
    let edit = |listener: &mut Listener| {
        listener.filter_chains = if inline == Inline::Idle { vec![idle] } else { Vec::new() };
        listener.filter_chain_matcher =
            Some(Matcher { matcher_type: Some(MatcherType::MatcherTree(tree)), ..Default::default() });
        listener.fcds_config = Some(FcdsConfig { config_source: Some(ads()), ..Default::default() });
    };
    Message::from(&edited(&whole(hosts, SHARED), edit).unwrap())
}

/// With the chains of these hosts, and everything that they need.
async fn started(hosts: &[&str], inline: Inline) -> Port {
    let mut port = Port::start().await;
    port.listen(listener(hosts, inline)).await;
    for host in hosts {
        bring(&mut port, host).await;
    }
    port.proxy.listener("https-443").await.unwrap();
    port
}

async fn bring(port: &mut Port, host: &str) {
    port.bring(CHAIN, host, chain(host, SHARED)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_without_a_chain_inline_drains_all_connections_for_a_hostname_more() {
    let mut port = started(&[A], Inline::Nothing).await;
    let talk = Talk::open(&port, A).await;
    port.listen(listener(&[A, B], Inline::Nothing)).await;
    bring(&mut port, B).await;
    port.until_answered(B, Code::Ok).await;
    assert_eq!(port.updates_in_place().await, Some(0), "Envoy now takes it for a change of chains alone");
    let cut = async || talk.connection.is_closed().then_some(());
    port.proxy.until("end of the other connection", cut).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn with_one_chain_inline_a_hostname_more_cuts_nobody() {
    let mut port = started(&[A], Inline::Idle).await;
    let mut talk = Talk::open(&port, A).await;
    port.listen(listener(&[A, B], Inline::Idle)).await;
    bring(&mut port, B).await;
    port.until_answered(B, Code::Ok).await;
    assert_eq!(port.updates_in_place().await, Some(1));
    talk.says("second").await;
    assert!(!talk.connection.is_closed());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_certificate_of_a_chain_that_comes_later_is_never_asked_for() {
    let mut port = started(&[A], Inline::Idle).await;
    port.listen(listener(&[A, B], Inline::Idle)).await;
    port.stream.asked_for(CHAIN, &named(B)).await.unwrap();
    assert_eq!(port.stream.tell(CHAIN, [chain(B, "default/own")]).await.unwrap(), Answer::Ack);
    // The chain is warm, and what it asks for has been asked for.
    port.route(B).await;
    let asked = port.stream.heard(Secret).flat_map(|request| &request.resource_names_subscribe);
    assert_eq!(asked.collect::<Vec<_>>(), [SHARED], "Envoy now asks for it");
    port.connect(B).await.unwrap_err();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chain_that_is_removed_while_it_warms_is_served_all_the_same() {
    let mut port = started(&[A], Inline::Idle).await;
    port.listen(listener(&[A, B], Inline::Idle)).await;
    port.stream.asked_for(CHAIN, &named(B)).await.unwrap();
    assert_eq!(port.stream.tell(CHAIN, [chain(B, SHARED)]).await.unwrap(), Answer::Ack);
    assert_eq!(port.stream.remove(CHAIN, &named(B)).await.unwrap(), Answer::Ack);
    port.route(B).await;
    port.until_answered(B, Code::Ok).await;
}

/// What it leads to is not tried here: once the workers have another state, the next request on that connection ends Envoy.
#[tokio::test(flavor = "multi_thread")]
async fn connections_outlive_their_chain_when_its_name_leaves_the_listener() {
    let mut port = started(&[A, B], Inline::Idle).await;
    let mut talk = Talk::open(&port, B).await;
    port.listen(listener(&[A], Inline::Idle)).await;
    let gone = |request: &DeltaDiscoveryRequest| request.resource_names_unsubscribe.contains(&named(B));
    port.stream.until("end of the chain", gone).await.unwrap();
    talk.says("second").await;
    assert!(!talk.connection.is_closed(), "Envoy now drains it");
}
