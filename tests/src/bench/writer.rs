//! Writes objects as users and their tools would.
//!
//! JSON → requests to the API server, and when their answers arrived
//!
//! **Invariant:** what is written is what the API server confirmed; an answer that is no success is an error.

use std::time::Instant;

use anyhow::{Context, Result, bail};
use futures::{StreamExt, TryStreamExt, stream};
use http::{Method, Request};
use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};
use serde_json::{Value, json};
use std::path::Path;

/// Requests at once when there are many: more only queue in the API server.
const AT_ONCE: usize = 32;

/// A connection to the API server.
#[derive(Clone)]
pub struct Writer(Client);

impl std::fmt::Debug for Writer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Writer")
    }
}

/// What was written, and when that was known.
#[derive(Clone, Debug)]
pub struct Written {
    /// When the answer had arrived.
    pub at: Instant,
    /// The object as it is now.
    pub object: Value,
}

impl Writer {
    /// As the user of a kubeconfig.
    pub async fn new(kubeconfig: &Path) -> Result<Self> {
        let kubeconfig = Kubeconfig::read_from(kubeconfig)?;
        let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
        Ok(Self(Client::try_from(config)?))
    }

    /// The client below.
    pub fn client(&self) -> Client {
        self.0.clone()
    }

    /// Creates an object.
    pub async fn create(&self, object: &Value) -> Result<Written> {
        self.send(Method::POST, &collection(object)?, "application/json", object).await
    }

    /// Creates many.
    pub async fn create_all(&self, objects: impl IntoIterator<Item = Value>) -> Result<()> {
        let writes = stream::iter(objects).map(|object| async move { self.create(&object).await });
        writes.buffer_unordered(AT_ONCE).try_for_each(|_| async { Ok(()) }).await
    }

    /// Replaces the parts of an object that `object` has (JSON merge patch).
    pub async fn merge(&self, object: &Value) -> Result<Written> {
        self.send(Method::PATCH, &path(object)?, "application/merge-patch+json", object).await
    }

    /// The same for its status.
    pub async fn merge_status(&self, object: &Value) -> Result<Written> {
        self.send(Method::PATCH, &format!("{}/status", path(object)?), "application/merge-patch+json", object).await
    }

    /// Deletes an object.
    pub async fn delete(&self, object: &Value) -> Result<Written> {
        self.send(Method::DELETE, &path(object)?, "application/json", &json!({})).await
    }

    /// An object as it is now, `None` if it is not there.
    pub async fn get(&self, object: &Value) -> Result<Option<Value>> {
        let request = Request::get(path(object)?).body(Vec::new())?;
        match self.0.request::<Value>(request).await {
            Ok(found) => Ok(Some(found)),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// All objects of the kind of `object`, in all namespaces.
    pub async fn list(&self, object: &Value) -> Result<Vec<Value>> {
        let request = Request::get(kind(object)?).body(Vec::new())?;
        let mut list: Value = self.0.request(request).await?;
        Ok(serde_json::from_value(list["items"].take())?)
    }

    async fn send(&self, method: Method, path: &str, media: &str, body: &Value) -> Result<Written> {
        let request = Request::builder().method(method.clone()).uri(path).header("content-type", media);
        let request = request.body(serde_json::to_vec(body)?)?;
        let object = self.0.request(request).await.with_context(|| format!("{method} {path}"))?;
        Ok(Written { at: Instant::now(), object })
    }
}

/// `/apis/<group>/<version>/<plural>`.
pub(super) fn kind(object: &Value) -> Result<String> {
    let version = object["apiVersion"].as_str().context("no apiVersion")?;
    let plural = match object["kind"].as_str().unwrap_or_default() {
        "GatewayClass" => "gatewayclasses".to_owned(),
        "" => bail!("no kind"),
        kind => format!("{}s", kind.to_lowercase()),
    };
    let root = if version.contains('/') { "apis" } else { "api" };
    Ok(format!("/{root}/{version}/{plural}"))
}

fn collection(object: &Value) -> Result<String> {
    let kind = kind(object)?;
    let Some(namespace) = object["metadata"]["namespace"].as_str() else { return Ok(kind) };
    let (version, plural) = kind.rsplit_once('/').context("no kind")?;
    Ok(format!("{version}/namespaces/{namespace}/{plural}"))
}

fn path(object: &Value) -> Result<String> {
    let name = object["metadata"]["name"].as_str().context("no name")?;
    Ok(format!("{}/{name}", collection(object)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_are_where_the_api_server_has_them() {
        let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"namespace": "a", "name": "b"}});
        assert_eq!(path(&service).unwrap(), "/api/v1/namespaces/a/services/b");
        let class = json!({
            "apiVersion": "gateway.networking.k8s.io/v1", "kind": "GatewayClass", "metadata": {"name": "c"},
        });
        assert_eq!(path(&class).unwrap(), "/apis/gateway.networking.k8s.io/v1/gatewayclasses/c");
    }
}
