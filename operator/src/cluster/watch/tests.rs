//! Against an API server that fails as it is told: a socket, lists by pages, watches with a history, and nothing else.

use super::*;
use crate::cluster::{
    metrics::Watches,
    sync::{Progress, Sync},
};
use axum::{
    Router,
    body::Body as Answer,
    extract::{Query, State},
    response::{IntoResponse as _, Response},
    routing::get,
};
use futures::stream;
use http::StatusCode;
use prometheus_client::registry::Registry;
use serde_json::{Value, json};
use sluice_core::{
    key::Kind,
    world::{Change, World, backend::Service},
};
use sluice_engine::Input;
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard},
};
use tokio::{
    net::TcpListener,
    sync::{mpsc, watch},
    task::JoinSet,
};

/// Objects in a page, whatever is asked for.
const PAGE: usize = 3;
const BOUND: Duration = Duration::from_secs(20);

/// What the server has and how it fails.
#[derive(Default)]
struct Store {
    objects: BTreeMap<String, Value>,
    /// Everything that ever happened.
    history: Vec<(u64, String)>,
    /// What happened up to this version is forgotten.
    forgotten: u64,
    /// Every request is refused so.
    refuses: Option<u16>,
    /// The second page of the next list is refused so.
    breaks_off: Option<u16>,
    lists: usize,
}

/// The server; clones are the same one.
#[derive(Clone)]
struct Server {
    store: Arc<Mutex<Store>>,
    /// The version of what happened last.
    version: watch::Sender<u64>,
    /// Watches end when this moves.
    epoch: watch::Sender<u64>,
}

impl Server {
    fn new() -> Self {
        Self { store: Arc::default(), version: watch::Sender::new(1), epoch: watch::Sender::new(0) }
    }

    fn store(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap()
    }

    fn put(&self, name: &str, port: impl Into<Value>) {
        let version = *self.version.borrow() + 1;
        let metadata = json!({"namespace": "a", "name": name, "resourceVersion": version.to_string()});
        let object = json!({"metadata": metadata, "spec": {"ports": [{"port": port.into()}]}});
        let kind =
            if self.store().objects.insert(name.to_owned(), object.clone()).is_some() { "MODIFIED" } else { "ADDED" };
        self.happened(version, &json!({"type": kind, "object": object}));
    }

    fn delete(&self, name: &str) {
        let version = *self.version.borrow() + 1;
        let mut object = self.store().objects.remove(name).unwrap();
        object["metadata"]["resourceVersion"] = version.to_string().into();
        self.happened(version, &json!({"type": "DELETED", "object": object}));
    }

    fn happened(&self, version: u64, event: &Value) {
        self.store().history.push((version, format!("{event}\n")));
        self.version.send_replace(version);
    }

    fn forget(&self) {
        self.store().forgotten = *self.version.borrow();
    }

    fn refuse(&self, code: impl Into<Option<u16>>) {
        self.store().refuses = code.into();
        self.close();
    }

    fn close(&self) {
        self.epoch.send_modify(|epoch| *epoch += 1);
    }
}

fn refusal(code: u16) -> Response {
    let status = json!({"kind": "Status", "code": code, "message": "as it was told"}).to_string();
    (StatusCode::from_u16(code).unwrap(), status).into_response()
}

async fn answer(State(server): State<Server>, Query(asked): Query<BTreeMap<String, String>>) -> Response {
    let (refuses, forgotten) = {
        let store = server.store();
        (store.refuses, store.forgotten)
    };
    if let Some(code) = refuses {
        return refusal(code);
    }
    if !asked.contains_key("watch") {
        return list(&server, asked.get("continue").map_or(0, |token| token.parse().unwrap()));
    }
    let since: u64 = asked["resourceVersion"].parse().unwrap();
    if since < forgotten {
        let error = json!({"type": "ERROR", "object": {"code": 410, "message": "too old"}});
        return format!("{error}\n").into_response();
    }
    let mut epoch = server.epoch.subscribe();
    let lines = stream::unfold((server.version.subscribe(), since), move |(mut version, since)| {
        let store = server.store.clone();
        async move {
            let now = *version.wait_for(|version| *version > since).await.ok()?;
            let news = store
                .lock()
                .unwrap()
                .history
                .iter()
                .filter(|(version, _)| *version > since)
                .cloned()
                .collect::<Vec<_>>();
            let lines: String = news.into_iter().map(|(_, line)| line).collect();
            Some((Ok::<_, io::Error>(lines), (version, now)))
        }
    });
    Answer::from_stream(lines.take_until(async move { drop(epoch.changed().await) })).into_response()
}

