//! Protobuf of the discovery service → the session's messages.

use envoy_types::pb::envoy::service::discovery::v3::DeltaDiscoveryRequest;
use sluice_core::key::NsName;
use sluice_xds::{Request, ResourceType};
use std::sync::Arc;

/// Who a proxy says that it is: `node.cluster` is its Gateway as `namespace/name`, `node.id` its own name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) gateway: NsName,
    pub(crate) proxy: Arc<str>,
}

impl Identity {
    /// Read from the first request of a stream; later ones need not repeat it.
    pub(super) fn of(request: &DeltaDiscoveryRequest) -> Option<Self> {
        let node = request.node.as_ref()?;
        let (namespace, name) = node.cluster.split_once('/')?;
        let whole = !node.id.is_empty() && !namespace.is_empty() && !name.is_empty();
        whole.then(|| Self { gateway: NsName::new(namespace, name), proxy: node.id.as_str().into() })
    }
}

/// `None` for a type that Sluice does not serve.
pub(super) fn request(wire: DeltaDiscoveryRequest) -> Option<Request> {
    Some(Request {
        kind: ResourceType::from_type_url(&wire.type_url).ok()?,
        subscribe: names(wire.resource_names_subscribe),
        unsubscribe: names(wire.resource_names_unsubscribe),
        initial_versions: wire
            .initial_resource_versions
            .into_iter()
            .map(|(name, version)| (name.into(), version))
            .collect(),
        nonce: wire.response_nonce,
        error: wire.error_detail.map(|status| status.message),
    })
}

fn names(wire: Vec<String>) -> Vec<Arc<str>> {
    wire.into_iter().map(Arc::from).collect()
}
