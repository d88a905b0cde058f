//! How the API server names the kinds of the world.
//!
//! [`Kind`] → its resource
//!
//! Must not know: which of them are served.

use kube::{
    Api, Client,
    core::{ApiResource, DynamicObject},
};
use sluice_core::key::{Kind, Ref};

/// The resource of a kind.
pub(super) fn resource(kind: Kind) -> ApiResource {
    ApiResource {
        group: kind.group().to_owned(),
        version: kind.version().to_owned(),
        api_version: kind.api_version(),
        kind: kind.name().to_owned(),
        plural: plural(kind).to_owned(),
    }
}

/// Where an object is read and written.
pub(super) fn api(client: Client, object: &Ref) -> Api<DynamicObject> {
    let resource = resource(object.kind);
    if object.kind.is_cluster_scoped() {
        Api::all_with(client, &resource)
    } else {
        Api::namespaced_with(client, &object.key.namespace, &resource)
    }
}

/// As in the CRDs, and in paths of URLs.
const fn plural(kind: Kind) -> &'static str {
    match kind {
        Kind::GrpcService => "grpcservices",
        Kind::GatewayProfile => "gatewayprofiles",
        Kind::GrpcPolicy => "grpcpolicies",
        Kind::GatewayClass => "gatewayclasses",
        Kind::Gateway => "gateways",
        Kind::ListenerSet => "listenersets",
        Kind::GrpcRoute => "grpcroutes",
        Kind::HttpRoute => "httproutes",
        Kind::TlsRoute => "tlsroutes",
        Kind::TcpRoute => "tcproutes",
        Kind::UdpRoute => "udproutes",
        Kind::ReferenceGrant => "referencegrants",
        Kind::BackendTlsPolicy => "backendtlspolicies",
        Kind::Service => "services",
        Kind::EndpointSlice => "endpointslices",
        Kind::Secret => "secrets",
        Kind::ConfigMap => "configmaps",
        Kind::Namespace => "namespaces",
        Kind::Certificate => "certificates",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;
    use std::{fs, path::Path};

    /// `spec.names` of each CRD in the repository, by kind, with its group and scope.
    fn crds(directory: &Path) -> Vec<Value> {
        let paths = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
        let files = paths.filter(|path| path.extension().is_some_and(|extension| extension == "yaml"));
        files.map(|file| serde_saphyr::from_str(&fs::read_to_string(file).unwrap()).unwrap()).collect()
    }

    #[test]
    fn every_kind_with_a_crd_is_called_as_its_crd_says() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crds");
        let known: Vec<_> = [root.clone(), root.join("gateway-api")].iter().flat_map(|path| crds(path)).collect();
        assert_eq!(known.len(), 13);
        for crd in known {
            let spec = &crd["spec"];
            let kind = Kind::named(spec["group"].as_str().unwrap(), spec["names"]["kind"].as_str().unwrap()).unwrap();
            assert_eq!(spec["names"]["plural"], plural(kind));
            assert_eq!(spec["scope"] == "Cluster", kind.is_cluster_scoped(), "{kind}");
            let versions = spec["versions"].as_array().unwrap();
            assert!(versions.iter().any(|version| version["name"] == kind.version() && version["served"] == true));
        }
    }
}
