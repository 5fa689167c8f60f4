//! Signatures, documents, bundles, mirrors and sign-in against a real server, and against servers that lie.

use std::io::Cursor;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};
use purlin_registry::auth::{Credentials, Keychain};
use purlin_registry::bundle::{Reader, Writer};
use purlin_registry::mirror::MirrorRule;
use purlin_registry::policy::{Mode, Policy, ReadyRule};
use purlin_registry::signature::{Outcome, PrivateKey, TrustedKey, payload, tag};
use purlin_registry::{Access, Client, ClientConfig, ClientError, Digest, Reference, Resolved, index, sbom};
use serde_json::{Value, json};

use crate::fixture::{Served, artifact, serve, serve_router};

fn client() -> Client {
    Client::new(ClientConfig::default())
}

fn with_access(access: Access) -> Client {
    Client::new(ClientConfig { access, ..ClientConfig::default() })
}

fn trusted(key: &PrivateKey) -> Vec<TrustedKey> {
    vec![TrustedKey { name: "acme".to_owned(), key: key.public() }]
}

async fn pushed(served: &Served) -> Resolved {
    client().push(&served.reference("acme/tuner:1"), &artifact("tuner")).await.expect("push")
}

async fn judged(resolved: &Resolved, key: &PrivateKey) -> Outcome {
    client().judge(resolved, &trusted(key), &[]).await.expect("judge")
}

fn blob_of(served: &Served, digest: &Digest) -> std::path::PathBuf {
    served.folder.path().join("blobs/sha256").join(digest.hex())
}

#[tokio::test]
async fn what_is_signed_is_found_signed_and_signing_adds() {
    let served = serve().await;
    let resolved = pushed(&served).await;
    let (one, two) = (PrivateKey::generate().expect("key"), PrivateKey::generate().expect("key"));
    assert_eq!(judged(&resolved, &one).await, Outcome::Missing);
    let signed = client().sign(&resolved, &one, None).await.expect("sign");
    assert_eq!((signed.signatures, signed.already), (1, false));
    assert_eq!(judged(&resolved, &two).await, Outcome::NoMatchingKey { found: 1 });
    assert_eq!(client().sign(&resolved, &two, None).await.expect("sign").signatures, 2);
    assert!(client().sign(&resolved, &two, None).await.expect("sign").already);
    for key in [&one, &two] {
        assert_eq!(judged(&resolved, key).await, Outcome::Valid { key: "acme".to_owned() });
    }
    let other = Resolved::assume(resolved.reference().clone(), Digest::of(b"not there"));
    assert!(matches!(client().sign(&other, &one, None).await, Err(ClientError::NotFound(_))));
}

#[tokio::test]
async fn a_damaged_signature_is_refused_and_not_taken_for_none() {
    let served = serve().await;
    let resolved = pushed(&served).await;
    let key = PrivateKey::generate().expect("key");
    client().sign(&resolved, &key, None).await.expect("sign");
    let name = resolved.reference().name();
    let document = payload::write(&name, resolved.digest()).expect("payload");
    let blob = blob_of(&served, &Digest::of(&document));
    for content in [&document[..document.len() - 1], &[], &[document.as_slice(), b" "].concat()] {
        std::fs::write(&blob, content).expect("damage");
        let outcome = judged(&resolved, &key).await;
        assert!(matches!(outcome, Outcome::Invalid { .. }), "{outcome:?}");
    }
    std::fs::remove_file(&blob).expect("remove");
    let outcome = judged(&resolved, &key).await;
    assert!(matches!(outcome, Outcome::Invalid { .. }), "{outcome:?}");
}

#[tokio::test]
async fn a_signature_moved_to_another_artifact_does_not_count() {
    let served = serve().await;
    let resolved = pushed(&served).await;
    let key = PrivateKey::generate().expect("key");
    client().sign(&resolved, &key, None).await.expect("sign");
    let other = client().push(&served.reference("acme/tuner:2"), &artifact("other")).await.expect("push");
    let http = reqwest::Client::new();
    let at = |digest: &Digest| served.url(&format!("/v2/acme/tuner/manifests/{}", tag::name(digest)));
    let manifest = http.get(at(resolved.digest())).send().await.expect("get").bytes().await.expect("bytes");
    let put = http.put(at(other.digest())).body(manifest).send().await.expect("put");
    assert_eq!(put.status(), StatusCode::CREATED);
    let outcome = judged(&other, &key).await;
    assert!(
        matches!(&outcome, Outcome::Invalid { problems } if problems[0].contains("was made for")),
        "{outcome:?}"
    );
}

