//! An API server in memory behind `kube::Client`: lists, watches, server-side apply, merge patches, finalizers, deletion.
//!
//! It knows nothing of kinds beyond their paths. Every write is counted, and a client can be made to die before or after
//! its n-th write: then none of its requests is ever answered again, as if the process were gone.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use axum::body::Body;
use bytes::Bytes;
use futures::stream;
use http::{Method, Request, Response, StatusCode};
use kube::Client;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::merge;

/// `apps/v1/deployments`, namespace, name.
pub(crate) type Key = (String, String, String);

#[derive(Clone)]
pub(crate) struct ApiServer {
    state: Arc<Mutex<State>>,
    /// Grows with every change, to wake the watches.
    version: Arc<watch::Sender<u64>>,
}

#[derive(Default)]
struct State {
    objects: BTreeMap<Key, Value>,
    /// What the operator applied last.
    applied: BTreeMap<Key, Value>,
    log: Vec<Change>,
    version: u64,
    writes: Vec<String>,
    reads: usize,
    terminating: bool,
    /// A kind whose lists are not answered for now.
    held: Option<String>,
    lists: usize,
    /// A kind whose objects are not taken: the code and the message.
    refused: Option<(String, u16, String)>,
    /// Whether there are `PodMonitor`s in this cluster, of which its API server tells.
    pod_monitors: bool,
}

/// The one kind that is not always there.
const POD_MONITORS: &str = "monitoring.coreos.com/v1/podmonitors";

struct Change {
    version: u64,
    kind: &'static str,
    collection: String,
    object: Value,
}

/// When a client dies.
#[derive(Clone)]
pub(crate) struct Kill {
    remaining: Arc<AtomicI64>,
    after: bool,
}

impl Kill {
    pub(crate) fn never() -> Self {
        Self::at(i64::MAX, false)
    }

    /// At the `n`-th write, 1 for the first: `after` it was done but before the answer, or before.
    pub(crate) fn at(n: i64, after: bool) -> Self {
        Self {
            remaining: Arc::new(AtomicI64::new(n)),
            after,
        }
    }

    pub(crate) fn is_dead(&self) -> bool {
        self.remaining.load(Ordering::SeqCst) <= 0
    }
}

impl ApiServer {
    pub(crate) fn new() -> Self {
        let state = State {
            version: 1,
            ..State::default()
        };
        Self {
            state: Arc::new(Mutex::new(state)),
            version: Arc::new(watch::Sender::new(1)),
        }
    }

