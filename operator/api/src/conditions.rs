//! Conditions made from reasons.
//!
//! (reason, message, generation, time) → `metav1.Condition`
//!
//! **Invariant:** type and status come from the reason alone.
//!
//! It must not know where conditions are written, nor the clock: the time of the transition is an argument.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use crate::reasons::Reason;

/// Makes a condition. `observed` is the generation that was judged; `since` is when the status last changed.
pub fn condition(reason: impl Reason, message: impl Into<String>, observed: i64, since: Time) -> Condition {
    typed(reason, message.into(), observed, since)
}

fn typed<R: Reason>(reason: R, message: String, observed: i64, since: Time) -> Condition {
    Condition {
        type_: R::TYPE.to_owned(),
        status: reason.status().as_str().to_owned(),
        reason: reason.as_str().to_owned(),
        message,
        observed_generation: Some(observed),
        last_transition_time: since,
    }
}
