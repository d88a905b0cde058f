//! What the admin interface shows of an operator.
//!
//! Must not know: who looks.

use super::{carry::Queues, leadership::Leadership, metrics::Waiting, source::Source, sync::Progress};
use crate::{runtime::metrics::Metrics, serve::admin::Pages};
use serde_json::{Value, json};
use std::sync::Arc;
use tokio::sync::watch;

/// The pages.
pub(super) struct Shell {
    /// `/metrics`.
    pub(super) metrics: Arc<Metrics>,
    /// What waits to be written, counted when it is asked for.
    pub(super) waiting: Waiting,
    /// What that is counted of.
    pub(super) queues: Queues,
    /// What is not read yet.
    pub(super) progress: watch::Receiver<Progress>,
    /// Whether it leads.
    pub(super) leadership: Leadership,
}

impl Pages for Shell {
    fn status(&self) -> Value {
        json!({"leads": self.leadership.leads(), "waitingFor": self.unread()})
    }

    fn metrics(&self) -> String {
        self.waiting.look(&self.queues);
        self.metrics.text()
    }

    fn readiness(&self) -> Result<(), String> {
        let unread = self.unread();
        if unread.is_empty() { Ok(()) } else { Err(format!("waiting for {}", unread.join("; "))) }
    }
}

impl Shell {
    /// The sources that are not read yet, with the reasons that are known.
    fn unread(&self) -> Vec<String> {
        let progress = self.progress.borrow();
        let line = |(source, reason): (&Source, &Option<String>)| match reason {
            Some(reason) => format!("{source}: {reason}"),
            None => source.to_string(),
        };
        progress.iter().map(line).collect()
    }
}
