//! What proxies refuse is found, withheld and mended, and everything else moves on.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test that cannot go on shall end")]

mod world;

use serde_json::{Value, json};
use sluice_core::{
    key::{Kind, NsName, Ref},
    world::Change,
};
use sluice_engine::{Effects, Engine, Event, Input, Memory, ProxyEvent};
use sluice_xds::{Id, ResourceType, Version};
use std::collections::BTreeSet;
use world::{Server, bind, class, engine, gateway, grpc_route, http, https, meta, profile, rule, secret, service};

const HOST: &str = "http-80/a.example.com";

fn one() -> NsName {
    NsName::new("a", "one")
}

/// A proxy that refuses the host in the forms that hold one of these methods, and takes everything else.
struct Proxy {
    engine: Engine,
    server: Server,
    poison: BTreeSet<&'static str>,
    events: Vec<Event>,
}

fn route(generation: i64, methods: &[(&str, &str)]) -> Input {
    let rules: Vec<Value> = methods
        .iter()
        .map(|(method, backend)| {
            let mut rule = rule(Some(method), "a", backend);
            rule["name"] = json!(method.to_lowercase());
            rule
        })
        .collect();
    grpc_route(&meta("a", "r", generation, 1), &json!([{"name": "one"}]), &["a.example.com"], &json!(rules))
}

impl Proxy {
    fn new() -> Self {
        let mut proxy =
            Self { engine: engine(), server: Server::default(), poison: BTreeSet::new(), events: Vec::new() };
        proxy.tell([
            class(Some("p")),
            profile(&json!({"cleartext": "Allow"})),
            gateway("one", 1, &json!([http("x", 80, None)])),
            bind("one", 80),
            service("a", "s", 9000),
            service("a", "t", 9000),
        ]);
        proxy
    }

    fn host(&self) -> Option<(Version, String)> {
        let snapshot = self.engine.snapshots().get(&one())?;
        let host = snapshot.get(&Id::new(ResourceType::VirtualHost, HOST))?;
        Some((host.version, sluice_envoy::json::view(host).to_string()))
    }

    fn take(&mut self, effects: Effects) {
        self.server.take(&effects);
        self.events.extend(effects.events);
    }

    /// Tells the engine something and answers like Envoy until nothing new comes.
    fn tell(&mut self, inputs: impl IntoIterator<Item = Input>) {
        let effects = self.engine.step(inputs);
        self.take(effects);
        let mut answered = None;
        for _ in 0..64 {
            let revision = self.engine.snapshots().get(&one()).map(|snapshot| snapshot.revision());
            if revision == answered {
                return;
            }
            answered = revision;
            self.answer(revision.unwrap_or_default());
        }
        panic!("the trial does not end");
    }

    fn answer(&mut self, revision: u64) {
        let (gateway, proxy) = (one(), sluice_core::key::Text::from("p"));
        let mut inputs = Vec::new();
        if let Some((version, form)) = self.host()
            && self
                .poison
                .iter()
                .any(|method| form.contains(&format!("/echo.Echo/{method}\"")) && forwards(&form, method))
        {
            let id = Id::new(ResourceType::VirtualHost, HOST);
            let (gateway, proxy) = (gateway.clone(), proxy.clone());
            inputs.push(ProxyEvent::Refused { gateway, proxy, id, version, message: "missing ): ((".into() }.into());
        }
        inputs.push(ProxyEvent::Synced { gateway, proxy, stream: 1, revision }.into());
        let effects = self.engine.step(inputs);
        self.take(effects);
    }

    fn has_cluster(&self, name: &str) -> bool {
        self.engine.snapshots()[&one()].get(&Id::new(ResourceType::Cluster, name)).is_some()
    }

    fn programmed(&self) -> String {
        let status = &self.server.statuses[&Ref::new(Kind::GrpcRoute, NsName::new("a", "r"))];
        let conditions = status["parents"][0]["conditions"].as_array().unwrap();
        let programmed = conditions.iter().find(|condition| condition["type"] == "sluice.dev/Programmed").unwrap();
        format!(
            "{} {}: {}",
            programmed["status"].as_str().unwrap(),
            programmed["reason"].as_str().unwrap(),
            programmed["message"].as_str().unwrap()
        )
    }
}

