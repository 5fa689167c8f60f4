//! The distribution specification's requests. Each handler reads like its paragraph there: what is asked is already
//! parsed, and what can go wrong is a [`Refusal`].

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use axum::Json;
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Query, Request, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, Method, StatusCode, header};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncSeekExt};
use tokio_util::io::ReaderStream;
use uuid::Uuid;

use super::MAX_MANIFEST;
use super::error::Refusal;
use super::path::{self, Target, Version};
use super::store::{PutManifest, Repository, Store};
use super::uploads;
use crate::artifact::{Descriptor, INDEX_TYPE, MANIFEST_TYPE};
use crate::digest::Digest;
use crate::layout::Index;

type Parameters = HashMap<String, String>;
type Answer = Result<Response, Refusal>;

pub(super) fn router(store: Arc<Store>) -> Router {
    Router::new().fallback(serve).with_state(store)
}

async fn serve(
    State(store): State<Arc<Store>>,
    Query(parameters): Query<Parameters>,
    request: Request,
) -> Answer {
    let (head, body) = request.into_parts();
    let target = path::parse(head.uri.path())?;
    let reading = head.method == Method::GET || head.method == Method::HEAD;
    match (target, head.method) {
        (Target::Base, _) if reading => {
            Ok(([("docker-distribution-api-version", "registry/2.0")], Json(json!({}))).into_response())
        }
        (Target::Catalog, Method::GET) => {
            page("/v2/_catalog", "repositories", None, store.names(), &parameters)
        }
        (Target::Tags(name), Method::GET) => {
            let repository = store.repository(&name).ok_or(Refusal::NameUnknown)?;
            let tags = repository.tags.into_keys().collect();
            page(&format!("/v2/{name}/tags/list"), "tags", Some(&name), tags, &parameters)
        }
        (Target::Manifest(name, version), _) if reading => get_manifest(&store, &name, &version),
        (Target::Manifest(name, version), Method::PUT) => {
            put_manifest(&store, &name, &version, &head.headers, body).await
        }
        (Target::Manifest(name, version), Method::DELETE) => delete_manifest(&store, &name, &version),
        (Target::Blob(_, digest), method) if reading => {
            get_blob(&store, &digest, &head.headers, method == Method::HEAD).await
        }
        (Target::Blob(_, digest), Method::DELETE) => {
            if store.delete_blob(&digest)? {
                Ok(StatusCode::ACCEPTED.into_response())
            } else {
                Err(Refusal::BlobUnknown)
            }
        }
        (Target::Uploads(name), Method::POST) => begin_upload(&store, &name, &parameters, body).await,
        (Target::Upload(name, session), Method::GET) => {
            let size = uploads::size(&store, session).await?;
            Ok(progress(StatusCode::NO_CONTENT, &name, session, size))
        }
        (Target::Upload(name, session), Method::PATCH) => {
            in_order(&store, &name, session, &head.headers).await?;
            let size = uploads::append(&store, session, body).await?;
            Ok(progress(StatusCode::ACCEPTED, &name, session, size))
        }
        (Target::Upload(name, session), Method::PUT) => {
            let digest = wanted_digest(&parameters)?;
            in_order(&store, &name, session, &head.headers).await?;
            uploads::append(&store, session, body).await?;
            uploads::finish(&store, session, &digest).await?;
            Ok(created_blob(&name, &digest))
        }
        (Target::Upload(_, session), Method::DELETE) => {
            uploads::cancel(&store, session).await?;
            Ok(StatusCode::NO_CONTENT.into_response())
        }
        (Target::Referrers(name, digest), Method::GET) => referrers(&store, &name, &digest, &parameters),
        _ => Err(Refusal::Unsupported("this is not done to that")),
    }
}

