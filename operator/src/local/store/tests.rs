use super::*;

const SERVICE: &str = "apiVersion: v1\nkind: Service\nmetadata: {name: NAME}\nspec: {ports: [{port: 9000}]}\n";

fn service(name: &str) -> String {
    SERVICE.replace("NAME", name)
}

fn source(file: &str, text: &str) -> Source {
    Source { file: file.into(), text: Ok(text.to_owned()) }
}

fn at(second: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(second, 0).unwrap()
}

fn told(update: &Update) -> Vec<String> {
    let name = |change: &Change| match change {
        Change::Upsert(object) => format!("+{}", object.reference()),
        Change::Delete(reference) => format!("-{reference}"),
        other => format!("{other:?}"),
    };
    update.changes.iter().map(name).collect()
}

fn errors(update: &Update) -> Vec<String> {
    let errors = update.findings.iter().filter(|finding| finding.severity == Severity::Error);
    errors.map(ToString::to_string).collect()
}

#[test]
fn a_first_reading_brings_the_objects_their_namespaces_and_the_class() {
    let mut store = Store::default();
    let first = store.read(&[source("a.yaml", &service("a"))], at(1));
    assert_eq!(told(&first), ["+GatewayClass sluice", "+Service default/a", "+Namespace default"]);
    assert!(
        first.findings.iter().any(|finding| finding.message.contains("--endpoints default/a=127.0.0.1:")),
        "{:?}",
        first.findings
    );
    let again = store.read(&[source("a.yaml", &service("a"))], at(2));
    assert_eq!(told(&again), Vec::<String>::new());
}

#[test]
fn the_last_good_version_stays_while_its_document_is_bad() {
    let mut store = Store::default();
    let good = format!("{}---\n{}", service("a"), service("b"));
    store.read(&[source("a.yaml", &good)], at(1));
    let before = store.objects().clone();
    for bad in [good.replacen("port: 9000", "port: x", 1), good.replacen("{ports", "{{ports", 1), "[".to_owned()] {
        let update = store.read(&[source("a.yaml", &bad)], at(2));
        assert_eq!(told(&update), Vec::<String>::new(), "{bad}");
        assert_eq!(errors(&update).len(), 1, "{bad}: {:?}", update.findings);
        assert_eq!(store.objects(), &before, "{bad}");
    }
    let unreadable = Source { file: "a.yaml".into(), text: Err("permission denied".to_owned()) };
    assert_eq!(told(&store.read(&[unreadable], at(3))), Vec::<String>::new());
    let shrunk = store.read(&[source("a.yaml", &service("a"))], at(4));
    assert_eq!(told(&shrunk), ["-Service default/b"]);
}

#[test]
fn an_unreadable_directory_keeps_what_is_below_it_and_nothing_else() {
    let mut store = Store::default();
    store.read(&[source("m/sub/a.yaml", &service("a")), source("m/sub2/b.yaml", &service("b"))], at(1));
    let unreadable = |file: &str| Source { file: file.into(), text: Err("permission denied".to_owned()) };
    assert_eq!(told(&store.read(&[unreadable("m/sub")], at(2))), ["-Service default/b"]);
    assert_eq!(told(&store.read(&[unreadable("m")], at(3))), Vec::<String>::new());
    assert_eq!(told(&store.read(&[], at(4))), ["-Service default/a", "-Namespace default"]);
}

#[test]
fn a_document_that_moves_to_another_file_changes_nothing() {
    let mut store = Store::default();
    store.read(&[source("a.yaml", &service("a")), source("b.yaml", "")], at(1));
    let moved = store.read(&[source("a.yaml", ""), source("b.yaml", &service("a"))], at(2));
    assert_eq!(told(&moved), Vec::<String>::new());
    let place = store.place(&Ref::new(Kind::Service, NsName::new("default", "a"))).unwrap();
    assert_eq!(place.to_string(), "b.yaml:1");
}

#[test]
fn of_two_documents_for_one_object_the_first_counts_and_the_second_is_named() {
    let mut store = Store::default();
    let second = service("a").replace("9000", "9001");
    let update = store.read(&[source("a.yaml", &service("a")), source("b.yaml", &second)], at(1));
    assert_eq!(
        errors(&update),
        ["b.yaml:1: Service default/a is already at a.yaml:1, and that one counts: remove one of them"]
    );
}

#[test]
fn age_and_generation_survive_a_restart_and_end_with_the_object() {
    let mut store = Store::default();
    let time =
        |store: &Store| store.objects()[&Ref::new(Kind::Service, NsName::new("default", "a"))]["metadata"].clone();
    store.read(&[source("a.yaml", &service("a"))], at(1));
    let mut restarted = Store::new(Endpoints::default(), store.identities().clone());
    restarted.read(&[source("a.yaml", &service("a").replace("9000", "9001"))], at(50));
    let metadata = time(&restarted);
    assert_eq!((&metadata["creationTimestamp"], &metadata["generation"]), (&json!("1970-01-01T00:00:01Z"), &json!(2)));
    restarted.read(&[source("a.yaml", "")], at(60));
    restarted.read(&[source("a.yaml", &service("a"))], at(70));
    let metadata = time(&restarted);
    assert_eq!((&metadata["creationTimestamp"], &metadata["generation"]), (&json!("1970-01-01T00:01:10Z"), &json!(1)));
}

#[test]
fn endpoints_of_the_command_line_become_slices_of_the_port_names() {
    let endpoints = Endpoints::new(vec!["default/a=127.0.0.1:7001,127.0.0.1:7002".parse().unwrap()]);
    let mut store = Store::new(endpoints, Identities::new());
    let named = service("a").replace("port: 9000", "name: grpc, port: 9000");
    let update = store.read(&[source("a.yaml", &named)], at(1));
    assert!(told(&update).contains(&"+EndpointSlice default/a-7001".to_owned()), "{:?}", told(&update));
    assert_eq!(update.findings, []);
    let slice = &store.objects()[&Ref::new(Kind::EndpointSlice, NsName::new("default", "a-7002"))];
    assert_eq!(slice["ports"], json!([{"name": "grpc", "port": 7002, "protocol": "TCP"}]));
    assert_eq!(slice["endpoints"], json!([{"addresses": ["127.0.0.1"], "conditions": {"ready": true}}]));
}
