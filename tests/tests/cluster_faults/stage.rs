//! One fault at a time, with the load that must not notice it.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use sluice_tests::{
    cluster::{Cluster, Hostname, Release, Scene},
    load::{Load, Plan, Report},
};
use tokio::time::Instant;

/// The load of the suite with a real Envoy on one machine.
pub(crate) const LOAD: Plan = Plan { per_second: 200, connections: 5, fresh: 100, streams: 100 };
/// Where proxies or backends go away, whose streams end with them however gracefully.
pub(crate) const CALLS: Plan = Plan { streams: 0, ..LOAD };

/// An installed cluster with the echo application, a GrpcService on the default Gateway, and nobody else's faults.
pub(crate) struct Stage {
    pub(crate) cluster: Cluster,
    pub(crate) scene: Scene,
    pub(crate) callers: Arc<Hostname>,
    _turn: MutexGuard<'static, ()>,
}

impl Stage {
    pub(crate) fn set(name: &str) -> Self {
        static TURN: Mutex<()> = Mutex::new(());
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let cluster = Cluster::from_environment().unwrap();
        Release::ensure(&cluster).unwrap();
        let scene = Scene::set(&cluster, name).unwrap();
        let callers = Arc::new(scene.expose("echo", &format!("{name}.example.com")).unwrap());
        Self { cluster, scene, callers, _turn: turn }
    }

    pub(crate) fn namespace(&self) -> &str {
        &self.scene.namespace.name
    }

    /// Runs `fault` under load, for at least `span`, and returns what became of the load.
    pub(crate) async fn under(&self, plan: Plan, span: Duration, fault: impl FnOnce(&Self)) -> Report {
        let load = Load::start(self.callers.clone(), plan).await.unwrap();
        let begin = Instant::now();
        tokio::task::block_in_place(|| fault(self));
        // Load has no event to wait for: it lasts.
        tokio::time::sleep_until(begin + span).await;
        load.stop().await.unwrap()
    }

    /// Nobody may notice.
    pub(crate) async fn unnoticed(&self, plan: Plan, span: Duration, fault: impl FnOnce(&Self)) {
        self.under(plan, span, fault).await.flawless().unwrap();
    }
}
