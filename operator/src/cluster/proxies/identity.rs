//! The Secret with which the proxies of a Gateway prove who they are.
//!
//! what is there, and the CA → what is to be there, and when to look again

use super::render::{Piece, object};
use crate::cluster::identity::{Authority, Leaf, Lifetimes, Subject};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use chrono::{DateTime, Utc};
use kube::core::DynamicObject;
use serde_json::{Value, json};
use sluice_core::translate::infrastructure::Infrastructure;

/// Not `kubernetes.io/tls`: whoever looks for certificates of listeners does not find these.
const TYPE: &str = "sluice.dev/proxy-identity";

/// The Secret.
pub(super) struct Identity {
    /// As it is to be.
    pub(super) secret: Value,
    /// When its certificate has to be replaced.
    pub(super) renewal: DateTime<Utc>,
}

/// Keeps the certificate that there is as long as it is fit, whatever happens to the CA.
pub(super) fn of(
    of: &Infrastructure,
    live: Option<&DynamicObject>,
    authority: &Authority,
    now: DateTime<Utc>,
    lives: Lifetimes,
) -> anyhow::Result<Identity> {
    let subject = Subject::Gateway(of.gateway.clone());
    let fit = live
        .and_then(held)
        .filter(|leaf| subject.is_named(leaf) && authority.renewal(&leaf.certificate, now, lives) > now);
    let leaf = match fit {
        Some(leaf) => leaf,
        None => authority.issue(&subject, now, lives)?,
    };
    let encode = |text: &str| STANDARD.encode(text);
    let data = json!({
        "tls.crt": encode(&leaf.certificate),
        "tls.key": encode(&leaf.key),
        "ca.crt": encode(&authority.trusted()),
    });
    let secret = object(of, Piece::Secret, json!({ "type": TYPE, "data": data }));
    Ok(Identity { secret, renewal: authority.renewal(&leaf.certificate, now, lives) })
}

/// The certificate and key of a Secret.
fn held(secret: &DynamicObject) -> Option<Leaf> {
    let text =
        |name: &str| String::from_utf8(STANDARD.decode(secret.data.get("data")?.get(name)?.as_str()?).ok()?).ok();
    Some(Leaf { certificate: text("tls.crt")?, key: text("tls.key")? })
}