/// A list in pages: `n` entries after the one called `last`.
fn page(
    path: &str,
    field: &str,
    name: Option<&str>,
    mut entries: Vec<String>,
    parameters: &Parameters,
) -> Answer {
    if let Some(last) = parameters.get("last") {
        entries.retain(|entry| entry > last);
    }
    let mut next = None;
    if let Some(count) = parameters.get("n") {
        let count: usize = count.parse().map_err(|_| Refusal::NameInvalid(format!("n={count}")))?;
        if entries.len() > count {
            entries.truncate(count);
            next = entries.last().map(|last| format!("<{path}?n={count}&last={last}>; rel=\"next\""));
        }
    }
    let mut body = json!({ field: entries });
    if let Some(name) = name {
        body["name"] = json!(name);
    }
    let mut response = Json(body).into_response();
    if let Some(next) = next.and_then(|link| link.parse().ok()) {
        response.headers_mut().insert(header::LINK, next);
    }
    Ok(response)
}

fn find<'a>(repository: &'a Repository, version: &Version) -> Option<&'a Descriptor> {
    let digest = match version {
        Version::Tag(tag) => repository.tags.get(tag)?,
        Version::Digest(digest) => digest,
    };
    repository.manifests.get(digest)
}

// The body of an answer to HEAD is taken off by the server, which keeps its length.
fn get_manifest(store: &Store, name: &str, version: &Version) -> Answer {
    let repository = store.repository(name).ok_or(Refusal::NameUnknown)?;
    let descriptor = find(&repository, version).ok_or(Refusal::ManifestUnknown)?;
    let content = store.read_blob(&descriptor.digest)?;
    let headers = [
        ("content-type", descriptor.media_type.clone()),
        ("docker-content-digest", descriptor.digest.to_string()),
    ];
    Ok((headers, content).into_response())
}

async fn put_manifest(
    store: &Store,
    name: &str,
    version: &Version,
    headers: &HeaderMap,
    body: Body,
) -> Answer {
    let content = to_bytes(body, MAX_MANIFEST).await.map_err(|_| Refusal::TooLarge(MAX_MANIFEST as u64))?;
    let digest = Digest::of(&content);
    let tag = match version {
        Version::Tag(tag) => Some(tag.as_str()),
        Version::Digest(expected) if *expected == digest => None,
        Version::Digest(expected) => {
            return Err(Refusal::DigestInvalid(format!(
                "the manifest has the digest {digest}, not {expected}"
            )));
        }
    };
    let parsed: Value =
        serde_json::from_slice(&content).map_err(|error| Refusal::ManifestInvalid(error.to_string()))?;
    let announced = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let media_type = announced.or(parsed["mediaType"].as_str()).unwrap_or(MANIFEST_TYPE);
    require_parts(store, name, &parsed)?;
    store.put_manifest(&PutManifest {
        repository: name,
        tag,
        media_type,
        digest: &digest,
        content: &content,
    })?;
    let mut response = (
        StatusCode::CREATED,
        [
            ("location", format!("/v2/{name}/manifests/{digest}")),
            ("docker-content-digest", digest.to_string()),
        ],
    )
        .into_response();
    if let Some(subject) = parsed["subject"]["digest"].as_str().and_then(|subject| subject.parse().ok()) {
        response.headers_mut().insert("oci-subject", subject);
    }
    Ok(response)
}

/// Refuses a manifest whose parts are not here, so that whatever can be named can be pulled.
fn require_parts(store: &Store, name: &str, manifest: &Value) -> Result<(), Refusal> {
    if !manifest.is_object() {
        return Err(Refusal::ManifestInvalid("it is not a JSON object".to_owned()));
    }
    let digest_of = |descriptor: &Value| {
        let digest = descriptor["digest"].as_str().unwrap_or_default();
        digest.parse::<Digest>().map_err(|error| Refusal::ManifestInvalid(error.to_string()))
    };
    let layers = manifest["layers"].as_array().into_iter().flatten();
    for blob in manifest.get("config").into_iter().chain(layers) {
        let digest = digest_of(blob)?;
        if !store.has_blob(&digest) {
            return Err(Refusal::ManifestBlobUnknown(digest.to_string()));
        }
    }
    let repository = store.repository(name).unwrap_or_default();
    for part in manifest["manifests"].as_array().into_iter().flatten() {
        let digest = digest_of(part)?;
        if !repository.manifests.contains_key(&digest) {
            return Err(Refusal::ManifestBlobUnknown(digest.to_string()));
        }
    }
    Ok(())
}

