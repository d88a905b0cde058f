//! What becomes of a request on its way: headers, retries, deadlines.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use envoy_types::pb::{
    envoy::config::route::v3::{VirtualHost, route::Action as WireAction},
    google::protobuf,
};
use sluice_core::ir::{Action, Forward, HeaderEdits, Mirror, Retry, Route, Timeouts};
use sluice_echo::proto::{EchoRequest, Ending, ServerRequest, stream_client::StreamClient};
use sluice_envoy::encode;
use sluice_tests::{
    calls::{Outcome, Speech, call},
    echoes::Echo,
    envoy::{
        Rig,
        shapes::{backend, cluster, edited, forward, host, port, route, share},
    },
};
use sluice_xds::Resource;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tonic::Code;

const ECHO: &str = "/echo.Echo/Echo";
const HANG: &str = "/echo.Stream/Hang";

fn with(domain: &str, only: Route) -> Arc<Resource> {
    encode::virtual_host(&host("http-80", domain, [only]))
}

/// An Envoy with one cluster, `a`, and these hosts.
async fn rig(endpoints: &[SocketAddr], hosts: impl IntoIterator<Item = Arc<Resource>>) -> Rig {
    Rig::start(port(80).into_iter().chain(backend(&cluster("a"), endpoints)).chain(hosts)).await.unwrap()
}

fn pairs(of: &[(&str, &str)]) -> Vec<(sluice_core::key::Text, sluice_core::key::Text)> {
    of.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn values_are_literal_and_edits_of_a_backend_come_after_those_of_its_rule() {
    let echo = Echo::start("a").await.unwrap();
    let mut of = share(&cluster("a"), 1);
    of.request_headers = HeaderEdits {
        set: pairs(&[("x-who", "backend"), ("x-reset", "backend")]),
        add: pairs(&[("x-again", "backend")]),
        remove: vec!["x-dropped".into()],
    }
    .into();
    of.response_headers = HeaderEdits { set: pairs(&[("x-from", "backend")]), ..HeaderEdits::default() }.into();
    let only = Route {
        request_headers: HeaderEdits {
            set: pairs(&[("x-set", "100%"), ("x-command", "%REQ(:path)%"), ("x-who", "rule")]),
            add: pairs(&[("x-add", "second"), ("x-reset", "rule"), ("x-dropped", "rule")]),
            remove: vec!["x-gone".into(), "x-again".into()],
        }
        .into(),
        response_headers: HeaderEdits {
            set: pairs(&[("x-back", "50% %% %RESPONSE_CODE%"), ("x-from", "rule")]),
            ..HeaderEdits::default()
        }
        .into(),
        ..route(Action::Forward(Forward { shares: vec![of], ..Default::default() }))
    };
    let rig = rig(&[echo.address()], [with("a.test", only)]).await;
    let connection = rig.connect("http-80", "a.test").await.unwrap();
    let mut request = tonic::Request::new(EchoRequest::default());
    for (name, value) in
        [("x-set", "old"), ("x-add", "first"), ("x-gone", "here"), ("x-again", "client"), ("x-who", "client")]
    {
        request.metadata_mut().insert(name, value.parse().unwrap());
    }
    let mut client = StreamClient::with_origin(connection.clone(), connection.origin());
    let answer = client.metadata(request).await.unwrap();
    assert_eq!(answer.metadata().get("x-back").unwrap(), "50% %% %RESPONSE_CODE%");
    assert_eq!(answer.metadata().get("x-from").unwrap(), "backend");
    let entries = &answer.get_ref().entries;
    let values = |name: &str| {
        let of_name = entries.iter().filter(|entry| entry.key == name);
        of_name.map(|entry| entry.value.clone()).collect::<Vec<_>>().join("|")
    };
    for (name, expected) in [
        ("x-set", "100%"),
        ("x-command", "%REQ(:path)%"),
        ("x-who", "backend"),
        ("x-add", "first|second"),
        ("x-gone", ""),
        ("x-reset", "backend"),
        ("x-dropped", ""),
        ("x-again", "backend"),
    ] {
        assert_eq!(values(name), expected, "{name}");
    }
}

/// A server of HTTP/2 (RFC 9113) that refuses every stream with REFUSED_STREAM, and counts them.
async fn refusing() -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let (address, refused) = (listener.local_addr().unwrap(), Arc::new(AtomicUsize::new(0)));
    let count = Arc::clone(&refused);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(refuse(stream, Arc::clone(&count)));
        }
    });
    (address, refused)
}