#[tokio::test]
async fn the_strictest_of_equal_rules_decides() {
    let served = serve().await;
    let resolved = pushed(&served).await;
    let (one, two) = (PrivateKey::generate().expect("key"), PrivateKey::generate().expect("key"));
    client().sign(&resolved, &one, None).await.expect("sign");
    let rule = |mode, key: &PrivateKey| ReadyRule {
        from: "p".to_owned(),
        prefix: served.address.clone(),
        mode,
        keys: trusted(key),
        problems: Vec::new(),
        signed_as: Vec::new(),
    };
    let verdict = async |rules| client().verify(&resolved, &Policy { rules }).await;
    assert!(verdict(vec![rule(Mode::Require, &one)]).await.is_signed());
    assert!(!verdict(vec![rule(Mode::Require, &one), rule(Mode::Require, &two)]).await.allows());
    assert!(!verdict(vec![rule(Mode::Off, &one), rule(Mode::Require, &two)]).await.allows());
    assert!(verdict(vec![rule(Mode::Warn, &two)]).await.allows());
    // Signatures that cannot be fetched let nothing pass that needs one.
    let gone =
        Resolved::assume("localhost:1/acme/x:1".parse().expect("reference"), resolved.digest().clone());
    let everything = ReadyRule { prefix: String::new(), ..rule(Mode::Require, &one) };
    let unavailable = client().verify(&gone, &Policy { rules: vec![everything] }).await;
    assert_eq!((unavailable.allows(), unavailable.may_change()), (false, true));
}

#[tokio::test]
async fn a_document_is_attached_listed_and_fetched() {
    let served = serve().await;
    let resolved = pushed(&served).await;
    let bill = sbom::Sbom::of(&artifact("tuner"), Vec::new()).to_json().expect("json");
    let attach = async || {
        client().attach(&resolved, sbom::MEDIA_TYPE, Bytes::from(bill.clone())).await.expect("attach")
    };
    let digest = attach().await;
    assert_eq!(attach().await, digest);
    let found = client().attached(&resolved, sbom::MEDIA_TYPE).await.expect("list");
    assert_eq!(found.iter().map(|found| &found.digest).collect::<Vec<_>>(), [&digest]);
    let at = Resolved::assume(resolved.reference().clone(), digest.clone());
    assert_eq!(client().fetch_document(&at, sbom::MEDIA_TYPE, 1 << 20).await.expect("fetch"), bill);
    let error = client().fetch_document(&at, sbom::MEDIA_TYPE, 10).await.expect_err("too large").to_string();
    assert!(error.contains("at most 10"), "{error}");
    let error = client().fetch_document(&at, index::MEDIA_TYPE, 1 << 20).await.expect_err("type").to_string();
    assert!(error.contains("media type"), "{error}");
    std::fs::write(blob_of(&served, &Digest::of(&bill)), &bill[1..]).expect("damage");
    let error =
        client().fetch_document(&at, sbom::MEDIA_TYPE, 1 << 20).await.expect_err("damaged").to_string();
    assert!(error.contains("damaged or altered"), "{error}");
}

/// The same registry without a list of referrers, as some still are.
async fn without_referrers(served: &Served) -> String {
    let inner = served.loopback.router();
    let router = axum::Router::new().fallback(move |request: Request| {
        let inner = inner.clone();
        async move {
            if request.uri().path().contains("/referrers/") {
                return StatusCode::NOT_FOUND.into_response();
            }
            let mut response: Response =
                tower::ServiceExt::oneshot(inner, request).await.unwrap_or_else(|never| match never {});
            response.headers_mut().remove("oci-subject");
            response
        }
    });
    serve_router(router).await
}

#[tokio::test]
async fn where_a_registry_lists_no_referrers_the_tag_does() {
    let served = serve().await;
    let address = without_referrers(&served).await;
    let reference: Reference = format!("{address}/acme/tuner:1").parse().expect("reference");
    let resolved = client().push(&reference, &artifact("tuner")).await.expect("push");
    for content in ["{\"a\":1}", "{\"b\":1}", "{\"a\":1}"] {
        client().attach(&resolved, sbom::MEDIA_TYPE, Bytes::from(content)).await.expect("attach");
    }
    assert_eq!(client().attached(&resolved, sbom::MEDIA_TYPE).await.expect("list").len(), 2);
}

