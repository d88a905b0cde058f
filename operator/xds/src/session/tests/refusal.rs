//! NACKs, and clusters that are never answered.

use super::*;

const NOTHING: [&str; 0] = [];

fn refused(kind: ResourceType, name: &str, version: u64, message: &str) -> Event {
    Event::Refused { id: id(kind, name), version: Version(version), message: message.to_owned() }
}

#[test]
fn a_resource_that_is_refused_alone_is_not_sent_again_in_that_version() {
    let mut stream = Stream::settled();
    stream.events();
    stream.set(&[host("rc/*", 2, &["a"])], &[]);
    assert_eq!(stream.nack(VirtualHost, "bad"), NOTHING);
    assert_eq!(stream.events(), [refused(VirtualHost, "rc/*", 2, "bad"), Event::Synced { revision: 2 }]);
    assert_eq!(stream.set(&[assignment("a", 2)], &[]), ["assignment: a=2"]);
    assert_eq!(stream.set(&[host("rc/*", 3, &["a"])], &[]), ["virtual-host: rc/*=3"]);
}

#[test]
fn a_refused_response_is_halved_until_the_culprit_stands_alone() {
    let mut stream = Stream::settled();
    stream.events();
    let hosts: Vec<_> = ["rc/a", "rc/b", "rc/c", "rc/d"].into_iter().map(|name| host(name, 1, &[])).collect();
    let mut sent = stream.set(&hosts, &[]);
    let mut rounds = 0;
    while let Some(line) = sent.pop() {
        rounds += 1;
        sent = if line.contains("rc/c") { stream.nack(VirtualHost, "missing ): ((") } else { stream.ack(VirtualHost) };
    }
    assert_eq!(rounds, 5);
    assert_eq!(stream.events(), [refused(VirtualHost, "rc/c", 1, "missing ): (("), Event::Synced { revision: 2 }]);
}

#[test]
fn the_name_in_the_message_spares_the_search() {
    let mut stream = Stream::settled();
    stream.events();
    stream.set(&[form(Listener, "m", 1, &[]), form(Listener, "n", 1, &[])], &[]);
    assert_eq!(stream.nack(Listener, "Error adding/updating listener(s) n: bad"), ["listener: m=1"]);
    stream.ack(Listener);
    let message = "Error adding/updating listener(s) n: bad";
    assert_eq!(stream.events(), [refused(Listener, "n", 1, message), Event::Synced { revision: 2 }]);
}

#[test]
fn removals_beside_a_refused_resource_go_alone_and_refused_removals_end() {
    let mut stream = Stream::settled();
    stream.set(&[host("rc/x", 1, &[])], &[]);
    stream.ack(VirtualHost);
    assert_eq!(stream.set(&[host("rc/y", 1, &[])], &[id(VirtualHost, "rc/x")]), ["virtual-host: rc/y=1 -rc/x"]);
    assert_eq!(stream.nack(VirtualHost, "bad"), ["virtual-host: -rc/x"]);
    assert_eq!(stream.nack(VirtualHost, "bad"), NOTHING);
}

#[test]
fn a_route_does_not_wait_for_a_refused_cluster() {
    let mut stream = Stream::settled();
    stream.set(&[cluster("b", 1), assignment("b", 1), host("rc/b", 1, &["b"])], &[]);
    assert_eq!(stream.nack(Cluster, "bad"), ["cluster: -b", "virtual-host: rc/b=1"]);
}

#[test]
fn a_refused_new_cluster_is_removed_beside_the_rest_although_routes_name_it() {
    let mut stream = Stream::settled();
    let new = ["b", "c"].map(|name| [cluster(name, 1), assignment(name, 1)]).concat();
    stream.set(&new, &[]);
    assert_eq!(stream.nack(Cluster, "Error adding/updating cluster(s) b: bad"), ["cluster: c=1 -b", "assignment: c=1"]);
    stream.ack(Cluster);
    assert_eq!(stream.set(&[cluster("d", 1)], &[id(Cluster, "b"), id(Assignment, "b")]), ["cluster: d=1"]);
}

