//! Resources as people read them.
//!
//! [`Resource`] → JSON by protobuf's own mapping, every `Any` opened
//!
//! **Invariant:** no key appears, neither in clear nor as base64.
//! **Invariant:** never fails: what cannot be read is shown as its type and its reason.

use prost_reflect::{DescriptorPool, DynamicMessage, SerializeOptions};
use serde_json::{Value, json};
use sluice_xds::Resource;
use std::sync::LazyLock;

/// From the `.proto` files that envoy-types ships; about 1 MiB, decoded at the first use.
static POOL: LazyLock<Result<DescriptorPool, String>> = LazyLock::new(|| {
    let bytes: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
    DescriptorPool::decode(bytes).map_err(|error| error.to_string())
});

/// The fields that hold a key or a password, wherever they are.
const SECRET_FIELDS: [&str; 4] = ["private_key", "password", "pkcs12", "session_ticket_keys"];

/// The message of a resource with its `@type`. Field names are those of the `.proto` files, as in Envoy's `config_dump`.
pub fn view(resource: &Resource) -> Value {
    let url = resource.id.kind.type_url();
    let mut value = decode(url, &resource.bytes).unwrap_or_else(|reason| json!({ "unreadable": reason }));
    redact(&mut value);
    if let Value::Object(fields) = &mut value {
        fields.insert("@type".to_owned(), url.into());
    }
    value
}

fn decode(url: &str, bytes: &[u8]) -> Result<Value, String> {
    let pool = POOL.as_ref().map_err(Clone::clone)?;
    let name = url.rsplit('/').next().unwrap_or(url);
    let descriptor = pool.get_message_by_name(name).ok_or_else(|| format!("no descriptor of {name}"))?;
    let message = DynamicMessage::decode(descriptor, bytes).map_err(|error| error.to_string())?;
    let options = SerializeOptions::new().use_proto_field_name(true);
    message.serialize_with_options(serde_json::value::Serializer, &options).map_err(|error| error.to_string())
}

fn redact(value: &mut Value) {
    match value {
        Value::Object(fields) => fields.iter_mut().for_each(|(name, inner)| {
            if SECRET_FIELDS.contains(&name.as_str()) { *inner = "[redacted]".into() } else { redact(inner) }
        }),
        Value::Array(items) => items.iter_mut().for_each(redact),
        _ => {}
    }
}
