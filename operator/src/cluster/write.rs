//! Everybody who writes, at work.
//!
//! [`Queues`] → tasks that empty them
//!
//! **Invariant:** they all write through one [`Writer`](super::writer::Writer).
//!
//! Must not know: what is written.

use super::{apply::Applier, carry::Queues, holds, memory::Store, status::Scribe};
use sluice_core::key::Text;
use sluice_engine::Input;
use tokio::{sync::mpsc, task::JoinSet};

/// Sets everybody to work in a set of tasks, in the name of a process; all but the proxies' keeper, who has more to do than write.
pub(super) fn spawn(
    tasks: &mut JoinSet<()>,
    queues: &Queues,
    store: Store,
    inputs: mpsc::Sender<Vec<Input>>,
    process: Text,
) {
    let writer = store.writer.clone();
    let applier = Applier::new(writer.clone(), inputs, queues.events.clone());
    let scribe = Scribe::new(writer.clone(), queues.events.clone());
    let (objects, statuses, holds, memory) =
        (queues.objects.clone(), queues.statuses.clone(), queues.holds.clone(), queues.memory.clone());
    tasks.spawn(async move { applier.run(&objects).await });
    tasks.spawn(async move { scribe.run(&statuses).await });
    let for_holds = writer.clone();
    tasks.spawn(async move { holds::run(&for_holds, &holds).await });
    tasks.spawn(async move { store.run(&memory).await });
    let events = queues.events.clone();
    tasks.spawn(async move { events.publish(&writer, &process).await });
}