/// Whether the method still goes to the backend `t`, which is what this proxy cannot bear.
fn forwards(form: &str, method: &str) -> bool {
    form.split("/echo.Echo/").any(|part| part.starts_with(&format!("{method}\"")) && part.contains("a/t/9000/h2"))
}

#[test]
fn the_refused_rule_keeps_its_last_good_form_and_the_others_move_on() {
    let mut proxy = Proxy::new();
    proxy.tell([route(1, &[("A", "s"), ("B", "s"), ("C", "s"), ("D", "s")])]);
    assert!(proxy.programmed().starts_with("True Programmed"), "{}", proxy.programmed());
    proxy.poison.insert("C");
    proxy.tell([route(2, &[("A", "t"), ("B", "t"), ("C", "t"), ("D", "t")])]);
    let (_, form) = proxy.host().unwrap();
    assert!(["A", "B", "D"].iter().all(|method| forwards(&form, method)), "{form}");
    assert!(!forwards(&form, "C") && form.contains("a/s/9000/h2"), "C keeps its last good form: {form}");
    assert!(proxy.programmed().contains("Rejected"), "{}", proxy.programmed());
    assert!(proxy.programmed().contains("missing ): (("), "{}", proxy.programmed());
    assert!(proxy.programmed().contains("rules[2] c"), "{}", proxy.programmed());
}

#[test]
fn a_rule_that_was_never_good_answers_unavailable() {
    let mut proxy = Proxy::new();
    proxy.poison.insert("B");
    proxy.tell([route(1, &[("A", "t"), ("B", "t")])]);
    let (_, form) = proxy.host().unwrap();
    assert!(forwards(&form, "A") && !forwards(&form, "B"), "{form}");
    assert!(form.contains("/echo.Echo/B\""), "the match stays, so that no other rule takes its calls: {form}");
}

#[test]
fn a_mended_rule_recovers_by_itself() {
    let mut proxy = Proxy::new();
    proxy.poison.insert("B");
    proxy.tell([route(1, &[("A", "t"), ("B", "t")])]);
    assert!(proxy.programmed().contains("Rejected"), "{}", proxy.programmed());
    proxy.tell([route(2, &[("A", "t"), ("B", "s")])]);
    assert!(proxy.programmed().starts_with("True Programmed"), "{}", proxy.programmed());
    assert!(proxy.events.iter().any(|event| matches!(event, Event::Recovered { .. })));
    assert_eq!(proxy.engine.snapshots()[&one()].closure(), []);
}

#[test]
fn a_last_good_form_goes_with_its_backend() {
    let mut proxy = Proxy::new();
    proxy.tell([route(1, &[("A", "s")])]);
    proxy.poison.insert("A");
    proxy.tell([route(2, &[("A", "t")])]);
    assert!(proxy.host().unwrap().1.contains("a/s/9000/h2"));
    proxy.tell([world::delete(Kind::Service, "a", "s")]);
    assert!(!proxy.host().unwrap().1.contains("a/s/9000/h2"));
    assert_eq!(proxy.engine.snapshots()[&one()].closure(), []);
}

/// A Gateway with two HTTPS listeners of one Secret each, and a cleartext one, all acknowledged by one proxy.
fn secured() -> Proxy {
    let mut proxy = Proxy::new();
    let listeners = json!([
        https("a", 443, Some("a.example.com"), "cert"),
        https("b", 443, Some("b.example.com"), "stranger"),
        http("x", 80, None),
    ]);
    proxy.tell([
        secret("cert", 0),
        secret("stranger", 0),
        gateway("one", 2, &listeners),
        bind("one", 80),
        bind("one", 443),
        Input::Change(Change::Addresses(one(), vec!["127.0.0.1".into()])),
        route(1, &[("A", "s"), ("B", "t")]),
    ]);
    proxy
}

impl Proxy {
    fn version(&self, id: &Id) -> Version {
        self.engine.snapshots()[&one()].get(id).unwrap().version
    }

    fn refuse(&mut self, id: &Id, message: &str) {
        let (gateway, proxy, version) = (one(), "p".into(), self.version(id));
        self.tell([ProxyEvent::Refused { gateway, proxy, id: id.clone(), version, message: message.into() }.into()]);
    }