async fn bundled(served: &Served, key: &PrivateKey) -> Vec<u8> {
    let resolved = pushed(served).await;
    client().sign(&resolved, key, None).await.expect("sign");
    client().attach(&resolved, sbom::MEDIA_TYPE, Bytes::from("{}")).await.expect("attach");
    let mut writer = Writer::new(Vec::new()).expect("begin");
    let packed = writer.add(&client(), &resolved).await.expect("add");
    assert_eq!((packed.signatures, packed.documents), (1, 1));
    writer.finish().expect("finish")
}

#[tokio::test]
async fn a_bundle_carries_signatures_and_documents_to_another_registry() {
    let (from, to) = (serve().await, serve().await);
    let key = PrivateKey::generate().expect("key");
    let bytes = bundled(&from, &key).await;
    assert_eq!(bytes, bundled(&from, &key).await, "the same plugins give the same bytes");
    let mut reader = Reader::open(Cursor::new(bytes)).expect("open");
    reader.verify().expect("whole");
    let place = format!("{}/mirror", to.address);
    let loaded = reader.load(&client(), &place, |_| {}).await.expect("load");
    assert!(loaded.iter().all(|done| done.sent > 0));
    let again = reader.load(&client(), &place, |_| {}).await.expect("load again");
    assert!(again.iter().all(|done| done.sent == 0 && done.skipped > 0), "{again:?}");
    let resolved = client().resolve(&to.reference("mirror/acme/tuner:1")).await.expect("resolve");
    assert_eq!(client().pull(&resolved).await.expect("pull"), artifact("tuner"));
    // Signed under its first name, which the policy can go on to demand.
    let keys = trusted(&key);
    let names = [format!("{}/acme", from.address)];
    let outcome = client().judge(&resolved, &keys, &names).await.expect("judge");
    assert_eq!(outcome, Outcome::Valid { key: "acme".to_owned() });
    assert_eq!(client().attached(&resolved, sbom::MEDIA_TYPE).await.expect("list").len(), 1);
    assert!(reader.load(&client(), "no/../place", |_| {}).await.is_err());
}

#[tokio::test]
async fn a_bundle_that_is_damaged_or_cut_is_refused() {
    let served = serve().await;
    let bytes = bundled(&served, &PrivateKey::generate().expect("key")).await;
    let component = artifact("tuner").component().clone();
    let at =
        bytes.windows(component.len()).position(|window| window == component.as_ref()).expect("component");
    let mut damaged = bytes.clone();
    damaged[at + 30] ^= 1;
    let error = Reader::open(Cursor::new(damaged)).expect("form").verify().expect_err("damaged").to_string();
    assert!(error.contains("damaged or altered"), "{error}");
    for length in (0..bytes.len()).step_by(509) {
        let cut = Reader::open(Cursor::new(bytes[..length].to_vec())).and_then(|mut reader| reader.verify());
        // The last kilobyte of a tar file is empty: without a part of it nothing is missing.
        assert!(cut.is_err() || bytes.len() - length <= 1024, "cut at {length} of {}", bytes.len());
    }
    let mut evil = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::Symlink);
    header.set_size(0);
    evil.append_link(&mut header, "index.json", "/etc/passwd").expect("link");
    let error = Reader::open(Cursor::new(evil.into_inner().expect("tar"))).err().expect("link").to_string();
    assert!(error.contains("no plain file"), "{error}");
}

