//! Finding the refused resource in a refused response.
//!
//! names + the proxy's message → the culprit, or parts to send alone
//!
//! **Invariant:** every part is smaller than what it came from, so that the search ends after at most 2·n responses.
//!
//! Must not know: what was sent before.

use std::collections::{BTreeSet, VecDeque};

use crate::resource::Name;

/// The one name that the message contains. A name inside of another name that is there too does not count.
pub(super) fn named<'a>(message: &str, names: &'a [Name]) -> Option<&'a Name> {
    let found: Vec<&Name> = names.iter().filter(|name| stands_in(message, name)).collect();
    let longest = found.iter().max_by_key(|name| name.len())?;
    found.iter().all(|name| longest.contains(name.as_ref())).then_some(*longest)
}

/// Whether the message contains the name between characters that no name continues with.
fn stands_in(message: &str, name: &str) -> bool {
    let part_of_name = |c: char| c.is_ascii_alphanumeric() || "-_/*".contains(c);
    !name.is_empty()
        && message.match_indices(name).any(|(at, _)| {
            let (before, rest) = message.split_at(at);
            let after = rest.strip_prefix(name).unwrap_or_default();
            !before.ends_with(part_of_name) && !after.starts_with(part_of_name)
        })
}

/// What is sent alone, one after the other, until each culprit stands alone.
#[derive(Debug, Default)]
pub(super) struct Parts(VecDeque<BTreeSet<Name>>);

impl Parts {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Queues both halves before what is already queued.
    pub(super) fn halve(&mut self, names: &[Name]) {
        let (left, right) = names.split_at(names.len() / 2);
        self.first(right);
        self.first(left);
    }

    /// Queues names as one part before what is already queued.
    pub(super) fn first(&mut self, names: &[Name]) {
        if !names.is_empty() {
            self.0.push_front(names.iter().cloned().collect());
        }
    }

    /// Takes the first part with a name that can be sent now; parts with nothing left to send are dropped.
    pub(super) fn take(
        &mut self,
        pending: impl Fn(&Name) -> bool,
        ready: impl Fn(&Name) -> bool,
    ) -> Option<BTreeSet<Name>> {
        self.0.retain(|part| part.iter().any(&pending));
        let at = self.0.iter().position(|part| part.iter().any(&ready))?;
        self.0.remove(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(of: &[&str]) -> Vec<Name> {
        of.iter().map(|name| Name::from(*name)).collect()
    }

    #[test]
    fn a_culprit_is_the_only_name_in_the_message() {
        let cases = [
            ("Error adding/updating cluster(s) a/b/80/h2: bad", &["a/b/80/h2", "a/c/80/h2"][..], Some("a/b/80/h2")),
            ("cluster a-long: bad", &["a", "a-long"], Some("a-long")),
            ("missing ): ((", &["a", "b"], None),
            ("a: bad, b: bad", &["a", "b"], None),
            ("cluster abc", &["a", "b"], None),
            ("listener 'l': x", &["", "l"], Some("l")),
        ];
        for (message, of, expected) in cases {
            assert_eq!(named(message, &names(of)).map(AsRef::as_ref), expected, "{message}");
        }
    }

    #[test]
    fn halves_go_one_after_the_other_and_before_older_parts() {
        let mut parts = Parts::default();
        parts.first(&names(&["z"]));
        parts.halve(&names(&["a", "b", "c"]));
        let mut order = Vec::new();
        while let Some(part) = parts.take(|_| true, |_| true) {
            order.push(part.iter().map(ToString::to_string).collect::<String>());
        }
        assert_eq!(order, ["a", "bc", "z"]);
    }

    #[test]
    fn a_part_that_must_wait_lets_the_next_pass_and_a_settled_one_is_dropped() {
        let mut parts = Parts::default();
        parts.first(&names(&["settled"]));
        parts.first(&names(&["b"]));
        parts.first(&names(&["a"]));
        let part = parts.take(|name| name.as_ref() != "settled", |name| name.as_ref() == "b");
        assert_eq!(part.into_iter().flatten().collect::<Vec<_>>(), names(&["b"]));
        assert!(parts.take(|_| false, |_| true).is_none());
        assert!(parts.is_empty());
    }
}
