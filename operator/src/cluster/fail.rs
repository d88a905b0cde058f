//! Where the process ends itself, so that a test can see what it leaves behind at each of its writes.
//!
//! `SLUICE_FAIL_POINT=verb:kind:n:before` (or `after`) → the n-th write of that verb and kind never happens, or is the last
//!
//! **Invariant:** without the variable nothing of this happens.
//!
//! Must not know: what is written.

use super::writer::Verb;
use anyhow::Context as _;
use std::{
    str::FromStr,
    sync::atomic::{AtomicU64, Ordering},
};

/// The environment variable.
pub(super) const VARIABLE: &str = "SLUICE_FAIL_POINT";

/// A point, and how far it is.
#[derive(Debug)]
pub(super) struct FailPoint {
    /// Empty: every verb.
    verb: String,
    /// Empty: every kind.
    kind: String,
    countdown: AtomicU64,
    side: Side,
}

/// Which side of the request it is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    /// The request is not sent.
    Before,
    /// It is answered, and nobody hears of it.
    After,
}

impl FromStr for FailPoint {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let wrong = || format!("{VARIABLE}={text:?}: write VERB:KIND:N:before or :after; an empty part stands for any");
        let parts: Vec<&str> = text.split(':').collect();
        let [verb, kind, count, side] = parts.as_slice() else { anyhow::bail!(wrong()) };
        let side = match *side {
            "before" => Side::Before,
            "after" => Side::After,
            _ => anyhow::bail!(wrong()),
        };
        let count: u64 = count.parse().with_context(wrong)?;
        Ok(Self { verb: (*verb).to_owned(), kind: (*kind).to_owned(), countdown: AtomicU64::new(count), side })
    }
}

impl FailPoint {
    /// The point that is set in the environment, if any is.
    ///
    /// # Errors
    /// When it is not in the form above.
    pub(super) fn from_environment() -> anyhow::Result<Option<Self>> {
        std::env::var(VARIABLE).ok().map(|text| text.parse()).transpose()
    }

    /// Counts a write; on which side of it the process ends, if it does.
    pub(super) fn reached(&self, verb: Verb, kind: &str) -> Option<Side> {
        let fits = |wanted: &str, given: &str| wanted.is_empty() || wanted == given;
        let counts = fits(&self.verb, &verb.to_string()) && fits(&self.kind, kind);
        let count = |left: u64| left.checked_sub(1);
        let before =
            self.countdown.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| count(left).filter(|_| counts));
        (before == Ok(1)).then_some(self.side)
    }

    /// Ends the process, without any of its farewells, if the point is here.
    pub(super) fn end_before(point: Option<Side>) {
        if point == Some(Side::Before) {
            std::process::abort();
        }
    }

    /// The same on the other side.
    pub(super) fn end_after(point: Option<Side>) {
        if point == Some(Side::After) {
            std::process::abort();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nth_write_of_what_is_named_is_met_once() {
        let point: FailPoint = "apply:Gateway:2:after".parse().unwrap();
        let writes = [
            (Verb::Apply, "Gateway"),
            (Verb::Status, "Gateway"),
            (Verb::Apply, "Secret"),
            (Verb::Apply, "Gateway"),
            (Verb::Apply, "Gateway"),
        ];
        let met = writes.map(|(verb, kind)| point.reached(verb, kind));
        assert_eq!(met, [None, None, None, Some(Side::After), None]);
    }

    #[test]
    fn an_empty_part_stands_for_any_and_nonsense_is_refused() {
        let point: FailPoint = "::1:before".parse().unwrap();
        assert_eq!(point.reached(Verb::Delete, "Secret"), Some(Side::Before));
        for text in ["", "apply:Gateway:1", "apply:Gateway:x:before", "apply:Gateway:1:during"] {
            text.parse::<FailPoint>().unwrap_err();
        }
    }
}
