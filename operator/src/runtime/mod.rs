//! What turns inputs into steps and effects into deeds.
//!
//! inputs from everywhere → [`Intake`] → one engine, stepped by one task → [`Carry`]
//!
//! **Invariant:** one task owns the engine; everybody else sends inputs and reads what is published.
//! **Invariant:** no queue drops or grows without bound: who sends waits, and a full [`Intake`] is stepped at once.
//!
//! Must not know: where inputs come from, and what a deed is.

pub(crate) mod certificates;
mod intake;
pub(crate) mod metrics;
pub(crate) mod telemetry;

use crate::serve::{News, Report};
use chrono::{DateTime, Utc};
use intake::Intake;
use metrics::Metrics;
use sluice_core::world::Change;
use sluice_engine::{Effects, Engine, Input, ProxyEvent};
use std::{sync::Arc, time::Duration};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;

/// Inputs that wait for the engine; whoever sends more waits.
pub(crate) const QUEUE: usize = 1024;

/// Deeds may ask for more deeds: a certificate that is made is an input. So many rounds are done before other inputs are heard.
const ROUNDS: usize = 8;

/// How often the time is told when nothing else happens.
const TICK: Duration = Duration::from_mins(1);

/// Does what the engine says.
pub(crate) trait Carry {
    /// Carries effects out; what this made known is the next input.
    fn carry(&mut self, effects: Effects, engine: &Engine) -> Vec<Input>;
}

/// The engine and the task around it.
pub(crate) struct Runtime<C> {
    engine: Engine,
    carrier: C,
    intake: Intake,
    metrics: Arc<Metrics>,
    wake: Option<DateTime<Utc>>,
}

impl<C: Carry> Runtime<C> {
    /// A runtime that has not started.
    pub(crate) fn new(engine: Engine, carrier: C, metrics: Arc<Metrics>) -> Self {
        Self { engine, carrier, intake: Intake::default(), metrics, wake: None }
    }

    /// Steps the engine until `stop`.
    pub(crate) async fn run(&mut self, mut inputs: mpsc::Receiver<Vec<Input>>, stop: CancellationToken) {
        let mut received = Vec::new();
        while !stop.is_cancelled() {
            let due = self.intake.due().unwrap_or_else(|| self.alarm());
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                count = inputs.recv_many(&mut received, QUEUE) => if count == 0 { return },
                () = sleep_until(due) => {}
            }
            received.drain(..).flatten().for_each(|input| self.intake.push(input));
            let ready = self.intake.drain(Instant::now());
            if !ready.is_empty() || due <= Instant::now() {
                self.step(ready);
            }
        }
    }

    /// What carried the effects out, once nothing more is to be carried out.
    pub(crate) fn into_carrier(self) -> C {
        self.carrier
    }

    fn alarm(&self) -> Instant {
        Instant::now() + until(self.wake, Utc::now())
    }

    fn step(&mut self, mut inputs: Vec<Input>) {
        for _ in 0..ROUNDS {
            let (count, started) = (inputs.len(), Instant::now());
            inputs.insert(0, Input::Change(Change::Clock(Utc::now())));
            let effects = self.engine.step(inputs);
            self.wake = effects.wake;
            self.metrics.stepped(count, started.elapsed(), &effects);
            log(count, started.elapsed(), &effects);
            inputs = self.carrier.carry(effects, &self.engine);
            if inputs.is_empty() {
                return;
            }
        }
        for input in inputs {
            self.intake.push(input);
        }
    }
}

/// How long to wait for a wake-up: not at all if its time has passed.
fn until(wake: Option<DateTime<Utc>>, now: DateTime<Utc>) -> Duration {
    wake.map_or(TICK, |wake| (wake - now).to_std().unwrap_or_default().min(TICK))
}

/// One line a step.
fn log(inputs: usize, took: Duration, effects: &Effects) {
    tracing::debug!(
        inputs,
        took_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
        applies = effects.applies.len(),
        issues = effects.issues.len(),
        statuses = effects.statuses.len(),
        snapshots = effects.snapshots.len(),
        "step"
    );
}

/// Turns what streams report into inputs.
pub(crate) async fn hear(mut heard: mpsc::Receiver<Report>, inputs: mpsc::Sender<Vec<Input>>) {
    while let Some(report) = heard.recv().await {
        if inputs.send(vec![proxy_event(report).into()]).await.is_err() {
            return;
        }
    }
}

/// What a stream reports, as the engine takes it.
fn proxy_event(report: Report) -> ProxyEvent {
    let (gateway, proxy, stream) = (report.identity.gateway, report.identity.proxy, report.stream);
    match report.news {
        News::Connected => ProxyEvent::Connected { gateway, proxy, stream },
        News::Disconnected => ProxyEvent::Disconnected { gateway, proxy, stream },
        News::Session(sluice_xds::Event::Synced { revision }) => {
            ProxyEvent::Synced { gateway, proxy, stream, revision }
        }
        News::Session(sluice_xds::Event::Refused { id, version, message }) => {
            ProxyEvent::Refused { gateway, proxy, id, version, message }
        }
        News::Session(sluice_xds::Event::Stalled { forms }) => ProxyEvent::Stalled { gateway, proxy, forms },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::TimeDelta;

    #[test]
    fn a_wake_up_is_waited_for_until_its_time_and_a_minute_at_most() {
        let now = DateTime::UNIX_EPOCH;
        let cases = [(None, 60), (Some(-5), 0), (Some(0), 0), (Some(7), 7), (Some(3_600), 60)];
        for (wake, seconds) in cases {
            let wake = wake.map(|offset| now + TimeDelta::seconds(offset));
            assert_eq!(until(wake, now), Duration::from_secs(seconds), "{wake:?}");
        }
    }
}
