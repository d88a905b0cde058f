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
    world::observed::{Observed, ObservedCondition},
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

/// Whether a controller said of a generation that the proxies have it: of a route, for each of its parents.
pub fn said_programmed(status: &Observed, kind: Kind, controller: &Text, generation: i64) -> bool {
    let own = if kind.is_route() { route::Programmed::TYPE } else { gateway::Programmed::TYPE };
    let is_said = |conditions: &[ObservedCondition]| {
        let mut conditions = conditions.iter().filter(|condition| *condition.kind == *own);
        conditions.any(|said| &*said.status == "True" && said.observed_generation == generation)
    };
    if !kind.is_route() {
        return is_said(&status.conditions);
    }
    let mut parents = status.parents.iter().filter(|parent| parent.controller_name == *controller).peekable();
    parents.peek().is_some() && parents.all(|parent| is_said(&parent.conditions))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn says(kind: &str, status: &str) -> Value {
        json!([{"type": kind, "status": status, "reason": "R", "message": "", "observedGeneration": 3}])
    }

    fn is_said(kind: Kind, status: Value, generation: i64) -> bool {
        said_programmed(&serde_json::from_value(status).unwrap(), kind, &"ours".into(), generation)
    }

    #[test]
    fn a_route_was_programmed_if_its_controller_said_so_of_this_generation_for_each_parent() {
        let parent = |controller: &str, status: &str| json!({"parentRef": {"name": "edge"}, "controllerName": controller, "conditions": says("sluice.dev/Programmed", status)});
        let of = |parents: &[Value], generation| is_said(Kind::GrpcRoute, json!({ "parents": parents }), generation);
        let theirs = parent("theirs", "False");
        assert!(of(&[parent("ours", "True"), theirs.clone()], 3));
        assert!(!of(&[parent("ours", "True"), theirs.clone()], 4));
        assert!(!of(&[parent("ours", "True"), parent("ours", "Unknown")], 3));
        assert!(!of(&[theirs], 3));
    }

    #[test]
    fn a_gateway_was_programmed_if_its_condition_says_so_of_this_generation() {
        let of =
            |status, generation| is_said(Kind::Gateway, json!({"conditions": says("Programmed", status)}), generation);
        assert!(of("True", 3) && !of("True", 2) && !of("False", 3));
        assert!(!is_said(Kind::ListenerSet, json!({}), 3));
    }
}
