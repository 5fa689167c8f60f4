//! The distribution protocol, from the client's side: one request after the other, with sign-in, repetition and limits.
//! Used by the client alone.
//!
//! It is our own because of what has to hold against a registry that is broken or hostile: no answer is read beyond a
//! limit, `Retry-After` is kept, and no answer, however odd, ends the process.

mod retry;
mod token;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use reqwest::{Response, Url};
use serde::Deserialize;

use crate::artifact::Descriptor;
use crate::auth::Credentials;
use crate::causes::with_causes;
use crate::digest::Digest;
use crate::layout::Index;
use token::{Purpose, Tokens};

/// The largest answer that is no content: errors, tokens.
const MAX_ANSWER: u64 = 64 << 10;

/// The largest list of referrers.
const MAX_REFERRERS: u64 = 4 << 20;

/// How many pages of referrers are read.
const MAX_PAGES: usize = 16;

/// Why a request had no success. Says nothing of what it was for; the client adds that.
#[derive(Debug)]
pub(crate) enum Failure {
    /// There is no such thing.
    NotFound,
    /// The credentials do not suffice.
    Unauthorized,
    /// The answer is larger than is taken.
    TooLarge { limit: u64 },
    /// It cannot be reached, or says that it cannot answer now.
    Unavailable(String),
    /// It answers what makes no sense, or refuses.
    Broken(String),
}

/// Connections and sign-ins. Clones share both.
#[derive(Clone)]
pub(crate) struct Transport {
    http: reqwest::Client,
    tokens: Arc<Tokens>,
}

/// One repository, with what is shown to its registry.
pub(crate) struct Repository<'a> {
    pub(crate) transport: &'a Transport,
    /// Host and port.
    pub(crate) registry: &'a str,
    /// The name in the registry.
    pub(crate) name: &'a str,
    /// Whether it is spoken to by HTTP.
    pub(crate) plain: bool,
    pub(crate) credentials: Credentials,
}

/// A blob that is being read.
pub(crate) struct Opened {
    /// Where it begins.
    pub(crate) from: u64,
    /// Bytes of the whole, where that is said.
    pub(crate) size: Option<u64>,
    pub(crate) body: Response,
}

struct Request {
    method: Method,
    url: Url,
    push: bool,
    headers: HeaderMap,
    body: Option<Bytes>,
}

impl Transport {
    /// Cannot fail but for the system's certificates, which then fail each connection and say so.
    pub(crate) fn new(connect_timeout: Duration, read_timeout: Duration) -> Transport {
        let http = reqwest::Client::builder()
            .connect_timeout(connect_timeout)
            .read_timeout(read_timeout)
            .user_agent(concat!("purlin/", env!("CARGO_PKG_VERSION")))
            .build()
            .unwrap_or_default();
        Transport { http, tokens: Arc::default() }
    }
}