    /// A client of its own life.
    pub(crate) fn client(&self, kill: Kill) -> Client {
        let server = self.clone();
        let service = tower::service_fn(move |request: Request<kube::client::Body>| {
            let (server, kill) = (server.clone(), kill.clone());
            async move { Ok::<_, Infallible>(server.answer(request, &kill).await) }
        });
        Client::new(service, "default")
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub(crate) fn get(&self, collection: &str, name: &str) -> Option<Value> {
        self.state().objects.get(&key(collection, name)).cloned()
    }

    /// Names of all objects of a kind.
    pub(crate) fn names(&self, collection: &str) -> Vec<String> {
        let state = self.state();
        let keys = state.objects.keys().filter(|key| key.0 == collection);
        keys.map(|key| key.2.clone()).collect()
    }

    /// All objects but Events, without what differs from one run to the next.
    pub(crate) fn normalized(&self) -> BTreeMap<Key, Value> {
        let mut objects = self.state().objects.clone();
        objects.retain(|key, _| key.0 != "events.k8s.io/v1/events");
        for object in objects.values_mut() {
            strip_volatile(object);
        }
        objects
    }

    pub(crate) fn writes(&self) -> Vec<String> {
        self.state().writes.clone()
    }

    pub(crate) fn reads(&self) -> usize {
        self.state().reads
    }

    /// From now on nothing can be created, as in a namespace that is being deleted.
    pub(crate) fn terminate_namespace(&self) {
        self.state().terminating = true;
    }

    /// From now on no object of this kind is taken.
    pub(crate) fn refuse(&self, collection: &str, code: u16, message: &str) {
        self.state().refused = Some((collection.to_owned(), code, message.to_owned()));
    }

    /// All is taken again.
    pub(crate) fn accept(&self) {
        self.state().refused = None;
    }

    /// Installs the kind `PodMonitor`, or takes it away with all its objects.
    pub(crate) fn install_pod_monitors(&self, installed: bool) {
        let mut state = self.state();
        state.pod_monitors = installed;
        if !installed {
            // Nobody is told: a watch of a kind that goes ends without events.
            state.objects.retain(|key, _| key.0 != POD_MONITORS);
        }
    }

    /// A person or another controller creates or replaces an object.
    pub(crate) fn put(&self, collection: &str, object: Value) {
        let name = object["metadata"]["name"].as_str().unwrap().to_owned();
        let mut state = self.state();
        state.store(key(collection, &name), object);
        self.wake(&state);
    }

    /// A person or another controller changes an object.
    pub(crate) fn edit(&self, collection: &str, name: &str, change: impl FnOnce(&mut Value)) {
        let mut state = self.state();
        let mut object = state.objects[&key(collection, name)].clone();
        change(&mut object);
        state.store(key(collection, name), object);
        self.wake(&state);
    }

    /// A person deletes an object.
    pub(crate) fn delete(&self, collection: &str, name: &str) {
        let mut state = self.state();
        state.delete(&key(collection, name));
        self.wake(&state);
    }

    /// Lists of this kind are not answered until `release`.
    pub(crate) fn hold(&self, collection: &str) {
        self.state().held = Some(collection.to_owned());
    }

    pub(crate) fn release(&self) {
        self.state().held = None;
        self.version.send_modify(|_| {});
    }

    /// Lists that were answered.
    pub(crate) fn lists(&self) -> usize {
        self.state().lists
    }

    async fn wait_while_held(&self, path: &str) {
        let mut changes = self.version.subscribe();
        let place = Place::parse(path).map(|place| place.collection);
        while place.is_some() && self.state().held == place {
            if changes.changed().await.is_err() {
                return;
            }
        }
    }

    fn wake(&self, state: &State) {
        self.version.send_replace(state.version);
    }

    async fn answer(&self, request: Request<kube::client::Body>, kill: &Kill) -> Response<Body> {
        if kill.is_dead() {
            return std::future::pending().await;
        }
        let method = request.method().clone();
        let path = request.uri().path().to_owned();
        let query = request.uri().query().unwrap_or_default().to_owned();
        let content_type = request.headers().get("content-type").cloned();
        let is_apply = content_type.is_some_and(|kind| kind.to_str().unwrap().contains("apply-patch"));
        let body = request.into_body().collect_bytes().await.unwrap();
        if method == Method::GET {
            self.wait_while_held(&path).await;
            return self.read(&path, &query);
        }
        let last = kill.remaining.fetch_sub(1, Ordering::SeqCst) == 1;
        if last && !kill.after {
            return std::future::pending().await;
        }
        let answer = {
            let mut state = self.state();
            state.writes.push(format!("{method} {path}"));
            let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
            let answer = state.write(&method, &path, &body, is_apply);
            self.wake(&state);
            answer
        };
        if last {
            return std::future::pending().await;
        }
        match answer {
            Ok(object) => respond(StatusCode::OK, &object),
            Err((code, message)) => failure(code, &message),
        }
    }

    fn read(&self, path: &str, query: &str) -> Response<Body> {
        let pod_monitors = self.state().pod_monitors;
        if path == "/apis/monitoring.coreos.com/v1" && pod_monitors {
            let resource = json!({"name": "podmonitors", "singularName": "podmonitor", "kind": "PodMonitor", "namespaced": true, "verbs": ["list"]});
            let list = json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": "monitoring.coreos.com/v1", "resources": [resource]});
            return respond(StatusCode::OK, &list);
        }
        let place = Place::parse(path).filter(|place| place.collection != POD_MONITORS || pod_monitors);
        let Some(place) = place else {
            return failure(404, "the server could not find the requested resource");
        };
        let selector = parameter(query, "labelSelector");
        if parameter(query, "watch").is_some_and(|watch| watch == "true") {
            let since = parameter(query, "resourceVersion").and_then(|version| version.parse().ok());
            return self.watch(place.collection, selector, since.unwrap_or_default());
        }
        let mut state = self.state();
        if let Some(name) = &place.name {
            state.reads += 1;
            return match state.objects.get(&key(&place.collection, name)) {
                Some(object) => respond(StatusCode::OK, object),
                None => failure(404, &format!("{path} not found")),
            };
        }
        let name = parameter(query, "fieldSelector")
            .and_then(|field| field.strip_prefix("metadata.name=").map(str::to_owned));
        state.lists += usize::from(name.is_none());
        let items: Vec<_> = state
            .objects
            .iter()
            .filter(|(key, object)| key.0 == place.collection && selected(object, selector.as_deref()))
            .filter(|(key, _)| name.as_ref().is_none_or(|name| key.2 == *name))
            .map(|(_, object)| object.clone())
            .collect();
        let list = json!({"apiVersion": "v1", "kind": "List", "metadata": {"resourceVersion": state.version.to_string()}, "items": items});
        respond(StatusCode::OK, &list)
    }

    fn watch(&self, collection: String, selector: Option<String>, since: u64) -> Response<Body> {
        let version = self.version.subscribe();
        let start = (self.clone(), version, since);
        let events = stream::unfold(start, move |(server, mut version, since)| {
            let (collection, selector) = (collection.clone(), selector.clone());
            async move {
                loop {
                    let newest = *version.borrow_and_update();
                    let text = server
                        .state()
                        .changes(&collection, selector.as_deref(), since, newest);
                    if !text.is_empty() {
                        return Some((Ok::<_, Infallible>(Bytes::from(text)), (server, version, newest)));
                    }
                    version.changed().await.ok()?;
                }
            }
        });
        Response::new(Body::from_stream(events))
    }
}

impl State {
    fn changes(&self, collection: &str, selector: Option<&str>, since: u64, newest: u64) -> String {
        let news = self
            .log
            .iter()
            .filter(|change| change.version > since && change.version <= newest);
        news.filter(|change| change.collection == collection)
            .filter_map(|change| {
                // To a watch, an object that it does not select any more is deleted.
                let kind = match (selected(&change.object, selector), change.kind) {
                    (true, kind) => kind,
                    (false, "MODIFIED") => "DELETED",
                    (false, _) => return None,
                };
                Some(format!("{}\n", json!({"type": kind, "object": change.object})))
            })
            .collect()
    }

