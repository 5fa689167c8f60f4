//! One thing to do with the host, and what came of it: `{"ok": ...}`, or `{"denied": ...}` and so on for the host's errors.

use purlin_sdk::events::CloudEvent;
use purlin_sdk::http::{Header, Method, Request};
use purlin_sdk::serde_json::{Value, json};
use purlin_sdk::{
    Context, Direction, HostError, Object as _, Objective, Search, Setting, blobs, events, kv, secrets,
    tuners,
};

/// Does what a step says.
pub(crate) fn run(step: &Value, context: &Context) -> Value {
    match act(step, context) {
        Ok(value) => json!({"ok": value}),
        Err(HostError::Denied(grant)) => json!({"denied": grant}),
        Err(HostError::Invalid(why)) => json!({"invalid": why}),
        Err(HostError::Conflict(why)) => json!({"conflict": why}),
        Err(HostError::TooLarge(limit)) => json!({"tooLarge": limit}),
        Err(HostError::Unavailable(why)) => json!({"unavailable": why}),
    }
}

fn act(step: &Value, context: &Context) -> Result<Value, HostError> {
    let text = |name: &str| step.text(&[name]);
    let key = text("key");
    match text("do") {
        "http" => http(step),
        "secret" => {
            let entries = secrets::get(text("name"))?;
            let entry = |entry: secrets::Entry| (entry.key, String::from_utf8_lossy(&entry.value).into());
            Ok(entries.map_or(Value::Null, |entries| Value::Object(entries.into_iter().map(entry).collect())))
        }
        "kv-get" => Ok(kv::get(key)?.map_or(Value::Null, |item| String::from_utf8_lossy(&item.value).into())),
        "kv-set" => kv::set(key, &content(step), step["expected"].as_u64()).map(Value::from),
        "kv-delete" => kv::delete(key).map(|()| Value::Null),
        "kv-keys" => kv::keys(text("prefix")).map(Value::from),
        "blob-read" => {
            let length =
                step["length"].as_u64().and_then(|length| u32::try_from(length).ok()).unwrap_or(1024);
            let found = blobs::read(key, step["offset"].as_u64().unwrap_or(0), length)?;
            Ok(found.map_or(Value::Null, |content| String::from_utf8_lossy(&content).into()))
        }
        "blob-write" => blobs::write(key, &content(step)).map(|()| Value::Null),
        "blob-delete" => blobs::delete(key).map(|()| Value::Null),
        "blob-list" => {
            Ok(blobs::list(text("prefix"))?.into_iter().map(|info| Value::from(info.name)).collect())
        }
        "event" => {
            let extensions = super::list(&step["extensions"]).iter().map(|extension| Setting {
                name: extension.text(&["name"]).to_owned(),
                value: extension.text(&["value"]).to_owned(),
            });
            events::publish(&CloudEvent {
                id: text("id").to_owned(),
                type_: text("type").to_owned(),
                subject: step["subject"].as_str().map(str::to_owned),
                datacontenttype: step["datacontenttype"].as_str().map(str::to_owned),
                data: text("data").into(),
                extensions: extensions.collect(),
            })
            .map(|()| Value::Null)
        }
        "tuner" => Ok(match tuners::validate(&search(text("algorithm"), context)) {
            Ok(errors) => json!(errors.len()),
            Err(fault) => json!(format!("{fault:?}")),
        }),
        other => Err(HostError::Invalid(format!("the probe cannot do {other:?}"))),
    }
}

/// The bytes to store: `value`, or `size` of them.
fn content(step: &Value) -> Vec<u8> {
    match step["size"].as_u64().and_then(|size| usize::try_from(size).ok()) {
        Some(size) => vec![b'x'; size],
        None => step.text(&["value"]).into(),
    }
}

fn http(step: &Value) -> Result<Value, HostError> {
    let method = match step.text(&["method"]) {
        "HEAD" => Method::Head,
        "POST" => Method::Post,
        "PUT" => Method::Put,
        "PATCH" => Method::Patch,
        "DELETE" => Method::Delete,
        "OPTIONS" => Method::Options,
        _ => Method::Get,
    };
    let header = |header: &Value| Header {
        name: header.text(&["name"]).to_owned(),
        value: header.text(&["value"]).to_owned(),
    };
    let request = Request {
        headers: super::list(&step["headers"]).iter().map(header).collect(),
        body: content(step),
        timeout_ms: step["timeoutMs"].as_u64().and_then(|ms| u32::try_from(ms).ok()),
        redirects: step["redirects"].as_u64().and_then(|count| u32::try_from(count).ok()).unwrap_or(0),
        ..Request::new(method, step.text(&["url"]))
    };
    let response = request.send()?;
    Ok(json!({
        "status": response.status,
        "url": response.url,
        "body": String::from_utf8_lossy(&response.body),
        "headers": response.headers.len(),
    }))
}

fn search(algorithm: &str, context: &Context) -> Search {
    Search {
        context: context.clone(),
        algorithm: algorithm.to_owned(),
        settings: Vec::new(),
        parameters: Vec::new(),
        objective: Objective {
            metric: "loss".to_owned(),
            direction: Direction::Minimize,
            goal: None,
            additional: Vec::new(),
        },
        trials: Vec::new(),
        max_trials: None,
    }
}
