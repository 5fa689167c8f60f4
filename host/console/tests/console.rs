//! The console's routers over a registry on a loopback port, without the API server that guards them.

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use axum::Router;
use axum::body::Body;
use http::{HeaderMap, Request, StatusCode, header};
use http_body_util::BodyExt as _;
use purlin_console::{Config, Console, PolicySource};
use purlin_registry::index::{Index, MEDIA_TYPE};
use purlin_registry::policy::{KeySource, Mode, ReadyRule, Rule};
use purlin_registry::signature::PrivateKey;
use purlin_registry::{Artifact, Client, ClientConfig, Loopback, Policy, Reference, layout};
use serde_json::{Value, json};
use tower::ServiceExt as _;

const TUNER: &str = "tuner-relay";

struct Rules(Option<Policy>);

#[async_trait]
impl PolicySource for Rules {
    async fn policy(&self) -> Option<Arc<Policy>> {
        self.0.clone().map(Arc::new)
    }
}

/// A registry with the plugins of the tests, and an index of them.
struct Shop {
    registry: Loopback,
    host: String,
    index: String,
    _folder: tempfile::TempDir,
}

impl Shop {
    async fn open() -> Shop {
        let folder = tempfile::tempdir().expect("folder");
        let registry = Loopback::open(folder.path()).expect("registry");
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("listen");
        let host = listener.local_addr().expect("address").to_string();
        let router = registry.router();
        tokio::spawn(async move { axum::serve(listener, router).await });
        let shop = Shop { registry, index: format!("{host}/tests/index:latest"), host, _folder: folder };
        let artifacts = artifacts();
        shop.registry.seed_artifacts(&artifacts).expect("seeded");
        shop.list(&shop.listing(&artifacts).to_json().expect("an index"));
        shop
    }

    fn listing(&self, artifacts: &[(String, Artifact)]) -> Index {
        let mut index = Index::default();
        for (name, artifact) in artifacts {
            let reference: Reference = format!("{}/{name}", self.host).parse().expect("reference");
            index.add(&reference, artifact, Vec::new()).expect("listed");
        }
        index
    }

    fn list(&self, text: &[u8]) {
        self.registry.seed_document("tests/index:latest", MEDIA_TYPE, text).expect("an index");
    }

    fn console(&self, policy: Option<Policy>) -> Router {
        let indexes = vec![self.index.parse().expect("reference")];
        let registry = Client::new(ClientConfig::default());
        let console = Console::new(Config { registry, indexes, policy: Arc::new(Rules(policy)) });
        console.page().merge(console.api())
    }

    fn wanted(&self, name: &str, version: &str, grants: &[&str]) -> Value {
        json!({"index": self.index, "name": name, "version": version, "grants": grants})
    }
}

fn artifacts() -> Vec<(String, Artifact)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../plugins/testing/dist");
    layout::read(&folder).expect("the plugins of the tests")
}

fn version_of(name: &str) -> String {
    let artifacts = artifacts();
    let found = artifacts.iter().find(|(_, artifact)| artifact.manifest().name == name).expect(name);
    found.1.manifest().version.to_string()
}

async fn answer(router: &Router, request: Request<Body>) -> (StatusCode, HeaderMap, Vec<u8>) {
    let response = router.clone().oneshot(request).await.expect("infallible");
    let (parts, body) = response.into_parts();
    (parts.status, parts.headers, body.collect().await.expect("a body").to_bytes().to_vec())
}

async fn get(router: &Router, path: &str) -> (StatusCode, HeaderMap, Vec<u8>) {
    answer(router, Request::get(path).body(Body::empty()).expect("a request")).await
}

async fn post(router: &Router, path: &str, body: &Value) -> (StatusCode, Value) {
    let request = Request::post(path)
        .header(header::CONTENT_TYPE, "application/json")
        .body(Body::from(body.to_string()))
        .expect("a request");
    let (status, _, text) = answer(router, request).await;
    (status, serde_json::from_slice(&text).expect("JSON"))
}