impl Repository<'_> {
    /// The digest of a tag, asked for without the content where the registry allows that.
    pub(crate) async fn digest_of(&self, tag: &str, limit: u64) -> Result<Digest, Failure> {
        let url = self.url(&["manifests", tag])?;
        let response = self.send(self.request(Method::HEAD, url, false).accepting()).await?;
        let told = response.headers().get("docker-content-digest").and_then(|value| value.to_str().ok());
        match told {
            Some(told) => told.parse().map_err(|error: crate::NotADigest| Failure::Broken(error.to_string())),
            None => Ok(Digest::of(&self.manifest(tag, limit).await?)),
        }
    }

    /// A manifest by tag or digest, not compared with anything.
    pub(crate) async fn manifest(&self, version: &str, limit: u64) -> Result<Bytes, Failure> {
        let url = self.url(&["manifests", version])?;
        Ok(self.content(self.request(Method::GET, url, false).accepting(), limit).await?.1)
    }

    /// A blob, not compared with anything, and never more of it than it is said to have.
    pub(crate) async fn blob(&self, digest: &Digest, size: u64) -> Result<Bytes, Failure> {
        let url = self.url(&["blobs", digest.as_str()])?;
        Ok(self.content(self.request(Method::GET, url, false), size).await?.1)
    }

    /// Begins to read a blob at an offset; the registry may begin at 0 instead.
    pub(crate) async fn open(&self, digest: &Digest, from: u64) -> Result<Opened, Failure> {
        let mut request = self.request(Method::GET, self.url(&["blobs", digest.as_str()])?, false);
        if from > 0 {
            let range = HeaderValue::from_str(&format!("bytes={from}-"))
                .map_err(|_| Failure::Broken("the offset can be in no header".to_owned()))?;
            request.headers.insert(header::RANGE, range);
        }
        let body = self.send(request).await?;
        let length = body.content_length();
        if body.status() != StatusCode::PARTIAL_CONTENT {
            return Ok(Opened { from: 0, size: length, body });
        }
        let (from, size) = part(body.headers())
            .ok_or_else(|| Failure::Broken("it sent a part and did not say which".to_owned()))?;
        Ok(Opened { from, size, body })
    }

    /// Whether a blob is there.
    pub(crate) async fn has_blob(&self, digest: &Digest) -> Result<bool, Failure> {
        let url = self.url(&["blobs", digest.as_str()])?;
        // With the right to push, so that one token serves for the whole.
        match self.send(self.request(Method::HEAD, url, true)).await {
            Ok(_) => Ok(true),
            Err(Failure::NotFound) => Ok(false),
            Err(failure) => Err(failure),
        }
    }

    /// Puts a blob there unless it is; says whether it was.
    pub(crate) async fn put_blob(&self, digest: &Digest, content: &Bytes) -> Result<bool, Failure> {
        if self.has_blob(digest).await? {
            return Ok(true);
        }
        let url = self.url(&["blobs", "uploads", ""])?;
        let begun = self.send(self.request(Method::POST, url, true).with(Bytes::new(), None)).await?;
        let location = begun.headers().get(header::LOCATION).and_then(|value| value.to_str().ok());
        let location = location.and_then(|location| begun.url().join(location).ok());
        let mut url =
            location.ok_or_else(|| Failure::Broken("it began an upload and did not say where".to_owned()))?;
        url.query_pairs_mut().append_pair("digest", digest.as_str());
        let binary = HeaderValue::from_static("application/octet-stream");
        self.send(self.request(Method::PUT, url, true).with(content.clone(), Some(binary))).await?;
        Ok(false)
    }

    /// Puts a manifest there, under a tag or its digest. Says whether the registry lists it as a referrer by itself.
    pub(crate) async fn put_manifest(
        &self,
        version: &str,
        media_type: &str,
        content: &Bytes,
    ) -> Result<bool, Failure> {
        let url = self.url(&["manifests", version])?;
        let media_type = HeaderValue::from_str(media_type)
            .map_err(|_| Failure::Broken("the media type can be in no header".to_owned()))?;
        let request = self.request(Method::PUT, url, true).with(content.clone(), Some(media_type));
        Ok(self.send(request).await?.headers().contains_key("oci-subject"))
    }

    /// What refers to a manifest: from the registry's own list, or from the tag that stands for one where the registry
    /// has none.
    pub(crate) async fn referrers(&self, digest: &Digest) -> Result<Vec<Descriptor>, Failure> {
        let mut url = self.url(&["referrers", digest.as_str()])?;
        let mut found = Vec::new();
        for _ in 0..MAX_PAGES {
            let request = self.request(Method::GET, url.clone(), false).accepting();
            let (headers, content) = match self.content(request, MAX_REFERRERS).await {
                Ok(answer) => answer,
                Err(Failure::NotFound) => return self.tagged_referrers(digest).await,
                Err(failure) => return Err(failure),
            };
            found.extend(index(&content)?);
            match next(&headers, &url) {
                Some(more) => url = more,
                None => break,
            }
        }
        Ok(found)
    }

    /// The list under the fallback tag, empty where there is none.
    pub(crate) async fn tagged_referrers(&self, digest: &Digest) -> Result<Vec<Descriptor>, Failure> {
        match self.manifest(&referrers_tag(digest), MAX_REFERRERS).await {
            Ok(content) => index(&content),
            Err(Failure::NotFound) => Ok(Vec::new()),
            Err(failure) => Err(failure),
        }
    }

    fn url(&self, parts: &[&str]) -> Result<Url, Failure> {
        let scheme = if self.plain { "http" } else { "https" };
        // What the name means to people and where it is served differ for this one.
        let host = if self.registry == "docker.io" { "registry-1.docker.io" } else { self.registry };
        let text = format!("{scheme}://{host}/v2/{}/{}", self.name, parts.join("/"));
        text.parse().map_err(|_| Failure::Broken(format!("{text:?} is no address")))
    }

    fn request(&self, method: Method, url: Url, push: bool) -> Request {
        Request { method, url, push, headers: HeaderMap::new(), body: None }
    }

    /// Sends a request and reads the answer, both again where the connection breaks in the middle.
    async fn content(&self, request: Request, limit: u64) -> Result<(HeaderMap, Bytes), Failure> {
        let mut attempt = 0;
        loop {
            attempt += 1;
            let response = self.send(Request { body: request.body.clone(), ..request.again() }).await?;
            let headers = response.headers().clone();
            match read(response, limit).await {
                Err(Failure::Unavailable(_)) if attempt < retry::ATTEMPTS => {
                    tokio::time::sleep(retry::pause(attempt)).await;
                }
                read => return Ok((headers, read?)),
            }
        }
    }

    /// Sends a request until it succeeds or cannot.
    async fn send(&self, request: Request) -> Result<Response, Failure> {
        let purpose = Purpose {
            registry: self.registry.to_owned(),
            repository: self.name.to_owned(),
            push: request.push,
            credentials: self.credentials.clone(),
        };
        let mut attempt = 0;
        let mut signed_in = false;
        loop {
            attempt += 1;
            let (failure, wait) = match self.send_once(&request, &purpose).await {
                Ok(response) if response.status().is_success() => return Ok(response),
                Ok(response) if response.status() == StatusCode::UNAUTHORIZED && !signed_in => {
                    signed_in = true;
                    let tokens = &self.transport.tokens;
                    if !tokens.answer(&self.transport.http, &purpose, response.headers(), self.plain).await? {
                        return Err(Failure::Unauthorized);
                    }
                    continue;
                }
                Ok(response) => {
                    let status = response.status();
                    let wait = retry::asked(response.headers(), SystemTime::now());
                    let failure = refused(status, response).await;
                    if !retry::may_pass(status) {
                        return Err(failure);
                    }
                    (failure, wait)
                }
                Err(error) if error.is_builder() || error.is_redirect() => {
                    return Err(Failure::Broken(reason(&error)));
                }
                Err(error) => (Failure::Unavailable(reason(&error)), None),
            };
            if attempt >= retry::ATTEMPTS {
                return Err(failure);
            }
            let wait = wait.unwrap_or_else(|| retry::pause(attempt));
            if wait > retry::LONGEST {
                let seconds = wait.as_secs();
                return Err(Failure::Unavailable(format!("it asks to come back in {seconds} s")));
            }
            tracing::debug!(
                registry = self.registry,
                ?failure,
                ?wait,
                "registry request failed, trying again"
            );
            tokio::time::sleep(wait).await;
        }
    }

    async fn send_once(&self, request: &Request, purpose: &Purpose) -> Result<Response, reqwest::Error> {
        let mut builder = self
            .transport
            .http
            .request(request.method.clone(), request.url.clone())
            .headers(request.headers.clone());
        // An upload's location may be on another host, which is not to be shown what is this registry's.
        let ours = self.url(&[]).is_ok_and(|url| url.origin() == request.url.origin());
        if let Some(header) = self.transport.tokens.header(purpose).filter(|_| ours) {
            builder = builder.header(header::AUTHORIZATION, header);
        }
        if let Some(body) = &request.body {
            builder = builder.body(body.clone());
        }
        builder.send().await
    }
}