#[tokio::test]
async fn content_comes_from_mirrors_and_tags_from_the_origin() {
    let (origin, mirror) = (serve().await, serve().await);
    let resolved = pushed(&origin).await;
    // The mirror has the same name with other content, and the right content by digest.
    client().push(&mirror.reference("m/acme/tuner:1"), &artifact("tuner")).await.expect("push");
    client().push(&mirror.reference("m/acme/tuner:1"), &artifact("evil")).await.expect("push");
    let rule = |mirrors: &[String]| MirrorRule { prefix: origin.address.clone(), mirrors: mirrors.to_vec() };
    let good = format!("{}/m", mirror.address);
    let through = |mirrors: &[String]| {
        with_access(Access { keychain: Keychain::default(), mirrors: vec![rule(mirrors)] })
    };
    let client = through(std::slice::from_ref(&good));
    assert_eq!(client.resolve(resolved.reference()).await.expect("resolve"), resolved);
    std::fs::remove_file(blob_of(&origin, artifact("tuner").component_digest())).expect("remove");
    assert_eq!(client.pull(&resolved).await.expect("from the mirror"), artifact("tuner"));
    // A mirror that gives something else under the digest is passed over.
    let lying = serve_router(axum::Router::new().fallback(|| async { "{}" })).await;
    let client = through(&[lying.clone(), "localhost:1".to_owned(), good]);
    assert_eq!(client.pull(&resolved).await.expect("from the second"), artifact("tuner"));
    assert!(through(&[lying]).pull(&resolved).await.is_err());
}

#[tokio::test]
async fn an_origin_that_is_down_is_stood_in_for() {
    let mirror = serve().await;
    client().push(&mirror.reference("acme/tuner:1"), &artifact("tuner")).await.expect("push");
    let rules = vec![MirrorRule { prefix: "localhost:1".to_owned(), mirrors: vec![mirror.address.clone()] }];
    let client = with_access(Access { keychain: Keychain::default(), mirrors: rules });
    let reference: Reference = "localhost:1/acme/tuner:1".parse().expect("reference");
    let resolved = client.resolve(&reference).await.expect("from the mirror");
    assert_eq!(resolved.digest(), artifact("tuner").digest());
}

#[tokio::test]
async fn retry_after_is_kept_and_a_long_one_is_told() {
    let served = serve().await;
    let resolved = pushed(&served).await;
    let inner = served.loopback.router();
    let left = Arc::new(AtomicU32::new(1));
    let busy = |wait: &'static str, left: Arc<AtomicU32>| {
        let inner = inner.clone();
        axum::Router::new().fallback(move |request: Request| {
            let (inner, left) = (inner.clone(), left.clone());
            async move {
                let refuse =
                    left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1)).is_ok();
                if refuse {
                    return (StatusCode::TOO_MANY_REQUESTS, [("retry-after", wait)]).into_response();
                }
                tower::ServiceExt::oneshot(inner, request).await.unwrap_or_else(|never| match never {})
            }
        })
    };
    let address = serve_router(busy("1", left)).await;
    let reference: Reference = format!("{address}/acme/tuner:1").parse().expect("reference");
    let started = Instant::now();
    assert_eq!(client().resolve(&reference).await.expect("resolve").digest(), resolved.digest());
    assert!(started.elapsed() >= Duration::from_secs(1), "{:?}", started.elapsed());
    let address = serve_router(busy("3600", Arc::new(AtomicU32::new(1)))).await;
    let reference: Reference = format!("{address}/acme/tuner:1").parse().expect("reference");
    let error = client().resolve(&reference).await.expect_err("an hour").to_string();
    assert!(error.contains("3600 s"), "{error}");
}

/// A registry that wants a token of its own service, which wants a password or a refresh token.
async fn guarded(served: &Served) -> String {
    let inner = served.loopback.router();
    let authorization = |headers: &HeaderMap| {
        headers.get("authorization").and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
    };
    let router = axum::Router::new().fallback(move |request: Request| {
        let inner = inner.clone();
        async move {
            let shown = authorization(request.headers());
            let host = request.headers()["host"].to_str().unwrap_or_default().to_owned();
            if request.uri().path() == "/token" {
                let by_form = request.method() == Method::POST;
                let body = axum::body::to_bytes(request.into_body(), 4096).await.unwrap_or_default();
                let body = String::from_utf8_lossy(&body).into_owned();
                let refresh =
                    by_form && body.contains("refresh_token=refresh") && body.contains("scope=repository");
                // `user:secret`
                if refresh || shown == "Basic dXNlcjpzZWNyZXQ=" {
                    return axum::Json(json!({"access_token": "granted", "expires_in": 300})).into_response();
                }
                return StatusCode::UNAUTHORIZED.into_response();
            }
            if shown != "Bearer granted" {
                let demand = format!("Bearer realm=\"http://{host}/token\",service=\"test\"");
                return (StatusCode::UNAUTHORIZED, [("www-authenticate", demand)]).into_response();
            }
            tower::ServiceExt::oneshot(inner, request).await.unwrap_or_else(|never| match never {})
        }
    });
    serve_router(router).await
}

