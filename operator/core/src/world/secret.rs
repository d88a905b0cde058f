//! Secrets and ConfigMaps; key material shows itself as a hash only.

use super::meta::Meta;
use crate::key::Text;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, Deserializer};
use std::{
    collections::BTreeMap,
    fmt,
    hash::{Hash, Hasher},
    sync::Arc,
};

/// Bytes that never appear in logs, statuses or dumps: `Debug` shows a hash.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Sensitive(Arc<[u8]>);

impl Sensitive {
    /// Wraps bytes.
    pub fn new(bytes: impl Into<Arc<[u8]>>) -> Self {
        Self(bytes.into())
    }

    /// The bytes, for the encoder and for checks.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Sensitive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut hasher = rustc_hash::FxHasher::default();
        self.0.hash(&mut hasher);
        write!(f, "sensitive:{:016x}", hasher.finish())
    }
}

/// `Secret`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Secret {
    /// Metadata.
    pub metadata: Meta,
    /// `kubernetes.io/tls` and so on; `Opaque` when absent.
    #[serde(rename = "type", default = "Secret::default_type")]
    pub kind: Text,
    /// Decoded values; those that are not base64 are left out. `stringData` is merged in, as the API server does.
    #[serde(flatten)]
    pub data: SecretData,
}

impl Secret {
    fn default_type() -> Text {
        "Opaque".into()
    }

    /// A value of `data`.
    pub fn get(&self, key: &str) -> Option<&[u8]> {
        self.data.0.get(key).map(Sensitive::expose)
    }
}

/// The values of a Secret.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SecretData(pub BTreeMap<Text, Sensitive>);

impl<'de> Deserialize<'de> for SecretData {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Wire {
            data: Option<BTreeMap<Text, String>>,
            string_data: Option<BTreeMap<Text, String>>,
        }
        let wire = Wire::deserialize(deserializer)?;
        let decoded =
            wire.data.into_iter().flatten().filter_map(|(key, text)| Some((key, STANDARD.decode(text).ok()?)));
        let plain = wire.string_data.into_iter().flatten().map(|(key, text)| (key, text.into_bytes()));
        Ok(Self(decoded.chain(plain).map(|(key, bytes)| (key, Sensitive::new(bytes))).collect()))
    }
}

/// `ConfigMap`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct ConfigMap {
    /// Metadata.
    pub metadata: Meta,
    /// Text values.
    #[serde(default)]
    pub data: BTreeMap<Text, Text>,
}
