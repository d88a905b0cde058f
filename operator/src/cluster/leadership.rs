//! Whether this process may write: what the lease says, as long as it says it, by a clock that nobody can set.
//!
//! [`lease`](super::lease) → [`Leadership`] → everybody who writes or serves
//!
//! **Invariant:** once it said no, it says yes again only after the engine was told of the loss and of the new lease.
//! **Invariant:** a process that was paused says no: the clock runs on without it. (That of a virtual machine that is
//! suspended as a whole stands still. There the resource versions that every write carries are what remains.)
//!
//! Must not know: how a lease is got.

use tokio::{sync::watch, time::Instant};

/// Where this process stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Standing {
    /// Another one leads, or nobody.
    #[default]
    Standby,
    /// The lease is ours; the engine has not heard of it yet.
    Elected(Instant),
    /// The lease is ours, until then.
    Leading(Instant),
}

/// Whether this process leads; clones are the same one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Leadership {
    standing: watch::Sender<Standing>,
}

impl Leadership {
    /// Whether this process leads now. Asked right before each write; a term that has run out ends by being asked.
    pub(crate) fn leads(&self) -> bool {
        self.expire(Instant::now());
        matches!(*self.standing.borrow(), Standing::Leading(_))
    }

    /// Waits until this process leads.
    pub(crate) async fn won(&self) {
        self.until(|standing| matches!(standing, Standing::Leading(_))).await;
    }

    /// Waits until this process does not lead.
    pub(crate) async fn lost(&self) {
        self.until(|standing| !matches!(standing, Standing::Leading(_))).await;
    }

    async fn until(&self, holds: impl Fn(&Standing) -> bool) {
        // Fails only without a sender, and this is one.
        let _ = self.standing.subscribe().wait_for(|standing| holds(standing)).await;
    }

    /// The lease was got; it is good until then.
    pub(crate) fn elect(&self, until: Instant) {
        self.standing.send_replace(Standing::Elected(until));
    }

    /// The engine knows that the lease was got: from now on its effects are carried out.
    pub(crate) fn confirm(&self) {
        self.standing.send_if_modified(|standing| match *standing {
            Standing::Elected(until) => {
                *standing = Standing::Leading(until);
                true
            }
            Standing::Standby | Standing::Leading(_) => false,
        });
    }

    /// The lease was renewed; whether it had not run out before.
    pub(crate) fn extend(&self, until: Instant) -> bool {
        self.expire(Instant::now());
        let mut held = true;
        self.standing.send_if_modified(|standing| {
            match standing {
                Standing::Standby => held = false,
                Standing::Elected(end) | Standing::Leading(end) => *end = until,
            }
            false
        });
        held
    }

    /// The lease is lost, or given back.
    pub(crate) fn end(&self) {
        self.standing.send_if_modified(|standing| std::mem::take(standing) != Standing::Standby);
    }

    fn expire(&self, now: Instant) {
        self.standing.send_if_modified(|standing| {
            let is_over = match *standing {
                Standing::Standby => false,
                Standing::Elected(end) | Standing::Leading(end) => end <= now,
            };
            if is_over {
                *standing = Standing::Standby;
            }
            is_over
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn soon() -> Instant {
        Instant::now() + Duration::from_mins(1)
    }

    #[tokio::test]
    async fn nobody_leads_before_the_engine_has_heard_of_it() {
        let leadership = Leadership::default();
        assert!(!leadership.leads());
        leadership.confirm();
        assert!(!leadership.leads(), "a lease comes first");
        leadership.elect(soon());
        assert!(!leadership.leads());
        leadership.confirm();
        assert!(leadership.clone().leads());
        leadership.won().await;
    }

    #[tokio::test]
    async fn a_term_that_has_run_out_is_over_and_a_late_renewal_does_not_bring_it_back() {
        let leadership = Leadership::default();
        leadership.elect(soon());
        leadership.confirm();
        assert!(leadership.extend(Instant::now()) && !leadership.leads());
        assert!(!leadership.extend(soon()) && !leadership.leads());
        leadership.lost().await;
    }

    #[tokio::test]
    async fn whoever_waits_hears_of_the_end() {
        let leadership = Leadership::default();
        leadership.elect(soon());
        leadership.confirm();
        let waiting = leadership.clone();
        let (heard, ()) = tokio::join!(async { waiting.lost().await }, async { leadership.end() });
        assert_eq!((heard, leadership.leads()), ((), false));
    }
}
