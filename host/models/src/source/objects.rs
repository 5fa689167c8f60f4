//! `s3://BUCKET/PATH` and `gs://BUCKET/PATH`: one object, or all below a prefix. Each load asks which versions there are, so
//! that an object that was replaced is seen.

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use futures::{FutureExt as _, StreamExt as _, TryStreamExt as _};
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::gcp::{GcpCredential, GoogleCloudStorageBuilder};
use object_store::path::Path as ObjectPath;
use object_store::{
    BackoffConfig, Certificate, ClientOptions, Error, GetOptions, GetRange, ObjectMeta, ObjectStore,
    ObjectStoreExt as _, RetryConfig, StaticCredentialProvider,
};

use super::cache::Hold;
use super::credentials::Credentials;
use super::download::{Opened, Remote};
use super::error::SourceError;
use super::gather::{Gathering, RemoteFile};
use super::listing::{Listing, MAX_FILES};

/// Requests are made again for so long; what fails longer is tried by the Model's next attempt.
const RETRY: Duration = Duration::from_secs(20);

/// The names of settings. The first of each is the one that the documentation has.
mod names {
    pub(super) const KEY: [&str; 4] = ["AWS_ACCESS_KEY_ID", "awsAccessKeyID", "access_key_id", "accessKey"];
    pub(super) const SECRET: [&str; 4] =
        ["AWS_SECRET_ACCESS_KEY", "awsSecretAccessKey", "secret_access_key", "secretKey"];
    pub(super) const TOKEN: [&str; 2] = ["AWS_SESSION_TOKEN", "session_token"];
    pub(super) const REGION: [&str; 5] =
        ["AWS_REGION", "AWS_DEFAULT_REGION", "region", "default_region", "s3-region"];
    pub(super) const ENDPOINT: [&str; 6] =
        ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "S3_ENDPOINT", "endpoint", "endpoint_url", "s3-endpoint"];
    pub(super) const TLS: [&str; 3] = ["S3_USE_HTTPS", "usehttps", "s3-usehttps"];
    pub(super) const VERIFY: [&str; 3] = ["S3_VERIFY_SSL", "verify_ssl", "s3-verifyssl"];
    pub(super) const ANONYMOUS: [&str; 4] =
        ["AWS_SKIP_SIGNATURE", "anonymous", "awsAnonymousCredential", "s3-useanoncredential"];
    pub(super) const VIRTUAL: [&str; 3] =
        ["AWS_VIRTUAL_HOSTED_STYLE_REQUEST", "S3_USER_VIRTUAL_BUCKET", "s3-usevirtualbucket"];
    pub(super) const AUTHORITY: [&str; 2] = ["ca.crt", "certificate"];
    pub(super) const GOOGLE: [&str; 4] = [
        "GOOGLE_SERVICE_ACCOUNT_KEY",
        "service_account.json",
        "gcloud-application-credentials.json",
        "application_default_credentials.json",
    ];
    pub(super) const GOOGLE_ENCODED: [&str; 1] = ["base64_service_account"];
    pub(super) const GOOGLE_ENDPOINT: [&str; 3] = ["STORAGE_EMULATOR_HOST", "endpoint", "endpoint_url"];
}

/// Which service holds the objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Service {
    S3,
    Google,
}

