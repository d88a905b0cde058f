//! Which of the replicas leads: whoever holds a `coordination.k8s.io` Lease.
//!
//! the Lease, as the API server has it → [`Leadership`](super::leadership::Leadership), and [`Input::Leader`] for the engine
//!
//! **Invariant:** a term ends before another's can begin: it counts from before our write, another's wait from after it was seen.
//! **Invariant:** times that others wrote are never compared with our clock: what counts is when we saw the Lease change.
//! **Invariant:** before the engine hears that it leads, it hears what the last leader left.
//!
//! Must not know: what a leader does. Source: client-go, `tools/leaderelection`.

use super::{
    front::Front,
    writer::{Fault, Verb, Writer},
};
use futures::future::BoxFuture;
use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::MicroTime,
    jiff::Timestamp,
};
use kube::{Api, api::PostParams, core::ObjectMeta};
use sluice_core::key::{NsName, Text};
use sluice_engine::Input;
use std::time::Duration;
use tokio::{
    sync::mpsc,
    time::{Instant, MissedTickBehavior, interval, sleep_until, timeout, timeout_at},
};
use tokio_util::sync::CancellationToken;

/// The three durations of leader election, as client-go has them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms {
    /// How long others wait after they saw the Lease change.
    pub(crate) duration: Duration,
    /// How long a leader goes on without renewing.
    pub(crate) deadline: Duration,
    /// Between two attempts.
    pub(crate) retry: Duration,
}

impl Default for Terms {
    fn default() -> Self {
        Self { duration: Duration::from_secs(15), deadline: Duration::from_secs(10), retry: Duration::from_secs(2) }
    }
}

impl Terms {
    /// How long a request of a leader may take, so that it is over before the next one begins.
    pub(crate) fn limit(&self) -> Duration {
        self.duration.saturating_sub(self.deadline)
    }

    /// # Errors
    /// When a leader could miss its deadline by being in time, or be followed before it stops.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        let Self { duration, deadline, retry } = self;
        anyhow::ensure!(duration.as_millis() >= 1_000, "the lease's duration is {duration:?}: at least 1s is needed");
        anyhow::ensure!(!retry.is_zero(), "the lease's retry is 0s: more is needed");
        anyhow::ensure!(
            duration > deadline,
            "the lease's duration {duration:?} shall be longer than its deadline {deadline:?}"
        );
        anyhow::ensure!(
            *deadline > *retry * 2,
            "the lease's deadline {deadline:?} shall be longer than two retries of {retry:?}"
        );
        Ok(())
    }
}

/// What the engine has to hear before it leads.
pub(crate) type Prelude = Box<dyn Fn() -> BoxFuture<'static, anyhow::Result<Vec<Input>>> + Send + Sync>;

/// A replica that would lead.
pub(crate) struct Candidate {
    pub(super) writer: Writer,
    /// The Lease.
    pub(super) place: NsName,
    /// Who we are: the pod.
    pub(super) identity: Text,
    pub(super) terms: Terms,
    /// Where proxies look for the leader.
    pub(super) front: Option<Front>,
    pub(super) prelude: Prelude,
    pub(super) inputs: mpsc::Sender<Vec<Input>>,
}

/// What we know of the Lease.
#[derive(Default)]
struct Seen {
    resource_version: Option<String>,
    /// When we saw that it had changed.
    since: Option<Instant>,
    /// Until when our own term goes; while this is set, the engine takes itself for the leader.
    term: Option<Instant>,
}