    fn write(
        &mut self,
        method: &Method,
        path: &str,
        body: &Value,
        is_apply: bool,
    ) -> Result<Value, (u16, String)> {
        let place = Place::parse(path).ok_or((404, "no such path".to_owned()))?;
        if place.collection == POD_MONITORS && !self.pod_monitors {
            let message = "the server could not find the requested resource";
            return Err((404, message.to_owned()));
        }
        if let Some((collection, code, message)) = &self.refused
            && *collection == place.collection
        {
            return Err((*code, message.clone()));
        }
        if method == Method::POST {
            let name = body["metadata"]["name"].as_str().unwrap_or("unnamed").to_owned();
            return Ok(self.store(key(&place.collection, &name), body.clone()));
        }
        let key = key(&place.collection, &place.name.unwrap_or_default());
        let live = self.objects.get(&key).cloned();
        if method == Method::DELETE {
            live.ok_or((404, "not found".to_owned()))?;
            self.delete(&key);
            return Ok(json!({"apiVersion": "v1", "kind": "Status", "status": "Success"}));
        }
        if live.is_none() && self.terminating {
            return Err((
                403,
                "forbidden: unable to create new content in namespace default because it is being terminated"
                    .to_owned(),
            ));
        }
        let applied = (
            key.0.clone(),
            key.1.clone(),
            format!("{}{}", key.2, if place.status { "/status" } else { "" }),
        );
        let mut object = match live {
            Some(object) => object,
            None if is_apply && !place.status => json!({}),
            None => return Err((404, format!("{path} not found"))),
        };
        let stale = body["metadata"]["resourceVersion"].as_str();
        if stale.is_some_and(|version| object["metadata"]["resourceVersion"] != version) {
            return Err((409, "the object has been modified".to_owned()));
        }
        if is_apply {
            let before = self.applied.get(&applied).cloned().unwrap_or_default();
            merge::apply(&mut object, &before, body);
            self.applied.insert(applied, body.clone());
        } else {
            merge::merge_patch(&mut object, body);
        }
        let done = object["metadata"]["deletionTimestamp"].is_string() && finalizers(&object) == 0;
        let object = self.store(key.clone(), object);
        if done {
            self.remove(&key);
        }
        Ok(object)
    }

    /// Stores an object, unless nothing changed; fills in what a server fills in.
    fn store(&mut self, key: Key, mut object: Value) -> Value {
        defaults(&mut object);
        let live = self.objects.get(&key);
        if live == Some(&object) {
            return object;
        }
        self.version += 1;
        let metadata = &mut object["metadata"];
        metadata["namespace"] = "default".into();
        if live.is_none() {
            metadata["uid"] = format!("uid-{}", self.version).into();
            metadata["creationTimestamp"] = jiff::Timestamp::now()
                .strftime("%Y-%m-%dT%H:%M:%SZ")
                .to_string()
                .into();
            metadata["generation"] = 1.into();
        } else if live.map(|live| &live["spec"]) != Some(&object["spec"]) {
            let generation = object["metadata"]["generation"].as_i64().unwrap_or_default() + 1;
            object["metadata"]["generation"] = generation.into();
        }
        object["metadata"]["resourceVersion"] = self.version.to_string().into();
        let kind = if live.is_none() { "ADDED" } else { "MODIFIED" };
        self.log(kind, &key, &object);
        self.objects.insert(key, object.clone());
        object
    }