/// Until the peer has gone.
async fn refuse(mut stream: TcpStream, count: Arc<AtomicUsize>) -> std::io::Result<()> {
    const PREFACE: usize = 24;
    const HEADERS: u8 = 1;
    const SETTINGS: u8 = 4;
    stream.read_exact(&mut [0; PREFACE]).await?;
    stream.write_all(&[0, 0, 0, SETTINGS, 0, 0, 0, 0, 0]).await?;
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head).await?;
        let [length @ .., kind, flags, s0, s1, s2, s3] = head;
        let length = length.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte));
        stream.read_exact(&mut vec![0; length]).await?;
        match kind {
            SETTINGS if flags == 0 => stream.write_all(&[0, 0, 0, SETTINGS, 1, 0, 0, 0, 0]).await?,
            HEADERS => {
                count.fetch_add(1, Ordering::Relaxed);
                stream.write_all(&[0, 0, 4, 3, 0, s0, s1, s2, s3, 0, 0, 0, 7]).await?;
            }
            _ => {}
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_stream_is_tried_at_another_endpoint_if_the_route_retries() {
    let echo = Echo::start("a").await.unwrap();
    let (refusing, refused) = refusing().await;
    let plain = forward(&[(&cluster("a"), 1)]);
    // With two endpoints, one choice in sixty draws the same again, whatever the predicate says.
    let retry = Retry { attempts: 4, on: Vec::new(), per_try: None, budget_percent: None };
    let hosts = [with("once.test", plain.clone()), with("again.test", Route { retry: Some(Box::new(retry)), ..plain })];
    let rig = rig(&[echo.address(), refusing], hosts).await;
    let mut answered = [0, 0];
    for (domain, count) in ["once.test", "again.test"].into_iter().zip(&mut answered) {
        let connection = rig.connect("http-80", domain).await.unwrap();
        for _ in 0..40 {
            match call(&connection, Speech::Grpc, ECHO, &[]).await.unwrap() {
                Outcome::Answered(_) => *count += 1,
                Outcome::Refused(code, message) => assert_eq!(code, Code::Unavailable, "{message}"),
            }
        }
    }
    assert!(refused.load(Ordering::Relaxed) > 0, "nothing was refused");
    // 40 calls all go to one of two endpoints once in 10^12 runs.
    assert!(answered[0] < 40, "Envoy retries unasked");
    assert_eq!(answered[1], 40);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mirror_gets_a_copy_with_the_authority_of_the_original() {
    let (echo, copy) = (Echo::start("a").await.unwrap(), refusing().await);
    let to_copy = cluster("copy");
    let mirrors = vec![Mirror { cluster: to_copy.name(), parts_per_million: 1_000_000 }];
    let forward = Forward { shares: vec![share(&cluster("a"), 1)], unavailable: 0, mirrors, rewrite: None };
    let hosts = backend(&to_copy, &[copy.0]).into_iter().chain([with("a.test", route(Action::Forward(forward)))]);
    let rig = rig(&[echo.address()], hosts).await;
    assert_eq!(rig.call("a.test", Speech::Grpc, ECHO).await.unwrap(), Outcome::Answered("a".to_owned()));
    let copied = async || (copy.1.load(Ordering::Relaxed) == 1).then_some(());
    rig.proxy.until("copy", copied).await.unwrap();
}

fn limited(deadline: Option<Duration>) -> Route {
    Route { timeouts: Timeouts { request: deadline, ..Timeouts::default() }, ..forward(&[(&cluster("a"), 1)]) }
}

/// The same host without the cap on what clients may ask for.
fn uncapped(of: &Arc<Resource>) -> Arc<Resource> {
    let edit = |host: &mut VirtualHost| {
        for route in &mut host.routes {
            if let Some(WireAction::Route(action)) = &mut route.action {
                let limit = action.max_stream_duration.get_or_insert_default();
                limit.grpc_timeout_header_max = Some(protobuf::Duration::default());
            }
        }
    };
    edited(of, edit).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_shorter_of_the_routes_and_the_clients_deadline_ends_a_call() {
    let echo = Echo::start("a").await.unwrap();
    let short = Duration::from_millis(300);
    let capped = with("short.test", limited(Some(short)));
    let hosts = [
        capped.clone(),
        with("long.test", limited(Some(Duration::from_secs(25)))),
        with("none.test", limited(None)),
        uncapped(&with("uncapped.test", limited(Some(short)))),
    ];
    let rig = rig(&[echo.address()], hosts).await;
    let connection = rig.connect("http-80", "any.test").await.unwrap();
    for (host, client, at_least, below) in [
        ("short.test", None, 250, 10_000),
        ("short.test", Some("20S"), 250, 10_000),
        ("long.test", Some("300m"), 250, 10_000),
        ("none.test", Some("300m"), 250, 10_000),
        // Why there is a cap: with 0 the client's deadline replaces the route's.
        ("uncapped.test", Some("2S"), 1_900, 20_000),
    ] {
        let headers: Vec<_> = client.iter().map(|client| ("grpc-timeout", *client)).collect();
        let started = Instant::now();
        let towards = connection.towards(host).unwrap();
        let outcome = call(&towards, Speech::Grpc, HANG, &headers).await.unwrap();
        let took = started.elapsed().as_millis();
        assert_eq!(outcome.code(), Code::DeadlineExceeded, "{host} {client:?}: {outcome:?}");
        assert!((at_least..below).contains(&took), "{host} {client:?}: after {took} ms");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn after_the_first_message_a_deadline_is_a_reset_and_no_status() {
    let echo = Echo::start("a").await.unwrap();
    let rig = rig(&[echo.address()], [with("a.test", limited(Some(Duration::from_millis(500))))]).await;
    let connection = rig.connect("http-80", "a.test").await.unwrap();
    let mut client = StreamClient::with_origin(connection.clone(), connection.origin());
    let wanted = ServerRequest { text: "one".into(), count: 1, interval_ms: 0, ending: Ending::Hold.into() };
    let mut answers = client.server(wanted).await.unwrap().into_inner();
    assert_eq!(answers.message().await.unwrap().unwrap().text, "one");
    let end = answers.message().await.unwrap_err();
    assert_ne!(end.code(), Code::DeadlineExceeded, "Envoy now says it in trailers: {end:?}");
    assert!(!connection.is_closed());
}