impl Candidate {
    /// Stands for election, renews, and gives the Lease back at the end. Whoever stops it ends the writers first.
    pub(crate) async fn run(self, stop: CancellationToken) {
        let mut seen = Seen::default();
        let mut ticks = interval(self.terms.retry);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let end = seen.term;
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                () = async { sleep_until(end.unwrap_or_else(Instant::now)).await }, if end.is_some() => self.lose(&mut seen).await,
                _ = ticks.tick() => self.attempt(&mut seen).await,
            }
        }
        self.leave(&seen).await;
    }

    async fn attempt(&self, seen: &mut Seen) {
        let sent = Instant::now();
        let bound = seen.term.unwrap_or(sent + self.terms.deadline);
        match timeout_at(bound, self.campaign(seen)).await {
            Ok(Ok(Some(sent))) => self.hold(seen, sent + self.terms.deadline).await,
            Ok(Ok(None)) => self.lose(seen).await,
            Ok(Err(fault)) => tracing::debug!("Lease {}: {fault}", self.place),
            // The term is over, and the next turn says so.
            Err(_) => {}
        }
    }

    /// Tries to get or to renew the Lease: since when we hold it, if we do.
    async fn campaign(&self, seen: &mut Seen) -> Result<Option<Instant>, Fault> {
        let Some(live) = self.writer.ask(self.api().get_opt(&self.place.name)).await? else {
            return self.write(Verb::Create, self.claim(None)).await.map(Some);
        };
        if seen.resource_version != live.metadata.resource_version {
            seen.resource_version.clone_from(&live.metadata.resource_version);
            seen.since = Some(Instant::now());
        }
        if !self.may_take(&live, seen.since) {
            return Ok(None);
        }
        match self.write(Verb::Update, self.claim(Some(live))).await {
            Err(Fault::Stale) => Ok(None),
            outcome => outcome.map(Some),
        }
    }

    /// Whether the Lease is ours, nobody's, or has not moved for as long as its holder promised to move it.
    fn may_take(&self, live: &Lease, since: Option<Instant>) -> bool {
        let spec = live.spec.clone().unwrap_or_default();
        let is_stale = since.is_some_and(|since| since + promised(&spec, self.terms) <= Instant::now());
        let holder = spec.holder_identity.unwrap_or_default();
        holder.is_empty() || holder == *self.identity || is_stale
    }

    fn claim(&self, live: Option<Lease>) -> Lease {
        let live = live.unwrap_or_default();
        let before = live.spec.unwrap_or_default();
        let now = Some(MicroTime(Timestamp::now()));
        let renewed = before.holder_identity.as_deref() == Some(&*self.identity);
        let spec = LeaseSpec {
            holder_identity: Some(self.identity.to_string()),
            lease_duration_seconds: i32::try_from(self.terms.duration.as_millis().div_ceil(1_000)).ok(),
            renew_time: now.clone(),
            acquire_time: if renewed { before.acquire_time } else { now },
            lease_transitions: Some(before.lease_transitions.unwrap_or_default() + i32::from(!renewed)),
            ..LeaseSpec::default()
        };
        Lease { metadata: ObjectMeta { name: Some(self.place.name.to_string()), ..live.metadata }, spec: Some(spec) }
    }

    /// Writes the Lease; when that began. Nothing else is written without leading.
    async fn write(&self, verb: Verb, lease: Lease) -> Result<Instant, Fault> {
        let (api, params, sent) = (self.api(), PostParams::default(), Instant::now());
        let request = async {
            match verb {
                Verb::Create => api.create(&params, &lease).await,
                _ => api.replace(&self.place.name, &params, &lease).await,
            }
        };
        self.writer.send_unled(verb, "Lease", request).await.map(|_| sent)
    }

    async fn hold(&self, seen: &mut Seen, until: Instant) {
        if seen.term.is_none() {
            self.win(seen, until).await;
        } else if self.writer.leadership.extend(until) {
            seen.term = Some(until);
        } else {
            // It ran out before the answer came. Ours it is all the same, and the next attempt begins a term.
            return self.lose(seen).await;
        }
        self.stand().await;
    }

    async fn win(&self, seen: &mut Seen, until: Instant) {
        let mut inputs = match timeout_at(until, (self.prelude)()).await {
            Ok(Ok(inputs)) => inputs,
            Ok(Err(error)) => {
                return tracing::warn!("does not lead yet: what the last leader left cannot be read: {error:#}");
            }
            Err(_) => return tracing::warn!("does not lead yet: what the last leader left cannot be read in time"),
        };
        tracing::info!(identity = %self.identity, "leads from now on");
        self.writer.leadership.elect(until);
        seen.term = Some(until);
        inputs.push(Input::Leader(true));
        self.tell(inputs).await;
        // The engine may be busy; then the next attempt does what follows.
        let _ = timeout(self.terms.retry, self.writer.leadership.won()).await;
    }

    async fn lose(&self, seen: &mut Seen) {
        self.writer.leadership.end();
        if seen.term.take().is_some() {
            tracing::warn!(identity = %self.identity, "leads no longer");
            self.tell(vec![Input::Leader(false)]).await;
        }
    }

    /// Looked at with each renewal, so that a slice that somebody else changed is mended.
    async fn stand(&self) {
        let (Some(front), true) = (&self.front, self.writer.leadership.leads()) else { return };
        match front.stand(&self.writer).await {
            Ok(sluice_engine::WriteOutcome::Done { .. }) | Err(Fault::Standby | Fault::Stale) => {}
            Ok(outcome) => tracing::error!("EndpointSlice {}: {outcome:?}: proxies do not find us", front.service),
            Err(fault) => tracing::warn!("EndpointSlice {}: {fault}: proxies do not find us", front.service),
        }
    }

    /// Gives the Lease back, so that another one need not wait.
    async fn leave(&self, seen: &Seen) {
        self.writer.leadership.end();
        if seen.term.is_none() {
            return;
        }
        if let Err(fault) = self.give_back().await {
            tracing::warn!("Lease {} is not given back: {fault}: others wait until it has run out", self.place);
        }
    }

    async fn give_back(&self) -> Result<(), Fault> {
        let Some(mut live) = self.writer.ask(self.api().get_opt(&self.place.name)).await? else { return Ok(()) };
        let spec = live.spec.get_or_insert_default();
        if spec.holder_identity.as_deref() != Some(&*self.identity) {
            return Ok(());
        }
        (spec.holder_identity, spec.lease_duration_seconds) = (Some(String::new()), Some(1));
        self.write(Verb::Update, live).await.map(drop)
    }

    async fn tell(&self, inputs: Vec<Input>) {
        // Fails only when the engine has ended.
        let _ = self.inputs.send(inputs).await;
    }

    fn api(&self) -> Api<Lease> {
        Api::namespaced(self.writer.client.clone(), &self.place.namespace)
    }
}