    /// `True Programmed: message` of the Gateway, and of each of its listeners.
    fn listeners(&self, kind: &str) -> Vec<String> {
        let status = &self.server.statuses[&Ref::new(Kind::Gateway, one())];
        let listeners = status["listeners"].as_array().unwrap();
        let all = std::iter::once(status).chain(listeners);
        all.map(|status| {
            let conditions = status["conditions"].as_array().unwrap();
            let it = conditions.iter().find(|condition| condition["type"] == kind).unwrap();
            let text = |field: &str| it[field].as_str().unwrap();
            format!("{} {}: {}", text("status"), text("reason"), text("message"))
        })
        .collect()
    }
}

fn truths(said: &[String]) -> Vec<&str> {
    said.iter().filter_map(|word| word.split(' ').next()).collect()
}

#[test]
fn a_refused_secret_is_named_by_its_gateway_and_by_the_listeners_that_use_it_alone() {
    let mut proxy = secured();
    assert_eq!(truths(&proxy.listeners("Programmed")), ["True"; 4], "{:?}", proxy.listeners("Programmed"));
    proxy.refuse(&Id::new(ResourceType::Secret, "a/stranger"), "key values mismatch");
    let (programmed, resolved) = (proxy.listeners("Programmed"), proxy.listeners("ResolvedRefs"));
    assert_eq!(truths(&programmed), ["False", "True", "False", "True"], "{programmed:?}");
    assert_eq!(truths(&resolved), ["False", "True", "False", "True"], "{resolved:?}");
    for said in [&programmed[0], &programmed[2], &resolved[2]] {
        assert!(said.contains("Secret a/stranger: key values mismatch"), "{said}");
    }
    assert!(resolved[2].starts_with("False InvalidCertificateRef"), "{}", resolved[2]);
    proxy.tell([secret("stranger", 1)]);
    assert_eq!(truths(&proxy.listeners("Programmed")), ["True"; 4]);
    assert_eq!(truths(&proxy.listeners("ResolvedRefs")), ["True"; 4]);
}

#[test]
fn a_refused_port_takes_its_own_listeners_alone() {
    let mut proxy = secured();
    proxy.refuse(&Id::new(ResourceType::Listener, "https-443"), "cannot bind");
    let programmed = proxy.listeners("Programmed");
    assert_eq!(truths(&programmed), ["False", "False", "False", "True"], "{programmed:?}");
    assert!(programmed[1].contains("https-443: cannot bind"), "{}", programmed[1]);
    assert_eq!(truths(&proxy.listeners("ResolvedRefs")), ["True"; 4]);
}

#[test]
fn a_refused_cluster_is_told_to_the_routes_that_name_it_and_tried_again_later() {
    let mut proxy = secured();
    let cluster = Id::new(ResourceType::Cluster, "a/t/9000/h2");
    proxy.refuse(&cluster, "bad cluster");
    assert!(proxy.programmed().contains("Rejected"), "{}", proxy.programmed());
    assert!(proxy.programmed().contains("Service a/t port 9000: bad cluster"), "{}", proxy.programmed());
    assert!(proxy.engine.snapshots()[&one()].get(&cluster).is_none());
    assert_eq!(proxy.engine.snapshots()[&one()].closure(), []);
    proxy.tell([world::clock(1)]);
    assert!(proxy.programmed().starts_with("True Programmed"), "{}", proxy.programmed());
    assert!(proxy.engine.snapshots()[&one()].get(&cluster).is_some());
}

#[test]
fn a_stalled_cluster_is_withheld_like_a_refused_one() {
    let mut proxy = secured();
    let cluster = Id::new(ResourceType::Cluster, "a/t/9000/h2");
    let forms = vec![(cluster.clone(), proxy.version(&cluster))];
    proxy.tell([ProxyEvent::Stalled { gateway: one(), proxy: "p".into(), forms }.into()]);
    assert!(proxy.programmed().contains("Rejected"), "{}", proxy.programmed());
    assert!(proxy.engine.snapshots()[&one()].get(&cluster).is_none());
}

