//! The TLS side of the control plane.
//!
//! connections → those that proved to hold a certificate of our CA
//!
//! **Invariant:** each handshake is judged by the latest certificates, and none is resumed from an earlier one: a session ticket would
//! outlive the certificate that it stands for.
//! **Invariant:** a connection that says nothing costs one place for [`PATIENCE`] and [`HANDSHAKE`], and then nothing.
//!
//! Must not know: what is said on connections.

use super::Credentials;
use anyhow::Context as _;
use rustls::{RootCertStore, ServerConfig, crypto::ring, server::WebPkiClientVerifier, version::TLS13};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
use std::{io, sync::Arc, time::Duration};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Semaphore, mpsc, watch},
    time::timeout,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_stream::wrappers::ReceiverStream;

/// How long a proxy waits for certificates: it gives up after two seconds itself, see `connect_timeout` in its bootstrap.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long a handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Handshakes at once. Whoever comes beyond them waits in the kernel's queue.
const HANDSHAKES: usize = 256;

/// What the server shows, and whom it believes.
pub(super) fn config(certificate: &str, key: &str, trusted: &str) -> anyhow::Result<ServerConfig> {
    let mut roots = RootCertStore::empty();
    for root in CertificateDer::pem_slice_iter(trusted.as_bytes()) {
        roots.add(root.context("reading a CA")?).context("taking a CA")?;
    }
    let chain = CertificateDer::pem_slice_iter(certificate.as_bytes())
        .collect::<Result<_, _>>()
        .context("reading the chain")?;
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).context("reading the key")?;
    let provider = Arc::new(ring::default_provider());
    let clients = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build()?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])?
        .with_client_cert_verifier(clients)
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    config.send_tls13_tickets = 0;
    Ok(config)
}

/// Connections with proxies. Until there are certificates, handshakes wait for them.
pub(crate) fn listen(
    listener: TcpListener,
    credentials: watch::Receiver<Option<Arc<Credentials>>>,
) -> ReceiverStream<io::Result<TlsStream<TcpStream>>> {
    let (sender, connections) = mpsc::channel(1);
    tokio::spawn(accept(listener, credentials, sender));
    ReceiverStream::new(connections)
}

async fn accept(
    listener: TcpListener,
    credentials: watch::Receiver<Option<Arc<Credentials>>>,
    connections: mpsc::Sender<io::Result<TlsStream<TcpStream>>>,
) {
    let places = Arc::new(Semaphore::new(HANDSHAKES));
    while let Ok(place) = places.clone().acquire_owned().await {
        let accepted = tokio::select! { accepted = listener.accept() => accepted, () = connections.closed() => return };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            // Too many open files, mostly: they pass with the handshakes that are under way.
            Err(error) => {
                tracing::error!("xDS takes no connections: {error}");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let (credentials, connections) = (credentials.clone(), connections.clone());
        tokio::spawn(async move {
            if let Some(stream) = shake_hands(stream, credentials).await {
                // The server that would take it is gone.
                let _ = connections.send(Ok(stream)).await;
            }
            drop(place);
        });
    }
}

async fn shake_hands(
    stream: TcpStream,
    mut credentials: watch::Receiver<Option<Arc<Credentials>>>,
) -> Option<TlsStream<TcpStream>> {
    let peer = stream.peer_addr().ok()?;
    // Small messages that somebody waits for.
    let _ = stream.set_nodelay(true);
    // A proxy that comes before there are certificates waits for them: one that is sent away comes back seconds after them.
    let current = timeout(PATIENCE, credentials.wait_for(Option::is_some)).await;
    let Some(current) = current.ok().and_then(Result::ok).and_then(|current| current.clone()) else {
        tracing::debug!(%peer, "a proxy came before there are certificates");
        return None;
    };
    match timeout(HANDSHAKE, TlsAcceptor::from(current.server()).accept(stream)).await {
        Ok(Ok(stream)) => Some(stream),
        Ok(Err(error)) => {
            tracing::warn!(%peer, "an xDS connection was refused: {error}");
            None
        }
        Err(_) => None,
    }
}
