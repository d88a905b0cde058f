//! What has to run for each Gateway.
//!
//! plans → [`Infrastructure`], where it moved
//!
//! **Invariant:** a Gateway that is refused keeps what runs for it: a profile that is away for a moment must not cost every Gateway
//! of a class its address.

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
        if !self.state.leads {
            return;
        }
        let wanted = self.gateways.plan(gateway).map(|plan| plan.infrastructure.clone());
        match wanted {
            Some(None) => {}
            Some(Some(wanted)) => {
                if self.deployed.0.insert(gateway.clone(), wanted.clone()).as_ref() != Some(&wanted) {
                    self.effects.infrastructure.push((gateway.clone(), Some(wanted)));
                }
            }
            None => {
                if self.deployed.0.remove(gateway).is_some() {
                    self.effects.infrastructure.push((gateway.clone(), None));
                }
            }
        }
    }

    /// Says what has to run for every Gateway. O(Gateways).
    pub(crate) fn deploy_all(&mut self) {
        self.deployed.forget();
        let all: Vec<NsName> = self.state.world.all::<Gateway>().keys().cloned().collect();
        for gateway in &all {
            self.deploy(gateway);
        }
    }
}
