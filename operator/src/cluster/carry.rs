//! What the operator does with effects: it publishes snapshots, and puts everything else into queues.
//!
//! [`Effects`] → [`Directory`], [`Queues`]
//!
//! **Invariant:** carrying out waits for nothing: the engine's task never depends on the API server.
//! **Invariant:** what waits in queues when the lead is lost is forgotten: the next leader is told everything anew.
//!
//! Must not know: how anything is written.

use super::{
    apply::Work,
    events::{Events, Note},
    latest::Latest,
    leadership::Leadership,
    scope::Scope,
};
use crate::{
    runtime::{Carry, certificates},
    serve::Directory,
};
use sluice_core::{
    author::Issue,
    key::{Kind, NsName, Ref},
    translate::infrastructure::Infrastructure,
    world::secret::Secret,
};
use sluice_engine::{Effects, Engine, Event, Hold, Input, Memory, StatusUpdate};
use std::{sync::Arc, time::Duration};

/// How long a status waits for what follows at once: steps are milliseconds.
const SOON: Duration = Duration::from_millis(20);
/// How long one waits that will say more once the proxies have answered. With ten thousand hosts Envoy takes a quarter of a second.
const UNANSWERED: Duration = Duration::from_secs(1);

/// What waits to be written; clones are the same queues.
#[derive(Clone, Default)]
pub(super) struct Queues {
    pub(super) objects: Latest<Ref, Work>,
    pub(super) statuses: Latest<Ref, StatusUpdate>,
    pub(super) holds: Latest<Ref, Hold>,
    pub(super) infrastructure: Latest<NsName, Option<Arc<Infrastructure>>>,
    pub(super) memory: Latest<(), Vec<Memory>>,
    pub(super) events: Events,
}

impl Queues {
    fn clear(&self) {
        self.objects.clear();
        self.statuses.clear();
        self.holds.clear();
        self.infrastructure.clear();
        self.memory.clear();
        self.events.clear();
    }
}

/// Carries effects out in a cluster.
pub(super) struct Operator {
    pub(super) directory: Directory,
    pub(super) leadership: Leadership,
    pub(super) queues: Queues,
    scope: Scope,
    /// Whether the engine took itself for the leader after the step before.
    led: bool,
    /// Rules that proxies refused, as they were queued to be kept since the lead changed last.
    refused: Option<Vec<Memory>>,
}

impl Operator {
    /// Before the first step.
    pub(super) fn new(directory: Directory, leadership: Leadership, queues: Queues, scope: Scope) -> Self {
        Self { directory, leadership, queues, scope, led: false, refused: None }
    }
}

impl Carry for Operator {
    fn carry(&mut self, effects: Effects, engine: &Engine) -> Vec<Input> {
        for (gateway, snapshot) in &effects.snapshots {
            self.directory.publish(gateway, snapshot.clone());
        }
        self.follow(engine);
        let mut next = Vec::new();
        if self.led {
            self.keep_refused(engine);
            next.extend(effects.issues.iter().filter_map(|issue| self.issue(issue, engine)));
            effects.events.into_iter().filter_map(note).for_each(|note| self.queues.events.note(note));
        }
        effects.applies.into_iter().for_each(|apply| self.queues.objects.put(apply.reference().clone(), apply.into()));
        let statuses = effects.statuses.into_iter().filter(|update| self.scope.reaches(update.target.kind));
        statuses.for_each(|update| self.say(update));
        effects.holds.into_iter().for_each(|(object, hold)| self.queues.holds.put(object, hold));
        effects.infrastructure.into_iter().for_each(|(gateway, it)| self.queues.infrastructure.put(gateway, it));
        next
    }
}

impl Operator {
    /// The engine has heard of a change of the lead: from now on its effects are carried out, or no longer.
    fn follow(&mut self, engine: &Engine) {
        let leads = engine.state().leads();
        if leads == self.led {
            return;
        }
        if leads {
            self.leadership.confirm();
        } else {
            self.queues.clear();
        }
        (self.led, self.refused) = (leads, None);
    }

    /// One edit is one write, as long as the proxies answer in time.
    fn say(&self, update: StatusUpdate) {
        let wait = if update.status.is_pending() { UNANSWERED } else { SOON };
        self.queues.statuses.put_after(update.target.clone(), update, wait);
    }

    /// Costs O(refused rules) a step: none, as a rule.
    fn keep_refused(&mut self, engine: &Engine) {
        let refused = engine.state().quarantine.memory();
        if self.refused.as_ref() != Some(&refused) {
            self.queues.memory.put((), refused.clone());
            self.refused = Some(refused);
        }
    }

