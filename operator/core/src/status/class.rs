//! The status of a GatewayClass.
//!
//! GatewayClass, its profile → [`ClassStatus`]
//!
//! **Invariant:** a feature is claimed only if the class's policy lets it work.

use super::{Condition, verdicts};
use crate::{
    key::NsName,
    translate::profile,
    world::{Reader, gateway::GatewayClass},
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
    }
}

/// `GatewayClass.status`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ClassStatus {
    /// Conditions.
    pub conditions: Vec<Condition>,
    /// What the class implements, in order of name.
    pub supported_features: Vec<Feature>,
}

/// `supportedFeatures[]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Feature {
    /// Its name in the Gateway API.
    pub name: &'static str,
}

/// What works under every policy.
const ALWAYS: [&str; 26] = [
    "Gateway",
    "GatewayAddressEmpty",
    "GatewayHTTPListenerIsolation",
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
const WITH_CLEARTEXT: [&str; 2] = ["GRPCRoute", "GRPCRouteNamedRouteRule"];

/// The status of a class; `None` if it is absent or not ours.
pub fn project(name: &NsName, read: &Reader) -> Option<ClassStatus> {
    let class = profile::class(&name.name, read)?;
    let policy = profile::policy(class, read);
    let cleartext = policy.as_ref().is_ok_and(|policy| policy.cleartext);
    Some(ClassStatus {
        conditions: conditions(class, policy.err().map(|problem| problem.to_string())),
        supported_features: features(cleartext.then_some(WITH_CLEARTEXT)),
    })
}

fn conditions(class: &GatewayClass, problem: Option<String>) -> Vec<Condition> {
    let generation = class.metadata.generation;
    let accepted = match problem {
        None => Condition::new(Accepted::Accepted, "GatewayClass is accepted", generation),
        Some(problem) => Condition::new(Accepted::InvalidParameters, problem, generation),
    };
    let version = "The installed version of the Gateway API is supported";
    vec![accepted, Condition::new(SupportedVersion::SupportedVersion, version, generation)]
}

fn features(with_cleartext: Option<[&'static str; 2]>) -> Vec<Feature> {
    let mut names = ALWAYS.into_iter().chain(with_cleartext.into_iter().flatten()).collect::<Vec<_>>();
    names.sort_unstable();
    names.into_iter().map(|name| Feature { name }).collect()
}

#[cfg(test)]
mod tests {
    use super::{ClassStatus, project};
    use crate::{
        key::{Kind, NsName},
        world::{Object, Reader, Settings, Surfaces, World},
    };
    use serde_json::{Value, json};

    fn status(controller: &str, parameters: &Value, profile: Option<Value>) -> Option<ClassStatus> {
        let mut world = World::new(Settings::default());
        let spec = json!({"controllerName": controller, "parametersRef": parameters});
        let class = json!({"metadata": {"name": "sluice", "generation": 4}, "spec": spec});
        world.apply(Object::decode(Kind::GatewayClass, class).unwrap().into());
        if let Some(spec) = profile {
            let profile = json!({"metadata": {"name": "p"}, "spec": spec});
            world.apply(Object::decode(Kind::GatewayProfile, profile).unwrap().into());
        }
        project(&NsName::cluster("sluice"), &Reader::new(&world, &Surfaces::new()))
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
}
