//! The status of a GrpcService, rolled up from what the generated objects' controllers say.
//!
//! Conditions of Gateway, ListenerSet, GRPCRoute and GrpcPolicy → conditions, endpoints and inventory of the service.
//!
//! **Invariant:** whoever answers for the GatewayClass, the same words lead to the same status.
//! **Invariant:** every condition type is there from the first write.

mod endpoints;
mod inventory;
mod judge;
mod parents;

pub(super) use parents::{find, same};

use super::{Authored, WriteOutcome, tls::State};
use crate::{
    key::{NsName, Ref},
    status::Condition,
    world::{Own, Reader, observed::ObservedCondition},
};
use chrono::{DateTime, Utc};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde::Serialize;
use sluice_api::{
    GrpcServiceSpec,
    grpcservice::{Certificate, Endpoint, GeneratedObject},
};
use std::collections::BTreeMap;

/// `GrpcService.status`, its conditions without times.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceStatus {
    observed_generation: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    served_generation: Option<i64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    endpoints: Vec<Endpoint>,
    #[serde(skip_serializing_if = "Option::is_none")]
    certificate: Option<Certificate>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    gateways: Vec<GatewayState>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    resources: Vec<GeneratedObject>,
    conditions: Vec<Condition>,
}

impl ServiceStatus {
    /// The generation by which callers are answered now: the caller keeps it and hands it in again.
    pub fn served_generation(&self) -> Option<i64> {
        self.served_generation
    }

    /// The conditions, `Ready` first.
    pub fn conditions(&self) -> &[Condition] {
        &self.conditions
    }
}

/// `status.gateways[]`.
#[derive(Clone, Debug, PartialEq, Serialize)]
struct GatewayState {
    name: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    conditions: Vec<ObservedCondition>,
}

/// What only the writer of objects knows.
#[derive(Clone, Copy)]
pub struct Progress<'a> {
    /// How the last write of each object ended; absent while it is under way.
    pub outcomes: &'a BTreeMap<Ref, WriteOutcome>,
    /// `servedGeneration` of the last status.
    pub served: Option<i64>,
}

/// The status of a service; `None` when there is no such service, or not for long.
pub fn status(service: &NsName, authored: &Authored, progress: Progress, read: &Reader) -> Option<ServiceStatus> {
    let object = read.get::<Own<GrpcServiceSpec>>(service)?;
    if object.metadata.deleting {
        return None;
    }
    let generation = object.metadata.generation;
    let items = inventory::list(authored, progress.outcomes, read);
    let parents = parents::read(service, authored, read);
    let conditions = judge::conditions(&judge::Facts {
        generation,
        spec: &object.spec,
        authored,
        items: &items,
        parents: &parents,
        read,
        service,
    });
    let programmed = judge::is_programmed(&conditions);
    Some(ServiceStatus {
        observed_generation: generation,
        served_generation: if programmed { Some(generation) } else { progress.served },
        endpoints: endpoints::list(&object.spec, &authored.report, read),
        certificate: certificate(&authored.report.certificate),
        gateways: parents.into_iter().map(parents::Parent::into_state).collect(),
        resources: items.iter().filter_map(inventory::Item::entry).collect(),
        conditions,
    })
}

fn certificate(state: &State) -> Option<Certificate> {
    let (secret, authority, not_after, renewal) = match state {
        State::OfListener | State::Issuing { .. } => return None,
        State::Issued { secret, authority, not_after, renewal } => {
            (secret, Some(authority), Some(*not_after), Some(*renewal))
        }
        State::Provided { secrets, not_after, .. } => (secrets.first()?, None, *not_after, None),
        State::CertManager { secret, not_after, .. } => (secret, None, *not_after, None),
    };
    Some(Certificate {
        secret_name: secret.name.to_string(),
        ca_config_map_name: authority.map(|key| key.name.to_string()),
        not_after: not_after.map(time),
        renewal_time: renewal.map(time),
    })
}

fn time(instant: DateTime<Utc>) -> Time {
    // The API's own time type counts in another crate's instant; seconds carry over exactly.
    Time(k8s_openapi::jiff::Timestamp::from_second(instant.timestamp()).unwrap_or_default())
}
