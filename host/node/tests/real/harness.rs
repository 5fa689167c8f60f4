//! One API server for the whole test binary, and one [`Host`] at a time: a node process with its own data folder and
//! namespace.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::{Namespace, Pod};
use kube::api::{DeleteParams, ListParams, PostParams};
use kube::{Api, Client};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use tokio::sync::{Mutex, MutexGuard};

/// Where the search for a free port starts: below those that the kernel gives to clients.
const FIRST_PORT: u16 = 16540;
static ONE_AT_A_TIME: Mutex<()> = Mutex::const_new(());

/// A port that is free, with the two after it, which etcd takes. Never a fixed one: another checkout's tests, or a server
/// of the run before that is not down yet, would answer there, with another node for the same Pods.
fn free_port() -> u16 {
    let start = FIRST_PORT + (std::process::id() % 1000) as u16 * 3;
    let free = |port: u16| std::net::TcpListener::bind(("127.0.0.1", port));
    (start..).step_by(3).find(|port| (*port..port + 3).map(free).all(|bound| bound.is_ok())).unwrap()
}

fn server() -> Option<&'static Path> {
    static SERVER: OnceLock<Option<PathBuf>> = OnceLock::new();
    SERVER
        .get_or_init(|| {
            let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/real");
            let built = Command::new(scripts.join("build.sh")).output();
            match built {
                Ok(output) if output.status.success() => {}
                Ok(output) => {
                    eprintln!(
                        "skipped: tests/real/build.sh failed: {}",
                        String::from_utf8_lossy(&output.stderr)
                    );
                    return None;
                }
                Err(error) => {
                    eprintln!("skipped: tests/real/build.sh cannot run: {error}");
                    return None;
                }
            }
            let dir = tempfile::tempdir().unwrap().keep();
            let started = Command::new(scripts.join("start.sh")).arg(&dir).arg(free_port().to_string()).status().unwrap();
            if !started.success() {
                let _ = Command::new(scripts.join("stop.sh")).arg(&dir).status();
                panic!("kube-apiserver did not start; see {}", dir.display());
            }
            // The test process has no end of its own to hook into: a watcher outlives it and stops the server.
            let watcher = Command::new("sh")
                .arg("-c")
                .arg("while kill -0 \"$1\" 2>/dev/null; do sleep 0.5; done; \"$2\" \"$3\"; sleep 5; xargs -r kill -9 < \"$3/pids\"; rm -rf \"$3\"")
                .args(["sh", &std::process::id().to_string()])
                .arg(scripts.join("stop.sh"))
                .arg(&dir)
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn();
            // It waits for this process, not the other way round.
            std::mem::forget(watcher.unwrap());
            Some(dir)
        })
        .as_deref()
}

/// A node process.
pub(crate) struct Host {
    pub(crate) client: Client,
    pub(crate) namespace: String,
    pub(crate) dir: tempfile::TempDir,
    child: Option<Child>,
    _turn: MutexGuard<'static, ()>,
}

/// An image map with `host/shell:*` for plain host commands.
const MAP: &str = "
images:
  - image: docker.io/host/shell:*
  - image: docker.io/host/mapped:*
    paths: {/opt/app: ./app}
    env: {FROM_IMAGE: mapped}
";

