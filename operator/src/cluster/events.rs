//! Kubernetes Events, for people: what `kubectl describe` shows below an object.
//!
//! [`Note`]s → a line in the log at once, and Events
//!
//! **Invariant:** they cost little whatever happens: ten a second at most, one for each object and reason at a time, and what is
//! beyond [`WAITING`] is only logged.
//!
//! Must not know: who reads them.

use super::{
    kinds,
    latest::{Latest, Next, Pace},
    writer::{Fault, MANAGER, Verb, Writer},
};
use kube::{
    Resource as _,
    runtime::events::{Event, EventType, Recorder, Reporter},
};
use sluice_core::key::{Ref, Text};
use std::time::Duration;
use tokio::{
    sync::Mutex,
    time::{Interval, MissedTickBehavior, interval},
};

/// Between two Events.
const PACE: Duration = Duration::from_millis(100);

/// So many wait at most.
const WAITING: usize = 1_000;

/// Source: Kubernetes, validation of `events.k8s.io/v1`.
const LONGEST: usize = 1_024;

/// Something that happened to an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Note {
    object: Ref,
    /// In CamelCase.
    reason: &'static str,
    text: Text,
    gravity: EventType,
}

impl Note {
    /// All is well.
    pub(super) fn normal(object: Ref, reason: &'static str, text: impl Into<Text>) -> Self {
        Self { object, reason, text: text.into(), gravity: EventType::Normal }
    }

    /// Somebody has to do something about it.
    pub(super) fn warning(object: Ref, reason: &'static str, text: impl Into<Text>) -> Self {
        Self { object, reason, text: text.into(), gravity: EventType::Warning }
    }
}

/// Where notes go; clones are the same place.
#[derive(Clone, Debug, Default)]
pub(super) struct Events {
    queue: Latest<(Ref, &'static str), Note>,
}

impl Events {
    /// Says it in the log, and as an Event soon.
    pub(super) fn note(&self, note: Note) {
        let Note { object, reason, text, gravity } = &note;
        match gravity {
            EventType::Normal => tracing::info!(%object, reason, "{text}"),
            EventType::Warning => tracing::warn!(%object, reason, "{text}"),
        }
        if self.queue.len() < WAITING {
            self.queue.put((object.clone(), reason), note);
        }
    }

    /// Forgets what is only logged yet.
    pub(super) fn clear(&self) {
        self.queue.clear();
    }

    /// Publishes Events for ever, in the name of this process.
    pub(super) async fn publish(&self, writer: &Writer, process: &str) {
        let reporter = Reporter { controller: MANAGER.to_owned(), instance: Some(process.to_owned()) };
        let recorder = Recorder::new(writer.client.clone(), reporter);
        let mut pace = interval(PACE);
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let pace = Mutex::new(pace);
        self.queue.work(1, |_, note| publish_one(writer, &recorder, &pace, note)).await;
    }
}

async fn publish_one(writer: &Writer, recorder: &Recorder, pace: &Mutex<Interval>, note: Note) -> Next<Note> {
    pace.lock().await.tick().await;
    match post(writer, recorder, &note).await {
        Err(Fault::Busy(_)) => Next::Again(note, Pace::Soon),
        // What cannot be said as an Event was said in the log.
        _ => Next::Done,
    }
}

/// `kubectl describe` looks for Events by uid, so that the object is asked for its own first.
async fn post(writer: &Writer, recorder: &Recorder, note: &Note) -> Result<(), Fault> {
    let Some(live) = writer.get(&note.object).await? else { return Ok(()) };
    let reference = live.object_ref(&kinds::resource(note.object.kind));
    let event = Event {
        type_: note.gravity,
        reason: note.reason.to_owned(),
        note: Some(shortened(&note.text)),
        action: "Reconcile".to_owned(),
        secondary: None,
    };
    writer.send(Verb::Create, "Event", Box::pin(recorder.publish(&event, &reference))).await
}

fn shortened(text: &str) -> String {
    let mark = "...";
    if text.len() <= LONGEST {
        return text.to_owned();
    }
    let end = (0..=LONGEST - mark.len()).rev().find(|end| text.is_char_boundary(*end)).unwrap_or_default();
    format!("{}{mark}", text.get(..end).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use sluice_core::key::{Kind, NsName};

    fn object(name: &str) -> Ref {
        Ref::new(Kind::GrpcService, NsName::new("ns", name))
    }

    #[tokio::test]
    async fn the_last_note_of_an_object_and_reason_counts_and_a_flood_is_only_logged() {
        let events = Events::default();
        for text in ["one", "two"] {
            events.note(Note::normal(object("a"), "Ready", text));
        }
        events.note(Note::warning(object("a"), "Rejected", "three"));
        assert_eq!(events.queue.len(), 2);
        assert_eq!(events.queue.take().await.1, Note::normal(object("a"), "Ready", "two"));
        for count in 0..2 * WAITING {
            events.note(Note::normal(object(&count.to_string()), "Ready", ""));
        }
        assert_eq!(events.queue.len(), WAITING);
    }

    #[test]
    fn long_words_are_cut_between_characters() {
        let long = "ä".repeat(LONGEST);
        let cut = shortened(&long);
        assert!(cut.len() <= LONGEST && cut.ends_with("ä..."), "{}", cut.len());
        assert_eq!(shortened("short"), "short");
    }
}
