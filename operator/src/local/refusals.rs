//! Handshakes that Envoy refused, told with the names that it serves.
//!
//! a line of Envoy's standard output, and the snapshot that it was given → a sentence
//!
//! It must not know how Envoy is run.

use serde_json::Value;
use sluice_core::key::NsName;
use sluice_envoy::{json, refusal::Refusal};
use sluice_xds::{Id, ResourceType, Snapshot};
use std::fmt;

/// A refused handshake, in words.
#[derive(Debug)]
pub(crate) struct Refused<'a> {
    gateway: &'a NsName,
    refusal: Refusal<'a>,
    served: Vec<String>,
}

impl<'a> Refused<'a> {
    /// Reads a line. Makes the listener's whole JSON for it: refusals on one machine are few, and made by people.
    pub(crate) fn read(line: &'a str, gateway: &'a NsName, snapshot: Option<&Snapshot>) -> Option<Self> {
        let refusal = Refusal::parse(line)?;
        let listener = snapshot.and_then(|snapshot| snapshot.get(&Id::new(ResourceType::Listener, refusal.listener)));
        let served = listener.map(|listener| names(&json::view(listener))).unwrap_or_default();
        Some(Self { gateway, refusal, served })
    }
}

fn names(listener: &Value) -> Vec<String> {
    let chains = listener.get("filter_chains").and_then(Value::as_array).into_iter().flatten();
    let lists = chains.filter_map(|chain| chain.pointer("/filter_chain_match/server_names")?.as_array()).flatten();
    lists.filter_map(Value::as_str).map(str::to_owned).collect()
}

impl fmt::Display for Refused<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Refusal { listener, client, server_name } = self.refusal;
        write!(f, "Gateway {} {listener}: ", self.gateway)?;
        match server_name {
            Some(name) => write!(f, "no listener or certificate for {name}")?,
            None => f.write_str("a connection without TLS, or without a server name")?,
        }
        write!(f, " (from {client}); served: {}", self.served.join(", "))?;
        match server_name {
            Some(name) => write!(f, "; add a listener for {name}, or call one of these names"),
            None => f.write_str("; name one: grpcurl -authority NAME, curl --connect-to"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sluice_core::{hostname::Hostname, ir};

    fn snapshot() -> std::sync::Arc<Snapshot> {
        let chain = |sni: &str| ir::Chain {
            sni: Hostname::parse(Some(sni)),
            certificates: vec!["a".into()],
            clients: None,
            routes: "r".into(),
        };
        let chains = vec![chain("a.example.com"), chain("*.b.example.com")];
        let protocol = ir::Protocol::Https { chains };
        let listener = ir::Listener { port: 443, bind: "127.0.0.1:8443".parse().unwrap(), protocol };
        let mut edit = Snapshot::empty().edit();
        edit.set(sluice_envoy::encode::listener(&listener));
        edit.publish().unwrap()
    }

    #[test]
    fn a_refusal_names_what_was_asked_for_and_what_is_served() {
        let gateway = NsName::new("default", "edge");
        let cases = [
            (
                "b.example.com",
                "https-443: no listener or certificate for b.example.com (from 127.0.0.1:5); served: a.example.com, *.b.example.com; add",
            ),
            ("-", "without a server name (from 127.0.0.1:5); served: a.example.com, *.b.example.com; name one"),
        ];
        for (name, expected) in cases {
            let line = format!("no filter chain: https-443 127.0.0.1:5 {name}");
            let said = Refused::read(&line, &gateway, Some(&snapshot())).unwrap().to_string();
            assert!(said.starts_with("Gateway default/edge ") && said.contains(expected), "{said}");
        }
        assert!(Refused::read("ready", &gateway, Some(&snapshot())).is_none());
    }
}
