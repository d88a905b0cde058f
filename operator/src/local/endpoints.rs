//! Endpoints without a cluster: addresses from the command line, and advice where there are none.
//!
//! `NS/SERVICE=ADDRESS:PORT,…` + Services → EndpointSlices, and findings
//!
//! It must not know files, nor whether anything listens at an address.

use super::finding::{Finding, Place, Severity};
use serde_json::{Value, json};
use sluice_core::key::{Kind, NsName, Ref};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    str::FromStr,
};

/// The label by which a slice belongs to a Service.
const SERVICE_NAME: &str = "kubernetes.io/service-name";

/// `NS/SERVICE=ADDRESS:PORT,…`
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Override {
    service: NsName,
    addresses: Vec<SocketAddr>,
}

/// Why an argument is not an [`Override`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}: write NAMESPACE/SERVICE=ADDRESS:PORT,…, such as default/echo=127.0.0.1:9000")]
pub(crate) struct Malformed(String);

impl FromStr for Override {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let malformed = |what: String| Malformed(what);
        let (service, addresses) = text.split_once('=').ok_or_else(|| malformed(format!("{text:?} has no '='")))?;
        let (namespace, name) = service.split_once('/').unwrap_or(("default", service));
        let addresses = addresses.split(',').filter(|address| !address.is_empty());
        let parsed = addresses.map(|address| {
            address.parse().map_err(|_| malformed(format!("{address:?} is not an IP address with a port")))
        });
        Ok(Self { service: NsName::new(namespace, name), addresses: parsed.collect::<Result<_, _>>()? })
    }
}

/// What the command line says about endpoints.
#[derive(Clone, Debug, Default)]
pub(crate) struct Endpoints(BTreeMap<NsName, BTreeSet<SocketAddr>>);

impl Endpoints {
    /// Of several for one Service, all addresses count.
    pub(crate) fn new(overrides: Vec<Override>) -> Self {
        let mut services = BTreeMap::<NsName, BTreeSet<SocketAddr>>::new();
        for given in overrides {
            services.entry(given.service).or_default().extend(given.addresses);
        }
        Self(services)
    }

    /// One slice for each target port, under every port name of the Service.
    pub(crate) fn slices(&self, objects: &BTreeMap<Ref, &Value>) -> Vec<(Ref, Value)> {
        let mut slices = Vec::new();
        for (service, addresses) in &self.0 {
            let names = port_names(objects.get(&Ref::new(Kind::Service, service.clone())).copied());
            let ports: BTreeSet<_> = addresses.iter().map(SocketAddr::port).collect();
            for port in ports {
                let at_port = addresses.iter().filter(|address| address.port() == port);
                slices.push(slice(service, port, &names, at_port));
            }
        }
        slices
    }

    /// What to write for Services that have no endpoints.
    pub(crate) fn advice(
        &self,
        objects: &BTreeMap<Ref, &Value>,
        place: &dyn Fn(&Ref) -> Option<Place>,
    ) -> Vec<Finding> {
        let sliced: BTreeSet<_> = objects.iter().filter_map(|(reference, value)| served(reference, value)).collect();
        let services = objects.keys().filter(|reference| reference.kind == Kind::Service);
        let without = services.filter(|service| !self.0.contains_key(&service.key) && !sliced.contains(&service.key));
        let advice =
            without.filter_map(|service| Some(Finding::new(Severity::Warning, place(service)?, words(&service.key))));
        advice.collect()
    }
}

fn words(service: &NsName) -> String {
    format!(
        "Service {service} has no endpoints: start it with --endpoints {service}=127.0.0.1:PORT, or write an EndpointSlice with the label {SERVICE_NAME}: {}",
        service.name
    )
}

/// The Service that an EndpointSlice belongs to.
fn served(reference: &Ref, value: &Value) -> Option<NsName> {
    if reference.kind != Kind::EndpointSlice {
        return None;
    }
    let name = value.get("metadata")?.get("labels")?.get(SERVICE_NAME)?.as_str()?;
    Some(NsName::new(reference.key.namespace.clone(), name))
}

fn port_names(service: Option<&Value>) -> Vec<String> {
    let ports = service.and_then(|service| service.pointer("/spec/ports")?.as_array());
    let name = |port: &Value| port.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
    ports.map_or_else(|| vec![String::new()], |ports| ports.iter().map(name).collect())
}

fn slice<'a>(
    service: &NsName,
    port: u16,
    names: &[String],
    addresses: impl Iterator<Item = &'a SocketAddr>,
) -> (Ref, Value) {
    let addresses: Vec<_> = addresses.map(SocketAddr::ip).collect();
    let family = if addresses.iter().all(std::net::IpAddr::is_ipv4) { "IPv4" } else { "IPv6" };
    let reference =
        Ref::new(Kind::EndpointSlice, NsName::new(service.namespace.clone(), format!("{}-{port}", service.name)));
    let value = json!({
        "apiVersion": Kind::EndpointSlice.api_version(),
        "kind": Kind::EndpointSlice.name(),
        "metadata": {
            "name": &*reference.key.name,
            "namespace": &*service.namespace,
            "labels": {SERVICE_NAME: &*service.name},
        },
        "addressType": family,
        "ports": names.iter().map(|name| json!({"name": name, "port": port, "protocol": "TCP"})).collect::<Vec<_>>(),
        "endpoints": addresses.iter().map(|ip| json!({"addresses": [ip], "conditions": {"ready": true}})).collect::<Vec<_>>(),
    });
    (reference, value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_argument_that_does_not_parse_says_what_to_write() {
        for (text, expected) in [
            ("echo", "no '='"),
            ("a/b=localhost:1", "\"localhost:1\" is not an IP address with a port"),
            ("a/b=127.0.0.1", "not an IP"),
        ] {
            let error = text.parse::<Override>().unwrap_err().to_string();
            assert!(error.contains(expected) && error.contains("default/echo=127.0.0.1:9000"), "{error}");
        }
        let given: Override = "echo=127.0.0.1:1,[::1]:2".parse().unwrap();
        assert_eq!((given.service.to_string(), given.addresses.len()), ("default/echo".to_owned(), 2));
    }
}
