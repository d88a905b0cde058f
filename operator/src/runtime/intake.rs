//! When to step: at once while steps are cheap, in batches while they are not.
//!
//! [`Input`]s, the time and what steps took → batches
//!
//! **Invariant:** endpoints, acknowledgements and the clock never wait for anything, and nothing waits longer because of them.
//! **Invariant:** a change of the lead waits for nothing, and takes everything along that came before it: whoever leads, leads over
//! the world that was told before.
//! **Invariant:** what can wait is stepped a fifth of the time at most. It does not wait for a frequency: an edit costs what it
//! touches, and somebody who edits often must not delay somebody who edits now and then.
//! **Invariant:** an input waits 250 ms at most, and [`FULL`] of them do not wait at all: what waits is bounded by that and what
//! is received at once, since nothing is received during a step.
//!
//! Must not know: what a step does.

use super::QUEUE;
use sluice_core::{key::Kind, world::Change};
use sluice_engine::Input;
use std::time::Duration;
use tokio::time::Instant;

/// After a batch the next one waits so many times as long as that took.
const REST: u32 = 4;
/// The longest wait.
const LONGEST: Duration = Duration::from_millis(250);

/// So many waiting inputs are a batch, however soon after the one before.
const FULL: usize = QUEUE;

/// Inputs that were not stepped yet.
#[derive(Debug, Default)]
pub(super) struct Intake {
    urgent: Vec<Input>,
    waiting: Vec<Input>,
    /// When what waits may be stepped again; after a batch that took it, nobody knows before that was stepped.
    free: Option<Instant>,
    /// Whether the lead has changed.
    is_pressing: bool,
}

impl Intake {
    /// Takes an input.
    pub(super) fn push(&mut self, input: Input) {
        self.is_pressing |= matches!(input, Input::Leader(_));
        if is_urgent(&input) { &mut self.urgent } else { &mut self.waiting }.push(input);
    }

    /// When [`Intake::drain`] has something, possibly in the past.
    pub(super) fn due(&self) -> Option<Instant> {
        if !self.urgent.is_empty() || self.waits_for_nothing() {
            return Some(Instant::now());
        }
        (!self.waiting.is_empty()).then(|| self.free.unwrap_or_else(Instant::now))
    }

    /// What is to be stepped now.
    pub(super) fn drain(&mut self, now: Instant) -> Vec<Input> {
        let mut batch = std::mem::take(&mut self.urgent);
        let takes_all = self.waits_for_nothing() || self.free.is_none_or(|free| free <= now);
        if takes_all && !self.waiting.is_empty() {
            batch.append(&mut self.waiting);
            (self.free, self.is_pressing) = (None, false);
        }
        batch
    }

    /// The step of the latest batch has ended at `now`. It is rested from if it took what waited: the others would never end.
    pub(super) fn rest(&mut self, took: Duration, now: Instant) {
        self.free.get_or_insert(now + (REST * took).min(LONGEST));
    }

    fn waits_for_nothing(&self) -> bool {
        self.is_pressing || self.waiting.len() >= FULL
    }
}

fn is_urgent(input: &Input) -> bool {
    match input {
        Input::Change(Change::Upsert(object)) => object.kind() == Kind::EndpointSlice,
        Input::Change(Change::Delete(reference)) => reference.kind == Kind::EndpointSlice,
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
    fn what_can_wait_is_stepped_a_fifth_of_the_time_and_waits_a_quarter_of_a_second_at_most() {
        let start = Instant::now();
        let mut intake = Intake::default();
        intake.push(edit());
        assert_eq!(intake.drain(start).len(), 1, "at once");
        for (took, wait) in [(0, 0), (1, 4), (50, 200), (100, 250)] {
            intake = Intake::default();
            intake.rest(ms(took), start);
            intake.push(edit());
            assert_eq!(intake.due(), Some(start + ms(wait)));
            assert_eq!(intake.drain(start + ms(wait)).len(), 1);
        }
    }

    #[test]
    fn steps_of_what_does_not_wait_keep_nobody_waiting() {
        let start = Instant::now();
        let mut intake = Intake::default();
        intake.push(edit());
        intake.drain(start);
        intake.rest(ms(50), start);
        intake.push(edit());
        for past in [1, 100, 199] {
            intake.push(endpoints());
            assert_eq!(intake.drain(start + ms(past)).len(), 1);
            intake.rest(ms(100), start + ms(past));
            assert_eq!(intake.due(), Some(start + ms(200)));
        }
        intake.push(endpoints());
        assert_eq!(intake.drain(start + ms(200)).len(), 2);
    }

    #[test]
    fn a_change_of_the_lead_waits_for_nothing_and_comes_after_the_world() {
        let start = Instant::now();
        let mut intake = Intake::default();
        intake.rest(ms(50), start);
        intake.push(edit());
        intake.push(Input::Leader(true));
        assert!(intake.due().unwrap() < start + ms(200));
        assert!(matches!(intake.drain(start).as_slice(), [Input::Change(_), Input::Leader(true)]));
        intake.rest(ms(50), start);
        intake.push(edit());
        assert_eq!(intake.due(), Some(start + ms(200)), "the next one waits its turn");
    }

    #[test]
    fn a_full_intake_waits_for_nothing() {
        let start = Instant::now();
        let mut intake = Intake::default();
        intake.rest(ms(50), start);
        (1..FULL).for_each(|_| intake.push(edit()));
        assert_eq!((intake.due(), intake.drain(start).len()), (Some(start + ms(200)), 0));
        intake.push(edit());
        assert!(intake.due().unwrap() < start + ms(200));
        assert_eq!((intake.drain(start).len(), intake.due()), (FULL, None));
    }

    #[test]
    fn endpoints_do_not_wait_and_take_nothing_along() {
        let start = Instant::now();
        let mut intake = Intake::default();
        intake.rest(ms(50), start);
        intake.push(edit());
        intake.push(endpoints());
        assert!(intake.due().unwrap() < start + ms(200));
        assert_eq!(intake.drain(start).len(), 1);
        assert_eq!(intake.due(), Some(start + ms(200)));
    }
}
