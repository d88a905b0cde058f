//! The status of a ListenerSet.
//!
//! [`SetReport`], counts of routes, [`Delivery`] → [`ListenerSetStatus`]

use super::{Condition, Delivery, Reason, Truth, listener, listener::ListenerStatus, verdicts};
use crate::translate::{
    ListenerId,
    attach::{SetRefusal, SetReport, Standing},
};
use serde::Serialize;

/// `Accepted` of a ListenerSet. Source: Gateway API, `ListenerSetConditionReason`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accepted {
    /// All listeners are accepted.
    Accepted,
    /// Some are: True, with the reason `ListenersNotValid`.
    SomeListeners,
    /// None is: False, with the same reason.
    NoListener,
    /// `allowedListeners` of the Gateway.
    NotAllowed,
    /// The Gateway is not accepted.
    ParentNotAccepted,
}

impl Reason for Accepted {
    const TYPE: &'static str = "Accepted";

    fn status(self) -> Truth {
        match self {
            Self::Accepted | Self::SomeListeners => Truth::True,
            Self::NoListener | Self::NotAllowed | Self::ParentNotAccepted => Truth::False,
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "Accepted",
            Self::SomeListeners | Self::NoListener => "ListenersNotValid",
            Self::NotAllowed => "NotAllowed",
            Self::ParentNotAccepted => "ParentNotAccepted",
        }
    }
}

verdicts! {
    /// `Programmed` of a ListenerSet.
    Programmed = "Programmed" {
        Programmed = True,
        ListenersNotValid = False,
        NotAllowed = False,
        ParentNotProgrammed = False,
        Invalid = False,
        Pending = False,
    }
}

/// `ListenerSet.status`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ListenerSetStatus {
    /// Conditions.
    pub conditions: Vec<Condition>,
    /// Its listeners; none if it is not allowed.
    pub listeners: Vec<ListenerStatus>,
}

/// The status. `attached` counts the accepted routes of a listener; `delivery` is the Gateway's.
pub fn project(report: &SetReport, attached: &dyn Fn(&ListenerId) -> u32, delivery: &Delivery) -> ListenerSetStatus {
    let listeners = report.listeners.iter();
    ListenerSetStatus {
        conditions: vec![accepted(report), programmed(report, delivery)],
        listeners: listeners
            .map(|listener| listener::project(listener, attached(&listener.id), delivery, report.generation))
            .collect(),
    }
}

fn accepted(report: &SetReport) -> Condition {
    let bad = report.listeners.iter().filter(|listener| !listener.is_valid()).collect::<Vec<_>>();
    let named = bad.iter().map(|listener| &*listener.id.section).collect::<Vec<_>>().join(", ");
    let (verdict, message) = match &report.refusal {
        Some(SetRefusal::NotAllowed) => (
            Accepted::NotAllowed,
            "The Gateway does not allow ListenerSets of this namespace: its owner must allow them in \
             spec.allowedListeners"
                .to_owned(),
        ),
        Some(SetRefusal::SelectorOutOfSight) => (
            Accepted::NotAllowed,
            "spec.allowedListeners of the Gateway chooses by labels of namespaces, which this install does not see: its \
             owner must use Same or All, or select by kubernetes.io/metadata.name alone"
                .to_owned(),
        ),
        Some(SetRefusal::ParentNotAccepted) => {
            (Accepted::ParentNotAccepted, "The Gateway is not accepted; see its conditions".to_owned())
        }
        None if bad.is_empty() => (Accepted::Accepted, "ListenerSet is accepted".to_owned()),
        None if bad.len() < report.listeners.len() => (
            Accepted::SomeListeners,
            format!("ListenerSet is accepted without {named}; see the conditions of its listeners"),
        ),
        None => (Accepted::NoListener, format!("No listener is valid: {named}; see their conditions")),
    };
    Condition::new(verdict, message, report.generation)
}

fn programmed(report: &SetReport, delivery: &Delivery) -> Condition {
    let say = |verdict, message: &str| Condition::new(verdict, message, report.generation);
    let any = |standing| report.listeners.iter().any(|listener| listener.standing == standing);
    match (&report.refusal, delivery) {
        (Some(SetRefusal::NotAllowed | SetRefusal::SelectorOutOfSight), _) => {
            say(Programmed::NotAllowed, "The Gateway does not allow this ListenerSet")
        }
        (Some(SetRefusal::ParentNotAccepted), _) => {
            say(Programmed::ParentNotProgrammed, "The Gateway is not accepted; see its conditions")
        }
        _ if any(Standing::Served) => match listener::rejection(&report.listeners) {
            Some(rejection) => say(Programmed::Invalid, &rejection),
            None => delivered(delivery, report.generation),
        },
        _ if any(Standing::Unbound) => {
            say(Programmed::Pending, "Waiting for a proxy to bind the ports of the listeners")
        }
        _ => say(Programmed::ListenersNotValid, "No listener can be served; see the conditions of the listeners"),
    }
}

fn delivered(delivery: &Delivery, generation: i64) -> Condition {
    match delivery {
        Delivery::Programmed => {
            Condition::new(Programmed::Programmed, "ListenerSet is served by every proxy", generation)
        }
        Delivery::Pending(what) | Delivery::NoProxy(what) => Condition::new(Programmed::Pending, &**what, generation),
        Delivery::Rejected { message, .. } => {
            Condition::new(Programmed::Invalid, format!("The proxies refused the configuration: {message}"), generation)
        }
    }
}
