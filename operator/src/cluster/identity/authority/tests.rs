use super::*;
use chrono::TimeDelta;
use sluice_core::key::NsName;
use std::time::Duration;

const LIVES: Lifetimes = Lifetimes { authority: Duration::from_hours(1200), leaf: Duration::from_hours(100) };

fn start() -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000, 0).unwrap()
}

fn after(hours: i64) -> DateTime<Utc> {
    start() + TimeDelta::hours(hours)
}

fn gateway() -> Subject {
    Subject::Gateway(NsName::new("shop", "edge"))
}

fn kept(authority: &Authority) -> Authority {
    let data = authority.data().into_iter().map(|(name, text)| (name, text.into_bytes())).collect();
    Authority::read(&data).unwrap()
}

fn count(pem: &str) -> usize {
    der(pem).len()
}

#[test]
fn a_successor_is_trusted_before_it_signs_and_its_predecessor_until_it_expires() {
    let first = Authority::new(start(), LIVES).unwrap();
    assert_eq!(first.renewed(after(799), LIVES).unwrap(), None);
    assert_eq!(first.due(start(), LIVES).unwrap(), after(800));

    let second = first.renewed(after(800), LIVES).unwrap().unwrap();
    assert_eq!((second.signer == first.signer, count(&second.trusted())), (true, 2));
    assert_eq!(second.renewed(after(899), LIVES).unwrap(), None);
    assert_eq!(second.due(after(800), LIVES).unwrap(), after(900));

    let third = second.renewed(after(900), LIVES).unwrap().unwrap();
    assert_eq!((Some(&third.signer), count(&third.trusted())), (second.next.as_ref(), 2));
    assert_eq!(third.due(after(900), LIVES).unwrap(), after(1200), "the first one expires");

    let fourth = third.renewed(after(1200), LIVES).unwrap().unwrap();
    assert_eq!(count(&fourth.trusted()), 1);
    for authority in [first, second, third, fourth] {
        assert_eq!(kept(&authority), authority);
    }
}

#[test]
fn whatever_was_signed_is_trusted_as_long_as_it_is_valid() {
    let mut authority = Authority::new(start(), LIVES).unwrap();
    let mut leaves: Vec<Leaf> = Vec::new();
    for hour in (0..6000).step_by(25) {
        let now = after(hour);
        if let Some(renewed) = authority.renewed(now, LIVES).unwrap() {
            authority = renewed;
        }
        leaves.push(authority.issue(&gateway(), now, LIVES).unwrap());
        leaves.retain(|leaf| expiry(&leaf.certificate).is_some_and(|end| end > now));
        assert!(leaves.iter().all(|leaf| authority.signed(&leaf.certificate).is_some()), "hour {hour}");
        assert!(count(&authority.trusted()) <= 3);
    }
}

#[test]
fn a_ca_that_nobody_renewed_in_time_is_replaced_at_once() {
    let first = Authority::new(start(), LIVES).unwrap();
    let late = first.renewed(after(1300), LIVES).unwrap().unwrap();
    let later = late.renewed(after(1300), LIVES).unwrap().unwrap();
    assert_eq!((Some(&later.signer), count(&later.trusted())), (late.next.as_ref(), 1));
}

#[test]
fn a_certificate_is_replaced_in_time_and_at_once_when_its_ca_is_unknown_or_it_lasts_too_long() {
    let authority = Authority::new(start(), LIVES).unwrap();
    let leaf = authority.issue(&gateway(), start(), LIVES).unwrap();
    let renewal = authority.renewal(&leaf.certificate, start(), LIVES);
    assert!((renewal - (after(100) - TimeDelta::hours(100) / 3)).abs() < TimeDelta::seconds(2), "{renewal}");
    let short = Lifetimes { leaf: Duration::from_hours(1), ..LIVES };
    assert_eq!(authority.renewal(&leaf.certificate, start(), short), start());
    let other = Authority::new(after(1), LIVES).unwrap();
    assert_eq!(other.renewal(&leaf.certificate, after(2), LIVES), after(2));
    assert_eq!(authority.renewal("nonsense", after(2), LIVES), after(2));
}

#[test]
fn a_certificate_never_outlasts_the_ca_that_signed_it() {
    let long = Lifetimes { leaf: Duration::from_hours(9999), ..LIVES };
    let mut authority = Authority::new(start(), long).unwrap();
    for hour in (0..3000).step_by(100) {
        authority = authority.renewed(after(hour), long).unwrap().unwrap_or(authority);
        let leaf = authority.issue(&gateway(), after(hour), long).unwrap();
        assert!(expiry(&leaf.certificate).unwrap() <= authority.validity().unwrap().to, "hour {hour}");
    }
}

#[test]
fn a_certificate_names_its_gateway_and_no_other_does() {
    let authority = Authority::new(start(), LIVES).unwrap();
    let named = |subject: &Subject| {
        let leaf = authority.issue(subject, start(), LIVES).unwrap();
        leaf::gateway(der(&leaf.certificate).first().unwrap())
    };
    assert_eq!(named(&gateway()), Some(NsName::new("shop", "edge")));
    assert_eq!(named(&Subject::ControlPlane("sluice-xds.sluice-system.svc".to_owned())), None);
    assert_eq!(named(&Subject::Gateway(NsName::new("shop", "edge/gateway/other"))), None);
}

#[test]
fn what_makes_no_sense_is_refused_and_keys_are_not_shown() {
    let authority = Authority::new(start(), LIVES).unwrap();
    let mut data: BTreeMap<_, _> = authority.data().into_iter().map(|(name, text)| (name, text.into_bytes())).collect();
    data.insert("tls.key".to_owned(), b"nonsense".to_vec());
    assert!(Authority::read(&data).is_err());
    assert!(Authority::read(&BTreeMap::new()).is_err());
    assert!(!format!("{authority:?}").contains("PRIVATE KEY"));
}
