//! The status of a GatewayClass.
//!
//! GatewayClass, its profile → [`ClassStatus`]
//!
//! **Invariant:** a feature is claimed only if the class's policy lets it work.

use super::{Condition, verdicts};
use crate::{
    key::{Kind, NsName},
    translate::profile::{self, ProfileProblem},
    world::{Exposure, Reader, Scope, gateway::GatewayClass},
};
use serde::Serialize;

verdicts! {
    /// `Accepted` of a GatewayClass. Source: Gateway API, `GatewayClassConditionReason`.
    Accepted = "Accepted" {
        Accepted = True,
        InvalidParameters = False,
    }
}

verdicts! {
    /// `SupportedVersion` of a GatewayClass.
    SupportedVersion = "SupportedVersion" {
        SupportedVersion = True,
        UnsupportedVersion = False,
    }
}

/// `GatewayClass.status`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ClassStatus {
    /// Conditions.
    pub conditions: Vec<Condition>,
    /// What the class implements, in order of name; empty where the field does not exist.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub supported_features: Vec<Feature>,
}

/// `supportedFeatures[]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Feature {
    /// Its name in the Gateway API.
    pub name: &'static str,
}

/// What works under every policy.
const ALWAYS: &[&str] = &[
    "BackendTLSPolicy",
    "BackendTLSPolicySANValidation",
    "Gateway",
    "GatewayAddressEmpty",
    "GatewayBackendClientCertificate",
    "GatewayFrontendClientCertificateValidation",
    "GatewayFrontendClientCertificateValidationInsecureFallback",
    "GatewayHTTPListenerIsolation",
    "GatewayHTTPSListenerDetectMisdirectedRequests",
    "GatewayPort8080",
    "HTTPRoute",
    "HTTPRoute303RedirectStatusCode",
    "HTTPRoute307RedirectStatusCode",
    "HTTPRoute308RedirectStatusCode",
    "HTTPRouteBackendProtocolH2C",
    "HTTPRouteBackendRequestHeaderModification",
    "HTTPRouteDestinationPortMatching",
    "HTTPRouteHostRewrite",
    "HTTPRouteMethodMatching",
    "HTTPRouteNamedRouteRule",
    "HTTPRouteParentRefPort",
    "HTTPRoutePathRedirect",
    "HTTPRoutePathRewrite",
    "HTTPRoutePortRedirect",
    "HTTPRouteQueryParamMatching",
    "HTTPRouteRequestMirror",
    "HTTPRouteRequestMultipleMirrors",
    "HTTPRouteRequestPercentageMirror",
    "HTTPRouteResponseHeaderModification",
    "HTTPRouteSchemeRedirect",
    "ListenerSet",
    "ReferenceGrant",
];
/// What needs GRPCRoutes on cleartext listeners: the features' definition includes them.
const WITH_CLEARTEXT: &[&str] = &["GRPCRoute", "GRPCRouteNamedRouteRule"];
/// What is about the objects that are deployed for a Gateway. The second was the first one's name before v1.6.3.
const DEPLOYED: &[&str] = &["GatewayInfrastructure", "GatewayInfrastructurePropagation", "GatewayStaticAddresses"];

/// The status of a class; `None` if it is absent, or not ours, or beyond what we may write.
pub fn project(name: &NsName, read: &Reader) -> Option<ClassStatus> {
    let class = profile::class(&name.name, read).filter(|_| *read.scope() == Scope::Cluster)?;
    let policy = profile::policy(class, read);
    let cleartext = policy.as_ref().is_ok_and(|policy| policy.cleartext);
    let deployed = read.exposure() == Exposure::Service;
    Some(ClassStatus {
        conditions: vec![accepted(class, policy.err()), version(class, read)],
        supported_features: features([cleartext.then_some(WITH_CLEARTEXT), deployed.then_some(DEPLOYED)], read),
    })
}

fn accepted(class: &GatewayClass, problem: Option<ProfileProblem>) -> Condition {
    let generation = class.metadata.generation;
    match problem {
        None => Condition::new(Accepted::Accepted, "GatewayClass is accepted", generation),
        Some(problem) => Condition::new(Accepted::InvalidParameters, problem.to_string(), generation),
    }
}

/// What is installed is known by the kinds that are served.
fn version(class: &GatewayClass, read: &Reader) -> Condition {
    let say = |verdict, message: String| Condition::new(verdict, message, class.metadata.generation);
    if !read.serves(Kind::GrpcRoute) {
        let message = format!("The API server does not serve GRPCRoute v1: install {}", Kind::GrpcRoute.origin());
        return say(SupportedVersion::UnsupportedVersion, message);
    }
    let absent = [Kind::ListenerSet, Kind::BackendTlsPolicy].into_iter().filter(|kind| !read.serves(*kind));
    let absent: Vec<_> = absent.map(|kind| format!("{kind} (in {})", kind.origin())).collect();
    let message = "The installed version of the Gateway API is supported";
    if absent.is_empty() {
        say(SupportedVersion::SupportedVersion, message.to_owned())
    } else {
        let message = format!("{message}; it does not serve {}, and what needs that says so", absent.join(", "));
        say(SupportedVersion::SupportedVersion, message)
    }
}

