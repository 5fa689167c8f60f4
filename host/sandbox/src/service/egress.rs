//! Requests of plugins to servers. Every request, and every redirect as a request of its own, is checked against the
//! plugin's rights before anything is sent: the URL's parts first, then each address that its host stands for. The
//! connection goes to an address that was checked, so a name that changes its meaning in between changes nothing.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use purlin_registry::capability::{HttpGrant, Method, Scheme};
use purlin_registry::{Rights, with_causes};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use url::{Host, Url};

use super::quoted;
use crate::contract::{HostError, HttpHeader, HttpMethod, HttpRequest, HttpResponse};

/// Redirects that a plugin may have followed.
const MAX_REDIRECTS: u32 = 10;

/// Headers of a response, all together, in bytes: hyper's own limit is higher.
const MAX_HEADERS: usize = 64 << 10;

/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(10);

/// Why no requests can be sent.
#[derive(Debug, thiserror::Error)]
pub enum EgressError {
    /// The certificates that were given cannot be used.
    #[error("cannot use the certificate authorities for requests of plugins: {0}")]
    Roots(String),
}

/// Sends requests for plugins.
pub struct Egress {
    tls: rustls::ClientConfig,
}

impl Egress {
    /// Trusts the system's certificate authorities, and those in `extra` (PEM).
    ///
    /// # Errors
    /// `extra` holds no certificates.
    pub fn new(extra: Option<&[u8]>) -> Result<Egress, EgressError> {
        let mut roots = rustls::RootCertStore::empty();
        let found = rustls_native_certs::load_native_certs();
        for error in found.errors {
            tracing::debug!(%error, "a certificate authority of the system cannot be read");
        }
        roots.add_parsable_certificates(found.certs);
        if let Some(extra) = extra {
            let unusable = |error: &dyn std::fmt::Display| EgressError::Roots(error.to_string());
            let mut any = false;
            for certificate in CertificateDer::pem_slice_iter(extra) {
                let certificate = certificate.map_err(|error| unusable(&error))?;
                roots.add(certificate).map_err(|error| unusable(&error))?;
                any = true;
            }
            if !any {
                return Err(EgressError::Roots("there is no certificate in the file".to_owned()));
            }
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| EgressError::Roots(error.to_string()))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Egress { tls })
    }

    /// Sends a request and follows redirects as far as the plugin wants. A body longer than `limit` bytes is refused.
    pub(crate) async fn send(
        &self,
        rights: &Rights,
        request: HttpRequest,
        limit: usize,
        deadline: Instant,
    ) -> Result<HttpResponse, HostError> {
        let own = request.timeout_ms.map(|ms| Instant::now() + Duration::from_millis(ms.into()));
        let until = own.map_or(deadline, |own| own.min(deadline));
        let late = |_| HostError::Unavailable("no answer in time".to_owned());
        tokio::time::timeout_at(until.into(), self.follow(rights, request, limit)).await.map_err(late)?
    }

    async fn follow(
        &self,
        rights: &Rights,
        request: HttpRequest,
        limit: usize,
    ) -> Result<HttpResponse, HostError> {
        let url = Url::parse(&request.url)
            .map_err(|error| HostError::Invalid(format!("url {:?}: {error}", quoted(&request.url))))?;
        if request.redirects > MAX_REDIRECTS {
            return Err(HostError::Invalid(format!("redirects: at most {MAX_REDIRECTS} are followed")));
        }
        let mut next = Next {
            url,
            method: method(request.method),
            headers: headers(&request.headers)?,
            body: request.body,
        };
        for left in (0..=request.redirects).rev() {
            let response = self.once(rights, &next).await?;
            match next.after(&response)? {
                Some(redirected) if left > 0 => next = redirected,
                _ => return read(response, next.url, limit).await,
            }
        }
        Err(HostError::Unavailable("too many redirects".to_owned()))
    }

    async fn once(&self, rights: &Rights, next: &Next) -> Result<reqwest::Response, HostError> {
        let target = Target::of(&next.url)?;
        let grants = rights.http(next.method, target.scheme, &target.host, target.port);
        if grants.is_empty() {
            return Err(HostError::Denied(target.grant_for(next.method)));
        }
        let addresses = target.addresses(&grants).await?;
        // A client for each request: a connection that one grant allowed must not serve a request that it does not.
        let client = reqwest::Client::builder()
            .tls_backend_preconfigured(self.tls.clone())
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .referer(false)
            .http1_only()
            .connect_timeout(CONNECT)
            .pool_max_idle_per_host(0)
            .resolve_to_addrs(&target.host, &addresses)
            .build()
            .map_err(|error| HostError::Unavailable(error.to_string()))?;
        let request = client
            .request(as_http(next.method), next.url.clone())
            .headers(next.headers.clone())
            .body(next.body.clone());
        request.send().await.map_err(|error| failed(&error))
    }
}