/// Reads what is at or below a path of a bucket.
pub(super) async fn fetch(
    service: Service,
    credentials: &Credentials,
    gathering: &Gathering<'_>,
) -> Result<(Listing, Hold), SourceError> {
    let uri = gathering.uri;
    let (bucket, path) = place(uri)?;
    let store: Arc<dyn ObjectStore> = match service {
        Service::S3 => s3(uri, bucket, credentials)?,
        Service::Google => google(uri, bucket, credentials)?,
    };
    let found = match list(store.as_ref(), uri, &path).await {
        Ok(found) => found,
        Err(error) if error.reason == "SourceUnavailable" && error.passing => match gathering.kept() {
            // As with a file behind an address: what was allowed before is no worse for the place being down.
            Some(kept) if error.message.contains(UNREACHABLE) => {
                tracing::warn!(uri, %error, "using what was downloaded before");
                return Ok(kept);
            }
            _ => return Err(error),
        },
        Err(error) => return Err(error),
    };
    let (single, objects) = found;
    let files = objects.into_iter().map(|(name, meta)| {
        // The time tells versions apart where there are no tags.
        let version = meta.e_tag.clone().unwrap_or_else(|| meta.last_modified.to_rfc3339());
        RemoteFile {
            name,
            location: format!("{}://{bucket}/{}", scheme(service), meta.location),
            size: Some(meta.size),
            digest: None,
            version: Some(version),
            remote: Box::new(Object { store: Arc::clone(&store), what: uri.to_owned(), meta }),
        }
    });
    gathering.gather(single, files.collect()).await
}

fn scheme(service: Service) -> &'static str {
    match service {
        Service::S3 => "s3",
        Service::Google => "gs",
    }
}

/// Bucket and path. Both are taken as they stand: an object's name may have characters that an address may not.
fn place(uri: &str) -> Result<(&str, ObjectPath), SourceError> {
    let rest = uri.split_once("://").map_or("", |(_, rest)| rest);
    let (bucket, path) = rest.split_once('/').unwrap_or((rest, ""));
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    if bucket.is_empty() || bucket.len() > 222 || !bucket.bytes().all(plain) {
        let message = format!("{uri:?} names no bucket; write for example s3://BUCKET/PATH");
        return Err(SourceError::invalid(message));
    }
    let path = ObjectPath::parse(path).map_err(|error| SourceError::invalid(format!("{uri:?}: {error}")))?;
    Ok((bucket, path))
}

fn retry() -> RetryConfig {
    RetryConfig { backoff: BackoffConfig::default(), max_retries: 3, retry_timeout: RETRY }
}

fn client_options(credentials: &Credentials) -> Result<ClientOptions, SourceError> {
    let mut options = ClientOptions::new()
        .with_connect_timeout(Duration::from_secs(10))
        // A large object takes as long as it takes; only silence is an error.
        .with_timeout_disabled()
        .with_read_timeout(Duration::from_secs(60));
    if credentials.switch(&names::VERIFY) == Some(false) {
        options = options.with_allow_invalid_certificates(true);
    }
    if let Some(text) = credentials.bytes(&names::AUTHORITY) {
        let certificates = Certificate::from_pem_bundle(text).map_err(|_| {
            let message = "spec.source.secret: its authority (ca.crt) must be certificates in PEM";
            SourceError { passing: true, ..SourceError::invalid(message) }
        })?;
        for certificate in certificates {
            options = options.with_root_certificate(certificate);
        }
    }
    Ok(options)
}

fn s3(uri: &str, bucket: &str, credentials: &Credentials) -> Result<Arc<dyn ObjectStore>, SourceError> {
    let mut builder = AmazonS3Builder::new();
    if credentials.own() {
        // The identity of the cluster's service account, and whatever else these variables can say.
        for (name, value) in credentials.texts() {
            if let Ok(key) = name.to_ascii_lowercase().parse::<AmazonS3ConfigKey>() {
                builder = builder.with_config(key, value);
            }
        }
    }
    let mut options = client_options(credentials)?;
    if let Some(endpoint) = endpoint(credentials) {
        options = options.with_allow_http(endpoint.starts_with("http://"));
        builder = builder.with_endpoint(endpoint);
    }
    let text = |names: &[&str]| credentials.text(names);
    let keys = (text(&names::KEY), text(&names::SECRET));
    let anonymous = credentials.switch(&names::ANONYMOUS).unwrap_or(false);
    // The machine's own identity is not for what others ask for.
    if anonymous || (keys == (None, None) && !credentials.own()) {
        builder = builder.with_skip_signature(true);
    } else if let (Some(key), Some(secret)) = keys {
        builder = builder.with_access_key_id(key).with_secret_access_key(secret);
        if let Some(token) = text(&names::TOKEN) {
            builder = builder.with_token(token);
        }
    } else if keys != (None, None) {
        let message = "spec.source.secret: it must have both AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY";
        return Err(SourceError { passing: true, ..SourceError::invalid(message) });
    }
    if let Some(region) = text(&names::REGION) {
        builder = builder.with_region(region);
    }
    if let Some(on) = credentials.switch(&names::VIRTUAL) {
        builder = builder.with_virtual_hosted_style_request(on);
    }
    let store = builder.with_bucket_name(bucket).with_client_options(options).with_retry(retry()).build();
    Ok(Arc::new(store.map_err(|error| unusable(uri, &error))?))
}

