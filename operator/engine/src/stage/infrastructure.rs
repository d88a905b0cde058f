//! What has to run for each Gateway.
//!
//! plans → [`Infrastructure`], where it moved
//!
//! **Invariant:** a Gateway that is refused, or whose class is away, keeps what runs for it: a profile that is replaced must not cost
//! every Gateway of a class its address. What runs ends with the Gateway, or when another controller has it.

use crate::engine::Engine;
use sluice_core::{key::NsName, translate::infrastructure::Infrastructure, world::gateway::Gateway};
use std::{collections::BTreeMap, sync::Arc};

/// What was said last of each Gateway.
#[derive(Debug, Default)]
pub(crate) struct Deployed(BTreeMap<NsName, Arc<Infrastructure>>);

impl Deployed {
    /// Whoever begins to write says everything once.
    pub(crate) fn forget(&mut self) {
        self.0.clear();
    }
}

impl Engine {
    /// Says what has to run for a Gateway, if that moved.
    pub(crate) fn deploy(&mut self, gateway: &NsName) {
        let plan = self.gateways.plan(gateway);
        if let Some(wanted) = plan.and_then(|plan| plan.infrastructure.clone()) {
            if self.deployed.0.insert(gateway.clone(), wanted.clone()).as_ref() != Some(&wanted) {
                self.effects.infrastructure.push((gateway.clone(), Some(wanted)));
            }
        } else if !self.state.world.all::<Gateway>().contains_key(gateway) && self.deployed.0.contains_key(gateway) {
            self.dismantle(gateway);
        }
    }

    /// Nothing has to run for a Gateway any more.
    pub(crate) fn dismantle(&mut self, gateway: &NsName) {
        self.deployed.0.remove(gateway);
        self.effects.infrastructure.push((gateway.clone(), None));
    }
}
