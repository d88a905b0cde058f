//! When to step: at once while there is little to do, in batches while there is much.
//!
//! [`Input`]s and the time → batches
//!
//! **Invariant:** endpoints, acknowledgements and the clock never wait for anything.
//! **Invariant:** an input waits 250 ms at most, and [`FULL`] of them do not wait at all: what waits is bounded by that and what
//! is received at once, since nothing is received during a step.
//!
//! Must not know: what a step does or costs.

use super::QUEUE;
use sluice_core::{key::Kind, world::Change};
use sluice_engine::Input;
use std::time::Duration;
use tokio::time::Instant;

/// The first wait of a busy time.
const SHORTEST: Duration = Duration::from_millis(10);
/// The longest.
const LONGEST: Duration = Duration::from_millis(250);

/// So many waiting inputs are a batch, however soon after the one before.
const FULL: usize = QUEUE;

/// Inputs that were not stepped yet.
#[derive(Debug)]
pub(super) struct Intake {
    urgent: Vec<Input>,
    waiting: Vec<Input>,
    window: Duration,
    /// When the last batch was taken.
    last: Option<Instant>,
}

impl Default for Intake {
    fn default() -> Self {
        Self { urgent: Vec::new(), waiting: Vec::new(), window: SHORTEST, last: None }
    }
}

impl Intake {
    /// Takes an input.
    pub(super) fn push(&mut self, input: Input) {
        if is_urgent(&input) { &mut self.urgent } else { &mut self.waiting }.push(input);
    }

    /// When [`Intake::drain`] has something, possibly in the past.
    pub(super) fn due(&self) -> Option<Instant> {
        match (self.urgent.is_empty(), self.waiting.is_empty()) {
            (true, true) => None,
            (true, false) if !self.is_full() => Some(self.last.map_or_else(Instant::now, |last| last + self.window)),
            _ => Some(self.last.unwrap_or_else(Instant::now)),
        }
    }

    /// What is to be stepped now.
    pub(super) fn drain(&mut self, now: Instant) -> Vec<Input> {
        let mut batch = std::mem::take(&mut self.urgent);
        let is_due = self.is_full() || self.last.is_none_or(|last| last + self.window <= now);
        if !self.waiting.is_empty() && is_due {
            batch.append(&mut self.waiting);
            self.adapt(now);
        }
        batch
    }

    fn is_full(&self) -> bool {
        self.waiting.len() >= FULL
    }

    /// A batch soon after the one before means busy times: the next one waits longer.
    fn adapt(&mut self, now: Instant) {
        let busy = self.last.is_some_and(|last| now < last + 2 * self.window);
        self.window = if busy { (2 * self.window).min(LONGEST) } else { SHORTEST };
        self.last = Some(now);
    }
}

fn is_urgent(input: &Input) -> bool {
    match input {
        Input::Change(Change::Upsert(object)) => object.kind() == Kind::EndpointSlice,
        Input::Change(Change::Delete(reference)) => reference.kind == Kind::EndpointSlice,
        // Whoever leads, leads over the world that was told before.
        Input::Change(Change::Observe(..)) | Input::Leader(_) | Input::Remember(_) | Input::Expect { .. } => false,
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sluice_core::key::{NsName, Ref};

    fn edit() -> Input {
        Input::Change(Change::Delete(Ref::new(Kind::Gateway, NsName::new("a", "b"))))
    }

    fn endpoints() -> Input {
        Input::Change(Change::Delete(Ref::new(Kind::EndpointSlice, NsName::new("a", "b"))))
    }

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn an_idle_intake_steps_at_once_and_a_busy_one_waits_twice_as_long_each_time() {
        let start = Instant::now();
        let mut intake = Intake::default();
        intake.push(edit());
        assert_eq!(intake.drain(start).len(), 1);
        let (mut at, mut waits) = (start, Vec::new());
        for _ in 0..7 {
            intake.push(edit());
            assert_eq!(intake.drain(at + ms(1)).len(), 0);
            let due = intake.due().unwrap();
            waits.push((due - at).as_millis());
            at = due;
            assert_eq!(intake.drain(at).len(), 1);
        }
        assert_eq!(waits, [10, 20, 40, 80, 160, 250, 250]);
        intake.push(edit());
        assert_eq!(intake.drain(at + ms(1_000)).len(), 1, "a rest makes it idle again");
        intake.push(edit());
        assert_eq!(intake.due(), Some(at + ms(1_010)));
    }

    #[test]
    fn a_full_intake_waits_for_nothing() {
        let start = Instant::now();
        let mut intake = Intake::default();
        intake.push(edit());
        intake.drain(start);
        (1..FULL).for_each(|_| intake.push(edit()));
        assert_eq!((intake.due(), intake.drain(start).len()), (Some(start + ms(10)), 0));
        intake.push(edit());
        assert!(intake.due().unwrap() <= start);
        assert_eq!((intake.drain(start).len(), intake.due()), (FULL, None));
    }

    #[test]
    fn endpoints_do_not_wait_and_take_nothing_along() {
        let start = Instant::now();
        let mut intake = Intake::default();
        intake.push(edit());
        intake.drain(start);
        intake.push(edit());
        intake.push(endpoints());
        assert!(intake.due().unwrap() <= start);
        assert_eq!(intake.drain(start).len(), 1);
        assert_eq!(intake.due(), Some(start + ms(10)));
    }
}
