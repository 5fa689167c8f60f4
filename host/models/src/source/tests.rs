//! Sources against servers of these tests' own: local files and what is behind an address. Other kinds of servers are in the
//! crate's `tests` folder.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse as _;
use axum::routing::get;
use futures::StreamExt as _;
use tempfile::TempDir;

use super::*;

const MODEL: &[u8] = b"a model, in some bytes that can be cut in two";

fn sources(folder: &TempDir) -> Sources {
    // Whichever test is first installs it.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let models = folder.path().join("models");
    fs::create_dir_all(models.join("claim/digits")).unwrap();
    fs::write(models.join("claim/digits/model.onnx"), MODEL).unwrap();
    fs::write(folder.path().join("secret"), "not for models").unwrap();
    let models = models.canonicalize().unwrap();
    let config = SourceConfig {
        folders: vec![models],
        cache: folder.path().join("cache"),
        cache_limit: 1 << 20,
        max_file: 1 << 20,
        hub: Hub::default(),
    };
    Sources::new(config, purlin_registry::Client::new(purlin_registry::ClientConfig::default())).unwrap()
}

fn of(uri: impl Into<String>) -> SourceRequest {
    SourceRequest { uri: uri.into(), ..SourceRequest::default() }
}

async fn refused(sources: &Sources, uri: &str) -> SourceError {
    match sources.fetch(&of(uri)).await {
        Ok(_) => panic!("{uri} was read"),
        Err(error) => error,
    }
}

fn names(fetched: &Fetched) -> Vec<(String, u64)> {
    fetched.entries().map(|(name, _, size)| (name.to_owned(), size)).collect()
}

fn digest_of(content: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(content)))
}

#[tokio::test]
async fn a_claim_is_a_folder_below_those_that_may_be_read() {
    let folder = tempfile::tempdir().unwrap();
    let sources = sources(&folder);
    let fetched = sources.fetch(&of("pvc://claim/digits")).await.unwrap();
    assert_eq!(names(&fetched), [("model.onnx".to_owned(), MODEL.len() as u64)]);
    let path = folder.path().canonicalize().unwrap().join("models/claim/digits");
    assert_eq!(fetched.folder().await.unwrap().path(), path);
    let file = folder.path().join("models/claim/digits/model.onnx");
    let fetched = sources.fetch(&of(format!("file://{}", file.display()))).await.unwrap();
    assert_eq!(names(&fetched), [("model.onnx".to_owned(), MODEL.len() as u64)]);
    assert_eq!(fetched.digest(), digest_of(MODEL));
    let made = fetched.folder().await.unwrap();
    assert_eq!(fs::read(made.path().join("model.onnx")).unwrap(), MODEL);
}

#[tokio::test]
async fn the_digest_is_of_the_content_and_not_of_its_time() {
    let folder = tempfile::tempdir().unwrap();
    let sources = sources(&folder);
    let file = folder.path().join("models/claim/digits/model.onnx");
    let set = |seconds: u64| {
        let time = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(seconds);
        fs::File::options().append(true).open(&file).unwrap().set_modified(time).unwrap();
    };
    set(1_000_000);
    let before = sources.fetch(&of("pvc://claim/digits")).await.unwrap().digest();
    set(2_000_000);
    assert_eq!(sources.fetch(&of("pvc://claim/digits")).await.unwrap().digest(), before);
    let other: Vec<u8> = MODEL.iter().rev().copied().collect();
    fs::write(&file, other).unwrap();
    assert_ne!(sources.fetch(&of("pvc://claim/digits")).await.unwrap().digest(), before);
}

#[tokio::test]
async fn nothing_else_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let sources = sources(&folder);
    let secret = folder.path().join("secret");
    std::os::unix::fs::symlink(&secret, folder.path().join("models/claim/link")).unwrap();
    for uri in [
        format!("file://{}", secret.display()),
        format!("file://{}/models/claim/../../secret", folder.path().display()),
        format!("file://{}/models/claim/link", folder.path().display()),
        "pvc://claim/../../secret".to_owned(),
        "pvc://claim/link".to_owned(),
    ] {
        let refused = refused(&sources, &uri).await;
        assert_eq!(refused.reason, "SourceForbidden", "{uri}: {refused}");
    }
    let listed = sources.fetch(&of("pvc://claim")).await.unwrap();
    assert_eq!(names(&listed), [("digits/model.onnx".to_owned(), MODEL.len() as u64)], "a link is left out");
}

