//! What the status of an object says, ours or another controller's: level 1 rolls it up without asking who wrote it.

use super::route::ParentRef;
use crate::key::{Kind, Text};
use serde::{Deserialize, Serialize};

/// The status of a Gateway, ListenerSet, route, policy or GrpcService, trimmed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Observed {
    /// Conditions of the object.
    pub conditions: Vec<ObservedCondition>,
    /// Of a route: per parent and controller.
    pub parents: Vec<ObservedParent>,
    /// Of a Gateway or ListenerSet.
    pub listeners: Vec<ObservedListener>,
    /// Of a Gateway.
    pub addresses: Vec<ObservedAddress>,
    /// Of a policy: per ancestor and controller.
    pub ancestors: Vec<ObservedAncestor>,
    /// Of a GrpcService.
    pub served_generation: Option<i64>,
}

impl Observed {
    /// What is said of an object by a controller, and what everybody else says. A status that names no controllers is that of the
    /// object's only one.
    fn split(self, kind: Kind, controller: &Text) -> (Self, Self) {
        if !kind.is_route() && !matches!(kind, Kind::GrpcPolicy | Kind::BackendTlsPolicy) {
            return (self, Self::default());
        }
        let (own, others) = self.parents.into_iter().partition(|parent| parent.controller_name == *controller);
        let (told, rest) = self.ancestors.into_iter().partition(|ancestor| ancestor.controller_name == *controller);
        let of = |parents, ancestors| Self { parents, ancestors, ..Self::default() };
        (of(own, told), of(others, rest))
    }

    /// What a controller says in one status of an object, together with what everybody else says in another.
    #[must_use]
    pub fn merged(own: Self, others: Self, kind: Kind, controller: &Text) -> Self {
        let ((mut all, _), (_, others)) = (own.split(kind, controller), others.split(kind, controller));
        all.parents.extend(others.parents);
        all.ancestors.extend(others.ancestors);
        all
    }
}

/// A condition; its time is not kept.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ObservedCondition {
    /// Type.
    #[serde(rename = "type")]
    pub kind: Text,
    /// `True`, `False` or `Unknown`.
    pub status: Text,
    /// Reason.
    pub reason: Text,
    /// Message.
    pub message: Text,
    /// Generation that it is about.
    pub observed_generation: i64,
}

/// `status.parents[]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ObservedParent {
    /// As in the spec.
    pub parent_ref: ParentRef,
    /// Who says so.
    pub controller_name: Text,
    /// What is said.
    #[serde(default)]
    pub conditions: Vec<ObservedCondition>,
}

/// `status.listeners[]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct ObservedListener {
    /// Listener name.
    pub name: Text,
    /// What is said.
    #[serde(default)]
    pub conditions: Vec<ObservedCondition>,
}

/// `status.addresses[]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct ObservedAddress {
    /// IP address or hostname.
    pub value: Text,
}

/// `status.ancestors[]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ObservedAncestor {
    /// Which ancestor.
    pub ancestor_ref: ParentRef,
    /// Who says so.
    pub controller_name: Text,
    /// What is said.
    #[serde(default)]
    pub conditions: Vec<ObservedCondition>,
}
