//! What the store promises, checked on a real file.

use serde_json::json;

use super::*;

fn key(name: &str) -> Key {
    Key::new("/configmaps", "default", name)
}

fn draft(name: &str, data: u64) -> Draft {
    let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"n": data}, "metadata": {
        "name": name, "namespace": "default", "uid": format!("uid-{name}"), "labels": {"data": data.to_string()},
        "resourceVersion": "7", "ownerReferences": [{"uid": "owner"}],
    }});
    Draft::new(&object).expect("an object")
}

async fn create(store: &Store, name: &str) -> Arc<Stored> {
    store.write(key(name), Change::Create(draft(name, 0))).await.expect("created")
}

#[tokio::test]
async fn a_write_is_seen_with_its_revision_and_survives_reopening() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("store.db");
    let store = Store::open(&path).expect("opened");
    let first = create(&store, "a").await;
    assert_eq!(first.value().expect("json")["metadata"]["resourceVersion"], first.revision.to_string());
    let change = Change::Replace { expected: first.revision, draft: draft("a", 1) };
    let second = store.write(key("a"), change).await.expect("replaced");
    assert!(second.revision > first.revision);
    assert_eq!(second.label("data"), Some("1"));
    create(&store, "b").await;
    let last = store.get("/configmaps", "default", "b").expect("b").revision;
    store.write(key("b"), Change::Remove { expected: last }).await.expect("removed");
    let revision = store.revision();
    drop(store);
    let store = reopen(&path).await;
    assert_eq!(store.revision(), revision);
    assert_eq!(store.get("/configmaps", "default", "a").expect("a").body, second.body);
    assert!(store.get("/configmaps", "default", "b").is_none());
    assert_eq!(store.dependents("owner"), [key("a")]);
    let (events, _) = store.events("/configmaps", 0, 100).expect("history");
    let kinds: Vec<EventKind> = events.iter().map(|event| event.kind).collect();
    assert_eq!(kinds, [EventKind::Added, EventKind::Modified, EventKind::Added, EventKind::Deleted]);
    assert_eq!(events[3].object.facts, events[2].object.facts);
}

/// The writer thread lets go of the file a moment after the last handle is dropped.
async fn reopen(path: &Path) -> Store {
    for _ in 0..200 {
        match Store::open(path) {
            Ok(store) => return store,
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
    panic!("the store was never let go")
}

#[tokio::test]
async fn writers_of_one_version_do_not_overwrite_each_other() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = Store::open(&folder.path().join("store.db")).expect("opened");
    let first = create(&store, "a").await;
    let writes = (0..20)
        .map(|n| store.write(key("a"), Change::Replace { expected: first.revision, draft: draft("a", n) }));
    let outcomes = futures::future::join_all(writes).await;
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1);
    assert!(
        outcomes
            .iter()
            .filter_map(|outcome| outcome.as_ref().err())
            .all(|e| matches!(e, WriteError::Changed))
    );
    let again = store.write(key("a"), Change::Create(draft("a", 0))).await;
    assert!(matches!(again, Err(WriteError::Exists)));
    let missing = store.write(key("x"), Change::Remove { expected: 1 }).await;
    assert!(matches!(missing, Err(WriteError::Missing)));
}

#[tokio::test]
async fn a_list_can_be_had_as_it_was() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = Store::open(&folder.path().join("store.db")).expect("opened");
    create(&store, "a").await;
    let then = create(&store, "b").await.revision;
    let a = store.get("/configmaps", "default", "a").expect("a");
    store.write(key("a"), Change::Remove { expected: a.revision }).await.expect("removed");
    let b = Change::Replace { expected: then, draft: draft("b", 9) };
    store.write(key("b"), b).await.expect("replaced");
    create(&store, "c").await;
    let page = store.list_at("/configmaps", Some("default"), then).expect("reachable");
    let seen: Vec<_> = page.items.iter().map(|object| (&*object.key.name, object.label("data"))).collect();
    assert_eq!(seen, [("a", Some("0")), ("b", Some("0"))]);
    assert_eq!(store.list("/configmaps", None).items.len(), 2);
}

#[tokio::test]
async fn history_is_bounded_and_says_so() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = Store::open(&folder.path().join("store.db")).expect("opened");
    let names: Vec<String> = (0..4200).map(|n| format!("n{n}")).collect();
    futures::future::join_all(names.iter().map(|name| create(&store, name))).await;
    let expired = store.events("/configmaps", 1, 10).expect_err("too old");
    assert_eq!(expired.asked, 1);
    assert!(expired.to_string().starts_with("too old resource version: 1 ("));
    assert!(store.events("/configmaps", store.revision() - 5, 10).is_ok_and(|(events, _)| events.len() == 5));
}

#[test]
fn a_newer_layout_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("store.db");
    drop(log::Log::open(&path).expect("opened"));
    let connection = rusqlite::Connection::open(&path).expect("opened");
    connection.execute("UPDATE meta SET value = 99 WHERE name = 'schema'", []).expect("changed");
    drop(connection);
    let error = Store::open(&path).expect_err("refused");
    assert!(error.to_string().contains("run a newer purlin"), "{error}");
}

#[tokio::test]
async fn compaction_drops_what_was_superseded_and_nothing_else() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("store.db");
    let store = Store::open(&path).expect("opened");
    let mut latest = create(&store, "a").await;
    for n in 0..10 {
        let change = Change::Replace { expected: latest.revision, draft: draft("a", n) };
        latest = store.write(key("a"), change).await.expect("replaced");
    }
    create(&store, "gone").await;
    let gone = store.get("/configmaps", "default", "gone").expect("there").revision;
    store.write(key("gone"), Change::Remove { expected: gone }).await.expect("removed");
    let revision = store.revision();
    drop(store);
    drop(reopen(&path).await);
    let mut log = loop {
        match log::Log::open(&path) {
            Ok(log) => break log,
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    };
    log.compact(0, revision, revision).expect("compacted");
    let state = log.load().expect("loaded");
    assert_eq!(state.revision(), revision);
    assert_eq!(state.get("/configmaps", "default", "a").expect("a").body, latest.body);
    assert!(state.events("/configmaps", revision - 1, 10).is_err());
}