    /// Makes a certificate. What cannot be made is said, and asked for again only once its Secret, its CA or what is wished of it
    /// moves: the same CA with the same names would fail the same way.
    fn issue(&self, issue: &Issue, engine: &Engine) -> Option<Input> {
        let world = &engine.state().world;
        match certificates::made(issue, world) {
            Ok((value, object)) => {
                let seen = world.all::<Secret>().get(&issue.secret).cloned();
                self.queues.objects.put(object.reference(), Work::Issued(value, seen));
                None
            }
            Err(error) => Some(certificates::unmade(issue, &error)),
        }
    }
}

fn note(event: Event) -> Option<Note> {
    match event {
        Event::Refused { gateway, id, message } => {
            let gateway = Ref::new(Kind::Gateway, gateway);
            Some(Note::warning(gateway, "ConfigurationRefused", format!("The proxies refused {id}: {message}")))
        }
        Event::Quarantined { route, rule, message } => {
            Some(Note::warning(route, "RuleWithheld", format!("{rule} is withheld from the proxies: {message}")))
        }
        Event::Recovered { route, rule } => {
            Some(Note::normal(route, "RuleRecovered", format!("{rule} is served again")))
        }
        Event::Held { object, owned } => {
            let owned: Vec<String> = owned.iter().map(ToString::to_string).collect();
            let words = "it is let go once what is to stay has it as its owner no longer, which is tried again";
            Some(Note::warning(object, "DeletionWaits", format!("{words}: {}", owned.join(", "))))
        }
        Event::Undecodable { object, message } => {
            tracing::error!("{object} was generated wrongly: {message}");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::DateTime;
    use serde_json::{Value, json};
    use sluice_core::world::{Change, Object};
    use sluice_engine::{Settings, WriteOutcome};
    use tokio::time::{Duration, timeout};

    #[tokio::test]
    async fn what_proxies_refused_is_kept_by_whoever_leads_again() {
        let rule = Ref::new(Kind::GrpcRoute, NsName::new("a", "r"));
        let memory = json!({"route": rule, "content": 1, "message": "no", "label": "rules[0]", "last_good": null});
        let memory: Memory = serde_json::from_value(memory).unwrap();
        let queues = Queues::default();
        let mut operator = Operator::new(Directory::default(), Leadership::default(), queues.clone(), Scope::Cluster);
        let mut engine = Engine::new(Settings::default());
        let mut step = |inputs: Vec<Input>| {
            let effects = engine.step(inputs);
            operator.carry(effects, &engine);
        };
        step(vec![Input::Remember(memory.clone()), Input::Leader(true)]);
        // Its write was lost with the lead.
        for lead in [false, true] {
            step(vec![Input::Leader(lead)]);
        }
        let ((), kept) = timeout(Duration::from_secs(10), queues.memory.take()).await.unwrap();
        assert_eq!(kept, [memory]);
        queues.memory.done(&());
        step(Vec::new());
        assert_eq!(queues.memory.len(), 0, "it is kept");
    }

    fn told(kind: Kind, value: Value) -> Input {
        Change::from(Object::decode(kind, value).unwrap()).into()
    }

    fn service() -> Input {
        let spec = json!({
            "hostnames": ["a.example.com"], "gateways": [{"name": "own", "own": {"gatewayClassName": "sluice"}}],
            "tls": {"type": "SelfSigned"}, "backends": [{"name": "s", "service": {"name": "s", "port": 9000}}],
        });
        told(Kind::GrpcService, json!({"metadata": {"namespace": "a", "name": "svc", "uid": "u"}, "spec": spec}))
    }

    #[test]
    fn what_cannot_be_made_is_told_to_the_engine() {
        let mut engine = Engine::new(Settings::default());
        let clock = Input::Change(Change::Clock(DateTime::from_timestamp(1_800_000_000, 0).unwrap()));
        let effects = engine.step([clock, Input::Leader(true), service()]);
        let [authority] = effects.issues.as_slice() else { panic!("{:?}", effects.issues) };
        let (mut secret, _) = certificates::made(authority, &engine.state().world).unwrap();
        let queues = Queues::default();
        let mut operator = Operator::new(Directory::default(), Leadership::default(), queues.clone(), Scope::Cluster);
        assert!(operator.carry(effects, &engine).is_empty());
        secret["data"]["tls.key"] = json!("bm9uZQ==");
        let effects = engine.step([told(Kind::Secret, secret)]);
        let told = operator.carry(effects, &engine);
        let [Input::Wrote { reference, generation: 0, outcome: WriteOutcome::Refused(words) }] = told.as_slice() else {
            panic!("{told:?}");
        };
        assert_eq!(*reference, Ref::new(Kind::Secret, NsName::new("a", "svc-tls")));
        assert_eq!(&**words, "signing with the CA in Secret a/svc-ca: its tls.key is not a key");
    }
}
