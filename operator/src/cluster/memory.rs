//! What a new leader, or a restart, must not have to learn again from the proxies: the rules that they refused.
//!
//! [`Memory`] ↔ a ConfigMap in the install's namespace
//!
//! **Invariant:** only the leader writes it; whoever begins to lead reads it first.
//! **Invariant:** it fits a ConfigMap. Rules that do not fit are refused, bisected and quarantined again after a restart.
//!
//! Must not know: what is in a rule.

use super::{
    apply, kinds,
    latest::{Latest, Next, Pace},
    writer::{Fault, Writer},
};
use serde_json::{Value, json};
use sluice_api::{MANAGED_BY, MANAGED_BY_LABEL};
use sluice_core::key::{Kind, NsName, Ref};
use sluice_engine::{Memory, WriteOutcome};

/// The key of the ConfigMap.
const RULES: &str = "rules.json";

/// Below the 1 MiB that an object may have, with room for its metadata.
const LARGEST: usize = 900 << 10;

/// The ConfigMap.
#[derive(Clone)]
pub(super) struct Store {
    pub(super) writer: Writer,
    pub(super) place: NsName,
}

impl Store {
    /// What was kept. What cannot be read is as good as nothing.
    pub(super) async fn recall(&self) -> Result<Vec<Memory>, Fault> {
        let live = self.writer.get(&self.reference()).await?;
        let text = live.and_then(|live| Some(live.data.get("data")?.get(RULES)?.as_str()?.to_owned()));
        let Some(text) = text else { return Ok(Vec::new()) };
        Ok(serde_json::from_str(&text).unwrap_or_else(|error| {
            tracing::warn!("ConfigMap {}: {error}: refused rules are found out again", self.place);
            Vec::new()
        }))
    }

    /// Keeps the latest, for ever.
    pub(super) async fn run(&self, queue: &Latest<(), Vec<Memory>>) {
        queue.work(1, |(), memory| self.act(memory)).await;
    }

    async fn act(&self, memory: Vec<Memory>) -> Next<Vec<Memory>> {
        match self.keep(&memory).await {
            Ok(WriteOutcome::Done { .. }) | Err(Fault::Standby) => Next::Done,
            Ok(WriteOutcome::Foreign(_) | WriteOutcome::Refused(_)) => self.give_up("it is somebody else's"),
            Err(Fault::Stale | Fault::Busy(_)) => Next::Again(memory, Pace::Soon),
            Err(fault) => self.give_up(&fault.to_string()),
        }
    }

    fn give_up(&self, reason: &str) -> Next<Vec<Memory>> {
        tracing::error!("refused rules cannot be kept over a restart: ConfigMap {}: {reason}", self.place);
        Next::Done
    }

    async fn keep(&self, memory: &[Memory]) -> Result<WriteOutcome, Fault> {
        let live = self.writer.get(&self.reference()).await?;
        if live.is_none() && memory.is_empty() {
            return Ok(WriteOutcome::Done { stored: 0 });
        }
        let api = kinds::api(self.writer.client.clone(), &self.reference());
        apply::put(&self.writer, &api, &self.wanted(memory), live.as_ref()).await
    }

    fn wanted(&self, memory: &[Memory]) -> Value {
        json!({
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {
                "name": self.place.name,
                "namespace": self.place.namespace,
                "labels": {MANAGED_BY_LABEL: MANAGED_BY},
            },
            "data": {RULES: fitting(memory)},
        })
    }

    fn reference(&self) -> Ref {
        Ref::new(Kind::ConfigMap, self.place.clone())
    }
}

/// As many as fit, the first ones first. O(refused rules), and none as a rule.
fn fitting(memory: &[Memory]) -> String {
    // Plain data, which always serialises.
    let mut written = memory.iter().filter_map(|rule| serde_json::to_string(rule).ok());
    let mut size = "[]".len();
    let fits = |rule: &String| {
        size += rule.len() + 1;
        size <= LARGEST
    };
    let kept: Vec<String> = written.by_ref().take_while(fits).collect();
    if kept.len() < memory.len() {
        tracing::warn!("{} of {} refused rules are kept over a restart: more do not fit", kept.len(), memory.len());
    }
    format!("[{}]", kept.join(","))
}
