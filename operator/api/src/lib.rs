//! Sluice's own API: the types of `GrpcService`, `GatewayProfile` and `GrpcPolicy`, and the CRDs made from them.
//!
//! Rust types → `CustomResourceDefinition`s (and their YAML in `crds/`)
//!
//! **Invariant:** what a `GrpcService` accepts, the GRPCRoute, Gateway and ListenerSet generated from it accept too: every
//! limit, pattern and rule of the Gateway API's standard channel v1.6.3 is repeated where its types are used.
//!
//! **Invariant:** no schema default stands inside a list item, because GitOps tools report it as endless drift.
//!
//! **Invariant:** rendering is deterministic.
//!
//! It must not know how anything is reconciled, translated or served.

#![expect(unreachable_pub, reason = "kube's KubeSchema copies each struct, `pub` and all, into the body of a function")]
#![expect(clippy::doc_markdown, reason = "the comments of fields are what `kubectl explain` prints, as plain text")]
#![expect(clippy::duplicated_attributes, reason = "printer columns repeat `type_`, each in its own list")]

pub mod crds;
pub mod grpcservice;
pub mod policy;
pub mod profile;
pub mod reasons;
mod standard;
pub mod traffic;

pub use gateway_api;
pub use grpcservice::{GrpcService, GrpcServiceSpec, GrpcServiceStatus};
pub use policy::{GrpcPolicy, GrpcPolicySpec, GrpcPolicyStatus};
pub use profile::{GatewayProfile, GatewayProfileSpec};

/// The API group of our kinds.
pub const GROUP: &str = "sluice.dev";
/// The only version of our kinds.
pub const VERSION: &str = "v1alpha1";
/// `apiVersion` of our kinds.
pub const API_VERSION: &str = "sluice.dev/v1alpha1";
/// `GatewayClass.spec.controllerName` that Sluice answers to.
pub const CONTROLLER_NAME: &str = "sluice.dev/gateway-controller";
/// The `GatewayClass` that the operator creates if it is absent.
pub const GATEWAY_CLASS: &str = "sluice";
/// Finalizer on `GrpcService`s and on Gateways of our classes: they vanish once what they stand for is withdrawn.
pub const FINALIZER: &str = "sluice.dev/finalizer";
/// Label on every generated object, with the value [`MANAGED_BY`].
pub const MANAGED_BY_LABEL: &str = "app.kubernetes.io/managed-by";
/// Value of [`MANAGED_BY_LABEL`].
pub const MANAGED_BY: &str = "sluice";
/// Label of what runs for a Gateway, with the Gateway's name. Source: GEP-1762.
pub const GATEWAY_LABEL: &str = "gateway.networking.k8s.io/gateway-name";
/// Label on every generated object, with the name of the `GrpcService`.
pub const SERVICE_LABEL: &str = "sluice.dev/grpcservice";
/// Annotation, with the name of a `GrpcService`, by which that service may take over an object that it did not make.
pub const ADOPT_ANNOTATION: &str = "sluice.dev/adopt";