#[tokio::test]
async fn what_cannot_be_read_says_whether_it_may_come() {
    let folder = tempfile::tempdir().unwrap();
    let sources = sources(&folder);
    for (uri, reason, passing) in [
        ("pvc://claim/other", "SourceUnavailable", true),
        ("ftp://example.com/model", "SourceUnsupported", false),
        ("models/digits", "SourceInvalid", false),
        ("s3://", "SourceInvalid", true),
        ("hf://name", "SourceInvalid", false),
        ("oci://name", "SourceInvalid", false),
        ("", "SourceInvalid", false),
    ] {
        let refused = refused(&sources, uri).await;
        assert_eq!((refused.reason, refused.passing), (reason, passing), "{refused}");
    }
}

#[tokio::test]
async fn another_content_than_expected_is_no_model() {
    let folder = tempfile::tempdir().unwrap();
    let sources = sources(&folder);
    let uri = format!("file://{}", folder.path().join("models/claim/digits/model.onnx").display());
    let with = |digest: String| SourceRequest { digest: Some(digest), ..of(uri.clone()) };
    sources.fetch(&with(digest_of(MODEL))).await.unwrap();
    let refused = sources.fetch(&with(digest_of(b"other"))).await.err().unwrap();
    assert_eq!((refused.reason, refused.passing), ("DigestMismatch", false));
}

/// A server that counts its requests, can go on in the middle, and breaks off the first answers after some bytes.
struct Server {
    uri: String,
    asked: Arc<AtomicUsize>,
    /// How many more answers are broken off.
    cuts: Arc<AtomicUsize>,
    content: Arc<Mutex<Vec<u8>>>,
}

async fn server(cuts: usize, tagged: bool) -> Server {
    let (asked, content) = (Arc::new(AtomicUsize::new(0)), Arc::new(Mutex::new(MODEL.to_vec())));
    let cuts = Arc::new(AtomicUsize::new(cuts));
    let (counted, served, cutting) = (asked.clone(), content.clone(), cuts.clone());
    let model = get(move |headers: HeaderMap| async move {
        counted.fetch_add(1, Ordering::SeqCst);
        let cut =
            cutting.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok();
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let content = served.lock().unwrap().clone();
        let tag = format!("\"{}\"", hex::encode(Sha256::digest(&content)));
        if text("authorization").is_some_and(|shown| shown != "Bearer right") {
            return StatusCode::FORBIDDEN.into_response();
        }
        if tagged && text("if-none-match") == Some(tag.as_str()) {
            return StatusCode::NOT_MODIFIED.into_response();
        }
        let from =
            text("range").and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok());
        let from = from.filter(|_| text("if-range").is_none_or(|wanted| wanted == tag));
        let rest = content[from.unwrap_or(0)..].to_vec();
        let length = rest.len().to_string();
        let pieces: Vec<Result<Vec<u8>, io::Error>> = match cut {
            true => vec![Ok(rest[..rest.len() / 2].to_vec()), Err(io::Error::other("cut"))],
            false => vec![Ok(rest)],
        };
        // What is sent must be on its way before the connection breaks.
        let pieces = futures::stream::iter(pieces).then(async |piece| {
            if piece.is_err() {
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            }
            piece
        });
        let mut answer = axum::http::Response::builder().header("content-length", length);
        if tagged {
            answer = answer.header("etag", tag);
        }
        if let Some(from) = from {
            let range = format!("bytes {from}-{}/{}", content.len() - 1, content.len());
            answer = answer.status(StatusCode::PARTIAL_CONTENT).header("content-range", range);
        }
        answer.body(Body::from_stream(pieces)).unwrap()
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, Router::new().route("/model.onnx", model)).await });
    Server { uri: format!("http://{address}/model.onnx"), asked, cuts, content }
}

