//! What turns inputs into steps and effects into deeds.
//!
//! inputs from everywhere → [`Intake`] → one engine, stepped by one task → [`Carry`]
//!
//! **Invariant:** one task owns the engine; everybody else sends inputs and reads what is published.
//! **Invariant:** no queue drops or grows without bound: who sends waits, and a full [`Intake`] is stepped at once.
//!
//! Must not know: where inputs come from, and what a deed is.

pub(crate) mod certificates;
mod delivery;
mod intake;
pub(crate) mod metrics;
pub(crate) mod telemetry;

use crate::serve::{News, Report};
use chrono::{DateTime, Utc};
use delivery::Deliveries;
use intake::Intake;
use metrics::Metrics;
use sluice_core::{key::NsName, world::Change};
use sluice_engine::{Effects, Engine, Input, ProxyEvent};
use sluice_xds::ResourceType;
use std::{collections::BTreeSet, sync::Arc, time::Duration};
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
    deliveries: Deliveries,
    metrics: Arc<Metrics>,
    wake: Option<DateTime<Utc>>,
}

impl<C: Carry> Runtime<C> {
    /// A runtime that has not started.
    pub(crate) fn new(engine: Engine, carrier: C, metrics: Arc<Metrics>) -> Self {
        Self { engine, carrier, intake: Intake::default(), deliveries: Deliveries::default(), metrics, wake: None }
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
            received.drain(..).flatten().for_each(|input| self.take(input));
            let ready = self.intake.drain(Instant::now());
            if !ready.is_empty() || due <= Instant::now() {
                let begun = Instant::now();
                self.step(ready);
                self.intake.rest(begun.elapsed(), Instant::now());
            }
        }
    }

    /// What carried the effects out, once nothing more is to be carried out.
    pub(crate) fn into_carrier(self) -> C {
        self.carrier
    }

    /// Changes before this process leads are not timed: the world as it was found was in force long ago.
    fn take(&mut self, input: Input) {
        let state = self.engine.state();
        if state.leads() {
            self.deliveries.note(&input, &state.world);
        }
        self.intake.push(input);
    }

    fn alarm(&self) -> Instant {
        Instant::now() + until(self.wake, Utc::now())
    }

    fn step(&mut self, mut inputs: Vec<Input>) {
        for _ in 0..ROUNDS {
            let step = Step::begin(&inputs);
            inputs.insert(0, Input::Change(Change::Clock(Utc::now())));
            let effects = self.engine.step(inputs);
            self.wake = effects.wake;
            if !self.engine.state().leads() {
                self.deliveries.forget();
            }
            let arrived = effects.statuses.iter().filter_map(|update| self.deliveries.arrived(update));
            arrived.for_each(|took| self.metrics.arrived(took));
            self.metrics.stepped(&step, &effects, &self.engine);
            log(&step, &effects);
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

/// What is known of a step before it is taken.
pub(crate) struct Step {
    started: Instant,
    inputs: usize,
    /// The types of what proxies refused.
    refused: Vec<ResourceType>,
    /// The Gateways whose proxies said something.
    gateways: BTreeSet<NsName>,
}

impl Step {
    fn begin(inputs: &[Input]) -> Self {
        let mut step =
            Self { started: Instant::now(), inputs: inputs.len(), refused: Vec::new(), gateways: BTreeSet::new() };
        for input in inputs {
            let Input::Proxy(event) = input else { continue };
            step.gateways.insert(event.gateway().clone());
            match event {
                ProxyEvent::Refused { id, .. } => step.refused.push(id.kind),
                ProxyEvent::Stalled { forms, .. } => step.refused.extend(forms.iter().map(|(id, _)| id.kind)),
                _ => {}
            }
        }
        step
    }
}

/// One line a step; a step that did nothing is a detail.
fn log(step: &Step, effects: &Effects) {
    macro_rules! line {
        ($level:ident) => {
            tracing::$level!(
                inputs = step.inputs,
                took_us = u64::try_from(step.started.elapsed().as_micros()).unwrap_or(u64::MAX),
                applies = effects.applies.len(),
                issues = effects.issues.len(),
                statuses = effects.statuses.len(),
                snapshots = effects.snapshots.len(),
                infrastructure = effects.infrastructure.len(),
                holds = effects.holds.len(),
                "step"
            )
        };
    }
    if is_idle(effects) { line!(debug) } else { line!(info) }
}

fn is_idle(effects: &Effects) -> bool {
    effects.applies.is_empty()
        && effects.issues.is_empty()
        && effects.statuses.is_empty()
        && effects.snapshots.is_empty()
        && effects.infrastructure.is_empty()
        && effects.holds.is_empty()
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

    struct Idle;

    impl Carry for Idle {
        fn carry(&mut self, _: Effects, _: &Engine) -> Vec<Input> {
            Vec::new()
        }
    }

    #[test]
    fn what_was_on_its_way_when_the_lead_was_lost_is_not_timed() {
        let metrics = Arc::new(Metrics::new());
        let mut runtime = Runtime::new(Engine::new(sluice_engine::Settings::default()), Idle, metrics);
        runtime.step(vec![Input::Leader(true)]);
        let metadata = serde_json::json!({"namespace": "a", "name": "r", "generation": 1});
        let route = serde_json::json!({"metadata": metadata, "spec": {"parentRefs": [], "rules": []}});
        let route = sluice_core::world::Object::decode(sluice_core::key::Kind::GrpcRoute, route).unwrap();
        runtime.take(Change::from(route).into());
        assert!(!runtime.deliveries.is_empty());
        runtime.step(vec![Input::Leader(false)]);
        assert!(runtime.deliveries.is_empty());
    }

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
