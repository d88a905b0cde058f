//! Filter chains by discovery (FCDS), which Envoy has and its documentation hides: why each chain of a TLS port is in its listener.
//!
//! A test that fails says that a reason has gone. Without the last three, a hostname more can cost a listener its name alone.

use std::sync::Arc;

use envoy_types::pb::{
    envoy::{
        config::{
            core::v3::{AggregatedConfigSource, ConfigSource, config_source::ConfigSourceSpecifier},
            listener::v3::{FilterChain, Listener, listener::FcdsConfig},
        },
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
use sluice_echo::proto::{EchoRequest, EchoResponse, stream_client::StreamClient};
use sluice_envoy::encode;
use sluice_tests::{
    calls::{Speech, call},
    echoes::Echo,
    envoy::{
        Answer, Message, Plane, Proxy, Stream,
        shapes::{backend, certificate, cluster, configuration, edited, forward, host, https},
    },
    manifests::Certificate,
    wire::Connection,
};
use sluice_xds::{
    Resource,
    ResourceType::{self, RouteConfiguration, Secret, VirtualHost},
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Streaming};

use crate::clusters::PATH;

const CHAIN: &str = "type.googleapis.com/envoy.config.listener.v3.FilterChain";
const A: &str = "a.example.com";
const B: &str = "b.example.com";
/// The certificate of all names.
const SHARED: &str = "default/shared";

/// Whether one chain is in the listener, that nobody is sent to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Inline {
    Nothing,
    Idle,
}

/// An Envoy with a TLS port whose chains come by discovery.
struct Port {
    inline: Inline,
    certificate: Certificate,
    stream: Stream,
    proxy: Proxy,
    _plane: Plane,
    _echo: Echo,
}

fn named(host: &str) -> String {
    format!("https-443/{host}")
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
    let source = ConfigSource {
        config_source_specifier: Some(ConfigSourceSpecifier::Ads(AggregatedConfigSource::default())),
        resource_api_version: 2,
        ..Default::default()
    };
    let idle = FilterChain { name: "idle".to_owned(), ..Default::default() };
    let edit = |listener: &mut Listener| {
        listener.filter_chains = if inline == Inline::Idle { vec![idle] } else { Vec::new() };
        listener.filter_chain_matcher =
            Some(Matcher { matcher_type: Some(MatcherType::MatcherTree(tree)), ..Default::default() });
        listener.fcds_config = Some(FcdsConfig { config_source: Some(source), ..Default::default() });
    };
    Message::from(&edited(&whole(hosts, SHARED), edit).unwrap())
}

impl Port {
    /// With the chains of these hosts, and everything that they need.
    async fn start(hosts: &[&str], inline: Inline) -> Self {
        let echo = Echo::start("a").await.unwrap();
        let mut plane = Plane::start().await.unwrap();
        let proxy = Proxy::start(plane.address()).unwrap();
        let mut stream = plane.stream().await.unwrap();
        let [cluster, endpoints] = backend(&cluster("a"), &[echo.address()]);
        stream.asked(ResourceType::Cluster).await.unwrap();
        let nonce = stream.send(ResourceType::Cluster, [&cluster], &[]).await.unwrap();
        stream.asked_for(ResourceType::Assignment, &cluster.id.name).await.unwrap();
        assert_eq!(stream.tell(ResourceType::Assignment, [&endpoints]).await.unwrap(), Answer::Ack);
        assert_eq!(stream.answer(&nonce).await.unwrap(), Answer::Ack);
        stream.asked(ResourceType::Listener).await.unwrap();
        let certificate = Certificate::new(&["*.example.com"]).unwrap();
        let mut port = Self { inline, certificate, stream, proxy, _plane: plane, _echo: echo };
        port.names(hosts).await;
        for host in hosts {
            port.bring(host).await;
        }
        port.proxy.listener("https-443").await.unwrap();
        port
    }

    /// Names these chains in the listener.
    async fn names(&mut self, hosts: &[&str]) {
        let listener = listener(hosts, self.inline);
        assert_eq!(self.stream.tell(ResourceType::Listener, [listener]).await.unwrap(), Answer::Ack);
    }

    async fn bring(&mut self, host: &str) {
        self.stream.asked_for(CHAIN, &named(host)).await.unwrap();
        assert_eq!(self.stream.tell(CHAIN, [chain(host, SHARED)]).await.unwrap(), Answer::Ack);
        self.stream.asked_for(Secret, SHARED).await.unwrap();
        let secret = encode::certificate(&certificate(SHARED, &self.certificate));
        assert_eq!(self.stream.tell(Secret, [&secret]).await.unwrap(), Answer::Ack);
        self.route(host).await;
    }

    /// What a chain warms with, beside its certificate.
    async fn route(&mut self, to: &str) {
        self.stream.asked_for(RouteConfiguration, &named(to)).await.unwrap();
        let told = self.stream.tell(RouteConfiguration, [&configuration(&named(to))]).await.unwrap();
        assert_eq!(told, Answer::Ack);
        self.stream.asked(VirtualHost).await.unwrap();
        let routes = encode::virtual_host(&host(&named(to), "*", [forward(&[(&cluster("a"), 1)])]));
        assert_eq!(self.stream.tell(VirtualHost, [&routes]).await.unwrap(), Answer::Ack);
    }

    async fn connect(&self, host: &str) -> anyhow::Result<Connection> {
        Connection::open(self.proxy.listener("https-443").await?, host, &self.certificate.pem).await
    }

    async fn until_answered(&self, host: &str) {
        let ask = async || {
            let outcome = call(&self.connect(host).await.ok()?, Speech::Grpc, PATH, &[]).await.ok()?;
            (outcome.code() == Code::Ok).then_some(())
        };
        self.proxy.until(&format!("answer for {host}"), ask).await.unwrap();
    }

    async fn updates_in_place(&self) -> Option<u64> {
        self.proxy.stat("listener_manager.listener_in_place_updated").await
    }
}

/// A call that lasts.
struct Talk {
    texts: mpsc::Sender<EchoRequest>,
    answers: Streaming<EchoResponse>,
    connection: Connection,
}

impl Talk {
    async fn open(port: &Port, host: &str) -> Self {
        let connection = port.connect(host).await.unwrap();
        let (texts, requests) = mpsc::channel(1);
        texts.send(EchoRequest { text: "first".into() }).await.unwrap();
        let mut client = StreamClient::with_origin(connection.clone(), connection.origin());
        let answers = client.bidi(ReceiverStream::new(requests)).await.unwrap().into_inner();
        let mut talk = Self { texts, answers, connection };
        assert_eq!(talk.answers.message().await.unwrap().unwrap().text, "first");
        talk
    }

    async fn says(&mut self, text: &str) {
        self.texts.send(EchoRequest { text: text.into() }).await.unwrap();
        assert_eq!(self.answers.message().await.unwrap().unwrap().text, text);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_without_a_chain_inline_drains_all_connections_for_a_hostname_more() {
    let mut port = Port::start(&[A], Inline::Nothing).await;
    let talk = Talk::open(&port, A).await;
    port.names(&[A, B]).await;
    port.bring(B).await;
    port.until_answered(B).await;
    assert_eq!(port.updates_in_place().await, Some(0), "Envoy now takes it for a change of chains alone");
    let cut = async || talk.connection.is_closed().then_some(());
    port.proxy.until("end of the other connection", cut).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn with_one_chain_inline_a_hostname_more_cuts_nobody() {
    let mut port = Port::start(&[A], Inline::Idle).await;
    let mut talk = Talk::open(&port, A).await;
    port.names(&[A, B]).await;
    port.bring(B).await;
    port.until_answered(B).await;
    assert_eq!(port.updates_in_place().await, Some(1));
    talk.says("second").await;
    assert!(!talk.connection.is_closed());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_certificate_of_a_chain_that_comes_later_is_never_asked_for() {
    let mut port = Port::start(&[A], Inline::Idle).await;
    port.names(&[A, B]).await;
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
    let mut port = Port::start(&[A], Inline::Idle).await;
    port.names(&[A, B]).await;
    port.stream.asked_for(CHAIN, &named(B)).await.unwrap();
    assert_eq!(port.stream.tell(CHAIN, [chain(B, SHARED)]).await.unwrap(), Answer::Ack);
    assert_eq!(port.stream.remove(CHAIN, &named(B)).await.unwrap(), Answer::Ack);
    port.route(B).await;
    port.until_answered(B).await;
}

/// What it leads to is not tried here: once the workers have another state, the next request on that connection ends Envoy.
#[tokio::test(flavor = "multi_thread")]
async fn connections_outlive_their_chain_when_its_name_leaves_the_listener() {
    let mut port = Port::start(&[A, B], Inline::Idle).await;
    let mut talk = Talk::open(&port, B).await;
    port.names(&[A]).await;
    let gone = |request: &DeltaDiscoveryRequest| request.resource_names_unsubscribe.contains(&named(B));
    port.stream.until("end of the chain", gone).await.unwrap();
    talk.says("second").await;
    assert!(!talk.connection.is_closed(), "Envoy now drains it");
}
