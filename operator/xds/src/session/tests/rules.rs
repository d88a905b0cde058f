//! Subscriptions, claims, order, gates and progress.

use super::*;

const NOTHING: [&str; 0] = [];

#[test]
fn nothing_is_sent_before_the_first_snapshot() {
    let mut stream = Stream::new();
    assert_eq!(stream.ask(claiming(first(Cluster), &[("a", 1)])), NOTHING);
    assert_eq!(stream.at(5_000), NOTHING);
}

#[test]
fn clusters_go_with_their_assignments_behind_them_at_once() {
    let mut stream = Stream::with(&[cluster("a", 1), assignment("a", 7)]);
    assert_eq!(stream.ask(first(Cluster)), ["cluster: a=1", "assignment: a=7"]);
}

#[test]
fn what_is_under_way_answers_a_proxy_that_had_not_asked_before() {
    let mut stream = Stream::with(&[cluster("a", 1), assignment("a", 7)]);
    stream.ask(first(Cluster));
    assert_eq!(stream.ask(subscribe(Assignment, &["a"])), NOTHING);
    assert_eq!(stream.ack(Assignment), NOTHING);
    assert_eq!(stream.ask(subscribe(Assignment, &["a"])), ["assignment: a=7"], "whoever asks again has lost it");
}

#[test]
fn what_is_under_way_is_no_answer_once_the_proxy_may_have_dropped_it_or_refuses_it() {
    let asked = |nonce: &str| Request { nonce: nonce.to_owned(), ..subscribe(Assignment, &["a"]) };
    let sent = || {
        let mut stream = Stream::with(&[cluster("a", 1), assignment("a", 7)]);
        stream.ask(first(Cluster));
        stream
    };
    let mut stream = sent();
    let nonce = stream.last(Assignment).nonce.to_string();
    assert_eq!(stream.ask(asked(&nonce)), ["assignment: a=7"], "it answers while it asks");
    let mut stream = sent();
    stream.ack(Assignment);
    assert_eq!(stream.ask(asked("")), ["assignment: a=7"], "it had not asked when it answered");
    let mut stream = sent();
    stream.ask(asked(""));
    stream.nack(Assignment, "no");
    assert_eq!(stream.set(&[assignment("a", 8)], &[]), ["assignment: a=8"]);
}

#[test]
fn who_asked_for_what_does_not_exist_is_told_so_also_when_it_refuses_what_comes_with_that() {
    let mut stream = Stream::with(&[assignment("a", 7)]);
    assert_eq!(stream.ask(subscribe(Assignment, &["a", "gone"])), ["assignment: a=7 -gone"]);
    assert_eq!(stream.nack(Assignment, "no"), ["assignment: -gone"]);
    assert_eq!(stream.ack(Assignment), NOTHING);
}

#[test]
fn a_changed_cluster_gets_its_unchanged_assignment_and_secret_again() {
    let mut stream = Stream::settled();
    let needs = [id(Assignment, "a"), id(Secret, "s")];
    let sent = stream.set(&[form(Cluster, "a", 2, &needs), form(Secret, "s", 1, &[])], &[]);
    assert_eq!(sent, ["cluster: a=2", "assignment: a=1", "secret: s=1"]);
}

#[test]
fn assignments_never_wait_for_an_answer() {
    let mut stream = Stream::settled();
    stream.set(&[cluster("a", 2), host("rc/*", 2, &["a"])], &[]);
    for version in 3..9 {
        assert_eq!(stream.set(&[assignment("a", version)], &[]), [format!("assignment: a={version}")]);
    }
}

#[test]
fn unanswered_assignments_are_bounded_and_then_coalesce() {
    let mut stream = Stream::settled();
    let limit = Config::default().max_unanswered_leaves;
    let sent: usize = (2..200).map(|version| stream.set(&[assignment("a", version)], &[]).len()).sum();
    assert_eq!(sent, limit);
    assert_eq!(stream.ack(Assignment), ["assignment: a=199"]);
}

