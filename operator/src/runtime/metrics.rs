//! Counters of the process, in the format of OpenMetrics.
//!
//! Must not know: who reads them.

use super::Step;
use chrono::{DateTime, Utc};
use prometheus_client::{
    encoding::text::encode,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};
use sluice_core::key::NsName;
use sluice_engine::{Effects, Engine};
use std::{
    sync::{Mutex, PoisonError, atomic::Ordering},
    time::Duration,
};

/// A label and its value.
type Label = [(&'static str, String); 1];

/// All counters.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    steps: Counter,
    inputs: Counter,
    seconds: Histogram,
    delivery: Histogram,
    evaluations: Family<Label, Counter>,
    refused: Family<Label, Counter>,
    connected: Family<Label, Gauge>,
    ready: Family<Label, Gauge>,
    expiry: Family<Label, Gauge>,
    resources: Counter,
    statuses: Counter,
    certificates: Counter,
    findings: Gauge,
    /// The certificate whose end is told.
    first: Mutex<Option<(NsName, DateTime<Utc>)>>,
}

impl Metrics {
    /// Counters that start at zero.
    pub(crate) fn new() -> Self {
        let mut registry = Registry::with_prefix("sluice");
        // Ten steps of a factor of 4 from 50 µs: one edit is below a millisecond, a cold start at most seconds.
        let seconds = Histogram::new((0..10).map(|power| 0.000_05 * 4_f64.powi(power)));
        registry.register("step_seconds", "Time that the engine took for a step", seconds.clone());
        // Fourteen steps of a factor of 2 from 1 ms, to 8 s.
        let delivery = Histogram::new((0..14).map(|power| 0.001 * 2_f64.powi(power)));
        let help = "From hearing of a change of a route or GrpcService until every proxy acknowledged it";
        registry.register("apply_to_ack_seconds", help, delivery.clone());
        let evaluations = Family::default();
        registry.register("evaluations", "What was evaluated again, by stage", evaluations.clone());
        let refused = Family::default();
        registry.register("nacks", "Resources that proxies refused, by type", refused.clone());
        let (connected, ready) = (Family::default(), Family::default());
        registry.register("proxies_connected", "Proxies that have a stream, by Gateway", connected.clone());
        registry.register("proxies_ready", "Proxies that are counted, by Gateway", ready.clone());
        let expiry = Family::default();
        let help = "When the first of the certificates that are served expires, in seconds since 1970, by its Secret";
        registry.register("certificate_expiry_seconds", help, expiry.clone());
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
        Self {
            registry,
            steps,
            inputs,
            seconds,
            delivery,
            evaluations,
            refused,
            connected,
            ready,
            expiry,
            resources,
            statuses,
            certificates,
            findings,
            first: Mutex::default(),
        }
    }

    /// Where others register what they count.
    pub(crate) fn registry(&mut self) -> &mut Registry {
        &mut self.registry
    }

    /// Notes a step.
    pub(crate) fn stepped(&self, step: &Step, effects: &Effects, engine: &Engine) {
        self.steps.inc();
        self.inputs.inc_by(step.inputs as u64);
        self.seconds.observe(step.started.elapsed().as_secs_f64());
        self.resources.inc_by(effects.snapshots.iter().map(|(_, snapshot)| snapshot.changed().len() as u64).sum());
        self.statuses.inc_by(effects.statuses.len() as u64);
        self.certificates.inc_by(effects.issues.len() as u64);
        for kind in &step.refused {
            self.refused.get_or_create(&[("type", kind.to_string())]).inc();
        }
        for (stage, count) in engine.evaluations() {
            let label = [("stage", format!("{stage:?}").to_lowercase())];
            self.evaluations.get_or_create(&label).inner().store(*count, Ordering::Relaxed);
        }
        self.count_proxies(step, engine);
        self.look_at_certificates(engine);
    }

    /// A change has arrived at every proxy.
    pub(crate) fn arrived(&self, took: Duration) {
        self.delivery.observe(took.as_secs_f64());
    }

    fn count_proxies(&self, step: &Step, engine: &Engine) {
        for gateway in &step.gateways {
            let (label, counts) = ([("gateway", gateway.to_string())], engine.state().fleet.count(gateway));
            for (gauge, count) in [(&self.ready, counts.0), (&self.connected, counts.1)] {
                match counts {
                    (_, 0) => drop(gauge.remove(&label)),
                    _ => drop(gauge.get_or_create(&label).set(i64::try_from(count).unwrap_or(i64::MAX))),
                }
            }
        }
    }

    fn look_at_certificates(&self, engine: &Engine) {
        let first = engine.first_expiry().map(|(secret, end)| (secret.clone(), end));
        let mut told = self.first.lock().unwrap_or_else(PoisonError::into_inner);
        if *told == first {
            return;
        }
        self.expiry.clear();
        if let Some((secret, end)) = &first {
            self.expiry.get_or_create(&[("secret", secret.to_string())]).set(end.timestamp());
        }
        *told = first;
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
    use serde_json::{Value, json};
    use sluice_core::{
        key::Kind,
        world::{Change, Object},
    };
    use sluice_engine::{Input, ProxyEvent, Settings};
    use sluice_xds::{Id, ResourceType, Version};

    fn told(kind: Kind, value: Value) -> Input {
        Change::from(Object::decode(kind, value).unwrap()).into()
    }

    /// A Gateway whose listener has this certificate.
    fn gateway(secret: &str) -> Input {
        let tls = json!({"certificateRefs": [{"name": secret}]});
        let listener = json!({"name": "x", "port": 443, "protocol": "HTTPS", "tls": tls});
        let spec = json!({"gatewayClassName": "sluice", "listeners": [listener]});
        told(Kind::Gateway, json!({"metadata": {"namespace": "a", "name": "g"}, "spec": spec}))
    }

    fn secret(name: &str, chain: &str, key: &str) -> Input {
        let data = json!({"tls.crt": chain, "tls.key": key});
        let metadata = json!({"namespace": "a", "name": name});
        told(Kind::Secret, json!({"metadata": metadata, "type": "kubernetes.io/tls", "stringData": data}))
    }

    #[test]
    fn the_end_of_a_certificate_is_told_while_it_is_served() {
        let (metrics, mut engine) = (Metrics::new(), Engine::new(Settings::default()));
        let mut secrets = |inputs: Vec<Input>| {
            let step = Step::begin(&inputs);
            let effects = engine.step(inputs);
            metrics.stepped(&step, &effects, &engine);
            let text = metrics.text();
            let series =
                text.lines().filter_map(|line| line.strip_prefix("sluice_certificate_expiry_seconds{secret=\""));
            series.filter_map(|line| Some(line.split_once('"')?.0.to_owned())).collect::<Vec<_>>()
        };
        let class = json!({"metadata": {"name": "sluice"}, "spec": {"controllerName": sluice_api::CONTROLLER_NAME}});
        let now = DateTime::from_timestamp(1_800_000_000, 0).unwrap();
        let world = vec![
            Input::Change(Change::Clock(now)),
            told(Kind::GatewayClass, class),
            secret("a", include_str!("../../engine/tests/world/a.crt"), include_str!("../../engine/tests/world/a.key")),
            secret("b", include_str!("../../engine/tests/world/b.crt"), include_str!("../../engine/tests/world/b.key")),
            gateway("a"),
        ];
        assert_eq!(secrets(world), ["a/a"]);
        assert_eq!(secrets(vec![gateway("b")]), ["a/b"]);
        let gone = Change::Delete(sluice_core::key::Ref::new(Kind::Gateway, NsName::new("a", "g")));
        assert_eq!(secrets(vec![gone.into()]), [] as [&str; 0]);
    }

    #[test]
    fn a_scrape_tells_what_was_counted() {
        let metrics = Metrics::new();
        let gateway = NsName::new("a", "g");
        let refused = |gateway: &NsName| ProxyEvent::Refused {
            gateway: gateway.clone(),
            proxy: "p".into(),
            id: Id::new(ResourceType::VirtualHost, "x"),
            version: Version(1),
            message: String::new(),
        };
        let connected = ProxyEvent::Connected { gateway: gateway.clone(), proxy: "p".into(), stream: 1 };
        let inputs = [connected.into(), refused(&gateway).into(), Input::Leader(true)];
        let (mut engine, step) = (Engine::new(Settings::default()), Step::begin(&inputs));
        let effects = engine.step(inputs);
        metrics.stepped(&step, &effects, &engine);
        metrics.found(2);
        metrics.arrived(Duration::from_millis(3));
        let text = metrics.text();
        for line in [
            "sluice_steps_total 1",
            "sluice_inputs_total 3",
            "sluice_findings 2",
            "sluice_step_seconds_count 1",
            "sluice_apply_to_ack_seconds_count 1",
            "sluice_proxies_connected{gateway=\"a/g\"} 1",
            "sluice_proxies_ready{gateway=\"a/g\"} 0",
        ] {
            assert!(text.contains(line), "{line}: {text}");
        }
        assert!(text.contains("sluice_nacks_total{type="), "{text}");
    }
}
