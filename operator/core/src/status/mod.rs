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

use crate::{
    key::{Kind, NsName, Text},
    world::observed::ObservedCondition,
};

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

/// Whether these conditions, of an object or of a route's parent, said that the proxies have a generation. Whoever said that it is not
/// programmed for another reason than its proxies had nothing to wait for either.
pub fn said_delivered(conditions: &[ObservedCondition], kind: Kind, generation: i64) -> bool {
    let own = if kind.is_route() { route::Programmed::TYPE } else { gateway::Programmed::TYPE };
    let waited = [route::Programmed::Pending, route::Programmed::NoReadyProxy].map(Reason::as_str);
    let mut about = conditions.iter().filter(|condition| *condition.kind == *own);
    about.any(|said| said.observed_generation == generation && !waited.contains(&&*said.reason))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_was_delivered_is_read_from_the_condition_of_this_generation_and_its_reason() {
        let said = |kind: Kind, of: &str, reason: &str, generation: i64| {
            let condition =
                json!([{"type": of, "status": "False", "reason": reason, "message": "", "observedGeneration": 3}]);
            said_delivered(&serde_json::from_value::<Vec<_>>(condition).unwrap(), kind, generation)
        };
        let route = |reason, generation| said(Kind::GrpcRoute, "sluice.dev/Programmed", reason, generation);
        assert!(route("Programmed", 3) && route("Rejected", 3));
        assert!(!route("Programmed", 4) && !route("Pending", 3) && !route("NoReadyProxy", 3));
        let gateway = |reason, generation| said(Kind::Gateway, "Programmed", reason, generation);
        assert!(gateway("Programmed", 3) && gateway("AddressNotAssigned", 3));
        assert!(!gateway("Programmed", 2) && !gateway("Pending", 3));
        assert!(!said(Kind::Gateway, "sluice.dev/Programmed", "Programmed", 3));
        assert!(!said_delivered(&[], Kind::ListenerSet, 3));
    }
}