#[test]
fn an_empty_first_request_means_everything_for_clusters_and_listeners_and_nothing_for_the_others() {
    let resources: Vec<_> = ResourceType::ALL.into_iter().map(|kind| form(kind, "x", 1, &[])).collect();
    for kind in ResourceType::ALL {
        let mut stream = Stream::with(&resources);
        assert_eq!(stream.ask(first(kind)).len(), usize::from(kind.is_wildcard_by_default()), "{kind}");
    }
}

#[test]
fn a_proxy_without_clusters_or_listeners_is_told_so_once() {
    let mut stream = Stream::with(&[form(RouteConfiguration, "rc", 1, &[])]);
    for kind in [Cluster, Listener] {
        assert_eq!(stream.ask(first(kind)), [format!("{kind}:")]);
        assert_eq!(stream.ack(kind), NOTHING);
    }
    assert_eq!(stream.set(&[form(RouteConfiguration, "rc", 2, &[])], &[]), NOTHING);
    assert_eq!(stream.synced(), [1, 2]);
}

#[test]
fn an_explicit_first_request_for_clusters_is_not_a_wildcard() {
    let mut stream = Stream::with(&[form(Cluster, "a", 1, &[]), form(Cluster, "b", 1, &[])]);
    assert_eq!(stream.ask(subscribe(Cluster, &["b"])), ["cluster: b=1"]);
}

#[test]
fn a_star_subscribes_to_everything_and_can_be_taken_back() {
    let mut stream = Stream::with(&[assignment("a", 1), assignment("b", 1)]);
    assert_eq!(stream.ask(subscribe(Assignment, &["*", "a"])), ["assignment: a=1 b=1"]);
    stream.ack(Assignment);
    assert_eq!(stream.ask(unsubscribe(Assignment, &["*"])), NOTHING);
    assert_eq!(stream.set(&[assignment("a", 2), assignment("b", 2)], &[]), ["assignment: a=2"]);
}

#[test]
fn a_known_name_that_is_subscribed_again_is_sent_again() {
    let mut stream = Stream::settled();
    assert_eq!(stream.ask(subscribe(Assignment, &["a", "a"])), ["assignment: a=1"]);
}

#[test]
fn a_name_that_does_not_exist_is_answered_as_removed_and_sent_once_it_exists() {
    let mut stream = Stream::settled();
    assert_eq!(stream.ask(subscribe(Secret, &["s"])), ["secret: -s"]);
    assert_eq!(stream.set(&[form(Secret, "s", 1, &[])], &[]), ["secret: s=1"]);
}

#[test]
fn a_name_unsubscribed_from_under_a_wildcard_is_told_again() {
    let mut stream = Stream::settled();
    assert_eq!(stream.ask(unsubscribe(Listener, &["l"])), ["listener: l=1"]);
}

#[test]
fn a_name_unsubscribed_from_is_not_sent_any_more() {
    let mut stream = Stream::settled();
    assert_eq!(stream.ask(unsubscribe(Assignment, &["a"])), NOTHING);
    assert_eq!(stream.set(&[assignment("a", 2)], &[]), NOTHING);
}

#[test]
fn a_stale_nonce_is_no_answer_but_its_subscription_counts() {
    let mut stream = Stream::settled();
    stream.set(&[host("rc/*", 2, &["a"]), assignment("b", 1)], &[]);
    for nonce in ["1", "99999", "-3", "not a number", ""] {
        let stale = Request { nonce: nonce.into(), error: Some("no".into()), ..first(VirtualHost) };
        assert_eq!(stream.ask(stale), NOTHING, "{nonce}");
    }
    let stale = Request { nonce: "12345".into(), ..subscribe(Assignment, &["b"]) };
    assert_eq!(stream.ask(stale), ["assignment: b=1"]);
    assert!(stream.synced().iter().all(|revision| *revision < 2));
    stream.ack(VirtualHost);
    stream.ack(Assignment);
    assert_eq!(stream.synced(), [2]);
}