/// That the proxy `p` stalls on the cluster of the backend `t`, after another one acknowledged a revision of a Gateway.
fn stalls_beside(proxy: &mut Proxy, gateway: &NsName, revision: u64) {
    let cluster = Id::new(ResourceType::Cluster, "a/t/9000/h2");
    let other = ProxyEvent::Synced { gateway: gateway.clone(), proxy: "q".into(), stream: 1, revision };
    let forms = vec![(cluster.clone(), proxy.version(&cluster))];
    proxy.tell([other.into(), ProxyEvent::Stalled { gateway: one(), proxy: "p".into(), forms }.into()]);
}

#[test]
fn a_proxy_that_is_slow_withholds_no_cluster_that_another_one_took() {
    let mut proxy = secured();
    let two = NsName::new("a", "two");
    proxy.tell([gateway("two", 1, &json!([http("x", 80, None)])), bind("two", 80)]);
    let parents = json!([{"name": "one"}, {"name": "two"}]);
    let rules = json!([rule(Some("A"), "a", "t")]);
    proxy.tell([grpc_route(&meta("a", "r", 2, 1), &parents, &["a.example.com"], &rules)]);
    let latest = |proxy: &Proxy, gateway: &NsName| proxy.engine.snapshots()[gateway].revision();
    for gateway in [&one(), &two] {
        let revision = latest(&proxy, gateway);
        stalls_beside(&mut proxy, gateway, revision);
        assert!(proxy.has_cluster("a/t/9000/h2"), "the proxy of {gateway} has it");
        proxy.tell([ProxyEvent::Gone { gateway: gateway.clone(), proxy: "q".into() }.into()]);
    }
    assert!(!proxy.events.iter().any(|event| matches!(event, Event::Refused { .. })));
    stalls_beside(&mut proxy, &two, 1);
    assert!(!proxy.has_cluster("a/t/9000/h2"), "the other is not there yet");
}

#[test]
fn a_refused_cluster_that_only_gets_copies_leaves_the_snapshot() {
    let mut proxy = Proxy::new();
    let mut mirrored = rule(Some("A"), "a", "s");
    mirrored["filters"] =
        json!([{"type": "RequestMirror", "requestMirror": {"backendRef": {"name": "t", "port": 9000}}}]);
    let rules = json!([mirrored]);
    proxy.tell([grpc_route(&meta("a", "r", 1, 1), &json!([{"name": "one"}]), &["a.example.com"], &rules)]);
    assert!(proxy.has_cluster("a/t/9000/h2"));
    proxy.refuse(&Id::new(ResourceType::Cluster, "a/t/9000/h2"), "bad");
    assert!(!proxy.has_cluster("a/t/9000/h2"));
    assert!(proxy.host().unwrap().1.contains("a/s/9000/h2"), "calls themselves are still forwarded");
}

#[test]
fn a_refused_cluster_of_a_last_good_form_leaves_the_snapshot() {
    let mut proxy = Proxy::new();
    proxy.tell([route(1, &[("A", "s")])]);
    proxy.poison.insert("A");
    proxy.tell([route(2, &[("A", "t")])]);
    assert!(proxy.has_cluster("a/s/9000/h2"));
    proxy.refuse(&Id::new(ResourceType::Cluster, "a/s/9000/h2"), "bad");
    assert!(!proxy.has_cluster("a/s/9000/h2"));
    assert_eq!(proxy.engine.snapshots()[&one()].closure(), []);
}

#[test]
fn a_slow_word_about_several_clusters_shuns_each() {
    let mut proxy = Proxy::new();
    proxy.tell([route(1, &[("A", "s"), ("B", "t")])]);
    let snapshot = proxy.engine.snapshots()[&one()].clone();
    let forms: Vec<(Id, Version)> =
        snapshot.iter(ResourceType::Cluster).map(|cluster| (cluster.id.clone(), cluster.version)).collect();
    assert_eq!(forms.len(), 2);
    proxy.tell([ProxyEvent::Stalled { gateway: one(), proxy: "p".into(), forms }.into()]);
    assert_eq!(proxy.engine.snapshots()[&one()].iter(ResourceType::Cluster).count(), 0);
}

