//! Conditions, typed so that only pairs of type and reason that a specification knows can be written.

use serde::Serialize;

/// `status` of a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[allow(missing_docs, reason = "Kubernetes' own three words")]
pub enum Truth {
    True,
    False,
    Unknown,
}

/// A reason together with the condition type that it belongs to and the status that it implies.
pub trait Verdict: Copy {
    /// The condition type.
    const KIND: &'static str;
    /// The status that the reason implies.
    fn truth(self) -> Truth;
    /// The reason as written.
    fn reason(self) -> &'static str;
}

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
    /// A condition that says `verdict` of `generation`.
    pub fn new<V: Verdict>(verdict: V, message: impl Into<String>, generation: i64) -> Self {
        Self {
            kind: V::KIND,
            status: verdict.truth(),
            reason: verdict.reason(),
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

        impl $crate::status::Verdict for $name {
            const KIND: &'static str = $kind;
            fn truth(self) -> $crate::status::Truth {
                match self { $(Self::$reason => $crate::status::Truth::$truth),* }
            }
            fn reason(self) -> &'static str {
                match self { $(Self::$reason => stringify!($reason)),* }
            }
        }
    };
}
pub(crate) use verdicts;
