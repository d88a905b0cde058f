//! Counters of the process, in the format of OpenMetrics.
//!
//! Must not know: who reads them.

use prometheus_client::{
    encoding::text::encode,
    metrics::{counter::Counter, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};
use sluice_engine::Effects;
use std::time::Duration;

/// All counters.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    steps: Counter,
    inputs: Counter,
    seconds: Histogram,
    resources: Counter,
    statuses: Counter,
    certificates: Counter,
    findings: Gauge,
}

impl Metrics {
    /// Counters that start at zero.
    pub(crate) fn new() -> Self {
        let mut registry = Registry::with_prefix("sluice");
        // Ten steps of a factor of 4 from 50 µs: one edit is below a millisecond, a cold start at most seconds.
        let seconds = Histogram::new((0..10).map(|power| 0.000_05 * 4_f64.powi(power)));
        registry.register("step_seconds", "Time that the engine took for a step", seconds.clone());
        let mut counter = |name: &str, help: &str| {
            let counter = Counter::default();
            registry.register(name, help, counter.clone());
            counter
        };
        let steps = counter("steps", "Steps of the engine");
        let inputs = counter("inputs", "Inputs that the engine took");
        let resources = counter("resources_changed", "xDS resources that moved to another version");
        let statuses = counter("statuses", "Statuses that changed");
        let certificates = counter("certificates_issued", "Certificates that were asked for");
        let findings = Gauge::default();
        registry.register("findings", "What is wrong with the manifests now", findings.clone());
        Self { registry, steps, inputs, seconds, resources, statuses, certificates, findings }
    }

    /// Where others register what they count.
    pub(crate) fn registry(&mut self) -> &mut Registry {
        &mut self.registry
    }

    /// Notes a step.
    pub(crate) fn stepped(&self, inputs: usize, took: Duration, effects: &Effects) {
        self.steps.inc();
        self.inputs.inc_by(inputs as u64);
        self.seconds.observe(took.as_secs_f64());
        self.resources.inc_by(effects.snapshots.iter().map(|(_, snapshot)| snapshot.changed().len() as u64).sum());
        self.statuses.inc_by(effects.statuses.len() as u64);
        self.certificates.inc_by(effects.issues.len() as u64);
    }

    /// Notes how many findings there are.
    pub(crate) fn found(&self, count: usize) {
        self.findings.set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// The text of a scrape.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        // A String takes whatever is written to it.
        let _ = encode(&mut text, &self.registry);
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scrape_tells_what_was_counted() {
        let metrics = Metrics::new();
        metrics.stepped(3, Duration::from_millis(1), &Effects::default());
        metrics.found(2);
        let text = metrics.text();
        for line in
            ["sluice_steps_total 1", "sluice_inputs_total 3", "sluice_findings 2", "sluice_step_seconds_count 1"]
        {
            assert!(text.contains(line), "{line}: {text}");
        }
    }
}
