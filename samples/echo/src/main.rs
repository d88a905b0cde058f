//! `echo`: one instance of the guide's echo server.

use std::{
    io::{self, Write},
    net::{IpAddr, Ipv4Addr},
};

use anyhow::Context;
use clap::{Parser, ValueEnum};
use sluice_echo::{Listing, Options, serve_until};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
};

/// The guide's gRPC echo server: cleartext HTTP/2, with reflection and health.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// Address to listen on.
    #[arg(long, env = "ECHO_ADDRESS", default_value_t = Ipv4Addr::UNSPECIFIED.into())]
    address: IpAddr,
    /// Port to listen on; 0 takes a free one.
    #[arg(long, env = "ECHO_PORT", default_value_t = 9000)]
    port: u16,
    /// The `source` of every answer.
    #[arg(long, env = "POD_NAME", default_value = "echo")]
    source: String,
    /// Which services reflection lists.
    #[arg(long, value_enum, default_value_t = List::Guide)]
    list: List,
}

#[derive(Clone, Copy, ValueEnum)]
enum List {
    /// What the guide prints: echo.Echo and grpc.reflection.v1alpha.ServerReflection.
    Guide,
    /// Every service, with streams, health and reflection v1.
    All,
}

impl Arguments {
    fn options(self) -> Options {
        let listing = match self.list {
            List::Guide => Listing::Guide,
            List::All => Listing::All,
        };
        Options { source: self.source, listing }
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let wanted = (arguments.address, arguments.port);
    let listener =
        TcpListener::bind(wanted).await.with_context(|| format!("cannot listen on {}:{}", wanted.0, wanted.1))?;
    // Before the line that tells others we are here, or an early signal would kill instead of end.
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    writeln!(io::stdout(), "listening on {}", listener.local_addr()?)?;
    serve_until(listener, arguments.options(), async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
    .await?;
    Ok(())
}