/// The endpoint with its scheme, which may be said apart.
fn endpoint(credentials: &Credentials) -> Option<String> {
    let text = credentials.text(&names::ENDPOINT)?.trim_end_matches('/');
    let tls = credentials.switch(&names::TLS).unwrap_or(true);
    Some(match text.split_once("://") {
        Some(_) => text.to_owned(),
        None if tls => format!("https://{text}"),
        None => format!("http://{text}"),
    })
}

fn google(uri: &str, bucket: &str, credentials: &Credentials) -> Result<Arc<dyn ObjectStore>, SourceError> {
    let mut options = client_options(credentials)?;
    let mut builder = GoogleCloudStorageBuilder::new().with_bucket_name(bucket);
    if let Some(endpoint) = credentials.text(&names::GOOGLE_ENDPOINT) {
        let endpoint = match endpoint.split_once("://") {
            Some(_) => endpoint.to_owned(),
            None => format!("http://{endpoint}"),
        };
        options = options.with_allow_http(endpoint.starts_with("http://"));
        builder = builder.with_base_url(&endpoint);
    }
    let key = credentials.text(&names::GOOGLE).map(str::to_owned);
    let key = key.or_else(|| credentials.encoded(&names::GOOGLE_ENCODED));
    let anonymous = credentials.switch(&names::ANONYMOUS).unwrap_or(false);
    builder = match key {
        Some(key) if !anonymous => builder.with_service_account_key(key),
        None if credentials.own() && !anonymous => {
            match credentials.text(&["GOOGLE_APPLICATION_CREDENTIALS"]) {
                Some(path) => builder.with_application_credentials(path),
                None => builder,
            }
        }
        // Without a credential of its own, the machine's would be looked for.
        _ => {
            let nobody = GcpCredential { bearer: String::new() };
            builder
                .with_credentials(Arc::new(StaticCredentialProvider::new(nobody)))
                .with_skip_signature(true)
        }
    };
    let store = builder.with_client_options(options).with_retry(retry()).build();
    Ok(Arc::new(store.map_err(|error| unusable(uri, &error))?))
}

fn unusable(uri: &str, error: &Error) -> SourceError {
    // The text may quote a setting that is a secret; the name of the problem has to do.
    tracing::debug!(uri, %error, "settings of an object store");
    let message = format!("{uri} cannot be read with the settings in spec.source.secret; check its keys");
    SourceError { passing: true, ..SourceError::invalid(message) }
}

/// In the messages of failures in which nobody answered.
const UNREACHABLE: &str = "cannot be reached";

fn failure(what: &str, error: Error) -> SourceError {
    match error {
        Error::NotFound { .. } => {
            SourceError::passing(format!("{what} does not exist; check bucket and path"))
        }
        Error::Precondition { .. } => {
            SourceError::passing(format!("{what} has changed while it was downloaded"))
        }
        Error::PermissionDenied { .. } | Error::Unauthenticated { .. } => SourceError::refused(format!(
            "{what} may not be read; name a Secret with credentials for it in spec.source.secret"
        )),
        error => {
            let text: String = timeless(&causes(&error)).chars().take(600).collect();
            SourceError::passing(format!("{what} {UNREACHABLE}: {text}"))
        }
    }
}

