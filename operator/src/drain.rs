//! Takes a proxy out of service without failing a call.
//!
//! the admin interface of an Envoy → no new callers, then no calls under way, or the end of patience
//!
//! **Invariant:** until it returns, connections are still taken: whoever has not heard that the proxy goes is served.
//!
//! Must not know: what ends the proxy afterwards.

use crate::client::{self, Place};
use anyhow::Context as _;
use http::Method;
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};

/// How often a draining proxy is asked whether anybody is left: it tells nobody.
const PACE: Duration = Duration::from_millis(100);

/// Connections and calls of all listeners.
const ACTIVE: &str = "/stats?filter=%5Ehttp%5C..*downstream_(cx%7Crq)_active%24";

/// Those who ask how the proxy is are no callers.
const PROBES: [&str; 3] = ["http.admin.", "http.sluice-readiness.", "http.sluice-metrics."];

/// How long it may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Patience {
    /// How long new connections come at least: balancers hear of the end with a delay.
    pub(crate) delay: Duration,
    /// How long connections without calls are waited for. Envoy says GOAWAY with an answer, so that idle ones never hear it.
    pub(crate) idle: Duration,
    /// How long calls are waited for.
    pub(crate) calls: Duration,
}

impl Patience {
    /// Within this time Envoy tells every connection that makes calls to go elsewhere, ever more of them with every answer
    /// (`--drain-time-s`); the rest of the patience is for calls that take longer.
    pub(crate) fn window(calls: Duration) -> Duration {
        Duration::from_secs((calls / 2).as_secs().max(1))
    }
}

/// Fails the proxy's readiness, tells connections to go elsewhere, and waits until calls have ended.
///
/// # Errors
/// When the admin interface does not answer in the beginning.
pub(crate) async fn drain(admin: &Place, patience: Patience) -> anyhow::Result<()> {
    let started = Instant::now();
    client::request(Method::POST, admin, "/healthcheck/fail").await.context("failing its readiness")?;
    client::request(Method::POST, admin, "/drain_listeners?graceful&skip_exit").await.context("draining")?;
    // Whoever is left then is cut off.
    let _ = timeout(patience.calls, until_left(admin, patience, started)).await;
    Ok(())
}

/// Returns once nobody is left, or the proxy no longer answers.
async fn until_left(admin: &Place, patience: Patience, started: Instant) {
    while let Ok(stats) = client::request(Method::GET, admin, ACTIVE).await {
        let (connections, calls) = active(&stats);
        let elapsed = started.elapsed();
        let is_left = connections == 0 || (calls == 0 && elapsed >= patience.idle);
        if is_left && elapsed >= patience.delay {
            return;
        }
        sleep(PACE).await;
    }
}

/// Connections and calls.
fn active(stats: &str) -> (u64, u64) {
    let lines = stats.lines().filter(|line| !PROBES.iter().any(|probe| line.starts_with(probe)));
    lines.filter_map(|line| line.split_once(": ")).fold((0, 0), |(connections, calls), (name, count)| {
        let count = count.parse::<u64>().unwrap_or(0);
        if name.ends_with("cx_active") { (connections + count, calls) } else { (connections, calls + count) }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn callers_are_counted_and_probes_are_not() {
        let stats = "http.admin.downstream_cx_active: 1\nhttp.admin.downstream_rq_active: 1\n\
                     http.sluice-readiness.downstream_cx_active: 2\nhttp.grpc.example.com.downstream_cx_active: 3\n\
                     http.grpc.example.com.downstream_rq_active: 5\nhttp.http-80.downstream_cx_active: 4\n";
        assert_eq!(active(stats), (7, 5));
    }

    #[test]
    fn half_of_the_patience_is_for_telling_and_never_none() {
        let window = |seconds| Patience::window(Duration::from_secs(seconds)).as_secs();
        assert_eq!([60, 3, 1, 0].map(window), [30, 1, 1, 1]);
    }
}
