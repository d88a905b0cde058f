//! Conditions, typed so that only pairs of type and reason that a specification knows can be written.

use serde::Serialize;

pub use sluice_api::reasons::{Reason, Status as Truth};

/// A condition without its time: that belongs to whoever writes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// Type.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// Status.
    pub status: Truth,
    /// Reason.
    pub reason: &'static str,
    /// What is the matter and what to do next.
    pub message: String,
    /// The generation that it is about.
    pub observed_generation: i64,
}

impl Condition {
    /// A condition that says `reason` of `generation`.
    pub fn new<R: Reason>(reason: R, message: impl Into<String>, generation: i64) -> Self {
        Self {
            kind: R::TYPE,
            status: reason.status(),
            reason: reason.as_str(),
            message: message.into(),
            observed_generation: generation,
        }
    }
}

/// Declares the reasons of one condition type: `enum Name = "Type" { Reason = True, … }`.
macro_rules! verdicts {
    ($(#[$doc:meta])* $name:ident = $kind:literal { $($reason:ident = $truth:ident),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[allow(missing_docs, reason = "reasons are named and defined by the specification of the condition")]
        pub enum $name { $($reason),* }

        impl $crate::status::Reason for $name {
            const TYPE: &'static str = $kind;
            fn status(self) -> $crate::status::Truth {
                match self { $(Self::$reason => $crate::status::Truth::$truth),* }
            }
            fn as_str(self) -> &'static str {
                match self { $(Self::$reason => stringify!($reason)),* }
            }
        }
    };
}
pub(crate) use verdicts;