/// Without how long a request took (`... in 1.2ms - ...`): what fails in the same way says the same, or a condition would
/// change with each attempt.
fn timeless(text: &str) -> String {
    let is_duration = |word: &str| {
        let unit = word.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
        unit.len() < word.len() && matches!(unit, "s" | "ms" | "us" | "µs" | "ns")
    };
    let mut rest = text;
    let mut out = String::with_capacity(text.len());
    while let Some((before, after)) = rest.split_once(" in ") {
        out.push_str(before);
        let word = after.split([' ', ':', ',']).next().unwrap_or_default();
        rest = match is_duration(word) {
            true => &after[word.len()..],
            false => {
                out.push_str(" in ");
                after
            }
        };
    }
    out.push_str(rest);
    out
}

/// The innermost cause says most.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let inner_text = inner.to_string();
        if !text.contains(&inner_text) {
            text = format!("{text}: {inner_text}");
        }
        cause = inner.source();
    }
    text
}

/// The objects with their names below the path, and whether the path is an object itself.
async fn list(
    store: &dyn ObjectStore,
    uri: &str,
    path: &ObjectPath,
) -> Result<(bool, Vec<(String, ObjectMeta)>), SourceError> {
    if !path.as_ref().is_empty() && !uri.ends_with('/') {
        match store.head(path).await {
            // An empty object of a folder's name is what some programs make to show a folder.
            Ok(meta) if meta.size > 0 => {
                let name = path.filename().unwrap_or("model").to_owned();
                return Ok((true, vec![(name, meta)]));
            }
            Ok(_) | Err(Error::NotFound { .. }) => {}
            Err(error) => return Err(failure(uri, error)),
        }
    }
    let prefix = (!path.as_ref().is_empty()).then_some(path);
    let listed = store.list(prefix).take(MAX_FILES * 2 + 1);
    let listed: Vec<ObjectMeta> = listed.try_collect().await.map_err(|error| failure(uri, error))?;
    let mut objects = Vec::with_capacity(listed.len());
    for meta in listed {
        let key = meta.location.as_ref();
        let name = key.strip_prefix(path.as_ref()).unwrap_or(key).trim_start_matches('/').to_owned();
        if !name.is_empty() {
            objects.push((name, meta));
        }
    }
    objects.sort_by(|(a, _), (b, _)| a.cmp(b));
    // Empty objects that others are below are folders, too.
    let below = |name: &str, other: &str| other.strip_prefix(name).is_some_and(|rest| rest.starts_with('/'));
    let folders: Vec<bool> = (0..objects.len())
        .map(|index| {
            let (name, meta) = &objects[index];
            meta.size == 0
                && objects[index + 1..]
                    .iter()
                    .take_while(|(other, _)| other.starts_with(name.as_str()))
                    .any(|(other, _)| below(name, other))
        })
        .collect();
    let mut folders = folders.into_iter();
    objects.retain(|_| !folders.next().unwrap_or(false));
    if objects.is_empty() {
        return Err(SourceError::passing(format!("{uri} does not exist; check bucket and path")));
    }
    Ok((false, objects))
}

/// One object, in the version that was listed.
struct Object {
    store: Arc<dyn ObjectStore>,
    what: String,
    meta: ObjectMeta,
}

impl Remote for Object {
    fn open(&self, from: u64) -> BoxFuture<'_, Result<Opened, SourceError>> {
        async move {
            let options = GetOptions {
                if_match: self.meta.e_tag.clone(),
                range: (from > 0).then_some(GetRange::Offset(from)),
                ..GetOptions::default()
            };
            let answer = self.store.get_opts(&self.meta.location, options).await;
            let answer = answer.map_err(|error| failure(&self.what, error))?;
            let (from, size) = (answer.range.start, answer.meta.size);
            let pieces = answer.into_stream().map(|piece| piece.map_err(|error| causes(&error)));
            Ok(Opened { from, size: Some(size), pieces: pieces.boxed() })
        }
        .boxed()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use object_store::memory::InMemory;

