//! Keeps the CA's Secret, and this process's own certificate.
//!
//! the Secret as it changes, the lease and the clock → the Secret as it has to be, [`Credentials`] for everybody here
//!
//! **Invariant:** only the leader writes the Secret, and over nothing that it has not seen.
//! **Invariant:** a Secret that makes no sense is left alone: what it may be worth is for people to judge.
//!
//! Must not know: who uses the credentials.

use super::{Authority, Credentials, Lifetimes};
use crate::cluster::writer::{Fault, MANAGER, Verb, Writer};
use chrono::{DateTime, TimeDelta, Utc};
use futures::StreamExt as _;
use k8s_openapi::{ByteString, api::core::v1::Secret};
use kube::{
    Api,
    api::{ObjectMeta, PostParams},
    runtime::{WatchStreamExt as _, watcher::watch_object},
};
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tokio::{sync::watch, time::sleep};

/// How long to wait after a failure, and at most until the next look.
const PAUSE: Duration = Duration::from_secs(5);
/// The clock may be set; so far ahead is no alarm set.
const LOOK: Duration = Duration::from_mins(10);

/// The CA of an installation.
pub(crate) struct Keeper {
    /// Where its Secret is read and written.
    pub(in crate::cluster) writer: Writer,
    /// The namespace of the installation.
    pub(crate) namespace: String,
    /// The name of the Secret.
    pub(crate) secret: String,
    /// The name of the control plane's Service, as proxies know it.
    pub(crate) host: String,
    /// How long certificates are valid.
    pub(crate) lives: Lifetimes,
}

/// What is known of the Secret.
enum Known {
    /// It has not been asked for.
    Nothing,
    /// There is none.
    Absent,
    /// This one.
    Present(Box<Secret>),
}

impl Keeper {
    /// Keeps both, for ever.
    pub(crate) async fn keep(self, credentials: watch::Sender<Option<Arc<Credentials>>>) {
        let api: Api<Secret> = Api::namespaced(self.writer.client.clone(), &self.namespace);
        let mut changes = std::pin::pin!(watch_object(api.clone(), &self.secret).default_backoff());
        let mut known = Known::Nothing;
        loop {
            let wait = match self.settle(&api, &known, &credentials).await {
                Ok(due) => (due - Utc::now()).to_std().unwrap_or_default().min(LOOK),
                Err(error) => {
                    tracing::error!("Secret {}/{}: {error:#}", self.namespace, self.secret);
                    PAUSE
                }
            };
            tokio::select! {
                change = changes.next() => match change {
                    Some(Ok(Some(secret))) => known = Known::Present(Box::new(secret)),
                    Some(Ok(None)) => known = Known::Absent,
                    Some(Err(error)) => tracing::warn!("Secret {}/{}: {error}", self.namespace, self.secret),
                    None => return,
                },
                () = self.writer.leadership.won(), if !self.writer.leadership.leads() => {}
                () = sleep(wait) => {}
            }
        }
    }

    /// Does what is due, and says when something will be.
    async fn settle(
        &self,
        api: &Api<Secret>,
        known: &Known,
        credentials: &watch::Sender<Option<Arc<Credentials>>>,
    ) -> anyhow::Result<DateTime<Utc>> {
        let now = Utc::now();
        let never = now + TimeDelta::days(1);
        let found = match known {
            Known::Nothing => return Ok(never),
            Known::Absent => None,
            Known::Present(secret) => Some((&**secret, read(secret)?)),
        };
        let wanted = match &found {
            // Whoever still holds it keeps it: proxies trust it already.
            None => Some(match credentials.borrow().as_ref() {
                Some(current) => current.authority().clone(),
                None => Authority::new(now, self.lives)?,
            }),
            Some((_, authority)) => authority.renewed(now, self.lives)?,
        };
        if let Some(wanted) = wanted.filter(|_| self.writer.leadership.leads()) {
            // What was written comes back by the watch, and then it holds.
            self.write(api, found.as_ref().map(|(secret, _)| *secret), &wanted).await?;
            return Ok(never);
        }
        let Some((_, authority)) = found else { return Ok(never) };
        let due = authority.due(now, self.lives)?;
        let current = credentials.borrow().clone();
        let next = Credentials::renewed(current.as_ref(), authority, &self.host, now, self.lives)?;
        let renewal = next.renewal(now, self.lives);
        if current.is_none_or(|current| !Arc::ptr_eq(&current, &next)) {
            credentials.send_replace(Some(next));
        }
        let due = if self.writer.leadership.leads() { due.min(renewal) } else { renewal };
        // A renewal that fails to help must not be tried without end.
        Ok(due.max(now + TimeDelta::milliseconds(100)))
    }

    async fn write(&self, api: &Api<Secret>, found: Option<&Secret>, wanted: &Authority) -> anyhow::Result<()> {
        let data = wanted.data().into_iter().map(|(name, text)| (name, ByteString(text.into_bytes()))).collect();
        let metadata = match found {
            Some(secret) => secret.metadata.clone(),
            None => ObjectMeta { name: Some(self.secret.clone()), labels: Some(labels()), ..ObjectMeta::default() },
        };
        let secret = Secret { metadata, data: Some(data), type_: Some("Opaque".to_owned()), ..Secret::default() };
        let params = PostParams { field_manager: Some(MANAGER.to_owned()), ..PostParams::default() };
        let outcome = match found {
            Some(_) => self.writer.send(Verb::Update, "Secret", api.replace(&self.secret, &params, &secret)).await,
            None => self.writer.send(Verb::Create, "Secret", api.create(&params, &secret)).await,
        };
        match outcome {
            Ok(_) => tracing::info!("wrote the CA of the proxies into Secret {}/{}", self.namespace, self.secret),
            // Somebody was faster; the watch tells what came of it.
            Err(Fault::Stale | Fault::Standby) => {}
            Err(fault) => return Err(fault.into()),
        }
        Ok(())
    }
}

fn read(secret: &Secret) -> anyhow::Result<Authority> {
    let data: BTreeMap<_, _> =
        secret.data.iter().flatten().map(|(name, bytes)| (name.clone(), bytes.0.clone())).collect();
    let advice = "delete it, and a new one is made";
    Authority::read(&data).map_err(|error| error.context(advice))
}

fn labels() -> BTreeMap<String, String> {
    [(sluice_api::MANAGED_BY_LABEL.to_owned(), sluice_api::MANAGED_BY.to_owned())].into()
}
