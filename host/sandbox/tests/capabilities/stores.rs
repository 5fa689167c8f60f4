//! Attempts to read what is another's, to leave a store, and to speak for somebody else.

use serde_json::{Value, json};

use crate::host::{Host, OTHERS};

fn secret(name: &str) -> Value {
    json!({"do": "secret", "name": name})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_is_read_only_as_it_was_granted() {
    let host = Host::new();
    let probe = host.probe("kv").await;
    assert_eq!(probe.does(secret("allowed")).await, json!({"ok": {"key": "content of team/allowed"}}));
    assert_eq!(probe.does_in("other", secret("allowed")).await["ok"]["key"], "content of other/allowed");
    for name in [
        "other",
        "shared/allowed",
        "team/allowed",
        "kube-system/allowed",
        "../shared/allowed",
        "allowed/..",
        "Allowed",
        "allowed ",
        "allowed\0",
        "",
        "/",
        "allowed)(shared/x",
        "*",
        "allowed,other",
    ] {
        let result = probe.does(secret(name)).await;
        assert!(result.get("denied").is_some(), "{name:?}: {result}");
    }
    let result = probe.does_in("", secret("allowed")).await;
    assert!(result.get("denied").is_some(), "no object, no namespace: {result}");
    assert_eq!(host.services.asked.lock().expect("lock").len(), 2, "nothing else was asked for");
    let fixed: Vec<_> = OTHERS
        .iter()
        .copied()
        .filter(|grant| *grant != "secret(allowed)")
        .chain(["secret(shared/allowed)"])
        .collect();
    let fixed = host.load(&fixed).await.expect("load");
    assert_eq!(fixed.does(secret("shared/allowed")).await["ok"]["key"], "content of shared/allowed");
    assert!(fixed.does_in("shared", secret("allowed")).await.get("denied").is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_is_its_plugins_alone() {
    let host = Host::new();
    let (first, second) =
        (host.load_as("1", OTHERS).await.expect("load"), host.load_as("2", OTHERS).await.expect("load"));
    let set = |key: &str, value: &str| json!({"do": "kv-set", "key": key, "value": value});
    assert_eq!(first.does(set("a/b", "mine")).await, json!({"ok": 1}));
    assert_eq!(first.does(json!({"do": "kv-get", "key": "a/b"})).await, json!({"ok": "mine"}));
    assert_eq!(second.does(json!({"do": "kv-get", "key": "a/b"})).await, json!({"ok": null}));
    assert_eq!(second.does(json!({"do": "kv-keys", "prefix": ""})).await, json!({"ok": []}));
    second.does(json!({"do": "kv-delete", "key": "a/b"})).await;
    assert_eq!(first.does(json!({"do": "kv-keys", "prefix": "a"})).await, json!({"ok": ["a/b"]}));
    let raced = first.does(json!({"do": "kv-set", "key": "a/b", "value": "x", "expected": 0})).await;
    assert!(raced.get("conflict").is_some(), "{raced}");

    let write = |key: &str| json!({"do": "blob-write", "key": key, "value": "mine"});
    assert_eq!(first.does(write("model")).await, json!({"ok": null}));
    assert_eq!(first.does(json!({"do": "blob-read", "key": "model"})).await, json!({"ok": "mine"}));
    assert_eq!(second.does(json!({"do": "blob-read", "key": "model"})).await, json!({"ok": null}));
    assert_eq!(second.does(json!({"do": "blob-list", "prefix": ""})).await, json!({"ok": []}));
    for key in ["../1/model", "..", "/etc/passwd", "a/../../b", "a//b", "a\0b", "", "ä", &"x".repeat(300)] {
        for act in ["kv-get", "kv-set", "kv-delete", "blob-read", "blob-write", "blob-delete"] {
            let result = first.does(json!({"do": act, "key": key, "value": "x"})).await;
            assert!(result.get("invalid").is_some(), "{act} {key:?}: {result}");
        }
    }
    let long = first.does(json!({"do": "blob-read", "key": "model", "length": 1 << 30})).await;
    assert!(long.get("tooLarge").is_some(), "{long}");
    let flood = first.does(json!({"do": "blob-write", "key": "flood", "size": 1 << 20})).await;
    assert!(flood["call"].as_str().is_some_and(|error| error.contains("longer than")), "{flood}");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_event_is_forged() {
    let host = Host::new();
    let probe = host.probe("kv").await;
    let event = |changes: Value| {
        let mut event = json!({"do": "event", "id": "1", "type": "com.example.allowed", "data": "{}"});
        event.as_object_mut().expect("object").extend(changes.as_object().expect("object").clone());
        event
    };
    assert_eq!(probe.does(event(json!({}))).await, json!({"ok": null}));
    for kind in
        ["com.example.other", "com.example", "com.example.allowed.more", "COM.example.allowed", "", "*"]
    {
        let result = probe.does(event(json!({"type": kind}))).await;
        assert!(result.get("denied").is_some(), "{kind}: {result}");
    }
    for change in [
        json!({"extensions": [{"name": "source", "value": "/somebody"}]}),
        json!({"extensions": [{"name": "specversion", "value": "2"}]}),
        json!({"extensions": [{"name": "x", "value": "a\r\nce-source: b"}]}),
        json!({"extensions": [{"name": "x\r\nce-source", "value": "a"}]}),
        json!({"extensions": [{"name": "x", "value": "a"}, {"name": "x", "value": "b"}]}),
        json!({"id": ""}),
        json!({"id": "1\r\nce-source: b"}),
        json!({"subject": "a\nb"}),
        json!({"datacontenttype": "text/plain\r\nx: y"}),
    ] {
        let result = probe.does(event(change.clone())).await;
        assert!(result.get("invalid").is_some(), "{change}: {result}");
    }
    let events = host.services.events.lock().expect("lock");
    assert_eq!(events.len(), 1);
    assert_eq!(events[0].0, "probe", "the host says who speaks");
}
