//! Our own GatewayClass, so that a Gateway has a class from the first minute.
//!
//! **Invariant:** one that is there is left as it is, whoever made it.
//!
//! Must not know: what a class is for.

use super::{
    backoff::Backoff,
    kinds,
    writer::{Fault, Verb, Writer},
};
use kube::{api::PostParams, core::DynamicObject};
use serde_json::json;
use sluice_core::key::{Kind, NsName, Ref};
use std::time::Duration;
use tokio::time::sleep;

/// The first wait after a failure, and the longest.
const WAITS: (Duration, Duration) = (Duration::from_secs(1), Duration::from_mins(1));

/// Makes the class if it is absent, each time that this process begins to lead.
pub(super) async fn keep(writer: Writer, class: String) {
    let mut backoff = Backoff::new(WAITS.0);
    loop {
        writer.leadership.won().await;
        match ensure(&writer, &class).await {
            Ok(()) => {
                backoff.reset();
                writer.leadership.lost().await;
            }
            Err(fault) => {
                tracing::warn!("GatewayClass {class}: {fault}");
                sleep(backoff.next(WAITS.1)).await;
            }
        }
    }
}

async fn ensure(writer: &Writer, class: &str) -> Result<(), Fault> {
    let reference = Ref::new(Kind::GatewayClass, NsName::cluster(class));
    if writer.get(&reference).await?.is_some() {
        return Ok(());
    }
    let mut object = DynamicObject::new(class, &kinds::resource(Kind::GatewayClass));
    object.data = json!({"spec": {"controllerName": sluice_api::CONTROLLER_NAME}});
    let params = PostParams { field_manager: Some(sluice_api::MANAGED_BY.to_owned()), ..PostParams::default() };
    let api = kinds::api(writer.client.clone(), &reference);
    match writer.send(Verb::Create, Kind::GatewayClass.name(), api.create(&params, &object)).await {
        // Somebody was faster.
        Ok(_) | Err(Fault::Stale) => Ok(()),
        Err(fault) => Err(fault),
    }
}
