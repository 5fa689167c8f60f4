//! Buckets of an S3 server and of one that speaks Google's protocol.

use purlin_models::{Hub, SourceError};

use crate::servers::{Invocation, Running, content, names, request, under};

const KEY: &str = "tester";
const SECRET: &str = "not-so-secret";

/// A gateway that serves the folders below `buckets` as buckets.
fn s3() -> Option<Running> {
    Running::start("versitygw", |address, folder| {
        let buckets = folder.join("buckets");
        std::fs::create_dir_all(buckets.join("models/digits/1/variables")).unwrap();
        std::fs::write(buckets.join("models/digits/config.json"), "{}").unwrap();
        std::fs::write(buckets.join("models/digits/1/variables/weights"), vec![7; 3_000_000]).unwrap();
        std::fs::write(buckets.join("models/digits-other"), "no").unwrap();
        Invocation {
            arguments: ["--port", address, "--quiet", "posix", buckets.to_str().unwrap()]
                .map(str::to_owned)
                .to_vec(),
            variables: vec![("ROOT_ACCESS_KEY", KEY.to_owned()), ("ROOT_SECRET_KEY", SECRET.to_owned())],
        }
    })
}

fn settings(server: &Running) -> Vec<(&'static str, String)> {
    vec![
        ("AWS_ACCESS_KEY_ID", KEY.to_owned()),
        ("AWS_SECRET_ACCESS_KEY", SECRET.to_owned()),
        ("s3-endpoint", server.address.clone()),
        ("s3-usehttps", "0".to_owned()),
        ("s3-region", "us-east-1".to_owned()),
    ]
}

