//! How long to wait after a failure: twice as long each time, never quite as long as everybody else.
//!
//! Must not know: what failed.

use std::{
    hash::{BuildHasher as _, RandomState},
    time::Duration,
};

/// Waits that grow.
#[derive(Debug)]
pub(super) struct Backoff {
    first: Duration,
    failures: u32,
}

impl Backoff {
    /// Begins with `first`.
    pub(super) const fn new(first: Duration) -> Self {
        Self { first, failures: 0 }
    }

    /// It works again.
    pub(super) fn reset(&mut self) {
        self.failures = 0;
    }

    /// How long to wait after one more failure: between half of the step and the whole, and `last` at most.
    pub(super) fn next(&mut self, last: Duration) -> Duration {
        let step = self.first.saturating_mul(1 << self.failures.min(16)).min(last);
        self.failures = self.failures.saturating_add(1);
        step / 2 + step.mul_f64(random() / 2.0)
    }
}

/// Between 0 and 1. Spreading requests needs no better source than the keys of a hash map.
fn random() -> f64 {
    f64::from((RandomState::new().hash_one(()) >> 32) as u32) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_a_bound_and_start_again() {
        let (mut backoff, last) = (Backoff::new(Duration::from_millis(100)), Duration::from_secs(1));
        for step in [100, 200, 400, 800, 1_000, 1_000] {
            let (wait, step) = (backoff.next(last), Duration::from_millis(step));
            assert!(step / 2 <= wait && wait <= step, "{wait:?} of {step:?}");
        }
        backoff.reset();
        assert!(backoff.next(last) <= Duration::from_millis(100));
    }

    #[test]
    fn two_processes_do_not_wait_alike() {
        let waits: Vec<_> = (0..8).map(|_| Backoff::new(Duration::from_secs(1)).next(Duration::MAX)).collect();
        assert!(waits.iter().any(|wait| *wait != waits[0]), "{waits:?}");
    }
}
