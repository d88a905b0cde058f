//! A proxy in its pod.
//!
//! a pod → its Gateway, its name, whether it takes calls and where
//!
//! **Invariant:** a pod that is being deleted takes no new calls, whatever its readiness says.
//!
//! Must not know: what proxies serve, and who leads.

use super::names;
use crate::cluster::writer::Writer;
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, Resource,
    core::{NamespaceResourceScope, ObjectMeta},
};
use sluice_core::key::{NsName, Text};

/// How a proxy is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Proxy {
    /// Whether new calls are sent to it.
    pub(super) takes_calls: bool,
    /// The address of its node.
    host: Option<Text>,
}

impl Proxy {
    /// The address of the node where it takes calls.
    pub(super) fn node(&self) -> Option<&Text> {
        self.host.as_ref().filter(|_| self.takes_calls)
    }
}

/// The objects of a kind in a namespace, or in all.
pub(super) fn api<K>(writer: &Writer, namespace: Option<&str>) -> Api<K>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
{
    let client = writer.client.clone();
    match namespace {
        Some(namespace) => Api::namespaced(client, namespace),
        None => Api::all(client),
    }
}

/// The proxy in a pod, by its Gateway and its name.
pub(super) fn proxy(pod: &Pod) -> Option<((NsName, Text), Proxy)> {
    let host = pod.status.as_ref().and_then(|status| status.host_ip.as_deref()).map(Text::from);
    Some((identity(&pod.metadata)?, Proxy { takes_calls: takes_calls(pod), host }))
}

fn takes_calls(pod: &Pod) -> bool {
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    pod.metadata.deletion_timestamp.is_none()
        && conditions.into_iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

/// The Gateway of a pod, and how the proxy in it calls itself.
fn identity(metadata: &ObjectMeta) -> Option<(NsName, Text)> {
    let gateway = metadata.annotations.as_ref()?.get(names::POD_GATEWAY)?;
    Some((NsName::new(metadata.namespace.as_deref()?, gateway.as_str()), metadata.name.as_deref()?.into()))
}