#[tokio::test]
async fn a_download_is_shared_and_kept() {
    let folder = tempfile::tempdir().unwrap();
    let sources = sources(&folder);
    let server = server(0, false).await;
    let request = of(server.uri.clone());
    let all = futures::future::join_all((0..8).map(|_| sources.fetch(&request))).await;
    for fetched in all {
        assert_eq!(names(&fetched.unwrap()), [("model.onnx".to_owned(), MODEL.len() as u64)]);
    }
    sources.fetch(&request).await.unwrap();
    assert_eq!(server.asked.load(Ordering::SeqCst), 1);
    let refused = refused(&sources, &server.uri.replace("model.onnx", "other")).await;
    assert!(refused.message.contains("404") && !refused.passing, "{refused}");
}

#[tokio::test]
async fn what_changed_is_seen_at_the_next_load() {
    let folder = tempfile::tempdir().unwrap();
    let sources = sources(&folder);
    let server = server(0, true).await;
    let request = of(server.uri.clone());
    let before = sources.fetch(&request).await.unwrap();
    assert_eq!(sources.fetch(&request).await.unwrap().digest(), before.digest());
    *server.content.lock().unwrap() = b"another model".to_vec();
    let after = sources.fetch(&request).await.unwrap();
    assert_eq!(after.digest(), digest_of(b"another model"));
    let (_, path, _) = before.entries().next().unwrap();
    assert_eq!(fs::read(path).unwrap(), MODEL, "who has the old one keeps it");
}

#[tokio::test]
async fn a_cut_download_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let server = server(2, true).await;
    let fetched = sources(&folder).fetch(&of(server.uri.clone())).await.unwrap();
    assert_eq!(fetched.digest(), digest_of(MODEL));
    assert_eq!(server.asked.load(Ordering::SeqCst), 3, "two were cut");
}

#[tokio::test]
async fn a_download_goes_on_after_the_process_ended() {
    let folder = tempfile::tempdir().unwrap();
    let server = server(usize::MAX, true).await;
    // Each attempt brings half of what is left; the last byte never comes.
    let request = of(server.uri.clone());
    let first = sources(&folder);
    let cut = tokio::time::timeout(std::time::Duration::from_millis(300), first.fetch(&request)).await;
    assert!(cut.is_err());
    drop(first);
    let partial = fs::read_dir(folder.path().join("cache/partial")).unwrap().next().unwrap().unwrap();
    let have = partial.metadata().unwrap().len();
    assert!(have > 0 && have < MODEL.len() as u64, "{have}");
    assert_eq!(fs::read_dir(folder.path().join("cache/blobs")).unwrap().count(), 0);
    server.cuts.store(0, Ordering::SeqCst);
    let fetched = sources(&folder).fetch(&request).await.unwrap();
    assert_eq!(fetched.digest(), digest_of(MODEL));
}

#[tokio::test]
async fn a_place_that_is_down_has_what_it_had_for_those_who_were_let_in() {
    let folder = tempfile::tempdir().unwrap();
    let sources = sources(&folder);
    let server = server(0, true).await;
    let with = |token: &str| {
        let data = [("headers".to_owned(), format!("Authorization: Bearer {token}").into_bytes())];
        let credentials = Credentials::from_secret(data.into(), [].into(), None).unwrap();
        SourceRequest { credentials: Some(credentials), ..of(server.uri.clone()) }
    };
    sources.fetch(&with("right")).await.unwrap();
    let refused = sources.fetch(&with("wrong")).await.err().unwrap();
    assert_eq!((refused.reason, refused.passing), ("SourceUnauthorized", true));
    // A proxy that answers for nobody, as when the place is down.
    let gone = SourceRequest { uri: "http://127.0.0.1:1/model.onnx".to_owned(), ..with("right") };
    assert_eq!(sources.fetch(&gone).await.err().unwrap().reason, "SourceUnavailable");
}

