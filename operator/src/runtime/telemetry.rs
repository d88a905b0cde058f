//! Logs: structured lines on stderr.
//!
//! Must not know: what is logged.

use anyhow::Context as _;
use clap::ValueEnum;
use std::io::{self, IsTerminal};
use tracing_subscriber::{EnvFilter, fmt::MakeWriter};

/// The form of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    Text,
    /// An object a line.
    Json,
}

/// Whoever asks the API server says what became of it; the client library would say it once more, without the question.
const QUIET: &str = "kube_client=off";

/// Starts logging. `filter` is in the form of `RUST_LOG`, such as `info,sluice=debug`.
///
/// # Errors
/// When the filter is not in that form.
pub(crate) fn start<W>(filter: &str, format: Format, writer: W) -> anyhow::Result<()>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    // What is written later holds: a filter may turn it on again.
    let filter = EnvFilter::try_new(format!("{QUIET},{filter}")).with_context(|| {
        format!("--log {filter:?}: write a level, such as debug, or levels of parts: info,sluice=debug")
    })?;
    // Fails only when logging has started already, and then it is started.
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_target(false).with_writer(writer);
    let _ = match format {
        Format::Text => lines.with_ansi(io::stderr().is_terminal()).try_init(),
        Format::Json => lines.json().flatten_event(true).with_current_span(false).with_span_list(false).try_init(),
    };
    Ok(())
}