fn delete_manifest(store: &Store, name: &str, version: &Version) -> Answer {
    let found = match version {
        Version::Tag(tag) => store.delete_tag(name, tag)?,
        Version::Digest(digest) => store.delete_manifest(name, digest)?,
    };
    if found { Ok(StatusCode::ACCEPTED.into_response()) } else { Err(Refusal::ManifestUnknown) }
}

async fn get_blob(store: &Store, digest: &Digest, headers: &HeaderMap, head_only: bool) -> Answer {
    let mut file = match tokio::fs::File::open(store.blob_path(digest)).await {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Err(Refusal::BlobUnknown),
        Err(error) => return Err(error.into()),
    };
    let size = file.metadata().await?.len();
    let asked = headers.get(header::RANGE).and_then(|range| range.to_str().ok());
    let (status, first, length) = match asked.map(|range| span(range, size)) {
        None | Some(Span::Whole) => (StatusCode::OK, 0, size),
        Some(Span::Part { first, length }) => (StatusCode::PARTIAL_CONTENT, first, length),
        Some(Span::Outside) => return Err(Refusal::RangeNotSatisfiable(size)),
    };
    let mut response = Response::builder()
        .status(status)
        .header(header::CONTENT_TYPE, "application/octet-stream")
        .header(header::CONTENT_LENGTH, length)
        .header(header::ACCEPT_RANGES, "bytes")
        .header(header::ETAG, format!("\"{digest}\""))
        .header("docker-content-digest", digest.as_str());
    if status == StatusCode::PARTIAL_CONTENT {
        let last = first + length - 1;
        response = response.header(header::CONTENT_RANGE, format!("bytes {first}-{last}/{size}"));
    }
    let body = if head_only {
        Body::empty()
    } else {
        file.seek(std::io::SeekFrom::Start(first)).await?;
        Body::from_stream(ReaderStream::with_capacity(file.take(length), 64 << 10))
    };
    response.body(body).map_err(|error| Refusal::Io(std::io::Error::other(error)))
}

/// What a `Range` header asks for.
#[derive(Debug, PartialEq, Eq)]
enum Span {
    Whole,
    Part { first: u64, length: u64 },
    Outside,
}

/// One range of bytes; several at once, or another unit, get the whole, as HTTP allows.
fn span(range: &str, size: u64) -> Span {
    let Some((first, last)) = range.strip_prefix("bytes=").and_then(|range| range.split_once('-')) else {
        return Span::Whole;
    };
    let (first, last) = match (first.parse::<u64>(), last.parse::<u64>()) {
        (Ok(first), Ok(last)) if first <= last => (first, last.min(size.saturating_sub(1))),
        (Ok(first), Err(_)) if last.is_empty() => (first, size.saturating_sub(1)),
        (Err(_), Ok(count)) if first.is_empty() && count > 0 => {
            (size.saturating_sub(count), size.saturating_sub(1))
        }
        _ => return Span::Whole,
    };
    if first >= size { Span::Outside } else { Span::Part { first, length: last - first + 1 } }
}

async fn begin_upload(store: &Store, name: &str, parameters: &Parameters, body: Body) -> Answer {
    if let Some(mount) = parameters.get("mount") {
        let digest =
            mount.parse().map_err(|error: crate::NotADigest| Refusal::DigestInvalid(error.to_string()))?;
        if store.has_blob(&digest) {
            return Ok(created_blob(name, &digest));
        }
    }
    let session = uploads::begin(store).await?;
    if parameters.contains_key("digest") {
        let digest = wanted_digest(parameters)?;
        uploads::append(store, session, body).await?;
        uploads::finish(store, session, &digest).await?;
        return Ok(created_blob(name, &digest));
    }
    Ok(progress(StatusCode::ACCEPTED, name, session, 0))
}

