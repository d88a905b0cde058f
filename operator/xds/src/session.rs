//! One ADS stream of one proxy.
//!
//! [`Input`] + time → [`Output`]s
//!
//! Must not know: what the resources mean.

use crate::message::{Input, Output};

/// Bounds of a session, in milliseconds and counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// A stream without a request for clusters for so long is sent them unasked. Envoy does not ask on a reconnect after a cluster
    /// wedged its previous stream.
    pub unasked_after_ms: u64,
    /// A response with clusters that is unanswered for so long is stalled; more than a cluster needs to warm.
    pub stalled_after_ms: u64,
    /// Further time to warm for each cluster in the response. Envoy needs about one millisecond at 10,000 clusters.
    pub stalled_per_cluster_ms: u64,
    /// So many responses with assignments, or with secrets, may be unanswered; then changes coalesce.
    pub max_unanswered_leaves: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self { unasked_after_ms: 1_000, stalled_after_ms: 2_000, stalled_per_cluster_ms: 2, max_unanswered_leaves: 32 }
    }
}

/// The state of one stream.
#[derive(Debug)]
pub struct Session {
    config: Config,
}

impl Session {
    /// A stream that was just opened.
    pub const fn new(config: Config) -> Self {
        Self { config }
    }

    /// Takes one input at `now_ms`, any clock that never goes back.
    pub fn step(&mut self, _input: Input, now_ms: u64) -> Vec<Output> {
        let _ = (now_ms, self.config);
        Vec::new()
    }

    /// When the next [`Input::Tick`] is wanted, on the clock of [`Self::step`].
    pub const fn deadline(&self) -> Option<u64> {
        None
    }
}
