//! Everybody who writes, at work.
//!
//! [`Queues`] → tasks that empty them
//!
//! **Invariant:** they all write through one [`Writer`](super::writer::Writer).
//!
//! Must not know: what is written.

use super::{apply::Applier, carry::Queues, holds, memory::Store, seen::Seen, status::Scribe};
use sluice_core::key::Text;
use sluice_engine::Input;
use tokio::{sync::mpsc, task::JoinSet};

/// What those who write share; all but the proxies' keeper, who has more to do than write.
pub(super) struct Desk {
    pub(super) queues: Queues,
    pub(super) store: Store,
    pub(super) seen: Seen,
    pub(super) inputs: mpsc::Sender<Vec<Input>>,
    /// In whose name Events are reported.
    pub(super) process: Text,
}

impl Desk {
    /// Sets everybody to work in a set of tasks.
    pub(super) fn staff(self, tasks: &mut JoinSet<()>) {
        let Self { queues, store, seen, inputs, process } = self;
        let writer = store.writer.clone();
        let applier = Applier::new(writer.clone(), inputs, queues.events.clone());
        let scribe = Scribe::new(writer.clone(), seen, queues.events.clone());
        tasks.spawn(async move { applier.run(&queues.objects).await });
        tasks.spawn(async move { scribe.run(&queues.statuses).await });
        let for_holds = writer.clone();
        tasks.spawn(async move { holds::run(&for_holds, &queues.holds).await });
        tasks.spawn(async move { store.run(&queues.memory).await });
        tasks.spawn(async move { queues.events.publish(&writer, &process).await });
    }
}