impl Host {
    /// Starts a node in a fresh namespace; `None`, said on stdout, when there is no API server to be had.
    pub(crate) async fn start() -> Option<Host> {
        let turn = ONE_AT_A_TIME.lock().await;
        let server = server()?;
        let kubeconfig = kube::config::Kubeconfig::read_from(server.join("kubeconfig")).unwrap();
        let config = kube::Config::from_custom_kubeconfig(kubeconfig, &Default::default()).await.unwrap();
        let client = Client::try_from(config).unwrap();
        let namespace = format!("t-{}", uuid::Uuid::new_v4().simple());
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("app")).unwrap();
        std::fs::write(dir.path().join("app/hello.sh"), "echo hello from $0 $FROM_IMAGE\n").unwrap();
        std::fs::write(dir.path().join("map.yaml"), MAP).unwrap();
        let mut host = Host { client, namespace, dir, child: None, _turn: turn };
        let namespaces: Api<Namespace> = Api::all(host.client.clone());
        let object = serde_json::from_value(json!({"metadata": {"name": host.namespace}})).unwrap();
        namespaces.create(&PostParams::default(), &object).await.unwrap();
        host.resume();
        Some(host)
    }

    /// Starts the node process (again).
    pub(crate) fn resume(&mut self) {
        assert!(self.child.is_none());
        let example = std::env::current_exe().unwrap().parent().unwrap().join("../examples/node");
        let child = Command::new(example)
            .arg(server().unwrap().join("kubeconfig"))
            .arg(self.dir.path().join("data"))
            .arg(self.dir.path().join("map.yaml"))
            .spawn();
        self.child = Some(child.unwrap());
    }

    /// Kills the node process with SIGKILL.
    pub(crate) fn kill(&mut self) {
        let mut child = self.child.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    pub(crate) fn api<K>(&self) -> Api<K>
    where
        K: kube::Resource<Scope = kube::core::NamespaceResourceScope>,
        K::DynamicType: Default,
    {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    pub(crate) async fn create<K>(&self, object: serde_json::Value) -> K
    where
        K: kube::Resource<Scope = kube::core::NamespaceResourceScope>
            + Clone
            + std::fmt::Debug
            + DeserializeOwned
            + Serialize,
        K::DynamicType: Default,
    {
        let object: K = serde_json::from_value(object).unwrap();
        self.api::<K>().create(&PostParams::default(), &object).await.unwrap()
    }

    /// A Pod with one container that runs a shell script.
    pub(crate) async fn shell(&self, name: &str, script: &str, extra: serde_json::Value) -> Pod {
        let mut container = json!({"name": "main", "image": "host/shell", "command": ["sh", "-c", script]});
        let mut spec = json!({"restartPolicy": "Never"});
        for (key, value) in extra.as_object().into_iter().flatten() {
            match key.strip_prefix("container.") {
                Some(key) => container[key] = value.clone(),
                None => spec[key] = value.clone(),
            }
        }
        spec["containers"] = json!([container]);
        self.create(json!({"metadata": {"name": name}, "spec": spec})).await
    }

    /// Waits until the object is as `wanted`.
    pub(crate) async fn until<K>(&self, name: &str, wanted: impl Fn(&K) -> bool) -> K
    where
        K: kube::Resource<Scope = kube::core::NamespaceResourceScope>
            + Clone
            + std::fmt::Debug
            + DeserializeOwned
            + Serialize,
        K::DynamicType: Default,
    {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            let object = self.api::<K>().get(name).await.unwrap();
            if wanted(&object) {
                return object;
            }
            assert!(
                Instant::now() < deadline,
                "{name} did not get there in 30 s:\n{}",
                serde_json::to_string_pretty(&object).unwrap()
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until the Pod is over.
    pub(crate) async fn ended(&self, name: &str) -> Pod {
        self.until(name, |pod: &Pod| matches!(phase(pod), "Succeeded" | "Failed")).await
    }

    /// The text of a container's log.
    pub(crate) async fn log(&self, pod: &Pod, follow: bool) -> String {
        use futures::TryStreamExt;
        let node = self.reader();
        let request = purlin_node::LogRequest {
            pod: pod.metadata.name.clone().unwrap(),
            uid: pod.metadata.uid.clone().unwrap(),
            container: "main".to_owned(),
            follow,
            ..Default::default()
        };
        let chunks: Vec<_> = node.logs(request).await.unwrap().try_collect().await.unwrap();
        String::from_utf8(chunks.concat()).unwrap()
    }

    /// A node on the same folder that is never run: logs need no more.
    fn reader(&self) -> purlin_node::Node {
        purlin_node::Node::new(purlin_node::Config {
            client: self.client.clone(),
            name: "reader".to_owned(),
            data_dir: self.dir.path().join("data"),
            image_map: None,
            shim: Vec::new(),
            images: std::sync::Arc::new(purlin_node::NoImages),
            on_shutdown: Default::default(),
            log_endpoint: None,
            metrics: Default::default(),
        })
        .unwrap()
    }

    /// Ends the test: its Pods and Jobs are deleted and seen to go, so that nothing of it runs on.
    pub(crate) async fn finish(self) {
        let jobs: Api<k8s_openapi::api::batch::v1::Job> = self.api();
        jobs.delete_collection(&DeleteParams::background(), &ListParams::default()).await.unwrap();
        let pods: Api<Pod> = self.api();
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            // No garbage collector runs here: what a Job leaves is deleted by hand.
            let immediately = DeleteParams { grace_period_seconds: Some(0), ..DeleteParams::default() };
            pods.delete_collection(&immediately, &ListParams::default()).await.unwrap();
            let left = pods.list(&ListParams::default()).await.unwrap().items;
            if left.is_empty() {
                break;
            }
            for pod in left {
                let patch = json!({"metadata": {"finalizers": null}});
                let name = pod.metadata.name.unwrap();
                let _ = pods.patch(&name, &Default::default(), &kube::api::Patch::Merge(patch)).await;
            }
            assert!(Instant::now() < deadline, "Pods are left");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let folders = self.dir.path().join("data/pods");
        eventually("the end of what the Pods ran", || std::fs::read_dir(&folders).unwrap().next().is_none())
            .await;
    }
}

impl Host {
    /// Waits for an Event of a reason: Events are written after the status that they go with.
    pub(crate) async fn said(&self, reason: &str) {
        let events = self.api::<k8s_openapi::api::core::v1::Event>();
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let found = events.list(&Default::default()).await.unwrap().items;
            if found.iter().any(|event| event.reason.as_deref() == Some(reason)) {
                return;
            }
            assert!(Instant::now() < deadline, "no {reason} Event in 20 s");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

pub(crate) fn phase(pod: &Pod) -> &str {
    pod.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or("")
}

/// Waits until a condition on the host holds.
pub(crate) async fn eventually(what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(Instant::now() < deadline, "{what} did not happen in 20 s");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
