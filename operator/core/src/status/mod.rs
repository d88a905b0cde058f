//! What is said about objects: problems, typed conditions, and the statuses made of them.
//!
//! Problems and what proxies acknowledged ([`Delivery`]) → statuses as Kubernetes knows them.
//!
//! **Invariant:** a condition's type and reason cannot be paired wrongly: the pair is one value.
//! **Invariant:** a message says what to do next.
//!
//! Knows nothing of time (whoever writes a status keeps `lastTransitionTime`) and of who writes it.

pub mod backend_tls;
pub mod class;
mod condition;
pub mod gateway;
pub mod listener;
pub mod listener_set;
pub mod policy;
pub mod route;

pub(crate) use condition::verdicts;
pub use condition::{Condition, Reason, Truth};

use crate::key::{NsName, Text};

/// The command that shows what runs for a Gateway in a cluster.
pub fn look(kind: &str, gateway: &NsName) -> String {
    let NsName { namespace, name } = gateway;
    format!("kubectl describe {kind} -n {namespace} -l {}={name}", sluice_api::GATEWAY_LABEL)
}

/// How far a generation of an object has come on its way to the proxies of one Gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// Every counted proxy, and at least one, acknowledged a snapshot that contains it.
    Programmed,
    /// No proxy is counted; the text says of which Gateway.
    NoProxy(Text),
    /// Not yet; the text says what is waited for.
    Pending(Text),
    /// The proxies refused it; what they serve instead is said in `last_good`.
    Rejected {
        /// Envoy's words.
        message: Text,
        /// `rules[2] canary`, if it is known.
        rule: Option<Text>,
        /// Whether the last good form is still served (otherwise calls get UNAVAILABLE).
        last_good: bool,
    },
}
