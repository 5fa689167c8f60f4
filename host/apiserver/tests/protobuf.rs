//! Bodies in protobuf, as typed clients send them.

use http::{Request, header};
use kube::client::Body;
use purlin_apiserver::{ApiServer, Config, Identity};
use serde_json::{Value, json};

const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";
const MAPS: &str = "/api/v1/namespaces/default/configmaps";

/// A field of up to 127 bytes.
fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    let length = u8::try_from(bytes.len()).unwrap_or_default();
    [&[number << 3 | 2, length], bytes].concat()
}

/// A body of a kind whose message is `raw`.
fn body(api_version: &str, kind: &str, raw: &[u8]) -> Vec<u8> {
    let meta = [field(1, api_version.as_bytes()), field(2, kind.as_bytes())].concat();
    [b"k8s\0".to_vec(), field(1, &meta), field(2, raw)].concat()
}

/// A message of any kind that only has a name.
fn named(name: &str) -> Vec<u8> {
    field(1, &field(1, name.as_bytes()))
}

/// What the server answers, its status beside it.
async fn send(
    client: &kube::Client,
    method: &str,
    path: &str,
    content: &str,
    body: Vec<u8>,
) -> anyhow::Result<(u16, Value)> {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(header::CONTENT_TYPE, content)
        .body(Body::from(body))?;
    let response = client.send(request).await?;
    let status = response.status().as_u16();
    Ok((status, serde_json::from_slice(&response.into_body().collect_bytes().await?)?))
}

#[tokio::test]
async fn a_built_in_kind_is_created_replaced_and_deleted() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let server = ApiServer::open(Config { data_dir: folder.path().to_owned(), ..Config::default() }).await?;
    let client = server.client(Identity::component("test"));
    let entry = [field(1, b"key"), field(2, b"value")].concat();
    let with_entry = [named("m"), field(2, &entry)].concat();
    let (status, made) = send(&client, "POST", MAPS, PROTOBUF, body("v1", "ConfigMap", &with_entry)).await?;
    assert_eq!((status, &made["data"]), (201, &json!({"key": "value"})), "{made}");
    let one = format!("{MAPS}/m");
    let (status, put) = send(&client, "PUT", &one, PROTOBUF, body("v1", "ConfigMap", &named("m"))).await?;
    assert_eq!((status, &put["data"]), (200, &Value::Null), "{put}");
    let other = field(2, &field(1, b"another"));
    let options = body("v1", "DeleteOptions", &other);
    let (status, refused) = send(&client, "DELETE", &one, PROTOBUF, options).await?;
    assert_eq!((status, &refused["reason"]), (409, &json!("Conflict")), "{refused}");
    let (status, _) = send(&client, "DELETE", &one, PROTOBUF, body("v1", "DeleteOptions", b"")).await?;
    assert_eq!(status, 200);
    // Without a kind it is what the path expects.
    let (status, _) = send(&client, "POST", MAPS, PROTOBUF, body("", "", &named("n"))).await?;
    assert_eq!(status, 201);
    Ok(())
}

#[tokio::test]
async fn what_cannot_be_read_is_refused_in_the_servers_words() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let server = ApiServer::open(Config { data_dir: folder.path().to_owned(), ..Config::default() }).await?;
    let client = server.client(Identity::component("test"));
    let bad: [(Vec<u8>, &str); 4] = [
        (
            b"{\"a\":1}".to_vec(),
            "the object provided is unrecognized (must be of type ConfigMap): provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]",
        ),
        (
            body("v1", "Pod", &named("x")),
            "Pod in version \"v1\" cannot be handled as a ConfigMap: converting (v1.Pod) to (core.ConfigMap): unknown conversion",
        ),
        (
            body("v1", "Trial", b""),
            "Trial in version \"v1\" cannot be handled as a ConfigMap: no kind \"Trial\" is registered for version \"v1\"",
        ),
        (
            body("v1", "ConfigMap", &[0x0a, 0x09]),
            "ConfigMap in version \"v1\" cannot be handled as a ConfigMap: proto: ",
        ),
    ];
    for (body, expected) in bad {
        let (status, said) = send(&client, "POST", MAPS, PROTOBUF, body).await?;
        let message = said["message"].as_str().unwrap_or_default();
        assert!(status == 400 && message.starts_with(expected), "{status}: {message}");
    }
    let (status, said) = send(&client, "POST", MAPS, "text/xml", b"<a/>".to_vec()).await?;
    assert_eq!((status, &said["reason"]), (415, &json!("UnsupportedMediaType")));
    assert_eq!(
        said["message"],
        "the body of the request was in an unknown format - accepted media types include: application/json, application/yaml, application/vnd.kubernetes.protobuf"
    );
    Ok(())
}

#[tokio::test]
async fn a_custom_resource_has_no_protobuf_form() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let server = ApiServer::open(Config { data_dir: folder.path().to_owned(), ..Config::default() }).await?;
    let client = server.client(Identity::component("test"));
    let definition = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "trials.example.com"},
        "spec": {
            "group": "example.com", "scope": "Namespaced",
            "names": {"plural": "trials", "singular": "trial", "kind": "Trial", "listKind": "TrialList"},
            "versions": [{
                "name": "v1", "served": true, "storage": true,
                "schema": {"openAPIV3Schema": {"type": "object"}},
            }],
        },
    });
    let definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    let (status, said) =
        send(&client, "POST", definitions, "application/json", definition.to_string().into()).await?;
    assert_eq!(status, 201, "{said}");
    let trials = "/apis/example.com/v1/namespaces/default/trials";
    let mut answer = (404, Value::Null);
    for _ in 0..300 {
        answer =
            send(&client, "POST", trials, PROTOBUF, body("example.com/v1", "Trial", &named("t"))).await?;
        if answer.0 != 404 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert_eq!((answer.0, &answer.1["reason"]), (415, &json!("UnsupportedMediaType")), "{}", answer.1);
    // Its deletion is told as for every kind.
    let options = body("v1", "DeleteOptions", b"");
    let (status, _) = send(&client, "DELETE", &format!("{trials}/t"), PROTOBUF, options).await?;
    assert_eq!(status, 404);
    Ok(())
}
