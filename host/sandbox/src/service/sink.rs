//! Events to a receiver over HTTP: the HTTP protocol binding of CloudEvents 1.0 in binary mode, which is what `K_SINK` of
//! Knative and most receivers take.

use std::time::Duration;

use async_trait::async_trait;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use url::Url;

use super::{EventSink, PluginId};
use crate::contract::{CloudEvent, HostError};

/// How long the receiver may take to accept an event.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Why there is no receiver.
#[derive(Debug, thiserror::Error)]
pub enum SinkError {
    /// It is no URL.
    #[error("it is no URL: {0}")]
    Url(#[from] url::ParseError),
    /// It is a URL of something else.
    #[error("it must begin with http:// or https://")]
    Scheme,
    /// No client can be made.
    #[error("no HTTP client can be made: {0}")]
    Client(#[from] reqwest::Error),
}

/// A receiver.
#[derive(Clone, Debug)]
pub struct HttpSink {
    url: Url,
    client: reqwest::Client,
}

impl HttpSink {
    /// Events are posted to this URL.
    ///
    /// # Errors
    /// The URL is none of HTTP, or the client cannot be made, for want of certificate authorities.
    pub fn new(url: &str) -> Result<HttpSink, SinkError> {
        let url = Url::parse(url)?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(SinkError::Scheme);
        }
        let client = reqwest::Client::builder().timeout(TIMEOUT).build()?;
        Ok(HttpSink { url, client })
    }
}

#[async_trait]
impl EventSink for HttpSink {
    async fn publish(&self, plugin: &PluginId, event: CloudEvent) -> Result<(), HostError> {
        let request =
            self.client.post(self.url.clone()).headers(attributes(&plugin.name, &event)?).body(event.data);
        let unavailable =
            |why: String| HostError::Unavailable(format!("the receiver of events does not take it: {why}"));
        let answer = request.send().await.map_err(|error| unavailable(error.without_url().to_string()))?;
        match answer.status() {
            status if status.is_success() => Ok(()),
            // The receiver understood it and does not want it: sending it again is of no use.
            status if status.is_client_error() && status.as_u16() != 429 && status.as_u16() != 408 => {
                Err(HostError::Invalid(format!("the receiver of events answers {status}")))
            }
            status => Err(unavailable(status.to_string())),
        }
    }
}

fn attributes(plugin: &str, event: &CloudEvent) -> Result<HeaderMap, HostError> {
    let mut headers = HeaderMap::new();
    let mut add = |name: &str, value: &str| {
        let invalid = |_| HostError::Invalid(format!("the event's {name} cannot be sent"));
        let name = HeaderName::from_bytes(format!("ce-{name}").as_bytes())
            .map_err(|_| HostError::Invalid(format!("the event's {name} cannot be sent")))?;
        headers.insert(name, HeaderValue::from_str(&percent(value)).map_err(invalid)?);
        Ok::<_, HostError>(())
    };
    add("specversion", "1.0")?;
    add("id", &event.id)?;
    add("source", &format!("/apis/purlin.dev/v1alpha1/plugins/{plugin}"))?;
    add("type", &event.type_)?;
    add("time", &jiff::Timestamp::now().to_string())?;
    if let Some(subject) = &event.subject {
        add("subject", subject)?;
    }
    for extension in &event.extensions {
        add(&extension.name, &extension.value)?;
    }
    if let Some(kind) = &event.datacontenttype {
        let kind = HeaderValue::from_str(kind);
        let kind =
            kind.map_err(|_| HostError::Invalid("the event's datacontenttype cannot be sent".to_owned()))?;
        headers.insert(CONTENT_TYPE, kind);
    }
    Ok(headers)
}

/// Encodes what a header cannot hold, as the binding says (3.1.3.2): space, quote, percent and all beyond printable ASCII.
fn percent(value: &str) -> String {
    let mut encoded = String::with_capacity(value.len());
    for byte in value.bytes() {
        if matches!(byte, 0x21..=0x7e) && !matches!(byte, b'"' | b'%') {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_headers() {
        let event = CloudEvent {
            id: "a 1".to_owned(),
            type_: "com.example.done".to_owned(),
            subject: Some("grün \"50%\"".to_owned()),
            datacontenttype: Some("application/json".to_owned()),
            data: b"{}".to_vec(),
            extensions: vec![],
        };
        let headers = attributes("mine", &event).expect("headers");
        let text = |name: &str| headers[name].to_str().expect("text").to_owned();
        assert_eq!(text("ce-id"), "a%201");
        assert_eq!(text("ce-source"), "/apis/purlin.dev/v1alpha1/plugins/mine");
        assert_eq!(text("ce-subject"), "gr%C3%BCn%20%2250%25%22");
        assert_eq!(text("content-type"), "application/json");
    }
}
