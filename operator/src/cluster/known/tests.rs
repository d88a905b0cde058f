use super::*;
use serde_json::json;

/// A Service with one port, at a version.
fn service(name: &str, version: &str, port: u16) -> String {
    let metadata = json!({"namespace": "a", "name": name, "resourceVersion": version, "uid": name});
    json!({"metadata": metadata, "spec": {"ports": [{"port": port}]}}).to_string()
}

fn broken(name: &str, version: &str) -> String {
    service(name, version, 1).replace("\"port\":1", "\"port\":\"one\"")
}

/// What the engine would be told, in short.
fn said(changes: Vec<Change>) -> Vec<String> {
    let line = |change| match change {
        Change::Upsert(object) => Some(format!("+{}", object.key().name)),
        Change::Delete(reference) => Some(format!("-{}", reference.key.name)),
        Change::Observe(_, None) => None,
        other => Some(format!("{other:?}")),
    };
    changes.into_iter().filter_map(line).collect()
}

fn list(known: &mut Known, items: &[String]) -> Vec<String> {
    let mut listing = Listing::default();
    for item in items {
        // What does not decode is counted, and asserted on there.
        let _ = known.note(&mut listing, &Head::of(item).unwrap(), item);
    }
    said(known.replace(listing))
}

fn upsert(known: &mut Known, item: &str) -> Vec<String> {
    known.upsert(&Head::of(item).unwrap(), item).map(said).unwrap_or_default()
}

#[test]
fn a_second_list_says_what_differs_and_nothing_else() {
    let mut known = Known::new(Kind::Service);
    let first = [service("x", "1", 80), service("y", "2", 80), service("z", "3", 80)];
    assert_eq!(list(&mut known, &first), ["+x", "+y", "+z"]);
    assert!(list(&mut known, &first).is_empty());
    let second = [service("x", "1", 80), service("y", "4", 81), service("w", "5", 80)];
    assert_eq!(list(&mut known, &second), ["+y", "+w", "-z"]);
}

#[test]
fn a_list_that_broke_off_changes_nothing() {
    let mut known = Known::new(Kind::Service);
    list(&mut known, &[service("x", "1", 80), service("y", "2", 80)]);
    let item = service("x", "3", 81);
    known.note(&mut Listing::default(), &Head::of(&item).unwrap(), &item).unwrap();
    assert_eq!(list(&mut known, &[item, service("y", "2", 80)]), ["+x"], "what was read in vain is told later");
}

#[test]
fn events_between_two_lists_count() {
    let mut known = Known::new(Kind::Service);
    list(&mut known, &[service("x", "1", 80)]);
    assert_eq!(upsert(&mut known, &service("y", "2", 80)), ["+y"]);
    assert_eq!(said(vec![known.remove(&Head::of(&service("x", "3", 80)).unwrap())]), ["-x"]);
    assert_eq!((list(&mut known, &[service("y", "2", 80)]).len(), known.len()), (0, 1));
}

#[test]
fn what_says_what_was_told_is_not_told_again() {
    let mut known = Known::new(Kind::GrpcRoute);
    let route = |version: &str, annotation: &str, status: &str, owner: Option<&str>, host: &str| {
        let owner = owner.map(|name| json!([{"kind": "GrpcService", "name": name, "uid": "u", "controller": true}]));
        json!({
            "metadata": {
                "namespace": "a", "name": "x", "uid": "x", "resourceVersion": version,
                "annotations": {"somebody": annotation}, "managedFields": [{"manager": annotation}], "ownerReferences": owner,
            },
            "spec": {"hostnames": [host]},
            "status": {"parents": [], "conditions": [{"type": status}]},
        })
        .to_string()
    };
    assert_eq!(upsert(&mut known, &route("1", "a", "a", None, "one")), ["+x"]);
    assert!(upsert(&mut known, &route("2", "b", "b", None, "one")).is_empty(), "nobody reads what differs");
    assert_eq!(upsert(&mut known, &route("3", "b", "b", None, "two")), ["+x"]);
    assert_eq!(upsert(&mut known, &route("4", "b", "b", None, "one")), ["+x"], "it is compared with the last");
    let generated = |version: &str, status: &str| route(version, "b", status, Some("s"), "one");
    assert_eq!(upsert(&mut known, &generated("5", "b")).len(), 2);
    assert_eq!(upsert(&mut known, &generated("6", "c")).len(), 2, "somebody reads its status");
    known.remove(&Head::of(&generated("7", "c")).unwrap());
    assert_eq!(upsert(&mut known, &generated("8", "c")).len(), 2, "it was gone meanwhile");
}