impl Request {
    /// Asks for the kinds of manifests that are understood.
    fn accepting(mut self) -> Request {
        let accepted = HeaderValue::from_static(
            "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json, \
             application/vnd.docker.distribution.manifest.v2+json, \
             application/vnd.docker.distribution.manifest.list.v2+json",
        );
        self.headers.insert(header::ACCEPT, accepted);
        self
    }

    fn with(mut self, body: Bytes, media_type: Option<HeaderValue>) -> Request {
        self.body = Some(body);
        if let Some(media_type) = media_type {
            self.headers.insert(header::CONTENT_TYPE, media_type);
        }
        self
    }

    fn again(&self) -> Request {
        Request {
            method: self.method.clone(),
            url: self.url.clone(),
            push: self.push,
            headers: self.headers.clone(),
            body: self.body.clone(),
        }
    }
}

/// The tag under which a manifest's referrers are listed where the registry does not do so.
pub(crate) fn referrers_tag(digest: &Digest) -> String {
    format!("sha256-{}", digest.hex())
}

/// Reads an answer's body, and no more than the limit.
async fn read(mut response: Response, limit: u64) -> Result<Bytes, Failure> {
    if response.content_length().is_some_and(|length| length > limit) {
        return Err(Failure::TooLarge { limit });
    }
    let mut content = BytesMut::new();
    loop {
        match response.chunk().await {
            Ok(Some(piece)) if content.len() as u64 + piece.len() as u64 > limit => {
                return Err(Failure::TooLarge { limit });
            }
            Ok(Some(piece)) => content.extend_from_slice(&piece),
            Ok(None) => return Ok(content.freeze()),
            Err(error) => return Err(Failure::Unavailable(reason(&error))),
        }
    }
}