/// The request to send next.
struct Next {
    url: Url,
    method: Method,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Next {
    /// The request that a response redirects to, by the rules of RFC 9110, 15.4. What belongs to one origin only is not
    /// taken to another.
    fn after(&self, response: &reqwest::Response) -> Result<Option<Next>, HostError> {
        let status = response.status().as_u16();
        if !matches!(status, 301 | 302 | 303 | 307 | 308) {
            return Ok(None);
        }
        let Some(location) = response.headers().get(header::LOCATION) else { return Ok(None) };
        let unreadable = || HostError::Unavailable("the server redirects to what is no URL".to_owned());
        let location = location.to_str().map_err(|_| unreadable())?;
        let url = self.url.join(location).map_err(|_| unreadable())?;
        let mut next = Next { url, method: self.method, headers: self.headers.clone(), body: Vec::new() };
        let becomes_get = match status {
            303 => self.method != Method::Head,
            301 | 302 => self.method == Method::Post,
            _ => false,
        };
        if becomes_get {
            next.method = Method::Get;
            for name in [header::CONTENT_TYPE, header::CONTENT_ENCODING, header::CONTENT_LANGUAGE] {
                next.headers.remove(name);
            }
        } else {
            next.body.clone_from(&self.body);
        }
        if next.url.origin() != self.url.origin() {
            for name in [header::AUTHORIZATION, header::COOKIE, header::PROXY_AUTHORIZATION] {
                next.headers.remove(name);
            }
        }
        Ok(Some(next))
    }
}

/// Where a request goes.
struct Target {
    scheme: Scheme,
    /// As in the URL, without brackets.
    host: String,
    literal: Option<IpAddr>,
    port: u16,
}

impl Target {
    fn of(url: &Url) -> Result<Target, HostError> {
        let invalid = |why: &str| HostError::Invalid(format!("url {:?}: {why}", quoted(url.as_str())));
        let scheme = match url.scheme() {
            "https" => Scheme::Https,
            "http" => Scheme::Http,
            _ => return Err(invalid("the scheme must be http or https")),
        };
        if !url.username().is_empty() || url.password().is_some() {
            return Err(invalid("credentials do not belong into a URL; send a header"));
        }
        let (host, literal) = match url.host() {
            Some(Host::Domain(name)) => (name.to_owned(), None),
            Some(Host::Ipv4(address)) => (address.to_string(), Some(address.into())),
            Some(Host::Ipv6(address)) => (address.to_string(), Some(address.into())),
            None => return Err(invalid("there is no host")),
        };
        let port = url.port_or_known_default().ok_or_else(|| invalid("there is no port"))?;
        Ok(Target { scheme, host, literal, port })
    }

    /// The grant that would let the request pass.
    fn grant_for(&self, method: Method) -> String {
        let scheme = self.scheme.as_str();
        let host = match self.literal {
            Some(IpAddr::V6(address)) => format!("[{address}]"),
            _ => self.host.clone(),
        };
        format!("http({method} {scheme}://{}:{})", quoted(&host), self.port)
    }

