//! A port with TLS, told to Envoy word for word.
//!
//! It must not know how its chains and connection managers get there.

use envoy_types::pb::envoy::config::core::v3::{
    AggregatedConfigSource, ConfigSource, config_source::ConfigSourceSpecifier,
};
use sluice_echo::proto::{EchoRequest, EchoResponse, stream_client::StreamClient};
use sluice_envoy::encode;
use sluice_tests::{
    calls::{Speech, call},
    echoes::Echo,
    envoy::{
        Answer, Message, Plane, Proxy, Stream, Typed,
        shapes::{backend, certificate, cluster, configuration, forward, host},
    },
    manifests::Certificate,
    wire::Connection,
};
use sluice_xds::ResourceType::{self, RouteConfiguration, Secret, VirtualHost};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Streaming};

use crate::clusters::PATH;

pub(crate) const A: &str = "a.example.com";
pub(crate) const B: &str = "b.example.com";
/// The certificate of all names.
pub(crate) const SHARED: &str = "default/shared";

/// The stream that everything else comes by.
pub(crate) fn ads() -> ConfigSource {
    ConfigSource {
        config_source_specifier: Some(ConfigSourceSpecifier::Ads(AggregatedConfigSource::default())),
        resource_api_version: 2,
        ..Default::default()
    }
}

/// An Envoy with a backend, that is not told of its port yet.
pub(crate) struct Port {
    pub(crate) stream: Stream,
    pub(crate) proxy: Proxy,
    certificate: Certificate,
    _plane: Plane,
    _echo: Echo,
}

/// What belongs to a host is called like this.
pub(crate) fn named(host: &str) -> String {
    format!("https-443/{host}")
}

impl Port {
    pub(crate) async fn start() -> Self {
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
        Self { stream, proxy, certificate, _plane: plane, _echo: echo }
    }

    pub(crate) async fn listen(&mut self, listener: Message) {
        assert_eq!(self.stream.tell(ResourceType::Listener, [listener]).await.unwrap(), Answer::Ack);
    }

    /// What a host is served by, once it is asked for, and everything that this needs.
    pub(crate) async fn bring(&mut self, kind: impl Typed, host: &str, form: Message) {
        self.stream.asked_for(kind, &named(host)).await.unwrap();
        assert_eq!(self.stream.tell(kind, [form]).await.unwrap(), Answer::Ack);
        self.show().await;
        self.route(host).await;
    }

    async fn show(&mut self) {
        self.stream.asked_for(Secret, SHARED).await.unwrap();
        let secret = encode::certificate(&certificate(SHARED, &self.certificate));
        assert_eq!(self.stream.tell(Secret, [&secret]).await.unwrap(), Answer::Ack);
    }

    /// What a chain warms with, beside its certificate.
    pub(crate) async fn route(&mut self, to: &str) {
        self.stream.asked_for(RouteConfiguration, &named(to)).await.unwrap();
        let told = self.stream.tell(RouteConfiguration, [&configuration(&named(to))]).await.unwrap();
        assert_eq!(told, Answer::Ack);
        self.stream.asked(VirtualHost).await.unwrap();
        let routes = encode::virtual_host(&host(&named(to), "*", [forward(&[(&cluster("a"), 1)])]));
        assert_eq!(self.stream.tell(VirtualHost, [&routes]).await.unwrap(), Answer::Ack);
    }

    pub(crate) async fn connect(&self, host: &str) -> anyhow::Result<Connection> {
        Connection::open(self.proxy.listener("https-443").await?, host, &self.certificate.pem).await
    }

    pub(crate) async fn until_answered(&self, host: &str, with: Code) {
        let ask = async || {
            let outcome = call(&self.connect(host).await.ok()?, Speech::Grpc, PATH, &[]).await.ok()?;
            (outcome.code() == with).then_some(())
        };
        self.proxy.until(&format!("answer for {host}"), ask).await.unwrap();
    }

    pub(crate) async fn updates_in_place(&self) -> Option<u64> {
        self.proxy.stat("listener_manager.listener_in_place_updated").await
    }
}

/// A call that lasts.
pub(crate) struct Talk {
    texts: mpsc::Sender<EchoRequest>,
    answers: Streaming<EchoResponse>,
    pub(crate) connection: Connection,
}

impl Talk {
    pub(crate) async fn open(port: &Port, host: &str) -> Self {
        let connection = port.connect(host).await.unwrap();
        let (texts, requests) = mpsc::channel(1);
        texts.send(EchoRequest { text: "first".into() }).await.unwrap();
        let mut client = StreamClient::with_origin(connection.clone(), connection.origin());
        let answers = client.bidi(ReceiverStream::new(requests)).await.unwrap().into_inner();
        let mut talk = Self { texts, answers, connection };
        assert_eq!(talk.answers.message().await.unwrap().unwrap().text, "first");
        talk
    }

    pub(crate) async fn says(&mut self, text: &str) {
        self.texts.send(EchoRequest { text: text.into() }).await.unwrap();
        assert_eq!(self.answers.message().await.unwrap().unwrap().text, text);
    }
}
