//! Ports, certificates and reconnects.

use sluice_core::ir::{Fallback, Listener};
use sluice_echo::proto::{EchoRequest, stream_client::StreamClient};
use sluice_envoy::encode;
use sluice_tests::{
    calls::{Outcome, Speech, call},
    echoes::Echo,
    envoy::{
        News, Rig,
        shapes::{backend, certificate, cluster, configuration, forward, host, http, https, port, saying},
    },
    manifests::Certificate,
    wire::Connection,
};
use sluice_xds::ResourceType;
use std::net::{Ipv4Addr, Ipv6Addr};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Code;

const ECHO: &str = "/echo.Echo/Echo";

#[tokio::test(flavor = "multi_thread")]
async fn the_server_name_chooses_certificate_and_routes_and_a_sibling_is_misdirected() {
    let [exact, wildcard] = ["a.example.com", "*.example.com"].map(|name| Certificate::new(&[name]).unwrap());
    let misdirected = sluice_core::ir::VirtualHost {
        otherwise: Fallback::Misdirected,
        ..host("https-443/*.example.com", "a.example.com", [])
    };
    let resources = [
        encode::listener(&https(&[("a.example.com", "default/a"), ("*.example.com", "default/w")])),
        encode::certificate(&certificate("default/a", &exact)),
        encode::certificate(&certificate("default/w", &wildcard)),
        configuration("https-443/a.example.com"),
        configuration("https-443/*.example.com"),
        saying("https-443/a.example.com", "*", "exact"),
        saying("https-443/*.example.com", "*", "wildcard"),
        encode::virtual_host(&misdirected),
    ];
    let rig = Rig::start(resources).await.unwrap();
    let address = rig.proxy.listener("https-443").await.unwrap();
    for (name, of, words) in [("a.example.com", &exact, "exact"), ("b.example.com", &wildcard, "wildcard")] {
        let connection = Connection::open(address, name, &of.pem).await.unwrap();
        let outcome = call(&connection, Speech::Grpc, ECHO, &[]).await.unwrap();
        assert_eq!(outcome, Outcome::Refused(Code::Unavailable, words.to_owned()));
    }
    let connection = Connection::open(address, "b.example.com", &wildcard.pem).await.unwrap();
    let sibling = call(&connection.towards("a.example.com").unwrap(), Speech::Grpc, ECHO, &[]).await.unwrap();
    assert!(
        matches!(&sibling, Outcome::Refused(Code::Unavailable, words) if words.contains("server name")),
        "{sibling:?}"
    );
    // No chain for it: the handshake fails.
    Connection::open(address, "other.test", &wildcard.pem).await.unwrap_err();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotated_certificate_reaches_new_handshakes_without_an_update_of_listeners_and_cuts_no_stream() {
    let echo = Echo::start("a").await.unwrap();
    let [old, new] = [(); 2].map(|()| Certificate::new(&["a.example.com"]).unwrap());
    let of = cluster("a");
    let routes = "https-443/a.example.com";
    let resources = [
        encode::listener(&https(&[("a.example.com", "default/a")])),
        encode::certificate(&certificate("default/a", &old)),
        configuration(routes),
        encode::virtual_host(&host(routes, "*", [forward(&[(&of, 1)])])),
    ];
    let mut rig = Rig::start(resources.into_iter().chain(backend(&of, &[echo.address()]))).await.unwrap();
    let address = rig.proxy.listener("https-443").await.unwrap();
    let connection = Connection::open(address, "a.example.com", &old.pem).await.unwrap();
    let mut client = StreamClient::with_origin(connection.clone(), connection.origin());
    let (sender, texts) = mpsc::channel(1);
    sender.send(EchoRequest { text: "before".into() }).await.unwrap();
    let mut answers = client.bidi(ReceiverStream::new(texts)).await.unwrap().into_inner();
    assert_eq!(answers.message().await.unwrap().unwrap().text, "before");
    let listeners = rig.served.responses(ResourceType::Listener);
    rig.publish([encode::certificate(&certificate("default/a", &new))], []).unwrap();
    rig.synced().await.unwrap();
    let fresh = async || Connection::open(address, "a.example.com", &new.pem).await.ok();
    let fresh = rig.proxy.until("handshake with the new certificate", fresh).await.unwrap();
    let answer = call(&fresh, Speech::Grpc, ECHO, &[]).await.unwrap();
    assert_eq!(answer, Outcome::Answered("a".to_owned()));
    sender.send(EchoRequest { text: "after".into() }).await.unwrap();
    assert_eq!(answers.message().await.unwrap().unwrap().text, "after");
    assert!(!connection.is_closed());
    assert_eq!(rig.served.responses(ResourceType::Listener), listeners, "a listener was sent");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reconnect_with_true_claims_is_sent_nothing() {
    let echo = Echo::start("a").await.unwrap();
    let (of, own) = (cluster("a"), Certificate::new(&["a.example.com"]).unwrap());
    let routes = "https-443/a.example.com";
    let resources = [
        encode::listener(&https(&[("a.example.com", "default/a")])),
        encode::certificate(&certificate("default/a", &own)),
        configuration(routes),
        encode::virtual_host(&host(routes, "*", [forward(&[(&of, 1)])])),
    ];
    let all = resources.into_iter().chain(backend(&of, &[echo.address()])).chain(port(80));
    let mut rig = Rig::start(all).await.unwrap();
    rig.proxy.listener("https-443").await.unwrap();
    rig.reconnect().await.unwrap();
    rig.synced().await.unwrap();
    let sent = rig.served.news().iter().filter(|news| matches!(news, News::Sent(_)));
    assert_eq!(sent.map(ToString::to_string).collect::<Vec<_>>(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_listener_cuts_no_stream_of_another() {
    let echo = Echo::start("a").await.unwrap();
    let of = cluster("a");
    let host = encode::virtual_host(&host("http-80", "a.example.com", [forward(&[(&of, 1)])]));
    let resources = port(80).into_iter().chain(backend(&of, &[echo.address()])).chain([host]);
    let mut rig = Rig::start(resources).await.unwrap();
    let connection = rig.connect("http-80", "a.example.com").await.unwrap();
    let mut client = StreamClient::with_origin(connection.clone(), connection.origin());
    let (sender, texts) = mpsc::channel(1);
    sender.send(EchoRequest { text: "before".into() }).await.unwrap();
    let mut answers = client.bidi(ReceiverStream::new(texts)).await.unwrap().into_inner();
    assert_eq!(answers.message().await.unwrap().unwrap().text, "before");
    rig.publish(port(81), []).unwrap();
    rig.synced().await.unwrap();
    rig.proxy.listener("http-81").await.unwrap();
    sender.send(EchoRequest { text: "after".into() }).await.unwrap();
    assert_eq!(answers.message().await.unwrap().unwrap().text, "after");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_on_every_address_takes_both_families_and_backends_may_be_of_either() {
    let (four, six) = (Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into());
    let echoes = [Echo::start_at("four", four).await.unwrap(), Echo::start_at("six", six).await.unwrap()];
    let [to_four, to_six] = ["four", "six"].map(cluster);
    let everywhere = Listener { bind: (Ipv6Addr::UNSPECIFIED, 0).into(), ..http(80) };
    let [_, routes, any] = port(80);
    let resources = [encode::listener(&everywhere), routes, any]
        .into_iter()
        .chain(backend(&to_four, &[echoes[0].address()]))
        .chain(backend(&to_six, &[echoes[1].address()]))
        .chain([&to_four, &to_six].map(|to| {
            let domain = format!("{}.example.com", to.service.name);
            encode::virtual_host(&host("http-80", &domain, [forward(&[(to, 1)])]))
        }));
    let rig = Rig::start(resources).await.unwrap();
    let bound = rig.proxy.listener("http-80").await.unwrap();
    for address in [four, six] {
        for name in ["four", "six"] {
            let connection =
                Connection::open_clear((address, bound.port()).into(), &format!("{name}.example.com")).await.unwrap();
            let outcome = call(&connection, Speech::Grpc, ECHO, &[]).await.unwrap();
            assert_eq!(outcome, Outcome::Answered(name.to_owned()), "{name} by {address}");
        }
    }
}