#[tokio::test]
async fn what_is_larger_than_allowed_is_not_read() {
    let folder = tempfile::tempdir().unwrap();
    let sources = sources(&folder);
    let server = server(0, true).await;
    *server.content.lock().unwrap() = vec![0; (1 << 20) + 1];
    assert_eq!(refused(&sources, &server.uri).await.reason, "SourceTooLarge");
}

#[tokio::test]
async fn an_archive_is_the_files_in_it() {
    use std::io::Write as _;
    let mut builder = ::tar::Builder::new(Vec::new());
    for (name, content) in [("model.onnx", MODEL), ("labels/names.txt", b"a b")] {
        let mut header = ::tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        builder.append_data(&mut header, name, content).unwrap();
    }
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&builder.into_inner().unwrap()).unwrap();
    let tgz = gzip.finish().unwrap();
    let mut zip = zip::ZipWriter::new(io::Cursor::new(Vec::new()));
    zip.start_file("model.onnx", zip::write::SimpleFileOptions::default()).unwrap();
    zip.write_all(MODEL).unwrap();
    let zip = zip.finish().unwrap().into_inner();

    let served = [
        ("model.tar.gz", tgz.clone()),
        ("model.zip", zip),
        ("model.onnx", tgz.clone()),
        ("broken.zip", tgz.clone()),
    ];
    let mut router = Router::new();
    for (name, content) in served {
        router = router.route(&format!("/{name}"), get(async || content));
    }
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(axum::serve(listener, router).into_future());

    let folder = tempfile::tempdir().unwrap();
    let sources = sources(&folder);
    // Again from what was kept.
    for _ in 0..2 {
        let fetched = sources.fetch(&of(format!("{address}/model.tar.gz"))).await.unwrap();
        let expected = [("labels/names.txt".to_owned(), 3), ("model.onnx".to_owned(), MODEL.len() as u64)];
        assert_eq!(names(&fetched), expected);
        assert_eq!(fetched.digest(), digest_of(&tgz), "what anybody can tell beforehand");
        let made = fetched.folder().await.unwrap();
        assert_eq!(fs::read(made.path().join("model.onnx")).unwrap(), MODEL);
    }
    let fetched = sources.fetch(&of(format!("{address}/model.zip"))).await.unwrap();
    assert_eq!(names(&fetched), [("model.onnx".to_owned(), MODEL.len() as u64)]);
    // What is not called an archive is none, whatever is in it.
    let fetched = sources.fetch(&of(format!("{address}/model.onnx"))).await.unwrap();
    assert_eq!(names(&fetched), [("model.onnx".to_owned(), tgz.len() as u64)]);
    let made = fetched.folder().await.unwrap();
    assert_eq!(fs::read(made.path().join("model.onnx")).unwrap(), tgz);
    let refused = refused(&sources, &format!("{address}/broken.zip")).await;
    assert_eq!((refused.reason, refused.passing), ("SourceInvalid", false), "{refused}");
}

#[tokio::test]
async fn a_hub_may_be_a_folder() {
    let folder = tempfile::tempdir().unwrap();
    let hub = folder.path().join("hub");
    fs::create_dir_all(hub.join("org/name/onnx")).unwrap();
    fs::create_dir_all(hub.join("org/name@v2")).unwrap();
    fs::write(hub.join("org/name/onnx/model.onnx"), MODEL).unwrap();
    fs::write(hub.join("org/name@v2/model.onnx"), MODEL).unwrap();
    let mut sources = sources(&folder);
    let hub = hub.to_str().unwrap().parse().unwrap();
    Arc::get_mut(&mut sources.reader).unwrap().config.hub = hub;
    let of_uri = async |uri: &str| sources.fetch(&of(uri)).await.map(|fetched| names(&fetched));
    let size = MODEL.len() as u64;
    assert_eq!(of_uri("hf://org/name").await.unwrap(), [("onnx/model.onnx".to_owned(), size)]);
    assert_eq!(of_uri("hf://org/name/onnx").await.unwrap(), [("model.onnx".to_owned(), size)]);
    assert_eq!(of_uri("hf://org/name:v2").await.unwrap(), [("model.onnx".to_owned(), size)]);
    assert!(of_uri("hf://org/name:v3").await.unwrap_err().passing);
}