#[tokio::test]
async fn a_token_is_fetched_with_a_password_or_a_refresh_token() {
    let served = serve().await;
    let address = guarded(&served).await;
    let reference: Reference = format!("{address}/acme/tuner:1").parse().expect("reference");
    let basic =
        |password: &str| Credentials::Basic { user: "user".to_owned(), password: password.to_owned() };
    let with = |credentials: Option<Credentials>| {
        let mut keychain = Keychain::default();
        if let Some(credentials) = credentials {
            keychain.add(address.clone(), credentials);
        }
        with_access(Access { keychain, mirrors: Vec::new() })
    };
    for refused in [None, Some(basic("wrong")), Some(Credentials::IdentityToken("stale".to_owned()))] {
        let error = with(refused).push(&reference, &artifact("tuner")).await.expect_err("refused");
        assert!(matches!(error, ClientError::Unauthorized(_)), "{error}");
        assert!(error.to_string().contains("docker login"), "{error}");
    }
    with(Some(basic("secret"))).push(&reference, &artifact("tuner")).await.expect("push");
    let client = with(Some(Credentials::IdentityToken("refresh".to_owned())));
    let resolved = client.resolve(&reference).await.expect("resolve");
    assert_eq!(client.pull(&resolved).await.expect("pull"), artifact("tuner"));
}

#[tokio::test]
async fn no_answer_however_odd_is_believed_or_read_without_end() {
    let resolved = |address: &str| {
        let reference: Reference = format!("{address}/a/b:1").parse().expect("reference");
        Resolved::assume(reference, Digest::of(b"wanted"))
    };
    let endless = || async {
        let piece = Bytes::from(vec![b' '; 1 << 20]);
        axum::body::Body::from_stream(futures::stream::repeat_with(move || {
            Ok::<_, std::io::Error>(piece.clone())
        }))
    };
    let address = serve_router(axum::Router::new().fallback(endless)).await;
    let error = client().pull(&resolved(&address)).await.expect_err("endless").to_string();
    assert!(error.contains("announced or are taken"), "{error}");
    let error = client().judge(&resolved(&address), &[], &[]).await.expect_err("endless").to_string();
    assert!(error.contains("announced or are taken"), "{error}");
    // A push to a registry that accepts everything and says nothing.
    let silent = serve_router(axum::Router::new().fallback(|request: Request| async move {
        if request.method() == Method::HEAD { StatusCode::NOT_FOUND } else { StatusCode::CREATED }
    }))
    .await;
    let reference: Reference = format!("{silent}/a/b:1").parse().expect("reference");
    let error = client().push(&reference, &artifact("tuner")).await.expect_err("silent").to_string();
    assert!(error.contains("did not say where"), "{error}");
    let junk = serve_router(axum::Router::new().fallback(|| async {
        ([("docker-content-digest", "sha256:zz"), ("content-type", "\u{1f600}")], "\u{0}junk")
    }))
    .await;
    let reference: Reference = format!("{junk}/a/b:1").parse().expect("reference");
    assert!(client().resolve(&reference).await.is_err());
}

#[tokio::test]
async fn an_index_is_pushed_and_found_again() {
    let served = serve().await;
    let resolved = pushed(&served).await;
    let mut made = index::Index::default();
    made.add(resolved.reference(), &artifact("tuner"), vec!["acme".to_owned()]).expect("add");
    let text = made.to_json().expect("json");
    let reference = served.reference("acme/index:latest");
    let pushed =
        client().push_document(&reference, index::MEDIA_TYPE, Bytes::from(text)).await.expect("push");
    assert_eq!(client().resolve(&reference).await.expect("resolve"), pushed);
    let text = client().fetch_document(&pushed, index::MEDIA_TYPE, index::MAX_BYTES).await.expect("fetch");
    assert_eq!(index::Index::parse(&text).expect("index"), made);
    let listed: Value = serde_json::from_slice(&text).expect("json");
    assert_eq!(listed["plugins"][0]["versions"][0]["signedBy"], json!(["acme"]));
}