#[test]
fn a_reconnect_with_the_same_versions_is_sent_nothing() {
    let old = Stream::settled();
    let mut stream = Stream::new();
    stream.snapshot = old.snapshot;
    stream.step(Input::Snapshot(Arc::clone(&stream.snapshot)));
    assert_eq!(stream.ask(claiming(first(Cluster), &[("a", 1)])), NOTHING);
    assert_eq!(stream.ask(claiming(subscribe(Assignment, &["a"]), &[("a", 1)])), NOTHING);
    assert_eq!(stream.ask(claiming(first(Listener), &[("l", 1)])), NOTHING);
    assert_eq!(stream.ask(claiming(subscribe(RouteConfiguration, &["rc"]), &[("rc", 1)])), NOTHING);
    assert_eq!(stream.ask(claiming(first(VirtualHost), &[("rc/*", 1)])), NOTHING);
    assert_eq!(stream.synced(), [1]);
}

#[test]
fn a_reconnect_is_sent_the_difference_and_what_is_gone() {
    let mut stream = Stream::with(&[form(Listener, "changed", 2, &[]), form(Listener, "same", 1, &[])]);
    let claims = claiming(first(Listener), &[("same", 1), ("changed", 1), ("gone", 1)]);
    assert_eq!(stream.ask(claims), ["listener: changed=2 -gone"]);
}

#[test]
fn foreign_versions_are_told_anew() {
    let mut stream = Stream::with(&[form(Listener, "l", 2, &[])]);
    let foreign = vec![(Name::from("l"), "sha256:not ours".to_owned()), (Name::from("m"), String::new())];
    assert_eq!(stream.ask(Request { initial_versions: foreign, ..first(Listener) }), ["listener: l=2 -m"]);
}

#[test]
fn a_claimed_cluster_is_removed_only_after_the_claimed_routes_are_settled() {
    let mut stream = Stream::with(&[form(RouteConfiguration, "rc", 1, &[]), host("rc/*", 2, &[])]);
    assert_eq!(stream.ask(claiming(first(Cluster), &[("old", 1)])), NOTHING);
    stream.ask(first(Listener));
    stream.ask(claiming(subscribe(RouteConfiguration, &["rc"]), &[("rc", 1)]));
    assert_eq!(stream.ask(claiming(first(VirtualHost), &[("rc/*", 1)])), ["virtual-host: rc/*=2"]);
    assert_eq!(stream.at(1_000), NOTHING);
    assert_eq!(stream.ack(VirtualHost), ["cluster: -old"]);
}

#[test]
fn a_route_waits_for_its_new_cluster_and_others_do_not() {
    let mut stream = Stream::settled();
    let sent =
        stream.set(&[cluster("b", 1), assignment("b", 1), host("rc/b", 1, &["b"]), host("rc/c", 1, &["a"])], &[]);
    assert_eq!(sent, ["cluster: b=1", "assignment: b=1", "virtual-host: rc/c=1"]);
    stream.ack(VirtualHost);
    assert_eq!(stream.ack(Cluster), ["virtual-host: rc/b=1"]);
}

#[test]
fn a_cluster_leaves_after_the_route_that_dropped_it_is_acknowledged() {
    let mut stream = Stream::settled();
    stream.at(1_000);
    let sent = stream.set(&[host("rc/*", 2, &[])], &[id(Cluster, "a"), id(Assignment, "a")]);
    assert_eq!(sent, ["virtual-host: rc/*=2"]);
    assert_eq!(stream.ack(VirtualHost), ["cluster: -a"]);
    assert_eq!(stream.ack(Cluster), ["assignment: -a"]);
}

