use super::*;

fn word(kind: Kind, status: &Value) -> Word<'_> {
    Word { kind, status, generation: 3, current: 3, now: "now" }
}

fn condition(kind: &str, status: &str, generation: i64) -> Value {
    json!({"type": kind, "status": status, "reason": "R", "message": "", "observedGeneration": generation})
}

fn at(mut condition: Value, time: &str) -> Value {
    condition["lastTransitionTime"] = json!(time);
    condition
}

#[allow(clippy::needless_pass_by_value, reason = "callers write it in place")]
fn entry(controller: &str, parent: &str, conditions: Value) -> Value {
    json!({"parentRef": {"name": parent}, "controllerName": controller, "conditions": conditions})
}

fn ours(parent: &str, conditions: Value) -> Value {
    entry(CONTROLLER_NAME, parent, conditions)
}

#[test]
fn entries_of_others_stay_where_they_are_and_ours_keep_their_places() {
    let foreign = entry("example.com/other", "a", json!([{"type": "Odd", "extra": [1, {"z": null, "a": 2.50}]}]));
    let live = json!({"parents": [
        ours("gone", json!([])), foreign, ours("b", json!([at(condition("Accepted", "True", 2), "then")])), foreign,
    ]});
    let said = json!({"parents": [
        ours("new", json!([condition("Accepted", "True", 3)])), ours("b", json!([condition("Accepted", "True", 3)])),
    ]});
    let merged = word(Kind::GrpcRoute, &said).over(&live);
    let expected = json!({"parents": [
        foreign,
        ours("b", json!([at(condition("Accepted", "True", 3), "then")])),
        foreign,
        ours("new", json!([at(condition("Accepted", "True", 3), "now")])),
    ]});
    assert_eq!(merged.to_string(), expected.to_string());
}

#[test]
fn an_object_that_never_concerned_us_is_not_touched() {
    let said = json!({"parents": []});
    for live in [Value::Null, json!({}), json!({"parents": [entry("example.com/other", "a", json!([]))]})] {
        let merged = word(Kind::GrpcRoute, &said).over(&live);
        let live = if live.is_null() { json!({}) } else { live };
        assert_eq!(difference(&live, &merged), None, "{live}");
    }
}

#[test]
fn ours_make_room_for_those_of_others() {
    let live = json!({"ancestors": vec![entry("example.com/other", "x", json!([])); 15]});
    let ancestor =
        |name: &str| json!({"ancestorRef": {"name": name}, "controllerName": CONTROLLER_NAME, "conditions": []});
    let said = json!({"ancestors": [ancestor("a"), ancestor("b")]});
    let merged = word(Kind::GrpcPolicy, &said).over(&live);
    let all = merged["ancestors"].as_array().unwrap();
    assert_eq!((all.len(), &all[15]), (16, &ancestor("a")));
}

#[test]
fn conditions_of_others_stay_and_those_of_ours_that_are_over_go() {
    let live = json!({
        "conditions": [condition("example.com/Audited", "True", 1), at(condition("Programmed", "False", 2), "then")],
        "listeners": [{"name": "b", "conditions": [at(condition("Conflicted", "True", 2), "then"), condition("Odd", "True", 2)]}],
        "addresses": [{"value": "10.0.0.1"}],
    });
    let said = json!({
        "conditions": [condition("Accepted", "True", 3), condition("Programmed", "True", 3)],
        "listeners": [
            {"name": "a", "conditions": [condition("Accepted", "True", 3)]},
            {"name": "b", "conditions": [condition("Accepted", "True", 3)]},
        ],
    });
    let merged = word(Kind::Gateway, &said).over(&live);
    let accepted = at(condition("Accepted", "True", 3), "now");
    let expected = json!({
        "conditions": [
            condition("example.com/Audited", "True", 1), at(condition("Programmed", "True", 3), "now"), accepted,
        ],
        "listeners": [
            {"name": "a", "conditions": [accepted]},
            {"name": "b", "conditions": [condition("Odd", "True", 2), accepted]},
        ],
    });
    assert_eq!(merged, expected);
    assert_eq!(difference(&live, &merged).unwrap()["addresses"], Value::Null);
}

#[test]
fn what_is_about_a_later_generation_is_left_alone_unless_it_is_of_an_earlier_life() {
    let live = json!({"conditions": [at(condition("Accepted", "False", 4), "then")]});
    let said = json!({"conditions": [condition("Accepted", "True", 3)]});
    let word = word(Kind::GatewayClass, &said);
    assert_eq!(Word { current: 4, ..word }.over(&live), live);
    assert_eq!(word.over(&live), json!({"conditions": [at(condition("Accepted", "True", 3), "now")]}));
}

#[test]
fn a_service_is_said_as_a_whole_or_not_at_all() {
    let live = json!({
        "observedGeneration": 3,
        "servedGeneration": 3,
        "gateways": [{"name": "g", "conditions": [at(condition("Accepted", "True", 9), "then"), condition("istio.io/Odd", "True", 9)]}],
        "conditions": [at(condition("Ready", "True", 3), "then"), condition("Gone", "True", 3)],
    });
    let said = json!({
        "observedGeneration": 3,
        "gateways": [{"name": "g", "conditions": [condition("Accepted", "True", 1)]}],
        "conditions": [condition("Ready", "False", 3)],
    });
    let word = word(Kind::GrpcService, &said);
    let expected = json!({
        "observedGeneration": 3,
        "gateways": [{"name": "g", "conditions": [at(condition("Accepted", "True", 1), "then")]}],
        "conditions": [at(condition("Ready", "False", 3), "now")],
    });
    let merged = word.over(&live);
    assert_eq!(merged, expected);
    assert_eq!(difference(&live, &merged).unwrap()["servedGeneration"], Value::Null);
    assert_eq!(Word { generation: 2, ..word }.over(&live), live, "another leader knows more");
}

#[test]
fn a_difference_is_what_a_merge_patch_makes_good() {
    let from = json!({"a": 1, "b": {"c": [1], "d": 2}, "e": 3});
    let to = json!({"a": 1, "b": {"c": [1, 2], "d": 2}, "f": {"g": 1}});
    assert_eq!(difference(&from, &to), Some(json!({"b": {"c": [1, 2]}, "e": null, "f": {"g": 1}})));
    assert_eq!(difference(&to, &to), None);
    assert_eq!(difference(&Value::Null, &to), Some(to.clone()));
}