#[derive(Deserialize)]
struct Errors {
    errors: Vec<ErrorEntry>,
}

#[derive(Deserialize)]
struct ErrorEntry {
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: String,
}

async fn refused(status: StatusCode, response: Response) -> Failure {
    match status {
        StatusCode::NOT_FOUND => return Failure::NotFound,
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => return Failure::Unauthorized,
        _ => {}
    }
    let said = read(response, MAX_ANSWER).await.ok();
    let said = said.and_then(|text| serde_json::from_slice::<Errors>(&text).ok());
    let said = said.and_then(|errors| errors.errors.into_iter().next());
    let text = match said {
        Some(ErrorEntry { code, message }) => {
            format!("it answers {status}: {code}: {}", message.chars().take(300).collect::<String>())
        }
        None => format!("it answers {status}"),
    };
    if retry::may_pass(status) { Failure::Unavailable(text) } else { Failure::Broken(text) }
}

fn index(content: &[u8]) -> Result<Vec<Descriptor>, Failure> {
    let index: Index = serde_json::from_slice(content)
        .map_err(|error| Failure::Broken(format!("its list of referrers cannot be read: {error}")))?;
    Ok(index.manifests)
}

/// The next page, where it is on the same registry.
fn next(headers: &HeaderMap, base: &Url) -> Option<Url> {
    let link = headers.get(header::LINK)?.to_str().ok()?;
    let (target, parameters) = link.strip_prefix('<')?.split_once('>')?;
    let next = parameters.contains("rel=\"next\"").then(|| base.join(target).ok())??;
    (next.origin() == base.origin()).then_some(next)
}

/// Where a part begins, and how long the whole is: `bytes 10-19/20`.
fn part(headers: &HeaderMap) -> Option<(u64, Option<u64>)> {
    let text = headers.get(header::CONTENT_RANGE)?.to_str().ok()?.strip_prefix("bytes ")?;
    let (part, whole) = text.split_once('/')?;
    Some((part.split_once('-')?.0.parse().ok()?, whole.parse().ok()))
}

/// Why a request failed, down to its cause.
fn reason(error: &reqwest::Error) -> String {
    with_causes(error.to_string(), error)
}