#[test]
fn a_refused_known_cluster_gets_its_last_good_form_again_with_its_assignment() {
    let mut stream = Stream::settled();
    stream.set(&[cluster("a", 2)], &[]);
    assert_eq!(stream.nack(Cluster, "bad"), ["cluster: a=1", "assignment: a=1"]);
    assert_eq!(stream.ack(Cluster), NOTHING);
    assert_eq!(stream.set(&[cluster("a", 1)], &[]), NOTHING);
    assert_eq!(stream.set(&[cluster("a", 3)], &[]), ["cluster: a=3", "assignment: a=1"]);
}

#[test]
fn a_cluster_whose_every_form_is_refused_is_removed_in_the_end() {
    let mut stream = Stream::settled();
    stream.set(&[cluster("a", 2)], &[]);
    let mut said = Vec::new();
    while let Some(line) = stream.nack(Cluster, "bad").into_iter().next() {
        said.push(line);
    }
    assert_eq!(said, ["cluster: a=1", "cluster: a=2", "cluster: -a"]);
}

#[test]
fn a_cluster_stays_while_a_form_that_outlived_a_refusal_requires_it() {
    let mut stream = Stream::settled();
    stream.at(1_000);
    stream.events();
    stream.set(&[host("rc/*", 2, &[])], &[id(Cluster, "a"), id(Assignment, "a")]);
    assert_eq!(stream.nack(VirtualHost, "bad"), NOTHING);
    assert_eq!(stream.synced(), [2]);
    assert_eq!(stream.set(&[host("rc/*", 3, &[])], &[]), ["virtual-host: rc/*=3"]);
    assert_eq!(stream.ack(VirtualHost), ["cluster: -a"]);
}

#[test]
fn unanswered_clusters_are_told_as_stalled_and_those_never_asked_about_are_suspected() {
    let mut stream = Stream::settled();
    stream.events();
    stream.set(&[cluster("a", 2), cluster("b", 1), assignment("b", 1)], &[]);
    assert_eq!(stream.session.deadline(), Some(1_000));
    stream.at(1_000);
    let due = stream.session.deadline().expect("an unanswered response with clusters");
    assert_eq!(due, 2_004);
    stream.at(due - 1);
    assert_eq!(stream.events(), []);
    stream.at(due);
    assert_eq!(stream.events(), [Event::Stalled { forms: vec![(id(Cluster, "b"), Version(1))] }]);
    assert_eq!(stream.session.deadline(), None);
}

#[test]
fn a_proxy_that_asked_for_every_assignment_is_slow_not_wedged() {
    let mut stream = Stream::settled();
    stream.events();
    stream.set(&[cluster("a", 2)], &[]);
    stream.at(1_000);
    let due = stream.session.deadline().expect("an unanswered response with clusters");
    stream.at(due);
    assert_eq!(stream.events(), []);
    assert_eq!(stream.session.deadline(), Some(due + 2_002), "it gets the same time again");
    let next = [cluster("b", 1), assignment("b", 1)];
    assert_eq!(stream.set(&next, &[]), ["cluster: b=1", "assignment: b=1"], "what comes later does not wait for it");
    stream.ack(Assignment);
    stream.ack(Cluster);
    assert_eq!(stream.synced(), [3]);
}

#[test]
fn a_stalled_new_cluster_is_removed_without_waiting() {
    let mut stream = Stream::settled();
    stream.set(&[cluster("b", 1), assignment("b", 1), host("rc/b", 1, &["b"])], &[]);
    stream.at(10_000);
    let repaired = stream.set(&[host("rc/b", 2, &[])], &[id(Cluster, "b"), id(Assignment, "b")]);
    assert_eq!(repaired, ["cluster: -b", "virtual-host: rc/b=2"]);
    stream.ack(Cluster);
    stream.ack(Assignment);
    stream.ack(VirtualHost);
    assert_eq!(stream.synced().last(), Some(&3));
}

#[test]
fn a_stalled_known_cluster_gets_its_last_good_form_with_its_assignment() {
    let mut stream = Stream::settled();
    stream.set(&[cluster("a", 2)], &[]);
    stream.at(10_000);
    assert_eq!(stream.set(&[cluster("a", 1)], &[]), ["cluster: a=1", "assignment: a=1"]);
    // A second repair does not wait for the first either.
    assert_eq!(stream.set(&[cluster("a", 3)], &[]), ["cluster: a=3", "assignment: a=1"]);
}
