//! What has to run for a Gateway.
//!
//! Gateway, its plan, GatewayProfile → [`Infrastructure`]
//!
//! **Invariant:** it says what is wanted, with every default filled in, and nothing of how it is deployed.
//!
//! Knows nothing of Deployments or of processes.

use crate::key::{NsName, Text};
use sluice_api::profile::Proxies;
use std::collections::{BTreeMap, BTreeSet};

/// The proxies of one Gateway, as they are wanted.
#[derive(Clone, Debug, PartialEq)]
pub struct Infrastructure {
    /// The Gateway.
    pub gateway: NsName,
    /// Its uid: the owner of everything that is made for it.
    pub uid: Text,
    /// Its class.
    pub class: Text,
    /// The ports that callers use, in order: those of listeners that are accepted.
    pub ports: BTreeSet<u16>,
    /// `spec.infrastructure.labels`, for everything that is made.
    pub labels: BTreeMap<Text, Text>,
    /// `spec.infrastructure.annotations`, for everything that is made.
    pub annotations: BTreeMap<Text, Text>,
    /// `spec.addresses[].value`: what is asked for by value.
    pub requested: Vec<Text>,
    /// The profile's `proxies`.
    pub proxies: Proxies,
}