#[tokio::test]
async fn the_page_can_run_and_load_nothing_but_itself() {
    let router = Shop::open().await.console(None);
    let (status, _, text) = get(&router, "/console/").await;
    assert_eq!(status, StatusCode::OK);
    let page = String::from_utf8(text).expect("text");
    // A policy without 'unsafe-inline' lets none of these work; nobody should have to find out in the browser.
    for inline in ["<style", "style=", "onclick", "<script>", "http:", "https:"] {
        assert!(!page.contains(inline), "{inline}");
    }
    let mut files = vec!["".to_owned()];
    let quoted = page.split('"').skip(1).step_by(2);
    files.extend(
        quoted
            .filter(|text| text.ends_with(".js") || text.ends_with(".css") || text.ends_with(".svg"))
            .map(str::to_owned),
    );
    for module in ["api", "dialogs", "dom", "plugins", "views"] {
        files.push(format!("{module}.js"));
    }
    for file in files {
        let (status, headers, text) = get(&router, &format!("/console/{file}")).await;
        assert_eq!(status, StatusCode::OK, "{file}");
        let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let policy = header("content-security-policy");
        for part in [
            "default-src 'none'",
            "script-src 'self'",
            "frame-ancestors 'none'",
            "require-trusted-types-for 'script'",
        ] {
            assert!(policy.contains(part), "{file}: {policy}");
        }
        assert!(!policy.contains("unsafe"), "{policy}");
        assert_eq!(header("x-frame-options"), "DENY", "{file}");
        assert_eq!(header("x-content-type-options"), "nosniff", "{file}");
        assert_eq!(header("referrer-policy"), "no-referrer", "{file}");
        let text = String::from_utf8(text).expect("text");
        for markup in ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("] {
            assert!(!text.contains(markup), "{file}: {markup}");
        }
    }
    assert_eq!(get(&router, "/console").await.0, StatusCode::PERMANENT_REDIRECT);
}

#[tokio::test]
async fn a_version_is_shown_with_what_it_asks_for_and_what_it_has() {
    let shop = Shop::open().await;
    let router = shop.console(Some(Policy::default()));
    let (status, headers, text) = get(&router, "/console/api/catalogue").await;
    assert_eq!((status, headers[header::CACHE_CONTROL].as_bytes()), (StatusCode::OK, b"no-store".as_slice()));
    let listed: Value = serde_json::from_slice(&text).expect("JSON");
    let plugins = listed["indexes"][0]["plugins"].as_array().expect("plugins");
    let relay = plugins.iter().find(|plugin| plugin["name"] == TUNER).expect(TUNER);
    let version = version_of(TUNER);
    assert_eq!(relay["newest"], version);
    assert_eq!(relay["versions"][0]["capabilities"][0]["name"], "call(tuner)");

    let (status, release) =
        post(&router, "/console/api/release", &shop.wanted(TUNER, &version, &["nonsense"])).await;
    assert_eq!(status, StatusCode::OK, "{release}");
    let asked = &release["capabilities"][0];
    assert_eq!(
        (&asked["name"], &asked["granted"], &asked["optional"]),
        (&json!("call(tuner)"), &json!(false), &json!(false))
    );
    assert!(asked["reason"].as_str().is_some_and(|reason| reason.contains("another tuner")), "{asked}");
    assert_eq!(release["signature"]["reason"], "PolicyOff");
    let (_, release) =
        post(&router, "/console/api/release", &shop.wanted(TUNER, &version, &["call(tuner)"])).await;
    assert_eq!(release["capabilities"][0]["granted"], true);
}