#[test]
fn a_host_that_is_refused_without_any_rule_is_told_to_its_routes_until_it_moves() {
    let mut proxy = Proxy::new();
    proxy.tell([route(1, &[])]);
    assert!(proxy.programmed().starts_with("True Programmed"), "{}", proxy.programmed());
    proxy.refuse(&Id::new(ResourceType::VirtualHost, HOST), "bad domain");
    assert!(proxy.programmed().starts_with("False Rejected"), "{}", proxy.programmed());
    assert!(proxy.programmed().contains(&format!("virtual-host {HOST}: bad domain")), "{}", proxy.programmed());
    proxy.tell([route(2, &[("A", "t")])]);
    assert!(proxy.programmed().starts_with("True Programmed"), "{}", proxy.programmed());
}

#[test]
fn a_route_is_programmed_only_once_its_new_host_is_acknowledged() {
    let mut engine = engine();
    let mut server = Server::default();
    let listener = https("x", 443, Some("a.example.com"), "cert");
    let rules = json!([rule(Some("A"), "a", "s")]);
    let route = grpc_route(&meta("a", "r", 1, 1), &json!([{"name": "one"}]), &["a.example.com"], &rules);
    let plain = http("p", 80, Some("b.example.com"));
    server.take(&engine.step([
        class(None),
        gateway("one", 1, &json!([listener, plain])),
        bind("one", 443),
        bind("one", 80),
        service("a", "s", 9000),
        route,
    ]));
    let sync = |engine: &mut Engine| {
        let revision = engine.snapshots()[&one()].revision();
        engine.step([ProxyEvent::Synced { gateway: one(), proxy: "p".into(), stream: 1, revision }.into()])
    };
    let programmed = |server: &Server| {
        let status = &server.statuses[&Ref::new(Kind::GrpcRoute, NsName::new("a", "r"))];
        status["parents"][0]["conditions"][2].clone()
    };
    server.take(&sync(&mut engine));
    assert_eq!(programmed(&server)["status"], "Unknown");
    assert_eq!(programmed(&server)["message"], "no listener that takes it is served: see Gateway a/one");
    server.take(&engine.step([secret("cert", 0)]));
    assert_eq!(programmed(&server)["message"], "waiting for the proxies of Gateway a/one to acknowledge it");
    server.take(&sync(&mut engine));
    assert_eq!(programmed(&server)["status"], "True");
}

#[test]
fn a_last_good_form_survives_a_restart_until_its_rule_is_mended() {
    let mut before = Proxy::new();
    before.tell([route(1, &[("A", "s"), ("B", "s")])]);
    before.poison.insert("A");
    before.tell([route(2, &[("A", "t"), ("B", "t")])]);
    let kept = serde_json::to_string(&before.engine.state().quarantine.memory()).unwrap();
    let memories: Vec<Memory> = serde_json::from_str(&kept).unwrap();
    assert_eq!(memories, before.engine.state().quarantine.memory());

    let mut after = Proxy::new();
    let remembered = memories.into_iter().map(Input::Remember);
    after.tell(remembered.chain([route(2, &[("A", "t"), ("B", "t")])]));
    assert_eq!(after.host(), before.host(), "nothing is sent again");
    assert_eq!(after.programmed(), before.programmed());
    assert!(
        !after.events.iter().any(|event| matches!(event, Event::Refused { .. })),
        "no proxy had to refuse it again"
    );
    after.tell([route(3, &[("A", "s"), ("B", "t")])]);
    assert!(after.programmed().starts_with("True Programmed"), "{}", after.programmed());
    assert_eq!(after.engine.state().quarantine.memory(), []);
}

#[test]
fn what_was_refused_of_a_route_is_forgotten_with_it() {
    let mut proxy = Proxy::new();
    proxy.poison.insert("A");
    proxy.tell([route(1, &[("A", "t")])]);
    assert_eq!(proxy.engine.state().quarantine.memory().len(), 1);
    proxy.tell([world::delete(Kind::GrpcRoute, "a", "r")]);
    assert_eq!(proxy.engine.state().quarantine.memory(), []);
}

#[test]
fn a_refused_cluster_is_forgotten_once_it_is_tried_again() {
    let mut proxy = secured();
    proxy.refuse(&Id::new(ResourceType::Cluster, "a/t/9000/h2"), "bad cluster");
    let is_kept = |proxy: &Proxy| format!("{:?}", proxy.engine.state().quarantine).contains("bad cluster");
    assert!(is_kept(&proxy));
    proxy.tell([world::clock(1)]);
    assert!(!is_kept(&proxy));
}
