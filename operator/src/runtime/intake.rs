//! When to step: at once while steps are cheap, in batches while they are not.
//!
//! [`Input`]s, the time and what steps took → batches
//!
//! **Invariant:** endpoints, acknowledgements and the clock never wait for anything, and nothing waits longer because of them.
//! **Invariant:** a change of the lead waits for nothing, and takes everything along that came before it: whoever leads, leads over
//! the world that was told before.
//! **Invariant:** what can wait is stepped a fifth of the time at most, beyond what was not used of that lately. It does not wait for
//! a frequency: an edit costs what it touches, and somebody who edits often must not delay somebody who edits now and then; nor does
//! one step that the machine held up delay the next edit.
//! **Invariant:** an input waits 250 ms at most, and [`FULL`] of them do not wait at all: what waits is bounded by that and what
//! is received at once, since nothing is received during a step.
//!
//! Must not know: what a step does.

use super::QUEUE;
use sluice_core::{key::Kind, world::Change};
use sluice_engine::Input;
use std::time::Duration;
use tokio::time::Instant;

/// What a batch owes beyond the time that it took is so many times as long.
const REST: u32 = 4;
/// So much is owed before anything waits.
const CREDIT: Duration = Duration::from_millis(100);
/// The longest wait.
const LONGEST: Duration = Duration::from_millis(250);

/// So many waiting inputs are a batch, however soon after the one before.
const FULL: usize = QUEUE;

/// Inputs that were not stepped yet.
#[derive(Debug, Default)]
pub(super) struct Intake {
    urgent: Vec<Input>,
    waiting: Vec<Input>,
    /// When nothing will be owed any more.
    settled: Option<Instant>,
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

    /// The step of the latest batch has ended at `now`. It is owed for if it took what waited: the others would never end.
    /// Source: the generic cell rate algorithm (ITU-T I.371).
    pub(super) fn rest(&mut self, took: Duration, now: Instant) {
        if self.free.is_some() {
            return;
        }
        let begun = now.checked_sub(took).unwrap_or(now);
        let settled = self.settled.map_or(begun, |settled| settled.max(begun)) + (1 + REST) * took;
        let settled = settled.min(now + CREDIT + LONGEST);
        self.settled = Some(settled);
        self.free = Some(settled.checked_sub(CREDIT).map_or(now, |free| free.max(now)));
    }

    fn waits_for_nothing(&self) -> bool {
        self.is_pressing || self.waiting.len() >= FULL
    }
}

fn is_urgent(input: &Input) -> bool {
    match input {
        Input::Change(Change::Upsert(object)) => object.kind() == Kind::EndpointSlice,
        Input::Change(Change::Delete(reference)) => reference.kind == Kind::EndpointSlice,
        Input::Change(Change::Observe(..)) | Input::Leader(_) | Input::Remember(_) => false,
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

    /// An intake that owes so much that every further millisecond of a step is waited for.
    fn without_credit(start: Instant) -> Intake {
        let mut intake = Intake::default();
        intake.rest(CREDIT / REST, start);
        intake.push(edit());
        assert_eq!(intake.drain(start).len(), 1);
        intake
    }

    #[test]
    fn one_step_that_was_held_up_keeps_nobody_waiting_and_many_that_cost_do() {
        let start = Instant::now();
        let mut intake = Intake::default();
        intake.push(edit());
        assert_eq!(intake.drain(start).len(), 1, "at once");
        for (took, wait) in [(0, 0), (7, 0), (25, 0), (50, 100), (100, 250)] {
            intake = Intake::default();
            intake.rest(ms(took), start);
            intake.push(edit());
            assert_eq!(intake.due(), Some(start + ms(wait)), "{took}");
            assert_eq!(intake.drain(start + ms(wait)).len(), 1);
        }
    }

    #[test]
    fn what_can_wait_is_stepped_a_fifth_of_the_time_and_waits_a_quarter_of_a_second_at_most() {
        let start = Instant::now();
        for (took, wait) in [(0, 0), (1, 4), (50, 200), (100, 250)] {
            let mut intake = without_credit(start);
            let mut now = start;
            for _ in 0..3 {
                now += ms(took);
                intake.rest(ms(took), now);
                intake.push(edit());
                assert_eq!(intake.due(), Some(now + ms(wait)), "{took}");
                now += ms(wait);
                assert_eq!(intake.drain(now).len(), 1);
            }
        }
    }

    #[test]
    fn what_was_not_used_is_not_owed_later() {
        let start = Instant::now();
        let mut intake = without_credit(start);
        intake.rest(Duration::ZERO, start);
        intake.push(edit());
        let later = start + CREDIT;
        assert_eq!(intake.drain(later).len(), 1);
        let end = later + CREDIT / REST;
        intake.rest(CREDIT / REST, end);
        assert_eq!(intake.free, Some(end));
    }

    #[test]
    fn steps_of_what_does_not_wait_keep_nobody_waiting() {
        let start = Instant::now();
        let mut intake = without_credit(start);
        intake.rest(ms(50), start);
        intake.push(edit());
        for past in [1, 100, 249] {
            intake.push(endpoints());
            assert_eq!(intake.drain(start + ms(past)).len(), 1);
            intake.rest(ms(100), start + ms(past));
            assert_eq!(intake.due(), Some(start + ms(250)));
        }
        intake.push(endpoints());
        assert_eq!(intake.drain(start + ms(250)).len(), 2);
    }

    #[test]
    fn a_change_of_the_lead_waits_for_nothing_and_comes_after_the_world() {
        let start = Instant::now();
        let mut intake = without_credit(start);
        intake.rest(ms(50), start);
        intake.push(edit());
        intake.push(Input::Leader(true));
        assert!(intake.due().unwrap() < start + ms(250));
        assert!(matches!(intake.drain(start).as_slice(), [Input::Change(_), Input::Leader(true)]));
        intake.rest(ms(50), start);
        intake.push(edit());
        assert_eq!(intake.due(), Some(start + ms(250)), "the next one waits its turn");
    }

    #[test]
    fn a_full_intake_waits_for_nothing() {
        let start = Instant::now();
        let mut intake = without_credit(start);
        intake.rest(ms(50), start);
        (1..FULL).for_each(|_| intake.push(edit()));
        assert_eq!((intake.due(), intake.drain(start).len()), (Some(start + ms(250)), 0));
        intake.push(edit());
        assert!(intake.due().unwrap() < start + ms(250));
        assert_eq!((intake.drain(start).len(), intake.due()), (FULL, None));
    }

    #[test]
    fn endpoints_do_not_wait_and_take_nothing_along() {
        let start = Instant::now();
        let mut intake = without_credit(start);
        intake.rest(ms(50), start);
        intake.push(edit());
        intake.push(endpoints());
        assert!(intake.due().unwrap() < start + ms(250));
        assert_eq!(intake.drain(start).len(), 1);
        assert_eq!(intake.due(), Some(start + ms(250)));
    }
}
