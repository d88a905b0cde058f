//! Echo servers in this process.
//!
//! name → a server on a free port of this machine, which answers with that name
//!
//! **Invariant:** dropping one closes its port and its connections.
//!
//! It must not know the gateway.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};

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
        Self::start_at(source, Ipv4Addr::LOCALHOST.into()).await
    }

    /// The same at an address that an EndpointSlice may have: the API server refuses the loopback. Packets to it stay in the machine.
    pub async fn start_outside(source: &str) -> std::io::Result<Self> {
        Self::start_at(source, outside_address()?).await
    }

    /// The same at an address of one's own.
    ///
    /// # Errors
    /// When the machine does not have it.
    pub async fn start_at(source: &str, address: IpAddr) -> std::io::Result<Self> {
        let listener = TcpListener::bind((address, 0)).await?;
        let address = listener.local_addr()?;
        let options = Options { source: source.to_owned(), listing: Listing::All };
        Ok(Self { address, task: tokio::spawn(serve(listener, options)) })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// An address of this machine beside the loopback.
pub fn outside_address() -> std::io::Result<IpAddr> {
    // Nothing is sent: connecting a datagram socket only chooses the address that packets would come from.
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    socket.connect((Ipv4Addr::new(198, 51, 100, 1), 9))?;
    Ok(socket.local_addr()?.ip())
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.task.abort();
    }
}
