//! The Node object and its Lease: what the node says about itself to the API.

use std::net::SocketAddr;
use std::time::Duration;

use k8s_openapi::api::core::v1::Node;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::{Value, json};
use tracing::warn;

use crate::resources;

const LEASE_SECONDS: u64 = 40;
const HEARTBEAT: Duration = Duration::from_secs(10);
const LEASES: &str = "kube-node-lease";

/// Creates the Node where it is missing, and writes its status.
pub(crate) async fn register(
    client: &Client,
    name: &str,
    log_endpoint: Option<SocketAddr>,
) -> Result<(), kube::Error> {
    let nodes: Api<Node> = Api::all(client.clone());
    let labels = json!({
        "kubernetes.io/hostname": name,
        "kubernetes.io/os": "linux",
        "kubernetes.io/arch": architecture(),
    });
    let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels}});
    let node: Node = serde_json::from_value(node).map_err(kube::Error::SerdeError)?;
    match nodes.create(&PostParams::default(), &node).await {
        Ok(_) => {}
        Err(kube::Error::Api(error)) if error.reason == "AlreadyExists" => {}
        Err(error) => return Err(error),
    }
    // Nodes are made with this taint; it is the controller's to take away in a cluster, and there is none here.
    nodes.patch(name, &PatchParams::default(), &Patch::Merge(json!({"spec": {"taints": null}}))).await?;
    nodes
        .patch_status(name, &PatchParams::default(), &Patch::Merge(json!({"status": status(log_endpoint)})))
        .await?;
    Ok(())
}

fn status(log_endpoint: Option<SocketAddr>) -> Value {
    let now = jiff::Timestamp::now();
    let capacity = resources::capacity();
    let amount = json!({
        "cpu": format!("{}m", capacity.cpu_millis),
        "memory": capacity.memory_bytes.to_string(),
        "pods": resources::MAX_PODS.to_string(),
    });
    let condition = |kind: &str, status: &str, reason: &str, message: &str| {
        let at = format!("{now:.0}");
        json!({"type": kind, "status": status, "reason": reason, "message": message,
            "lastHeartbeatTime": at, "lastTransitionTime": at})
    };
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default().trim().to_owned();
    json!({
        "capacity": amount,
        "allocatable": amount,
        "conditions": [
            condition("MemoryPressure", "False", "KubeletHasSufficientMemory", "the node has sufficient memory"),
            condition("DiskPressure", "False", "KubeletHasNoDiskPressure", "the node has no disk pressure"),
            condition("PIDPressure", "False", "KubeletHasSufficientPID", "the node has sufficient PIDs"),
            condition("Ready", "True", "KubeletReady", "the node takes Pods"),
        ],
        "addresses": [
            {"type": "InternalIP", "address": log_endpoint.map_or(crate::ADDRESS.to_owned(), |at| at.ip().to_string())},
            {"type": "Hostname", "address": "localhost"},
        ],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": log_endpoint.map_or(0, |at| at.port())}},
        "nodeInfo": {
            "architecture": architecture(),
            "operatingSystem": "linux",
            "kernelVersion": release.trim(),
            "osImage": "linux",
            "machineID": read("/etc/machine-id"),
            "systemUUID": "",
            "bootID": read("/proc/sys/kernel/random/boot_id"),
            "containerRuntimeVersion": concat!("purlin://", env!("CARGO_PKG_VERSION")),
            "kubeletVersion": concat!("v", env!("CARGO_PKG_VERSION"), "+purlin"),
            "kubeProxyVersion": "",
        },
    })
}

fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// Renews the node's Lease for ever.
pub(crate) async fn heartbeat(client: &Client, name: &str) {
    use k8s_openapi::api::coordination::v1::Lease;
    use k8s_openapi::api::core::v1::Namespace;
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let leases: Api<Lease> = Api::namespaced(client.clone(), LEASES);
    let mut every = tokio::time::interval(HEARTBEAT);
    loop {
        every.tick().await;
        let renewed = json!({
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": name, "namespace": LEASES},
            "spec": {
                "holderIdentity": name,
                "leaseDurationSeconds": LEASE_SECONDS,
                "renewTime": format!("{:.6}", jiff::Timestamp::now()),
            },
        });
        let outcome = match leases.patch(name, &PatchParams::default(), &Patch::Merge(&renewed)).await {
            Err(kube::Error::Api(error)) if error.code == 404 => {
                let namespace = Namespace {
                    metadata: kube::api::ObjectMeta { name: Some(LEASES.to_owned()), ..Default::default() },
                    ..Namespace::default()
                };
                // It is there already where the API makes it itself.
                let _ = namespaces.create(&PostParams::default(), &namespace).await;
                match serde_json::from_value(renewed.clone()) {
                    Ok(lease) => leases.create(&PostParams::default(), &lease).await,
                    Err(error) => Err(kube::Error::SerdeError(error)),
                }
            }
            outcome => outcome,
        };
        if let Err(error) = outcome {
            warn!(%error, node = name, "the node's lease could not be renewed");
        }
    }
}
