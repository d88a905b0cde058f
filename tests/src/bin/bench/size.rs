//! How much is measured.

/// Numbers of routes, samples and seconds.
#[derive(Clone, Debug)]
pub(crate) struct Size {
    /// Routes at which everything is measured, growing.
    pub(crate) ladder: Vec<usize>,
    /// Alternations between the controller and its floors.
    pub(crate) rounds: usize,
    /// Samples of one kind in one round.
    pub(crate) samples: usize,
    /// Edits of a measurement of CPU time.
    pub(crate) edits: usize,
    /// Edits after which memory must not have grown.
    pub(crate) churn: usize,
    /// Streams of the fleet, growing.
    pub(crate) fleet: Vec<usize>,
    /// Hostnames of a shared Gateway, growing.
    pub(crate) hostnames: Vec<usize>,
    /// Seconds of each measurement over time.
    pub(crate) seconds: u64,
}

impl Size {
    /// As the targets are stated.
    pub(crate) fn full() -> Self {
        Self {
            ladder: vec![10, 100, 1_000, 10_000],
            rounds: 5,
            samples: 25,
            edits: 1_000,
            churn: 10_000,
            fleet: vec![10, 100, 1_000],
            hostnames: vec![10, 100, 1_000],
            seconds: 20,
        }
    }

    /// In a few minutes.
    pub(crate) fn quick() -> Self {
        Self {
            ladder: vec![10, 1_000],
            rounds: 3,
            samples: 8,
            edits: 200,
            churn: 1_000,
            fleet: vec![10, 100],
            hostnames: vec![10, 100],
            seconds: 5,
        }
    }

    /// Samples of one kind in one round at so many routes: Envoy alone takes long with many.
    pub(crate) fn samples_at(&self, routes: usize) -> usize {
        if routes > 1_000 { self.samples.div_ceil(3) } else { self.samples }
    }

    /// The most routes.
    pub(crate) fn most(&self) -> usize {
        self.ladder.last().copied().unwrap_or_default()
    }
}
