//! Whether a private key belongs to a certificate.
//!
//! PEM blocks of a key, the public key of a certificate → [`Fit`]
//!
//! Only the public half that the key file carries is compared; no arithmetic is done with the private one, so that
//! nothing here can leak it by timing, and no cryptographic library enters the pure core. A key whose halves contradict
//! each other is refused by the proxy. Sources: RFC 8017 A.1.2 (PKCS#1), RFC 5915 (SEC 1), RFC 5958 (PKCS#8).

use x509_parser::{
    asn1_rs::{Any, BitString, FromDer, Integer, OctetString, Sequence, Tag},
    oid_registry::{OID_KEY_TYPE_EC_PUBLIC_KEY, OID_PKCS1_RSAENCRYPTION},
    pem::Pem,
    public_key::PublicKey,
    x509::{AlgorithmIdentifier, SubjectPublicKeyInfo},
};

/// What a key file says about a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fit {
    /// It is the certificate's key.
    Fits,
    /// It is another's.
    Differs,
    /// It carries no public half (SEC 1 allows that, and Ed25519 never does): the proxy will tell.
    Untold,
    /// It is not a key.
    NoKey,
}

/// Compares the first key among the blocks (`openssl ecparam` writes its parameters before it).
pub(super) fn fit(blocks: &[Pem], public: &SubjectPublicKeyInfo) -> Fit {
    let key = blocks.iter().find(|block| block.label.ends_with("PRIVATE KEY"));
    let half = key.map(|block| match &*block.label {
        "RSA PRIVATE KEY" => rsa(&block.contents),
        "EC PRIVATE KEY" => ec(&block.contents),
        "PRIVATE KEY" => pkcs8(&block.contents),
        _ => None,
    });
    half.flatten().map_or(Fit::NoKey, |half| half.against(public))
}

/// Whether a key file needs a passphrase: PKCS#8 says so in its label, the older forms in a header inside the block.
pub(super) fn is_encrypted(file: &[u8]) -> bool {
    let has = |mark: &[u8]| file.windows(mark.len()).any(|window| window == mark);
    has(b"-----BEGIN ENCRYPTED PRIVATE KEY-----") || has(b"Proc-Type: 4,ENCRYPTED")
}

/// The public half of a private key.
enum Half {
    Rsa {
        modulus: Vec<u8>,
        exponent: Vec<u8>,
    },
    Ec(Vec<u8>),
    /// Of an elliptic curve, without the point.
    EcWithoutPoint,
    /// Another algorithm, by its identifier in DER.
    Other(Vec<u8>),
}

impl Half {
    fn against(&self, public: &SubjectPublicKeyInfo) -> Fit {
        let fits = match (self, public.parsed()) {
            (Self::Rsa { modulus, exponent }, Ok(PublicKey::RSA(rsa))) => {
                unsigned(modulus) == unsigned(rsa.modulus) && unsigned(exponent) == unsigned(rsa.exponent)
            }
            (Self::Ec(point), Ok(PublicKey::EC(_))) => **point == *public.subject_public_key.data,
            (Self::EcWithoutPoint, Ok(PublicKey::EC(_))) => return Fit::Untold,
            (Self::Other(algorithm), _) if **algorithm == *public.algorithm.algorithm.as_bytes() => return Fit::Untold,
            _ => false,
        };
        if fits { Fit::Fits } else { Fit::Differs }
    }
}

/// DER writes a leading zero before a set top bit; compare without it.
fn unsigned(bytes: &[u8]) -> &[u8] {
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    bytes.get(zeros..).unwrap_or_default()
}

/// `SEQUENCE { version, modulus, publicExponent, privateExponent, … }`.
fn rsa(der: &[u8]) -> Option<Half> {
    let (_, sequence) = Sequence::from_der(der).ok()?;
    let (rest, _version) = Integer::from_der(&sequence.content).ok()?;
    let (rest, modulus) = Integer::from_der(rest).ok()?;
    let (rest, exponent) = Integer::from_der(rest).ok()?;
    let (_, _private) = Integer::from_der(rest).ok()?;
    Some(Half::Rsa { modulus: modulus.as_ref().to_vec(), exponent: exponent.as_ref().to_vec() })
}

/// `SEQUENCE { version, privateKey OCTET STRING, [0] parameters, [1] publicKey BIT STRING }`, both last ones optional.
fn ec(der: &[u8]) -> Option<Half> {
    let (_, sequence) = Sequence::from_der(der).ok()?;
    let (rest, _version) = Integer::from_der(&sequence.content).ok()?;
    let (mut rest, _private) = OctetString::from_der(rest).ok()?;
    while !rest.is_empty() {
        let (after, field) = Any::from_der(rest).ok()?;
        if field.tag() == Tag(1) {
            let (_, point) = BitString::from_der(field.data).ok()?;
            return Some(Half::Ec(point.data.to_vec()));
        }
        rest = after;
    }
    Some(Half::EcWithoutPoint)
}

/// `SEQUENCE { version, algorithm, privateKey OCTET STRING, … }` around one of the others.
fn pkcs8(der: &[u8]) -> Option<Half> {
    let (_, sequence) = Sequence::from_der(der).ok()?;
    let (rest, _version) = Integer::from_der(&sequence.content).ok()?;
    let (rest, algorithm) = AlgorithmIdentifier::from_der(rest).ok()?;
    let (_, key) = OctetString::from_der(rest).ok()?;
    if algorithm.algorithm == OID_PKCS1_RSAENCRYPTION {
        rsa(key.as_ref())
    } else if algorithm.algorithm == OID_KEY_TYPE_EC_PUBLIC_KEY {
        ec(key.as_ref())
    } else {
        Some(Half::Other(algorithm.algorithm.as_bytes().to_vec()))
    }
}