/// A Lease that was taken from whoever held it.
pub(super) struct Usurped {
    /// When it was written: whoever held it has not renewed it since.
    pub(super) at: Instant,
    /// So long whoever held it may go on; nothing if nobody did.
    pub(super) others: Duration,
}

/// Takes the Lease whoever holds it, for as long as that one may go on and `reign` after it. For those who come to end everything.
///
/// # Errors
/// When it cannot be written.
pub(super) async fn usurp(writer: &Writer, place: &NsName, identity: &str, reign: Duration) -> anyhow::Result<Usurped> {
    let api: Api<Lease> = Api::namespaced(writer.client.clone(), &place.namespace);
    loop {
        let live = writer.ask(api.get_opt(&place.name)).await?;
        let at = Instant::now();
        let Some(mut live) = live else { return Ok(Usurped { at, others: Duration::ZERO }) };
        let spec = live.spec.get_or_insert_default();
        let others = match spec.holder_identity.as_deref().unwrap_or_default() {
            "" => Duration::ZERO,
            // Another run of us: what it took, it took for so much longer.
            holder if holder == identity => promised(spec, Terms::default()).saturating_sub(reign),
            _ => promised(spec, Terms::default()),
        };
        spec.holder_identity = Some(identity.to_owned());
        spec.lease_duration_seconds = i32::try_from((others + reign).as_secs()).ok();
        spec.renew_time = Some(MicroTime(Timestamp::now()));
        let params = PostParams::default();
        match writer.send_unled(Verb::Update, "Lease", api.replace(&place.name, &params, &live)).await {
            // Its holder renewed it meanwhile: every two seconds, so that this ends.
            Err(Fault::Stale) => {}
            Err(fault) => return Err(fault.into()),
            Ok(_) => return Ok(Usurped { at, others }),
        }
    }
}

/// How long others have to wait after they saw the Lease change.
fn promised(spec: &LeaseSpec, terms: Terms) -> Duration {
    let seconds = spec.lease_duration_seconds.and_then(|seconds| u64::try_from(seconds).ok());
    seconds.map_or(terms.duration, Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::Terms;
    use std::time::Duration;

    #[test]
    fn terms_that_nobody_can_keep_are_refused() {
        let sane = Terms::default();
        assert!(sane.check().is_ok());
        for terms in [
            Terms { retry: Duration::ZERO, ..sane },
            Terms { retry: sane.deadline / 2, ..sane },
            Terms { deadline: sane.duration, ..sane },
            Terms {
                duration: Duration::from_millis(999),
                deadline: Duration::from_millis(900),
                retry: Duration::from_millis(1),
            },
        ] {
            assert!(terms.check().is_err(), "{terms:?}");
        }
    }
}