fn list(server: &Server, from: usize) -> Response {
    let mut store = server.store();
    store.lists += usize::from(from == 0);
    if let Some(code) = store.breaks_off.take_if(|_| from > 0) {
        return refusal(code);
    }
    let page: Vec<_> = store.objects.values().skip(from).take(PAGE).collect();
    let more = from + PAGE < store.objects.len();
    let next = if more { (from + PAGE).to_string() } else { String::new() };
    let metadata = json!({"resourceVersion": server.version.borrow().to_string(), "continue": next});
    json!({"metadata": metadata, "items": page}).to_string().into_response()
}

/// The Services of a server, as the engine would come to know them.
struct Rig {
    server: Server,
    world: World,
    inputs: mpsc::Receiver<Vec<Input>>,
    progress: watch::Receiver<Progress>,
    _tasks: JoinSet<()>,
}

impl Rig {
    async fn new(server: Server) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let client = Client::try_from(kube::Config::new(format!("http://{address}").parse().unwrap())).unwrap();
        let routes = Router::new().route("/api/v1/services", get(answer)).with_state(server.clone());
        let source = Source { kind: Kind::Service, namespace: None };
        let (sender, inputs) = mpsc::channel(64);
        let (sync, mut voices) = Sync::new(vec![source.clone()], Vec::new(), sender);
        let progress = sync.progress();
        let gauges = Watches::new(&mut Registry::default()).of(&source);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move { axum::serve(listener, routes).await.unwrap() });
        tasks.spawn(sync.run());
        tasks.spawn(Watch::new(client, source, voices.remove(0), gauges, Seen::default()).run());
        Self { server, world: World::default(), inputs, progress, _tasks: tasks }
    }

    /// Takes the next batch in; how many changes it had.
    async fn batch(&mut self) -> Vec<Change> {
        let batch = timeout(BOUND, self.inputs.recv()).await.unwrap().unwrap();
        let changes =
            batch.into_iter().map(|input| if let Input::Change(change) = input { change } else { panic!("{input:?}") });
        let changes: Vec<_> = changes.collect();
        changes.iter().cloned().for_each(|change| drop(self.world.apply(change)));
        changes
    }

    /// The names that are known, with their ports.
    fn known(&self) -> Vec<String> {
        let all = self.world.all::<Service>().values();
        all.map(|service| format!("{}:{}", service.metadata.key.name, service.spec.ports[0].port)).collect()
    }

    async fn until(&mut self, known: &[&str]) {
        while self.known() != known {
            self.batch().await;
        }
    }
}

#[tokio::test]
async fn the_world_comes_in_one_batch_however_many_pages_it_has_and_then_as_it_changes() {
    let server = Server::new();
    for number in 0..10 {
        server.put(&format!("s{number}"), 80);
    }
    let mut rig = Rig::new(server).await;
    assert_eq!(rig.batch().await.len(), 10);
    rig.server.put("s0", 81);
    rig.batch().await;
    assert_eq!((rig.known()[0].as_str(), rig.known().len()), ("s0:81", 10));
    rig.server.delete("s0");
    rig.batch().await;
    assert_eq!(rig.known().len(), 9);
    assert!(rig.progress.borrow().is_empty());
}

