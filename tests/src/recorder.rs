//! A gRPC server in this process that keeps what it was asked.
//!
//! name, maybe a TLS configuration → a server on a free port of the loopback address, and the calls that reached it
//!
//! **Invariant:** every call is answered OK with the server's name, and is recorded before that.
//! **Invariant:** dropping one closes its port and its connections.
//!
//! It must not know the gateway.

use std::{
    convert::Infallible,
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex},
};

use anyhow::Result;
use bytes::{BufMut, Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, server::conn::http2, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message;
use rustls::{
    RootCertStore, ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::WebPkiClientVerifier,
};
use sluice_echo::proto::EchoResponse;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    task::{JoinHandle, JoinSet},
};
use tokio_rustls::TlsAcceptor;

use crate::manifests::Certificate;

/// One call.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The path.
    pub path: String,
    /// The authority.
    pub authority: String,
    /// The headers.
    pub headers: HeaderMap,
    /// The server name that the caller asked for.
    pub sni: Option<String>,
    /// The certificate that the caller showed.
    pub peer: Option<CertificateDer<'static>>,
}

/// A running server.
#[derive(Debug)]
pub struct Recorder {
    address: SocketAddr,
    seen: Calls,
    task: JoinHandle<()>,
}

type Calls = Arc<Mutex<Vec<Seen>>>;

/// What is known of a caller before the first call.
#[derive(Clone, Debug, Default)]
struct Caller {
    sni: Option<String>,
    peer: Option<CertificateDer<'static>>,
}

impl Recorder {
    /// Starts one in clear.
    pub async fn start(source: &str) -> io::Result<Self> {
        Self::start_with(source, None).await
    }

    /// Starts one behind TLS, with a certificate of its own. Callers may show one that `callers` signed, and need not.
    pub async fn start_tls(source: &str, own: &Certificate, callers: &Certificate) -> Result<Self> {
        let config = secure(own, callers)?;
        Ok(Self::start_with(source, Some(TlsAcceptor::from(Arc::new(config)))).await?)
    }

    async fn start_with(source: &str, tls: Option<TlsAcceptor>) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let (address, seen) = (listener.local_addr()?, Calls::default());
        let task = tokio::spawn(accept(listener, tls, source.to_owned(), seen.clone()));
        Ok(Self { address, seen, task })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The calls so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn secure(own: &Certificate, callers: &Certificate) -> Result<ServerConfig> {
    let provider = Arc::new(ring::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(callers.pem.as_bytes())?)?;
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone());
    let verifier = verifier.allow_unauthenticated().build()?;
    let versions = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let chain = vec![CertificateDer::from_pem_slice(own.pem.as_bytes())?];
    let key = PrivateKeyDer::from_pem_slice(own.key.as_bytes())?;
    let mut config = versions.with_client_cert_verifier(verifier).with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(config)
}

async fn accept(listener: TcpListener, tls: Option<TlsAcceptor>, source: String, seen: Calls) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        connections.spawn(shake_hands(stream, tls.clone(), source.clone(), seen.clone()));
    }
}

async fn shake_hands(stream: TcpStream, tls: Option<TlsAcceptor>, source: String, seen: Calls) {
    let Some(tls) = tls else { return serve(stream, Caller::default(), source, seen).await };
    let Ok(stream) = tls.accept(stream).await else { return };
    let session = stream.get_ref().1;
    let peer = session.peer_certificates().and_then(|chain| Some(chain.first()?.clone().into_owned()));
    let caller = Caller { sni: session.server_name().map(ToOwned::to_owned), peer };
    serve(stream, caller, source, seen).await;
}

async fn serve<S>(stream: S, caller: Caller, source: String, seen: Calls)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(|request: Request<Incoming>| {
        seen.lock().unwrap().push(record(&request, &caller));
        answer(request, source.clone())
    });
    // A connection that breaks is the caller's to report.
    let _ended = http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await;
}

fn record(request: &Request<Incoming>, caller: &Caller) -> Seen {
    Seen {
        path: request.uri().path().to_owned(),
        authority: request.uri().authority().map(ToString::to_string).unwrap_or_default(),
        headers: request.headers().clone(),
        sni: caller.sni.clone(),
        peer: caller.peer.clone(),
    }
}

/// After the whole call was read: a copy that is cut off would be one that never came.
async fn answer(
    request: Request<Incoming>,
    source: String,
) -> Result<Response<impl hyper::body::Body<Data = Bytes, Error = Infallible>>, Infallible> {
    let _whole = request.into_body().collect().await;
    let message = EchoResponse { source, ..Default::default() }.encode_to_vec();
    let mut body = BytesMut::new();
    body.put_u8(0);
    body.put_u32(u32::try_from(message.len()).unwrap());
    body.extend_from_slice(&message);
    let trailers = HeaderMap::from_iter([("grpc-status".parse().unwrap(), HeaderValue::from_static("0"))]);
    let body = Full::new(body.freeze()).with_trailers(async { Some(Ok(trailers)) });
    let mut response = Response::new(body);
    response.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
    Ok(response)
}