/// The field came with v1.4 of the Gateway API, as did `v1` of BackendTLSPolicy.
fn features(further: [Option<&'static [&'static str]>; 2], read: &Reader) -> Vec<Feature> {
    if !read.serves(Kind::BackendTlsPolicy) {
        return Vec::new();
    }
    let kinds = [("ListenerSet", Kind::ListenerSet), ("ReferenceGrant", Kind::ReferenceGrant)];
    let is_absent = |name: &str| kinds.iter().any(|(feature, kind)| *feature == name && !read.serves(*kind));
    let names = further.into_iter().flatten().chain([ALWAYS]).flatten().copied();
    let mut names = names.filter(|name| !is_absent(name)).collect::<Vec<_>>();
    names.sort_unstable();
    names.into_iter().map(|name| Feature { name }).collect()
}

#[cfg(test)]
mod tests {
    use super::{ClassStatus, project};
    use crate::{
        key::{Kind, NsName},
        world::{Change, Object, Reader, Scope, Settings, Surfaces, World},
    };
    use serde_json::{Value, json};

    fn status(controller: &str, parameters: &Value, profile: Option<Value>) -> Option<ClassStatus> {
        status_of(&world(controller, parameters, profile))
    }

    fn status_of(world: &World) -> Option<ClassStatus> {
        project(&NsName::cluster("sluice"), &Reader::new(world, &Surfaces::new()))
    }

    fn world(controller: &str, parameters: &Value, profile: Option<Value>) -> World {
        let mut world = World::new(Settings::default());
        let spec = json!({"controllerName": controller, "parametersRef": parameters});
        let class = json!({"metadata": {"name": "sluice", "generation": 4}, "spec": spec});
        world.apply(Object::decode(Kind::GatewayClass, class).unwrap().into());
        if let Some(spec) = profile {
            let profile = json!({"metadata": {"name": "p"}, "spec": spec});
            world.apply(Object::decode(Kind::GatewayProfile, profile).unwrap().into());
        }
        world
    }

    const OURS: &str = "sluice.dev/gateway-controller";

    fn features(status: &ClassStatus) -> Vec<&str> {
        status.supported_features.iter().map(|feature| feature.name).collect()
    }

    #[test]
    fn a_class_of_another_controller_has_no_status() {
        assert_eq!(status("istio.io/gateway-controller", &json!(null), None), None);
    }

    #[test]
    fn grpc_features_are_claimed_only_where_cleartext_is_allowed() {
        let strict = status(OURS, &json!(null), None).unwrap();
        assert!(!features(&strict).contains(&"GRPCRoute"));
        let parameters = json!({"group": "sluice.dev", "kind": "GatewayProfile", "name": "p"});
        let relaxed = status(OURS, &parameters, Some(json!({"cleartext": "Allow"}))).unwrap();
        assert!(features(&relaxed).contains(&"GRPCRoute"));
        assert!(features(&relaxed).is_sorted());
    }

    #[test]
    fn parameters_are_a_profile_that_exists() {
        let table = [
            (json!(null), None, "Accepted"),
            (json!({"group": "sluice.dev", "kind": "GatewayProfile", "name": "p"}), Some(json!({})), "Accepted"),
            (json!({"group": "sluice.dev", "kind": "GatewayProfile", "name": "p"}), None, "InvalidParameters"),
            (json!({"group": "", "kind": "ConfigMap", "name": "p"}), Some(json!({})), "InvalidParameters"),
        ];
        for (parameters, profile, reason) in table {
            let status = status(OURS, &parameters, profile).unwrap();
            let said =
                status.conditions.iter().map(|it| (it.kind, it.reason, it.observed_generation)).collect::<Vec<_>>();
            assert_eq!(said, [("Accepted", reason, 4), ("SupportedVersion", "SupportedVersion", 4)], "{parameters}");
        }
    }

    #[test]
    fn what_is_not_served_is_neither_claimed_nor_passed_over_in_silence() {
        let mut world = world(OURS, &json!(null), None);
        world.apply(Change::Served(Kind::ListenerSet, false));
        let status = status_of(&world).unwrap();
        assert!(!features(&status).contains(&"ListenerSet"));
        assert!(features(&status).contains(&"ReferenceGrant"));
        let version = &status.conditions[1];
        assert_eq!(version.reason, "SupportedVersion");
        assert!(
            version.message.contains("ListenerSet (in the CRDs of Gateway API v1.5 or later)"),
            "{}",
            version.message
        );
        world.apply(Change::Served(Kind::BackendTlsPolicy, false));
        let older = serde_json::to_value(status_of(&world).unwrap()).unwrap();
        assert_eq!(older.get("supportedFeatures"), None, "the field is not there");
        world.apply(Change::Served(Kind::GrpcRoute, false));
        let version = &status_of(&world).unwrap().conditions[1];
        assert_eq!(version.reason, "UnsupportedVersion");
        assert!(version.message.contains("install the CRDs of Gateway API v1.1"), "{}", version.message);
    }

    #[test]
    fn an_install_that_sees_some_namespaces_writes_no_class() {
        let mut world = world(OURS, &json!(null), None);
        world.settings.scope = Scope::Namespaces(["team".into()].into());
        assert_eq!(status_of(&world), None);
    }
}
