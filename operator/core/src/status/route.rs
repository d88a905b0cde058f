//! What can be wrong with a route, and its status.

use super::verdicts;

verdicts! {
    /// `Accepted` of a route's parent. Source: Gateway API, `RouteConditionReason`.
    Accepted = "Accepted" {
        Accepted = True,
        NotAllowedByListeners = False,
        NoMatchingListenerHostname = False,
        NoMatchingParent = False,
        UnsupportedValue = False,
        IncompatibleFilters = False,
        Pending = Unknown,
    }
}

/// What is wrong with a route, its rules, backends or filters; carries the keys that its message names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Problem {}