#[test]
fn a_cluster_that_changes_and_then_goes_while_routes_are_under_way_waits_for_them() {
    let mut stream = Stream::settled();
    stream.at(1_000);
    stream.set(&[cluster("b", 1), assignment("b", 1)], &[]);
    stream.set(&[host("rc/x", 1, &[])], &[]);
    stream.set(&[cluster("a", 2)], &[]);
    stream.set(&[host("rc/*", 2, &[])], &[id(Cluster, "a"), id(Assignment, "a")]);
    assert_eq!(stream.ack(Cluster), NOTHING);
    assert_eq!(stream.ack(VirtualHost), ["virtual-host: rc/*=2"]);
    assert_eq!(stream.ack(VirtualHost), ["cluster: -a"]);
}

#[test]
fn changes_behind_an_unanswered_response_coalesce_to_the_latest() {
    let mut stream = Stream::settled();
    assert_eq!(stream.set(&[host("rc/*", 2, &["a"])], &[]), ["virtual-host: rc/*=2"]);
    assert_eq!(stream.set(&[host("rc/*", 3, &["a"]), host("rc/x", 1, &[])], &[]), NOTHING);
    assert_eq!(stream.set(&[host("rc/*", 4, &["a"])], &[id(VirtualHost, "rc/x")]), NOTHING);
    assert_eq!(stream.ack(VirtualHost), ["virtual-host: rc/*=4"]);
}

#[test]
fn hosts_go_only_after_their_route_configuration_is_acknowledged() {
    let mut stream = Stream::with(&[form(RouteConfiguration, "rc", 1, &[]), host("rc/*", 1, &[])]);
    assert_eq!(stream.ask(first(VirtualHost)), NOTHING);
    assert_eq!(stream.ask(subscribe(RouteConfiguration, &["rc"])), ["route-configuration: rc=1"]);
    assert_eq!(stream.ack(RouteConfiguration), ["virtual-host: rc/*=1"]);
}

#[test]
fn hosts_of_an_unsubscribed_route_configuration_are_removed_and_sent_in_full_when_it_is_back() {
    let mut stream = Stream::settled();
    assert_eq!(stream.ask(unsubscribe(RouteConfiguration, &["rc"])), ["virtual-host: -rc/*"]);
    stream.ack(VirtualHost);
    assert_eq!(stream.ask(subscribe(RouteConfiguration, &["rc"])), ["route-configuration: rc=1"]);
    assert_eq!(stream.ack(RouteConfiguration), ["virtual-host: rc/*=1"]);
}

#[test]
fn hosts_of_a_live_route_configuration_that_is_subscribed_again_are_sent_again_without_a_gap() {
    let mut stream = Stream::settled();
    assert_eq!(stream.ask(subscribe(RouteConfiguration, &["rc"])), ["route-configuration: rc=1"]);
    assert_eq!(stream.ack(RouteConfiguration), ["virtual-host: rc/*=1"]);
}

#[test]
fn claimed_hosts_of_a_route_configuration_that_is_not_claimed_are_sent_in_full() {
    let mut stream = Stream::with(&[form(RouteConfiguration, "rc", 1, &[]), host("rc/*", 1, &[])]);
    assert_eq!(stream.ask(claiming(first(VirtualHost), &[("rc/*", 1)])), NOTHING);
    stream.ask(subscribe(RouteConfiguration, &["rc"]));
    assert_eq!(stream.ack(RouteConfiguration), ["virtual-host: rc/*=1"]);
}

#[test]
fn claimed_hosts_of_a_route_configuration_that_is_not_subscribed_to_are_removed() {
    let mut stream = Stream::with(&[form(RouteConfiguration, "rc", 1, &[]), host("rc/*", 1, &[])]);
    stream.ask(claiming(first(VirtualHost), &[("rc/*", 1)]));
    assert_eq!(stream.at(1_000), ["virtual-host: -rc/*"]);
}