    use super::*;

    fn credentials(entries: &[(&str, &str)]) -> Credentials {
        let data = entries.iter().map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec()));
        Credentials::from_secret(data.collect(), BTreeMap::new(), None).unwrap()
    }

    #[test]
    fn places_are_buckets_and_paths() {
        let read = |uri| place(uri).map(|(bucket, path)| (bucket, path.to_string()));
        assert_eq!(read("s3://models/a b/c#d"), Ok(("models", "a b/c#d".to_owned())));
        assert_eq!(read("gs://models"), Ok(("models", String::new())));
        for wrong in ["s3://", "s3:///a", "s3://a?b/c", "s3://a/../b"] {
            assert_eq!(read(wrong).unwrap_err().reason, "SourceInvalid", "{wrong}");
        }
    }

    #[test]
    fn an_endpoint_has_its_scheme_apart_or_not() {
        let of = |entries: &[(&str, &str)]| endpoint(&credentials(entries));
        assert_eq!(
            of(&[("s3-endpoint", "minio:9000"), ("s3-usehttps", "0")]).as_deref(),
            Some("http://minio:9000")
        );
        assert_eq!(of(&[("s3-endpoint", "minio:9000")]).as_deref(), Some("https://minio:9000"));
        assert_eq!(of(&[("endpoint_url", "http://minio:9000/")]).as_deref(), Some("http://minio:9000"));
        assert_eq!(of(&[]), None);
    }

    #[test]
    fn half_of_a_key_is_named() {
        let refused = s3("s3://a/b", "a", &credentials(&[("AWS_ACCESS_KEY_ID", "x")])).err().unwrap();
        assert!(refused.message.contains("AWS_SECRET_ACCESS_KEY") && refused.passing, "{refused}");
        let refused =
            google("gs://a/b", "a", &credentials(&[("service_account.json", "{hunter2")])).err().unwrap();
        assert!(!refused.message.contains("hunter2"), "{refused}");
    }

    #[tokio::test]
    async fn a_path_is_an_object_or_all_below() {
        let store = InMemory::new();
        for (key, content) in [
            ("m/a.bin", "1"),
            ("m/b/c.bin", "22"),
            ("m/b", ""),
            ("m/empty", ""),
            ("mother/d", "4"),
            ("one.bin", "1"),
        ] {
            store.put(&ObjectPath::parse(key).unwrap(), content.into()).await.unwrap();
        }
        let names = async |uri: &str| {
            let path = place(uri).unwrap().1;
            let listed = list(&store, uri, &path).await;
            listed.map(|(single, objects)| {
                (single, objects.into_iter().map(|(name, _)| name).collect::<Vec<_>>())
            })
        };
        assert_eq!(
            names("s3://x/m").await.unwrap(),
            (false, ["a.bin", "b/c.bin", "empty"].map(String::from).to_vec())
        );
        assert_eq!(names("s3://x/m/a.bin").await.unwrap(), (true, vec!["a.bin".to_owned()]));
        assert_eq!(names("s3://x/one.bin").await.unwrap(), (true, vec!["one.bin".to_owned()]));
        assert_eq!(names("s3://x").await.unwrap().1.len(), 5);
        assert!(names("s3://x/none").await.unwrap_err().passing);
    }

    #[test]
    fn failures_do_not_say_how_long_they_took() {
        for (text, expected) in [
            ("HEAD http://a/b in 1.16735ms - 400 Bad Request", "HEAD http://a/b - 400 Bad Request"),
            ("a in 913.306µs - b in c in 2s, d", "a - b in c, d"),
            ("in place, in 3 pieces, in s", "in place, in 3 pieces, in s"),
        ] {
            assert_eq!(timeless(text), expected);
        }
    }
}
