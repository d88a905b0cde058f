//! A TCP relay whose connections are cut at will, as a network or a proxy on the way does it.
//!
//! an address → another one that leads there; [`Relay::cut`]
//!
//! **Invariant:** bytes pass unchanged until a connection is cut; new ones are taken at any time.
//!
//! It must not know what is said.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
};

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::watch,
    task::{JoinHandle, JoinSet},
};

/// A running relay. Dropping it closes its port and its connections.
#[derive(Debug)]
pub struct Relay {
    address: SocketAddr,
    /// Each connection listens to it.
    cuts: watch::Sender<()>,
    task: JoinHandle<()>,
}

impl Relay {
    /// Starts one on a free port of the loopback.
    ///
    /// # Errors
    /// When there is none.
    pub async fn start(upstream: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let (address, cuts) = (listener.local_addr()?, watch::Sender::new(()));
        let task = tokio::spawn(accept(listener, upstream, cuts.clone()));
        Ok(Self { address, cuts, task })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Cuts every connection in both directions; how many there were.
    pub fn cut(&self) -> usize {
        let open = self.cuts.receiver_count();
        self.cuts.send_replace(());
        open
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, upstream: SocketAddr, cuts: watch::Sender<()>) {
    let mut connections = JoinSet::new();
    while let Ok((near, _)) = listener.accept().await {
        connections.spawn(pass(near, upstream, cuts.subscribe()));
        while connections.try_join_next().is_some() {}
    }
}

async fn pass(mut near: TcpStream, upstream: SocketAddr, mut cut: watch::Receiver<()>) {
    let Ok(mut far) = TcpStream::connect(upstream).await else { return };
    tokio::select! {
        // Whoever ends it, and why, is for the two ends to say.
        _ = copy_bidirectional(&mut near, &mut far) => {}
        _ = cut.changed() => {}
    }
}
