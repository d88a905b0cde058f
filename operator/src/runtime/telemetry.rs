//! Logs: structured lines on stderr.
//!
//! Must not know: what is logged.

use tracing_subscriber::{EnvFilter, fmt::MakeWriter};

/// Starts logging. `filter` is in the form of `RUST_LOG`, such as `info,sluice=debug`.
pub(crate) fn start<W>(filter: &str, writer: W)
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let filter = EnvFilter::try_new(filter).unwrap_or_else(|_| EnvFilter::new("info"));
    // Fails only when logging has started already, and then it is started.
    let _ = tracing_subscriber::fmt().with_env_filter(filter).with_target(false).with_writer(writer).try_init();
}
