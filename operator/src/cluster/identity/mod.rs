//! Who is who between the control plane and its proxies: a CA of their own, and certificates that never last long.
//!
//! the CA's Secret → [`Authority`] → the server's certificate (in memory), a Secret for each Gateway, and who is let in ([`Guard`])
//!
//! **Invariant:** a CA is trusted by everybody before it signs anything, and as long as anything that it signed is valid.
//! **Invariant:** a certificate names one Gateway, and its holder gets the configuration of that Gateway alone.
//! **Invariant:** keys are in Secrets and in memory, never in a log, a status or a file of ours.
//!
//! Must not know: what is served, and how proxies are deployed.

mod authority;
mod credentials;
mod guard;
mod keep;
mod leaf;
mod listen;

pub(crate) use authority::Authority;
pub(crate) use credentials::Credentials;
pub(crate) use guard::Guard;
pub(crate) use keep::Keeper;
pub(crate) use leaf::{Leaf, Subject};
pub(crate) use listen::listen;

use chrono::{DateTime, TimeDelta, Utc};
use std::time::Duration;

/// How long certificates are valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lifetimes {
    /// CAs.
    pub(crate) authority: Duration,
    /// All others. More than a quarter of the CAs' is taken for a quarter: what a CA signed must not outlast it.
    pub(crate) leaf: Duration,
}

impl Lifetimes {
    fn authority(self) -> TimeDelta {
        TimeDelta::from_std(self.authority).unwrap_or(TimeDelta::MAX)
    }

    fn leaf(self) -> TimeDelta {
        TimeDelta::from_std(self.leaf.min(self.authority / 4)).unwrap_or(TimeDelta::MAX)
    }
}

/// From when to when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Validity {
    from: DateTime<Utc>,
    to: DateTime<Utc>,
}

impl Validity {
    /// Clocks of nodes differ; what was signed a moment ago is to be valid everywhere.
    const SKEW: TimeDelta = TimeDelta::minutes(1);

    fn starting(now: DateTime<Utc>, life: TimeDelta) -> Self {
        Self { from: now - Self::SKEW, to: now + life }
    }

    /// When a third of a life is left; at once if it is longer than wanted.
    fn renewal(self, life: TimeDelta, now: DateTime<Utc>) -> DateTime<Utc> {
        if self.to > now + life { now } else { self.to - life / 3 }
    }
}

#[cfg(test)]
mod tests;
