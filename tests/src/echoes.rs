//! Echo servers in this process.
//!
//! name → a server on a free port of the loopback address, which answers with that name
//!
//! **Invariant:** dropping one closes its port and its connections.
//!
//! It must not know the gateway.

use std::net::{Ipv4Addr, SocketAddr};

use sluice_echo::{Listing, Options, serve};
use tokio::{net::TcpListener, task::JoinHandle};

/// A running server.
#[derive(Debug)]
pub struct Echo {
    address: SocketAddr,
    task: JoinHandle<std::io::Result<()>>,
}

impl Echo {
    /// Starts one. `source` is in every answer.
    pub async fn start(source: &str) -> std::io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let options = Options { source: source.to_owned(), listing: Listing::All };
        Ok(Self { address, task: tokio::spawn(serve(listener, options)) })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.task.abort();
    }
}