#[test]
fn a_nested_name_belongs_to_the_longest_route_configuration() {
    let resources = [form(RouteConfiguration, "rc", 1, &[]), host("rc/*", 1, &[]), host("rc/x/*", 1, &[])];
    let mut stream = Stream::with(&resources);
    stream.ask(first(VirtualHost));
    stream.ask(subscribe(RouteConfiguration, &["rc"]));
    assert_eq!(stream.ack(RouteConfiguration), ["virtual-host: rc/*=1"]);
}

#[test]
fn a_stream_without_a_request_for_clusters_is_sent_them_unasked() {
    let mut stream = Stream::with(&[cluster("a", 1), assignment("a", 1)]);
    assert_eq!(stream.session.deadline(), Some(1_000));
    assert_eq!(stream.at(999), NOTHING);
    assert_eq!(stream.at(1_000), ["cluster: a=1", "assignment: a=1"]);
}

#[test]
fn synced_is_told_once_all_that_a_listener_names_has_arrived() {
    let mut stream = Stream::with(&[
        form(Listener, "l", 1, &[id(RouteConfiguration, "rc")]),
        form(RouteConfiguration, "rc", 1, &[]),
        host("rc/*", 1, &[]),
    ]);
    stream.ask(first(Cluster));
    stream.ack(Cluster);
    stream.ask(first(Listener));
    stream.ack(Listener);
    stream.ask(subscribe(RouteConfiguration, &["rc"]));
    stream.ask(first(VirtualHost));
    stream.ack(RouteConfiguration);
    assert_eq!(stream.synced(), Vec::<u64>::new());
    stream.ack(VirtualHost);
    assert_eq!(stream.synced(), [1]);
}

#[test]
fn synced_advances_under_edits_that_never_pause() {
    let mut stream = Stream::settled();
    stream.events();
    for version in 2..30 {
        stream.set(&[host("rc/*", version, &["a"])], &[]);
        if version > 2 {
            stream.ack(VirtualHost);
            assert_eq!(stream.synced(), [version - 1]);
        }
    }
}

#[test]
fn what_a_settled_proxy_has_is_shared_with_the_snapshot() {
    let stream = Stream::settled();
    for (kind, channel) in stream.session.channels.iter() {
        assert!(channel.held.ptr_eq(stream.snapshot.table(kind)), "{kind}");
    }
}

#[test]
fn an_older_snapshot_is_ignored() {
    let mut stream = Stream::settled();
    let old = Arc::clone(&stream.snapshot);
    stream.set(&[assignment("a", 2)], &[]);
    assert_eq!(stream.step(Input::Snapshot(old)), NOTHING);
}

#[test]
fn a_hundred_thousand_claims_and_names_are_taken() {
    let mut stream = Stream::settled();
    let all: Vec<Name> = (0..100_000).map(|n| Name::from(format!("name-{n}"))).collect();
    let claims = all.iter().map(|name| (name.clone(), "?".to_owned())).collect();
    stream.ask(Request { subscribe: all.clone(), initial_versions: claims, ..first(Secret) });
    stream.at(1_000);
    assert_eq!(stream.last(Secret).removed.len(), all.len());
}

#[test]
fn of_the_names_that_proxies_ask_for_nothing_is_held_once_they_have_them() {
    let resources = [cluster("a", 1), assignment("a", 1)];
    let asked = Name::from("a");
    let ask = |stream: &mut Stream| {
        stream.ask(first(Cluster));
        stream.ask(Request { subscribe: vec![Arc::clone(&asked)], ..first(Assignment) });
    };
    let mut streams = [Stream::new(), Stream::with(&resources)];
    let [before_all, after_all] = &mut streams;
    ask(before_all);
    before_all.set(&resources, &[]);
    ask(after_all);
    assert!(Arc::strong_count(&asked) > 1);
    for stream in &mut streams {
        stream.ack(Assignment);
        stream.ack(Cluster);
    }
    assert_eq!(Arc::strong_count(&asked), 1);
    for stream in &mut streams {
        assert_eq!(stream.set(&[assignment("a", 2)], &[]), ["assignment: a=2"], "it is still subscribed to");
    }
}
