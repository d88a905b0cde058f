//! Routes that Envoy cannot say in one: copies of one backend's requests among several, and the 500 of an HTTPRoute's invalid share.
//!
//! [`ir::Route`] → pieces, tried in order, each with the part of the requests up to which it is taken
//!
//! **Invariant:** parts are exact to a millionth. Envoy draws one number for a request and compares it with each piece's part in
//! turn, so parts are cumulated; weights would be drawn from the same number, so no piece has any.
//!
//! Must not know: messages.

use sluice_core::{ir, key::Kind};

/// A part of the requests of a route.
pub(super) struct Piece {
    /// Of a million, those of earlier pieces included; `None`: all that is left.
    pub(super) up_to: Option<u32>,
    pub(super) route: ir::Route,
}

const MILLION: u64 = 1_000_000;

/// The pieces of a route; none where it can be said in one.
pub(super) fn pieces(route: &ir::Route) -> Vec<Piece> {
    let ir::Action::Forward(forward) = &route.action else { return Vec::new() };
    let several = forward.shares.len() + usize::from(forward.unavailable > 0) > 1;
    let copied = forward.shares.iter().any(|share| !share.mirrors.is_empty());
    let refused = route.origin.kind == Kind::HttpRoute && forward.unavailable > 0;
    if !several || forward.shares.is_empty() || !(copied || refused) {
        return Vec::new();
    }
    let lost = (forward.unavailable > 0).then(|| (forward.unavailable, lost(route)));
    let shares = forward.shares.iter().map(|share| (share.weight, ir::Action::Forward(alone(forward, share))));
    cumulate(route, lost.into_iter().chain(shares).collect())
}

fn lost(route: &ir::Route) -> ir::Action {
    ir::Action::Unavailable(format!("a backend of {} cannot be used", route.origin.rule_label()).into())
}

/// One backend of several. Copies of its own come after those of the rule.
fn alone(forward: &ir::Forward, share: &ir::Share) -> ir::Forward {
    ir::Forward { shares: vec![share.clone()], unavailable: 0, ..forward.clone() }
}

fn cumulate(route: &ir::Route, parts: Vec<(u32, ir::Action)>) -> Vec<Piece> {
    let total: u64 = parts.iter().map(|(weight, _)| u64::from(*weight)).sum();
    let last = parts.len().saturating_sub(1);
    let mut sum = 0;
    let pieces = parts.into_iter().enumerate().map(|(index, (weight, action))| {
        sum += u64::from(weight);
        let up_to = (sum * MILLION).checked_div(total).and_then(|part| u32::try_from(part).ok());
        Piece { up_to: up_to.filter(|_| index < last), route: ir::Route { action, ..route.clone() } }
    });
    pieces.collect()
}