    fn delete(&mut self, key: &Key) {
        let Some(mut object) = self.objects.get(key).cloned() else {
            return;
        };
        if finalizers(&object) == 0 {
            self.remove(key);
        } else if object["metadata"]["deletionTimestamp"].is_null() {
            object["metadata"]["deletionTimestamp"] = jiff::Timestamp::now()
                .strftime("%Y-%m-%dT%H:%M:%SZ")
                .to_string()
                .into();
            object["metadata"]["generation"] =
                (object["metadata"]["generation"].as_i64().unwrap() + 1).into();
            self.store(key.clone(), object);
        }
    }

    fn remove(&mut self, key: &Key) {
        let Some(mut object) = self.objects.remove(key) else {
            return;
        };
        self.applied.remove(key);
        self.version += 1;
        object["metadata"]["resourceVersion"] = self.version.to_string().into();
        self.log("DELETED", key, &object);
    }

    fn log(&mut self, kind: &'static str, key: &Key, object: &Value) {
        self.log.push(Change {
            version: self.version,
            kind,
            collection: key.0.clone(),
            object: object.clone(),
        });
    }
}

struct Place {
    collection: String,
    name: Option<String>,
    status: bool,
}

impl Place {
    /// `/apis/apps/v1/namespaces/default/deployments/x/status`, `/api/v1/pods`, …
    fn parse(path: &str) -> Option<Self> {
        let mut parts: Vec<_> = path.trim_matches('/').split('/').collect();
        let group = match parts.first()? {
            &"api" => parts.drain(..2).skip(1).collect::<Vec<_>>().join("/"),
            _ => parts
                .drain(..3.min(parts.len()))
                .skip(1)
                .collect::<Vec<_>>()
                .join("/"),
        };
        if parts.first() == Some(&"namespaces") {
            parts.drain(..2);
        }
        Some(Self {
            collection: format!("{group}/{}", parts.first()?),
            name: parts.get(1).map(|name| (*name).to_owned()),
            status: parts.get(2) == Some(&"status"),
        })
    }
}

fn key(collection: &str, name: &str) -> Key {
    (collection.to_owned(), "default".to_owned(), name.to_owned())
}

fn finalizers(object: &Value) -> usize {
    object["metadata"]["finalizers"].as_array().map_or(0, Vec::len)
}

fn selected(object: &Value, selector: Option<&str>) -> bool {
    let labels = &object["metadata"]["labels"];
    selector
        .into_iter()
        .flat_map(|selector| selector.split(','))
        .all(|term| match term.split_once('=') {
            Some((label, value)) => labels[label] == value,
            None => !labels[term].is_null(),
        })
}

/// What a real server adds, so that a comparison with what was asked for has something to overlook.
fn defaults(object: &mut Value) {
    let Some(Value::Object(template)) = object.pointer_mut("/spec/template/spec") else {
        return;
    };
    template.insert("dnsPolicy".to_owned(), "ClusterFirst".into());
    for container in template
        .get_mut("containers")
        .and_then(Value::as_array_mut)
        .into_iter()
        .flatten()
    {
        container["terminationMessagePath"] = "/dev/termination-log".into();
    }
}

fn strip_volatile(object: &mut Value) {
    let metadata = object["metadata"].as_object_mut().unwrap();
    for field in ["resourceVersion", "uid", "creationTimestamp", "generation"] {
        metadata.remove(field);
    }
    for owner in metadata
        .get_mut("ownerReferences")
        .and_then(Value::as_array_mut)
        .into_iter()
        .flatten()
    {
        owner.as_object_mut().unwrap().remove("uid");
    }
    if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
        // It covers the owner's uid.
        annotations.remove("slipstream.dev/applied");
    }
    let conditions = object
        .pointer_mut("/status/conditions")
        .and_then(Value::as_array_mut);
    for condition in conditions.into_iter().flatten() {
        condition.as_object_mut().unwrap().remove("lastTransitionTime");
    }
}

fn parameter(query: &str, name: &str) -> Option<String> {
    query.split('&').find_map(|pair| {
        let (key, value) = pair.split_once('=')?;
        (key == name).then(|| value.replace("%2F", "/").replace("%3D", "=").replace("%2C", ","))
    })
}

fn respond(code: StatusCode, body: &Value) -> Response<Body> {
    Response::builder()
        .status(code)
        .header("content-type", "application/json")
        .body(Body::from(body.to_string()))
        .unwrap()
}

fn failure(code: u16, message: &str) -> Response<Body> {
    let reason = if code == 409 { "Conflict" } else { "Failure" };
    let status = json!({"apiVersion": "v1", "kind": "Status", "status": "Failure", "code": code, "message": message, "reason": reason});
    respond(StatusCode::from_u16(code).unwrap(), &status)
}
