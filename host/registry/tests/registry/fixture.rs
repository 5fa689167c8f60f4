//! A plugin without behaviour, and a registry that serves a temporary folder.

use bytes::Bytes;
use purlin_registry::{Artifact, Loopback, Manifest, Reference, pack};
use serde_json::json;
use wit_component::{StringEncoding, dummy_module, embed_component_metadata};
use wit_parser::{ManglingAndAbi, Resolve};

pub(crate) fn manifest(name: &str) -> Manifest {
    let json = json!({
        "name": name, "version": "0.1.0", "description": "For tests", "wit": "0.1.0", "stages": ["tuner"],
        "algorithms": ["random"],
        "capabilities": [{"name": "call(tuner)", "reason": "the dummy imports all"}],
    });
    Manifest::from_json(json.to_string().as_bytes()).expect("manifest")
}

pub(crate) fn module() -> Vec<u8> {
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_dir("../../wit/v0.1").expect("contract");
    let world = resolve.select_world(&[package], Some("tuner-plugin")).expect("world");
    let mut module = dummy_module(&resolve, world, ManglingAndAbi::Standard32);
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8, false).expect("metadata");
    module
}

pub(crate) fn artifact(name: &str) -> Artifact {
    let component = pack(&module(), &manifest(name)).expect("pack");
    Artifact::from_component(Bytes::from(component)).expect("artifact")
}

/// A served registry. Its folder goes with it.
pub(crate) struct Served {
    pub(crate) address: String,
    pub(crate) folder: tempfile::TempDir,
    pub(crate) loopback: Loopback,
}

impl Served {
    pub(crate) fn reference(&self, rest: &str) -> Reference {
        format!("{}/{rest}", self.address).parse().expect("reference")
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
}

pub(crate) async fn serve() -> Served {
    let folder = tempfile::tempdir().expect("folder");
    let loopback = Loopback::open(folder.path()).expect("open");
    let address = serve_router(loopback.router()).await;
    Served { address, folder, loopback }
}

pub(crate) async fn serve_router(router: axum::Router) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("listen");
    let address = listener.local_addr().expect("address").to_string();
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}