    /// The addresses that may be connected to.
    async fn addresses(&self, grants: &[&HttpGrant]) -> Result<Vec<SocketAddr>, HostError> {
        let found: Vec<SocketAddr> = match self.literal {
            Some(address) => vec![SocketAddr::new(address, self.port)],
            None => tokio::net::lookup_host((self.host.as_str(), self.port))
                .await
                .map_err(|error| {
                    HostError::Unavailable(format!("{} cannot be resolved: {error}", self.host))
                })?
                .collect(),
        };
        let admitted = |found: &SocketAddr| grants.iter().any(|grant| grant.admits(found.ip()));
        let addresses: Vec<_> = found.iter().copied().filter(admitted).collect();
        match (addresses.is_empty(), found.first()) {
            (false, _) => Ok(addresses),
            (true, Some(found)) => Err(HostError::Denied(format!(
                "{} is at {}, which is not public: the grant must end with `in` and its range",
                self.host,
                found.ip()
            ))),
            (true, None) => Err(HostError::Unavailable(format!("{} has no address", self.host))),
        }
    }
}

fn method(method: HttpMethod) -> Method {
    match method {
        HttpMethod::Get => Method::Get,
        HttpMethod::Head => Method::Head,
        HttpMethod::Post => Method::Post,
        HttpMethod::Put => Method::Put,
        HttpMethod::Patch => Method::Patch,
        HttpMethod::Delete => Method::Delete,
        HttpMethod::Options => Method::Options,
    }
}

fn as_http(method: Method) -> http::Method {
    match method {
        Method::Get => http::Method::GET,
        Method::Head => http::Method::HEAD,
        Method::Post => http::Method::POST,
        Method::Put => http::Method::PUT,
        Method::Patch => http::Method::PATCH,
        Method::Delete => http::Method::DELETE,
        Method::Options => http::Method::OPTIONS,
    }
}

/// Headers that say where a message ends or goes: with them a plugin could send a second request inside the first, or
/// name another server than the one that was checked.
fn is_the_hosts(name: &HeaderName) -> bool {
    const OF_A_CONNECTION: &[HeaderName] = &[
        header::CONNECTION,
        header::CONTENT_LENGTH,
        header::EXPECT,
        header::HOST,
        header::PROXY_AUTHENTICATE,
        header::PROXY_AUTHORIZATION,
        header::TE,
        header::TRAILER,
        header::TRANSFER_ENCODING,
        header::UPGRADE,
    ];
    OF_A_CONNECTION.contains(name) || matches!(name.as_str(), "keep-alive" | "proxy-connection")
}

fn headers(asked: &[HttpHeader]) -> Result<HeaderMap, HostError> {
    let mut headers = HeaderMap::new();
    for HttpHeader { name, value } in asked {
        let invalid = |why: &str| HostError::Invalid(format!("header {:?} {why}", quoted(name)));
        let parsed =
            HeaderName::from_bytes(name.as_bytes()).map_err(|_| invalid("is no name of a header"))?;
        if is_the_hosts(&parsed) {
            return Err(invalid("is the host's to set"));
        }
        let value =
            HeaderValue::from_str(value).map_err(|_| invalid("has a value with control characters"))?;
        headers.append(parsed, value);
    }
    Ok(headers)
}

async fn read(mut response: reqwest::Response, url: Url, limit: usize) -> Result<HttpResponse, HostError> {
    let status = response.status().as_u16();
    let size: usize = response.headers().iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    if size > MAX_HEADERS {
        return Err(HostError::TooLarge(MAX_HEADERS as u64));
    }
    let text = |(name, value): (&HeaderName, &HeaderValue)| {
        let value = std::str::from_utf8(value.as_bytes()).ok()?.to_owned();
        Some(HttpHeader { name: name.as_str().to_owned(), value })
    };
    let headers = response.headers().iter().filter_map(text).collect();
    let mut body = Vec::new();
    while let Some(piece) = response.chunk().await.map_err(|error| failed(&error))? {
        if body.len() + piece.len() > limit {
            return Err(HostError::TooLarge(limit as u64));
        }
        body.extend_from_slice(&piece);
    }
    Ok(HttpResponse { status, headers, body, url: url.into() })
}

/// What went wrong, without the URL that reqwest's own text repeats.
fn failed(error: &reqwest::Error) -> HostError {
    HostError::Unavailable(with_causes("the request failed", error))
}