#[tokio::test]
async fn what_was_missed_is_one_difference_and_nothing_else_vanishes_meanwhile() {
    let mut rig = Rig::new(Server::new()).await;
    for name in ["kept", "lost", "moved"] {
        rig.server.put(name, 80);
    }
    rig.until(&["kept:80", "lost:80", "moved:80"]).await;
    rig.server.refuse(503);
    rig.server.delete("lost");
    rig.server.put("moved", 81);
    rig.server.put("new", 80);
    rig.server.forget();
    rig.server.refuse(None);
    let changes = rig.batch().await;
    assert_eq!(rig.known(), ["kept:80", "moved:81", "new:80"]);
    assert!(
        !changes.iter().any(|change| matches!(change, Change::Delete(gone) if &*gone.key.name != "lost")),
        "{changes:?}"
    );
    assert_eq!(rig.server.store().lists, 2, "one list after the gap");
}

#[tokio::test]
async fn watches_that_are_closed_again_and_again_lose_nothing_and_list_nothing() {
    let mut rig = Rig::new(Server::new()).await;
    let mut names = Vec::new();
    for number in 10..20 {
        rig.server.put(&format!("s{number}"), 80);
        rig.server.close();
        names.push(format!("s{number}:80"));
        rig.until(&names.iter().map(String::as_str).collect::<Vec<_>>()).await;
    }
    assert_eq!(rig.server.store().lists, 1);
}

#[tokio::test]
async fn a_list_that_breaks_off_half_way_is_read_again_from_its_start() {
    let server = Server::new();
    for number in 0..7 {
        server.put(&format!("s{number}"), 80);
    }
    server.store().breaks_off = Some(410);
    let mut rig = Rig::new(server).await;
    assert_eq!((rig.batch().await.len(), rig.server.store().lists), (7, 2));
}

#[tokio::test]
async fn a_kind_that_is_not_served_is_no_obstacle_and_is_found_when_it_comes() {
    let server = Server::new();
    server.put("s", 80);
    server.refuse(404);
    let mut rig = Rig::new(server).await;
    assert!(matches!(rig.batch().await.as_slice(), [Change::Served(Kind::Service, false)]));
    assert!(rig.progress.borrow().is_empty());
    rig.server.refuse(None);
    let came = rig.batch().await;
    assert!(matches!(came.as_slice(), [Change::Served(Kind::Service, true), Change::Upsert(_), ..]), "{came:?}");
}

#[tokio::test]
async fn what_is_forbidden_is_waited_for_and_named_with_the_words_of_the_server() {
    let server = Server::new();
    server.put("s", 80);
    server.refuse(403);
    let mut rig = Rig::new(server).await;
    let mut progress = rig.progress.clone();
    let named =
        progress.wait_for(|waiting| waiting.values().flatten().any(|reason| reason.contains("403: as it was told")));
    drop(timeout(BOUND, named).await.unwrap().unwrap());
    rig.server.refuse(None);
    rig.until(&["s:80"]).await;
}

#[tokio::test]
async fn what_was_known_stays_while_the_server_refuses() {
    let mut rig = Rig::new(Server::new()).await;
    rig.server.put("s", 80);
    rig.until(&["s:80"]).await;
    for code in [403, 404, 500] {
        rig.server.refuse(code);
        rig.server.put("s", 80 + code);
        rig.server.refuse(None);
        rig.until(&[&format!("s:{}", 80 + code)]).await;
    }
}

#[tokio::test]
async fn an_object_that_does_not_decode_keeps_its_last_good_form_and_others_go_on() {
    let mut rig = Rig::new(Server::new()).await;
    rig.server.put("bad", 80);
    rig.until(&["bad:80"]).await;
    rig.server.put("bad", "eighty");
    rig.server.put("good", 80);
    rig.until(&["bad:80", "good:80"]).await;
    rig.server.put("bad", 81);
    rig.until(&["bad:81", "good:80"]).await;
    rig.server.put("bad", "eighty");
    rig.server.delete("bad");
    rig.until(&["good:80"]).await;
}