#[test]
fn of_an_object_that_says_what_was_told_the_one_that_was_told_is_kept() {
    let mut known = Known::new(Kind::Service);
    let mut told = |item: &str| known.upsert(&Head::of(item).unwrap(), item).unwrap();
    let changes = told(&service("x", "1", 80));
    let [Change::Upsert(Object::Service(world))] = changes.as_slice() else { panic!("{changes:?}") };
    assert!(told(&service("x", "2", 80)).is_empty());
    assert_eq!(Arc::strong_count(world), 2, "here and in the world");
    assert!(list(&mut known, &[service("x", "2", 80)]).is_empty(), "at the version of the latter");
}

#[test]
fn what_does_not_decode_keeps_its_last_good_form_and_takes_nobody_with_it() {
    let mut known = Known::new(Kind::Service);
    assert_eq!(list(&mut known, &[broken("x", "1"), service("y", "2", 80)]), ["+y"]);
    assert_eq!((known.len(), known.undecodable()), (2, 1));
    assert_eq!(upsert(&mut known, &service("x", "3", 80)), ["+x"]);
    assert_eq!(known.undecodable(), 0);
    assert!(upsert(&mut known, &broken("x", "4")).is_empty());
    assert_eq!(known.undecodable(), 1);
    assert!(list(&mut known, &[broken("x", "4"), service("y", "2", 80)]).is_empty(), "it is not gone");
    assert_eq!(known.undecodable(), 1);
    known.remove(&Head::of(&broken("x", "5")).unwrap());
    assert_eq!(known.undecodable(), 0);
}

#[test]
fn an_object_that_does_not_decode_is_named_with_what_is_wrong() {
    let mut known = Known::new(Kind::Service);
    let item = broken("x", "1");
    let error = known.upsert(&Head::of(&item).unwrap(), &item).unwrap_err().to_string();
    assert!(error.starts_with("a/x: not a valid Service: invalid type: string \"one\""), "{error}");
}

#[test]
fn the_status_of_what_is_rolled_up_comes_with_the_object() {
    let status = json!({"conditions": [{"type": "Accepted", "status": "True"}], "addresses": [{"value": "192.0.2.1"}]});
    let metadata = json!({"namespace": "a", "name": "g", "resourceVersion": "1"});
    let gateway = json!({"metadata": metadata, "spec": {"gatewayClassName": "c", "listeners": []}, "status": status});
    let changes = decode(Kind::Gateway, &gateway.to_string()).unwrap();
    let [Change::Upsert(_), Change::Observe(of, Some(status))] = changes.as_slice() else { panic!("{changes:?}") };
    assert_eq!((of.kind, &*status.addresses[0].value), (Kind::Gateway, "192.0.2.1"));
}

#[test]
fn of_a_config_map_only_certificates_are_kept() {
    let metadata = json!({"namespace": "a", "name": "ca", "resourceVersion": "1"});
    let map = json!({"metadata": metadata, "data": {"ca.crt": "PEM", "other": "megabytes"}});
    let changes = decode(Kind::ConfigMap, &map.to_string()).unwrap();
    let [Change::Upsert(Object::ConfigMap(map))] = changes.as_slice() else { panic!("{changes:?}") };
    assert_eq!(map.data.keys().map(|name| &**name).collect::<Vec<_>>(), ["ca.crt"]);
}
