//! Where proxies find the leader: it alone stands in the EndpointSlice of the xDS Service, which has no selector.
//!
//! our own address → the EndpointSlice
//!
//! **Invariant:** only the leader writes it, so that it names the leader, or who led last.
//!
//! Must not know: who is served there.

use super::{
    apply, kinds,
    writer::{Fault, Writer},
};
use serde_json::{Value, json};
use sluice_api::{MANAGED_BY, MANAGED_BY_LABEL};
use sluice_core::key::{Kind, NsName, Ref};
use sluice_engine::WriteOutcome;
use std::net::SocketAddr;

/// The label by which a slice belongs to a Service.
const SERVICE: &str = "kubernetes.io/service-name";
/// The label that tells the controllers of Kubernetes to leave a slice alone.
const KEEPER: &str = "endpointslice.kubernetes.io/managed-by";

/// The Service, and our place in it.
#[derive(Clone, Debug)]
pub(super) struct Front {
    /// The Service; the slice has its name.
    pub(super) service: NsName,
    /// Where we serve.
    pub(super) address: SocketAddr,
}

impl Front {
    /// Puts us there, if we are not.
    pub(super) async fn stand(&self, writer: &Writer) -> Result<WriteOutcome, Fault> {
        let slice = Ref::new(Kind::EndpointSlice, self.service.clone());
        let live = writer.get(&slice).await?;
        apply::put(writer, &kinds::api(writer.client.clone(), &slice), &self.slice(), live.as_ref()).await
    }

    fn slice(&self) -> Value {
        let family = if self.address.is_ipv4() { "IPv4" } else { "IPv6" };
        json!({
            "apiVersion": Kind::EndpointSlice.api_version(),
            "kind": Kind::EndpointSlice.name(),
            "metadata": {
                "name": self.service.name,
                "namespace": self.service.namespace,
                "labels": {SERVICE: self.service.name, KEEPER: "sluice.dev", MANAGED_BY_LABEL: MANAGED_BY},
            },
            "addressType": family,
            "endpoints": [{"addresses": [self.address.ip().to_string()], "conditions": {"ready": true}}],
            "ports": [{"name": "xds", "port": self.address.port(), "protocol": "TCP"}],
        })
    }
}
