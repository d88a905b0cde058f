//! Every way in which a GRPCRoute matches, each on a hostname of its own: `hit` is the rule in question, `miss` the one after.

use serde_json::{Value, json};
use sluice_tests::{
    calls::{Outcome, Speech, call},
    manifests::{backend, everything_to, route},
    stage::Stage,
};

/// Path, headers, and who has to answer.
type Call = (&'static str, &'static [(&'static str, &'static str)], &'static str);

const ECHO: &str = "/echo.Echo/Echo";
const ECHO_V2: &str = "/echo.Echo/EchoV2";
const STATUS: &str = "/echo.Stream/Status";

fn hit(matches: &Value) -> Value {
    json!([{"matches": matches, "backendRefs": [backend("hit")]}, {"backendRefs": [backend("miss")]}])
}

fn method(fields: &Value) -> Value {
    hit(&json!([{"method": fields}]))
}

fn headers(fields: &Value) -> Value {
    hit(&json!([{"headers": fields}]))
}

/// Two rules, the less specific one first, so that the order of the rules cannot be what decides.
fn outranked(by: &Value, weaker: &Value) -> Value {
    json!([
        {"matches": [weaker], "backendRefs": [backend("miss")]},
        {"matches": [by], "backendRefs": [backend("hit")]},
    ])
}

fn method_cases() -> Vec<(&'static str, Value, Vec<Call>)> {
    vec![
        (
            "service-and-method",
            method(&json!({"service": "echo.Echo", "method": "EchoV2"})),
            vec![(ECHO_V2, &[], "hit"), (ECHO, &[], "miss"), (STATUS, &[], "miss")],
        ),
        (
            "service-alone",
            method(&json!({"service": "echo.Echo"})),
            vec![(ECHO_V2, &[], "hit"), (ECHO, &[], "hit"), (STATUS, &[], "miss")],
        ),
        ("method-alone", method(&json!({"method": "Status"})), vec![(STATUS, &[], "hit"), (ECHO, &[], "miss")]),
        (
            "two-expressions",
            method(&json!({"type": "RegularExpression", "service": "echo\\.(Echo|Other)", "method": "Echo(V3)?"})),
            vec![(ECHO, &[], "hit"), (ECHO_V2, &[], "miss"), (STATUS, &[], "miss")],
        ),
        (
            "an-expression-for-services",
            method(&json!({"type": "RegularExpression", "service": ".*\\.Str[a-z]+"})),
            vec![(STATUS, &[], "hit"), (ECHO, &[], "miss")],
        ),
        (
            "an-expression-for-methods",
            method(&json!({"type": "RegularExpression", "method": ".*V\\d"})),
            vec![(ECHO_V2, &[], "hit"), (ECHO, &[], "miss")],
        ),
        // Ungrouped, `a|b` would match halves of the path.
        (
            "alternatives-stay-inside-their-part",
            method(&json!({"type": "RegularExpression", "service": "none|echo.Echo", "method": "Echo|None"})),
            vec![(ECHO, &[], "hit"), (ECHO_V2, &[], "miss"), (STATUS, &[], "miss")],
        ),
        (
            "any-of-several-matches",
            hit(&json!([{"method": {"method": "EchoV2"}}, {"method": {"service": "echo.Stream"}}])),
            vec![(ECHO_V2, &[], "hit"), (STATUS, &[], "hit"), (ECHO, &[], "miss")],
        ),
    ]
}

fn header_cases() -> Vec<(&'static str, Value, Vec<Call>)> {
    vec![
        (
            "a-header",
            headers(&json!([{"name": "env", "value": "canary"}])),
            vec![(ECHO, &[("env", "canary")], "hit"), (ECHO, &[("env", "canary2")], "miss"), (ECHO, &[], "miss")],
        ),
        (
            "a-header-by-expression-is-matched-whole",
            headers(&json!([{"type": "RegularExpression", "name": "env", "value": "can.*|dev"}])),
            vec![
                (ECHO, &[("env", "canary")], "hit"),
                (ECHO, &[("env", "dev")], "hit"),
                (ECHO, &[("env", "device")], "miss"),
                (ECHO, &[("env", "a-canary")], "miss"),
            ],
        ),
        (
            "all-of-several-headers",
            headers(&json!([{"name": "env", "value": "canary"}, {"name": "team", "value": "a"}])),
            vec![(ECHO, &[("env", "canary"), ("team", "a")], "hit"), (ECHO, &[("env", "canary")], "miss")],
        ),
        (
            "the-first-of-equal-names",
            headers(&json!([{"name": "env", "value": "canary"}, {"name": "ENV", "value": "other"}])),
            vec![(ECHO, &[("env", "canary")], "hit"), (ECHO, &[("env", "other")], "miss")],
        ),
        (
            "a-method-and-a-header",
            hit(&json!([{"method": {"method": "Echo"}, "headers": [{"name": "env", "value": "canary"}]}])),
            vec![(ECHO, &[("env", "canary")], "hit"), (ECHO, &[], "miss"), (ECHO_V2, &[("env", "canary")], "miss")],
        ),
    ]
}

fn precedence_cases() -> Vec<(&'static str, Value, Vec<Call>)> {
    let canary = json!([{"name": "env", "value": "canary"}]);
    let two = json!([{"name": "env", "value": "canary"}, {"name": "team", "value": "a"}]);
    let both: &[(&str, &str)] = &[("env", "canary"), ("team", "a")];
    vec![
        (
            "a-service-outranks-a-method",
            outranked(&json!({"method": {"service": "echo.Echo"}}), &json!({"method": {"method": "Echo"}})),
            vec![(ECHO, &[], "hit")],
        ),
        (
            "a-longer-method-outranks-headers",
            outranked(&json!({"method": {"service": "echo.Echo", "method": "Echo"}}), &json!({"headers": canary})),
            vec![(ECHO, &[("env", "canary")], "hit"), (ECHO_V2, &[("env", "canary")], "miss")],
        ),
        (
            "more-headers-outrank-fewer",
            outranked(&json!({"headers": two}), &json!({"headers": canary})),
            vec![(ECHO, both, "hit"), (ECHO, &[("env", "canary")], "miss")],
        ),
        (
            "the-first-of-equal-rules",
            json!([{"backendRefs": [backend("hit")]}, {"backendRefs": [backend("miss")]}]),
            vec![(ECHO, &[], "hit")],
        ),
    ]
}

/// Without a call, `sluice explain` says of it what Envoy did.
fn assert_explained(stage: &Stage, name: &str, path: &str, headers: &[(&str, &str)], expected: &str) {
    let told = stage.sluice.explain(&format!("{name}.example.com"), path, headers).unwrap();
    assert!(
        told.contains(&format!("  backend    default/{expected}/9000/h2 (100 %)\n")),
        "{name}: {path} {headers:?}\n{told}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn every_form_of_a_match_takes_what_it_names_and_nothing_else() {
    let cases: Vec<_> = [method_cases(), header_cases(), precedence_cases()].concat();
    let routes = cases.iter().map(|(name, rules, _)| route(name, &format!("{name}.example.com"), rules));
    let stage = Stage::new(&["hit", "miss"], routes).await.unwrap();
    for (name, _, calls) in &cases {
        stage.in_force(name).await.unwrap();
        let connection = stage.connect(&format!("{name}.example.com")).await.unwrap();
        for (path, headers, expected) in calls {
            let outcome = call(&connection, Speech::Grpc, path, headers).await.unwrap();
            assert_eq!(outcome, Outcome::Answered((*expected).to_owned()), "{name}: {path} {headers:?}");
            assert_explained(&stage, name, path, headers, expected);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_routes_the_more_specific_host_and_then_the_older_and_then_the_first_by_name_answers() {
    let aged = |name: &str, host: &str, service: &str, year: u16| {
        let mut route = route(name, host, &everything_to(service));
        route["metadata"]["creationTimestamp"] = json!(format!("{year}-01-01T00:00:00Z"));
        route
    };
    let documents = [
        aged("wide", "*.example.com", "miss", 2020),
        aged("exact", "exact.example.com", "hit", 2024),
        aged("a-younger", "aged.example.com", "miss", 2025),
        aged("b-older", "aged.example.com", "hit", 2024),
        aged("b-second", "named.example.com", "miss", 2024),
        aged("a-first", "named.example.com", "hit", 2024),
    ];
    let stage = Stage::new(&["hit", "miss"], &documents).await.unwrap();
    for route in ["wide", "exact", "a-younger", "b-older", "b-second", "a-first"] {
        stage.in_force(route).await.unwrap();
    }
    for (host, expected) in [("exact", "hit"), ("aged", "hit"), ("named", "hit"), ("any", "miss"), ("deep.er", "miss")]
    {
        // A certificate covers one label, a hostname of a Gateway any number: trust the name that is covered.
        let connection =
            stage.connect("any.example.com").await.unwrap().towards(&format!("{host}.example.com")).unwrap();
        let outcome = call(&connection, Speech::Grpc, ECHO, &[]).await.unwrap();
        assert_eq!(outcome, Outcome::Answered(expected.to_owned()), "{host}");
        assert_explained(&stage, host, ECHO, &[], expected);
    }
}