#[tokio::test]
async fn what_a_policy_demands_is_told() {
    let shop = Shop::open().await;
    let key = PrivateKey::generate().expect("a key");
    let source = KeySource {
        name: "acme".to_owned(),
        pem: Some(key.public().to_pem().expect("PEM")),
        secret_ref: None,
    };
    let rule = Rule { prefix: shop.host.clone(), mode: Mode::Require, keys: vec![source], ..Rule::default() };
    let policy = Policy { rules: vec![ReadyRule::read("strict", &rule, |_| Err(String::new()))] };
    let router = shop.console(Some(policy));
    let wanted = shop.wanted(TUNER, &version_of(TUNER), &[]);
    let (_, before) = post(&router, "/console/api/signature", &wanted).await;
    assert_eq!((&before["allowed"], &before["reason"]), (&json!(false), &json!("SignatureMissing")));
    let client = Client::new(ClientConfig::default());
    let found = artifacts().into_iter().find(|(_, artifact)| artifact.manifest().name == TUNER).expect(TUNER);
    let resolved = client.resolve(&format!("{}/{}", shop.host, found.0).parse().expect("reference")).await;
    client.sign(&resolved.expect("resolved"), &key, None).await.expect("signed");
    let (_, after) = post(&router, "/console/api/signature", &wanted).await;
    assert_eq!(
        (&after["allowed"], &after["signed"], &after["key"]),
        (&json!(true), &json!(true), &json!("acme"))
    );

    let (status, starting) = post(&shop.console(None), "/console/api/signature", &wanted).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{starting}");
}

#[tokio::test]
async fn no_other_index_is_read_and_nothing_that_is_not_listed() {
    let shop = Shop::open().await;
    let router = shop.console(Some(Policy::default()));
    let mut other = shop.wanted(TUNER, &version_of(TUNER), &[]);
    // Nobody listens there; an attempt would be another failure than this one.
    other["index"] = json!("127.0.0.1:1/tests/index:latest");
    for path in ["/console/api/release", "/console/api/signature"] {
        let (status, refused) = post(&router, path, &other).await;
        assert_eq!(status, StatusCode::NOT_FOUND);
        assert!(
            refused["message"].as_str().is_some_and(|text| text.contains("none of the indexes")),
            "{refused}"
        );
        let (status, refused) = post(&router, path, &shop.wanted(TUNER, "99.0.0", &[])).await;
        assert_eq!(status, StatusCode::NOT_FOUND, "{refused}");
    }
    other["image"] = json!("127.0.0.1:1/x/y:1");
    assert_eq!(post(&router, "/console/api/release", &other).await.0, StatusCode::UNPROCESSABLE_ENTITY);
    let long =
        json!({"index": shop.index, "name": TUNER, "version": "1.0.0", "grants": ["x".repeat(70_000)]});
    assert_eq!(post(&router, "/console/api/release", &long).await.0, StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test]
async fn an_index_that_is_too_large_or_none_is_named() {
    for (text, reason) in
        [(vec![b' '; (8 << 20) + 1], "8388608"), (b"{\"plugins\": [{}]}".to_vec(), "no index of plugins")]
    {
        let shop = Shop::open().await;
        shop.list(&text);
        let (_, _, text) = get(&shop.console(None), "/console/api/catalogue").await;
        let listed: Value = serde_json::from_slice(&text).expect("JSON");
        let error = listed["indexes"][0]["error"].as_str().unwrap_or_default();
        assert!(error.contains(reason) && error.contains(&shop.index), "{error}");
    }
}

#[tokio::test]
async fn a_plugin_that_is_not_what_the_index_says_is_not_shown() {
    let shop = Shop::open().await;
    let mut index = shop.listing(&artifacts());
    let relay = index.plugins.iter_mut().find(|listing| listing.name == TUNER).expect(TUNER);
    relay.versions[0].version = semver::Version::new(9, 0, 0);
    shop.list(&index.to_json().expect("an index"));
    let router = shop.console(Some(Policy::default()));
    let (status, refused) = post(&router, "/console/api/release", &shop.wanted(TUNER, "9.0.0", &[])).await;
    assert_eq!(status, StatusCode::BAD_GATEWAY);
    assert!(refused["message"].as_str().is_some_and(|text| text.contains("do not trust")), "{refused}");
}
