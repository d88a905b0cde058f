//! Makes what the core may not: keys, serial numbers, signatures.
//!
//! [`Issue`] (and the CA's Secret) → a Secret as JSON, or why there is none
//!
//! Must not know: when a certificate is needed, or what it has to say: both are in the [`Issue`].

use anyhow::Context as _;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use chrono::{DateTime, Utc};
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use rustls_pki_types::CertificateDer;
use serde_json::{Value, json};
use sluice_core::{
    author::{CertSpec, Issue, Issuer as Signer},
    key::{Kind, Ref},
    world::{Object, World, secret::Secret},
};
use sluice_engine::{Input, WriteOutcome};

/// Makes the Secret that was asked for, signed by a CA that is in the world; as JSON and decoded.
///
/// # Errors
/// As [`issue`].
pub(crate) fn made(wanted: &Issue, world: &World) -> anyhow::Result<(Value, Object)> {
    let authority = match &wanted.spec.issuer {
        Signer::Itself => None,
        Signer::Authority(name) => world.all::<Secret>().get(name),
    };
    let value = issue(wanted, authority.map(|secret| &**secret))?;
    let object = Object::decode(Kind::Secret, value.clone())?;
    Ok((value, object))
}

/// Says that it could not be made, to people and as the engine takes it.
pub(crate) fn unmade(wanted: &Issue, error: &anyhow::Error) -> Input {
    tracing::error!("Secret {}: {error:#}", wanted.secret);
    // The causes below say where in a parser it went wrong: the log has them.
    let words = error.chain().take(2).map(ToString::to_string).collect::<Vec<_>>().join(": ");
    let outcome = WriteOutcome::Refused(words.into());
    Input::Wrote { reference: Ref::new(Kind::Secret, wanted.secret.clone()), generation: 0, outcome }
}

/// Makes the Secret that was asked for; `authority` is the Secret of the CA that signs, unless it is a CA itself.
///
/// # Errors
/// When a leaf is asked for and the CA's Secret is absent or does not hold a certificate with its key.
fn issue(issue: &Issue, authority: Option<&Secret>) -> anyhow::Result<Value> {
    let key = KeyPair::generate().context("making a key")?;
    let (certificate, chain) = match &issue.spec.issuer {
        Signer::Itself => {
            let certificate = params(&issue.spec)?.self_signed(&key).context("signing a CA")?;
            (certificate, None)
        }
        Signer::Authority(name) => {
            let secret = authority.with_context(|| format!("the CA's Secret {name} does not exist"))?;
            let (certificate, authority) =
                sign(&issue.spec, &key, secret).with_context(|| format!("signing with the CA in Secret {name}"))?;
            (certificate, Some(authority))
        }
    };
    Ok(secret(issue, &certificate, &key, chain.as_deref()))
}

fn sign(spec: &CertSpec, key: &KeyPair, authority: &Secret) -> anyhow::Result<(Certificate, String)> {
    let text = |name: &str| -> anyhow::Result<String> {
        let bytes = authority.get(name).with_context(|| format!("it has no {name}"))?;
        String::from_utf8(bytes.to_vec()).with_context(|| format!("its {name} is not text"))
    };
    let chain = text("tls.crt")?;
    let (_, pem) = x509_parser::pem::parse_x509_pem(chain.as_bytes()).context("its tls.crt is not PEM")?;
    let issuer_key = KeyPair::from_pem(&text("tls.key")?).context("its tls.key is not a key")?;
    let issuer =
        Issuer::from_ca_cert_der(&CertificateDer::from(pem.contents), issuer_key).context("its tls.crt is not a CA")?;
    Ok((params(spec)?.signed_by(key, &issuer)?, chain))
}

fn params(spec: &CertSpec) -> anyhow::Result<CertificateParams> {
    let names: Vec<String> = spec.sans.iter().map(ToString::to_string).collect();
    let mut params = CertificateParams::new(names).context("hostnames of the certificate")?;
    params.distinguished_name.push(DnType::CommonName, &*spec.common_name);
    params.not_before = instant(spec.not_before)?;
    params.not_after = instant(spec.not_after)?;
    // Leaves name the key that signed them, so that a replaced CA is noticed.
    params.use_authority_key_identifier_extension = true;
    if spec.issuer == Signer::Itself {
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    } else {
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    }
    Ok(params)
}

fn instant(time: DateTime<Utc>) -> anyhow::Result<time::OffsetDateTime> {
    time::OffsetDateTime::from_unix_timestamp(time.timestamp()).context("a date beyond the calendar")
}

fn secret(issue: &Issue, certificate: &Certificate, key: &KeyPair, authority: Option<&str>) -> Value {
    let chain = certificate.pem();
    let authority = authority.unwrap_or(&chain);
    let encode = |text: &str| STANDARD.encode(text);
    json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": issue.metadata,
        "type": "kubernetes.io/tls",
        "data": {"tls.crt": encode(&chain), "tls.key": encode(&key.serialize_pem()), "ca.crt": encode(authority)},
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use sluice_core::{
        author::{Authored, author},
        key::NsName,
        world::{Change, Reader, Settings, Surfaces},
    };

    fn world() -> World {
        let mut world = World::new(Settings::default());
        world.apply(Change::Clock(DateTime::from_timestamp(1_800_000_000, 0).unwrap()));
        let spec = json!({
            "hostnames": ["grpc.example.com", "*.a.example.com"],
            "gateways": [{"name": "public", "own": {"gatewayClassName": "sluice"}}],
            "tls": {"type": "SelfSigned"},
            "backends": [{"name": "echo", "service": {"name": "echo", "port": 9000}}],
        });
        let metadata = json!({"namespace": "shop", "name": "echo", "uid": "u"});
        let service = Object::decode(Kind::GrpcService, json!({"metadata": metadata, "spec": spec})).unwrap();
        world.apply(service.into());
        world
    }

    fn authored(world: &World) -> Authored {
        author(&NsName::new("shop", "echo"), &Reader::new(world, &Surfaces::new())).unwrap()
    }

    #[test]
    fn what_is_made_is_what_was_asked_for() {
        let mut world = world();
        for expected in ["echo-ca", "echo-tls"] {
            let issues = authored(&world).issues;
            let [wanted] = issues.as_slice() else { panic!("one issue: {issues:?}") };
            assert_eq!(&*wanted.secret.name, expected);
            let (_, object) = made(wanted, &world).unwrap();
            world.apply(object.into());
        }
        assert_eq!(authored(&world).issues, []);
    }

    #[test]
    fn a_leaf_without_its_ca_is_refused_by_name() {
        let mut world = world();
        let authority = authored(&world).issues.remove(0);
        let (_, object) = made(&authority, &world).unwrap();
        world.apply(object.into());
        let leaf = authored(&world).issues.remove(0);
        let error = made(&leaf, &World::default()).unwrap_err();
        assert!(error.to_string().contains("shop/echo-ca"), "{error}");
    }
}