fn wanted_digest(parameters: &Parameters) -> Result<Digest, Refusal> {
    let digest = parameters.get("digest").map_or("", String::as_str);
    digest.parse().map_err(|error: crate::NotADigest| Refusal::DigestInvalid(error.to_string()))
}

/// Whether a piece begins where the session ends. One that does not say where it begins is taken to.
async fn in_order(store: &Store, name: &str, session: Uuid, headers: &HeaderMap) -> Result<(), Refusal> {
    let have = uploads::size(store, session).await?;
    let Some(range) = headers.get(header::CONTENT_RANGE) else { return Ok(()) };
    let range = range.to_str().unwrap_or_default();
    let begins = range.strip_prefix("bytes ").unwrap_or(range).split('-').next().unwrap_or_default();
    match begins.parse::<u64>() {
        Ok(begins) if begins == have => Ok(()),
        Ok(_) => Err(Refusal::OutOfOrder { have, location: location(name, session) }),
        Err(_) => Err(Refusal::UploadInvalid(format!("the range {range:?} is not `first-last`"))),
    }
}

fn location(name: &str, session: Uuid) -> String {
    format!("/v2/{name}/blobs/uploads/{session}")
}

fn progress(status: StatusCode, name: &str, session: Uuid, size: u64) -> Response {
    let headers = [
        ("location", location(name, session)),
        ("range", format!("0-{}", size.saturating_sub(1))),
        ("docker-upload-uuid", session.to_string()),
    ];
    (status, headers).into_response()
}

fn created_blob(name: &str, digest: &Digest) -> Response {
    let headers =
        [("location", format!("/v2/{name}/blobs/{digest}")), ("docker-content-digest", digest.to_string())];
    (StatusCode::CREATED, headers).into_response()
}

/// The manifests that name this one as their subject, such as signatures.
fn referrers(store: &Store, name: &str, digest: &Digest, parameters: &Parameters) -> Answer {
    let wanted = parameters.get("artifactType");
    let repository = store.repository(name).unwrap_or_default();
    let mut found = Vec::new();
    for descriptor in repository.manifests.into_values() {
        let Ok(manifest) = serde_json::from_slice::<Value>(&store.read_blob(&descriptor.digest)?) else {
            continue;
        };
        if manifest["subject"]["digest"].as_str() != Some(digest.as_str()) {
            continue;
        }
        let kind = manifest["artifactType"].as_str().or(manifest["config"]["mediaType"].as_str());
        if wanted.is_some_and(|wanted| Some(wanted.as_str()) != kind) {
            continue;
        }
        let annotations: BTreeMap<String, String> =
            serde_json::from_value(manifest["annotations"].clone()).unwrap_or_default();
        let artifact_type = kind.map(str::to_owned);
        found.push(Descriptor { artifact_type, annotations, ..descriptor });
    }
    let mut response = Json(Index::new(found)).into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, http::HeaderValue::from_static(INDEX_TYPE));
    if wanted.is_some() {
        response.headers_mut().insert("oci-filters-applied", http::HeaderValue::from_static("artifactType"));
    }
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_cut_to_the_content() {
        let part = |first, length| Span::Part { first, length };
        assert_eq!(span("bytes=0-3", 10), part(0, 4));
        assert_eq!(span("bytes=8-99", 10), part(8, 2));
        assert_eq!(span("bytes=4-", 10), part(4, 6));
        assert_eq!(span("bytes=-3", 10), part(7, 3));
        assert_eq!(span("bytes=10-", 10), Span::Outside);
        assert_eq!(span("bytes=0-", 0), Span::Outside);
        assert_eq!(span("bytes=3-1", 10), Span::Whole);
        assert_eq!(span("lines=1-2", 10), Span::Whole);
        assert_eq!(span("bytes=0-1,3-4", 10), Span::Whole);
    }
}