fn borrowed<'a>(settings: &'a [(&'static str, String)]) -> Vec<(&'static str, &'a str)> {
    settings.iter().map(|(name, value)| (*name, value.as_str())).collect()
}

#[tokio::test]
async fn all_below_a_path_or_one_object() {
    let Some(server) = s3() else { return };
    let (under, settings) = (under(Hub::default()), settings(&server));
    let settings = borrowed(&settings);
    let folder = under.sources.fetch(&request("s3://models/digits", &settings)).await.unwrap();
    assert_eq!(names(&folder), ["1/variables/weights", "config.json"]);
    assert_eq!(content(&folder, "1/variables/weights"), vec![7; 3_000_000]);
    let one = under.sources.fetch(&request("s3://models/digits/config.json", &settings)).await.unwrap();
    assert_eq!(names(&one), ["config.json"]);
    assert_eq!(under.blobs(), 2, "the same content is kept once");
    let made = folder.folder().await.unwrap();
    assert_eq!(std::fs::read(made.path().join("config.json")).unwrap(), b"{}");
}

#[tokio::test]
async fn an_object_that_changed_is_seen() {
    let Some(server) = s3() else { return };
    let (under, settings) = (under(Hub::default()), settings(&server));
    let request = request("s3://models/digits", &borrowed(&settings));
    let before = under.sources.fetch(&request).await.unwrap();
    assert_eq!(under.sources.fetch(&request).await.unwrap().digest(), before.digest());
    put(&server, "models", "digits/config.json", b"{\"changed\": true}").await;
    let after = under.sources.fetch(&request).await.unwrap();
    assert_eq!(content(&after, "config.json"), b"{\"changed\": true}");
    assert_eq!(content(&before, "config.json"), b"{}");
}

#[tokio::test]
async fn what_is_wrong_is_said() {
    let Some(server) = s3() else { return };
    let (under, settings) = (under(Hub::default()), settings(&server));
    let refused = async |uri: &str, changed: &[(&'static str, &str)]| -> SourceError {
        let mut all: Vec<_> = borrowed(&settings);
        all.retain(|(name, _)| !changed.iter().any(|(other, _)| other == name));
        all.extend(changed.iter().filter(|(_, value)| !value.is_empty()));
        under.sources.fetch(&request(uri, &all)).await.err().unwrap()
    };
    let missing = refused("s3://models/none", &[]).await;
    assert!(missing.passing && missing.message.contains("does not exist"), "{missing}");
    let wrong = refused("s3://models/digits", &[("AWS_SECRET_ACCESS_KEY", "wrong")]).await;
    assert_eq!((wrong.reason, wrong.passing), ("SourceUnauthorized", true), "{wrong}");
    let nobody = [("AWS_SECRET_ACCESS_KEY", ""), ("AWS_ACCESS_KEY_ID", "")];
    assert_eq!(refused("s3://models/digits", &nobody).await.reason, "SourceUnauthorized");
    let down = refused("s3://models/digits", &[("s3-endpoint", "127.0.0.1:1")]).await;
    assert!(down.passing && down.message.contains("reached"), "{down}");
}

#[tokio::test]
async fn what_was_had_before_is_used_while_the_store_is_down() {
    let Some(server) = s3() else { return };
    let (under, settings) = (under(Hub::default()), settings(&server));
    let request = request("s3://models/digits/config.json", &borrowed(&settings));
    let digest = under.sources.fetch(&request).await.unwrap().digest();
    drop(server);
    assert_eq!(under.sources.fetch(&request).await.unwrap().digest(), digest);
}

/// Puts an object as a client does.
async fn put(server: &Running, bucket: &str, key: &str, content: &[u8]) {
    use object_store::ObjectStoreExt as _;
    let store = object_store::aws::AmazonS3Builder::new()
        .with_endpoint(format!("http://{}", server.address))
        .with_allow_http(true)
        .with_bucket_name(bucket)
        .with_access_key_id(KEY)
        .with_secret_access_key(SECRET)
        .build()
        .unwrap();
    store.put(&key.into(), content.to_vec().into()).await.unwrap();
}

#[tokio::test]
async fn an_object_of_google_s_protocol() {
    let server = Running::start("fake-gcs-server", |address, folder| {
        let data = folder.join("data");
        std::fs::create_dir_all(data.join("models/digits")).unwrap();
        std::fs::write(data.join("models/digits/weights"), "weights").unwrap();
        let (port, data, url) =
            (address.rsplit(':').next().unwrap(), data.to_str().unwrap(), format!("http://{address}"));
        let arguments = [
            ["-scheme", "http"],
            ["-host", "127.0.0.1"],
            ["-port", port],
            ["-backend", "memory"],
            ["-data", data],
            ["-external-url", &url],
            ["-public-host", address],
        ];
        Invocation {
            arguments: arguments.as_flattened().iter().map(ToString::to_string).collect(),
            variables: vec![],
        }
    });
    let Some(server) = server else { return };
    let under = under(Hub::default());
    let account = serde_json::json!({
        "gcs_base_url": format!("http://{}", server.address), "disable_oauth": true, "client_email": "",
        "private_key": "", "private_key_id": "",
    });
    let (account, endpoint) = (account.to_string(), format!("http://{}", server.address));
    for settings in [
        vec![("STORAGE_EMULATOR_HOST", server.address.as_str())],
        vec![("gcloud-application-credentials.json", account.as_str()), ("endpoint", endpoint.as_str())],
    ] {
        let one = under.sources.fetch(&request("gs://models/digits/weights", &settings)).await.unwrap();
        assert_eq!(names(&one), ["weights"]);
        assert_eq!(content(&one, "weights"), b"weights");
    }
}

/// Lists in XML, which fake-gcs-server does not.
#[tokio::test]
async fn all_below_a_path_of_google_s_protocol() {
    use axum::extract::{Path, Query};
    use axum::http::StatusCode;
    use axum::routing::get;
    let list = |Query(query): Query<std::collections::HashMap<String, String>>| async move {
        assert_eq!(query.get("prefix").map(String::as_str), Some("digits/"));
        let entry = |key: &str, size: usize| {
            format!(
                "<Contents><Key>{key}</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified>\
                 <ETag>\"{size}\"</ETag><Size>{size}</Size></Contents>"
            )
        };
        let entries =
            [entry("digits/", 0), entry("digits/1/weights", 7), entry("digits/config.json", 2)].concat();
        format!(
            "<?xml version='1.0'?><ListBucketResult><Name>models</Name><Prefix>digits/</Prefix>{entries}</ListBucketResult>"
        )
    };
    let object = |Path(key): Path<String>| async move {
        let content = match key.as_str() {
            "digits/1/weights" => "weights",
            "digits/config.json" => "{}",
            _ => return Err(StatusCode::NOT_FOUND),
        };
        let tag = format!("\"{}\"", content.len());
        Ok(([("etag", tag), ("last-modified", "Thu, 01 Jan 2026 00:00:00 GMT".to_owned())], content))
    };
    let router = axum::Router::new().route("/models", get(list)).route("/models/{*key}", get(object));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move { axum::serve(listener, router).await });
    let under = under(Hub::default());
    let folder = request("gs://models/digits", &[("STORAGE_EMULATOR_HOST", &address)]);
    let folder = under.sources.fetch(&folder).await.unwrap();
    assert_eq!(names(&folder), ["1/weights", "config.json"]);
    assert_eq!(content(&folder, "1/weights"), b"weights");
}
