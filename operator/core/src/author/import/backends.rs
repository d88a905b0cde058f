//! `spec.backends` in the making: each Service and port once, named after the Service.

use super::fresh;
use crate::key::Text;
use sluice_api::grpcservice::{Backend, BackendService};

/// The backends of one service.
pub(super) struct Pool {
    namespace: Text,
    backends: Vec<Backend>,
}

impl Pool {
    pub(super) fn new(namespace: Text) -> Self {
        Self { namespace, backends: Vec::new() }
    }

    /// The name of a backend. A rule that refers to one Service several times (with filters of their own) needs as many
    /// names, since a rule's backends are told apart by name: `occurrence` counts from 0. O(backends), at most 16.
    pub(super) fn name(&mut self, mut service: BackendService, occurrence: usize) -> String {
        if service.namespace.as_deref() == Some(&*self.namespace) {
            service.namespace = None;
        }
        if let Some(known) = self.backends.iter().filter(|backend| backend.service == service).nth(occurrence) {
            return known.name.clone();
        }
        let port = format!("{}-{}", service.name, service.port);
        let namespace = service.namespace.as_ref().map(|namespace| format!("{}-{namespace}", service.name));
        let wanted = [Some(service.name.clone()), namespace, Some(port)].into_iter().flatten();
        let name = fresh(wanted, |name| self.backends.iter().any(|backend| backend.name == name));
        self.backends.push(Backend { name: name.clone(), weight: None, service });
        name
    }

    /// Some backend, if there is any.
    pub(super) fn first(&self) -> Option<&str> {
        self.backends.first().map(|backend| backend.name.as_str())
    }

    /// The Services of the service's own namespace, sorted, each once.
    pub(super) fn own_services(&self) -> Vec<&str> {
        let own = self.backends.iter().filter(|backend| backend.service.namespace.is_none());
        let mut names: Vec<&str> = own.map(|backend| backend.service.name.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    pub(super) fn into_backends(self) -> Vec<Backend> {
        self.backends
    }
}
