//! The Pods of a model that containers serve. Pure.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::{Pod, PodTemplateSpec};
use kube::{Resource as _, ResourceExt as _};
use purlin_gateway::Upstream;
use purlin_kernel::api::{Model, ModelContainer};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::source::Folder;

/// The label of a Pod that has the name of its Model.
pub(crate) const MODEL: &str = "purlin.dev/model";

/// The annotation that says where a Pod listens: `HTTP` or `HTTP,GRPC`.
const PORTS: &str = "purlin.dev/model-ports";

/// The annotation that says what a Pod was made from: a hash of what its Model says of it.
const MADE_FROM: &str = "purlin.dev/model-made-from";

/// The volume with the model's files.
const FILES: &str = "purlin-model";

/// Where a container listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ports {
    pub(crate) http: u16,
    pub(crate) grpc: Option<u16>,
}

/// Ports as the user wrote them, and where containers listen instead.
pub(crate) type Moves = BTreeMap<u16, u16>;

/// The ports that containers of a Pod listen on, as the user wrote them.
pub(crate) fn listened(container: &ModelContainer) -> BTreeSet<u16> {
    let spec = container.template.get("spec").unwrap_or(&Value::Null);
    let beside = spec["initContainers"].as_array().into_iter().flatten().filter(|one| stays(one));
    let all = spec["containers"].as_array().into_iter().flatten().chain(beside);
    let declared = all.flat_map(|one| one["ports"].as_array().into_iter().flatten());
    let declared = declared.filter_map(|port| u16::try_from(port["containerPort"].as_u64()?).ok());
    declared.chain([container.port]).chain(container.grpc_port).collect()
}

/// Whether an init container runs beside the others.
fn stays(container: &Value) -> bool {
    container["restartPolicy"] == "Always"
}

/// How a model's files come to its containers.
#[derive(Clone)]
pub(crate) enum Files {
    /// From a folder of the machine that the Pods run on.
    Folder(Folder),
    /// From a claim of the Pod's namespace.
    Claim {
        /// Of the claim.
        name: String,
        /// Below its root; empty for the root.
        path: String,
    },
    /// A container that runs before the others puts them there.
    Fetched {
        /// The image of this program.
        image: String,
        /// Of the source.
        uri: String,
        /// A Secret with credentials.
        secret: Option<String>,
    },
}

/// The value of the label [`MODEL`]: the name, or as much of it as a label may have and a part of its hash.
pub(crate) fn label(model: &str) -> String {
    if model.len() <= 63 {
        return model.to_owned();
    }
    let hash = hex::encode(Sha256::digest(model.as_bytes()));
    format!("{}-{}", model[..52].trim_end_matches(['-', '.']), &hash[..10])
}

/// The name of a replica's Pod.
pub(crate) fn name(model: &str, index: u32) -> String {
    format!("{}-{index}", label(model).replace('.', "-"))
}

/// The Pod of a replica, as JSON for a server-side apply or a create.
pub(crate) fn pod(
    model: &Model,
    container: &ModelContainer,
    index: u32,
    moves: &Moves,
    files: Option<&Files>,
) -> Value {
    let template = &container.template;
    let to = |port: u16| moves.get(&port).copied().unwrap_or(port);
    let ports = Ports { http: to(container.port), grpc: container.grpc_port.map(to) };
    let mut metadata = template.get("metadata").cloned().unwrap_or_else(|| json!({}));
    let model_name = model.name_any();
    metadata["name"] = name(&model_name, index).into();
    metadata["namespace"] = model.namespace().unwrap_or_default().into();
    set(&mut metadata, "labels", MODEL, &label(&model_name));
    let written = match ports.grpc {
        Some(grpc) => format!("{},{grpc}", ports.http),
        None => ports.http.to_string(),
    };
    set(&mut metadata, "annotations", PORTS, &written);
    set(&mut metadata, "annotations", MADE_FROM, &made_from(model));
    metadata["ownerReferences"] = json!(model.controller_owner_ref(&()).into_iter().collect::<Vec<_>>());
    let mut spec = template.get("spec").cloned().unwrap_or_else(|| json!({}));
    let mut beside = false;
    for one in spec["initContainers"].as_array_mut().into_iter().flatten().filter(|one| stays(one)) {
        moved(one, moves);
        beside |= has_port(one, ports.http);
    }
    if let Some(containers) = spec["containers"].as_array_mut() {
        let at = serving(containers, container.port);
        containers.iter_mut().for_each(|one| moved(one, moves));
        if let Some(one) = containers.get_mut(at) {
            complete(one, ports.http, beside, files.map(|files| (&*container.mount_path, files)));
        }
    }
    if let Some(files) = files {
        mount(&mut spec, files, &container.mount_path);
    }
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})
}

/// A hash of all that a Pod of a model follows from, but for its number and its ports.
fn made_from(model: &Model) -> String {
    // Objects are written in the order of their keys: the same description has the same text.
    let described = json!({"container": model.spec.container, "source": model.spec.source});
    hex::encode(&Sha256::digest(described.to_string().as_bytes())[..8])
}

/// Whether a Pod was made from its model as it is now. One that does not say what it was made from is taken to be.
pub(crate) fn is_of(pod: &Pod, model: &Model) -> bool {
    pod.annotations().get(MADE_FROM).is_none_or(|from| *from == made_from(model))
}

fn set(metadata: &mut Value, map: &str, key: &str, value: &str) {
    if !metadata[map].is_object() {
        metadata[map] = json!({});
    }
    metadata[map][key] = value.into();
}

/// The container that listens on the model's port, or the first.
fn serving(containers: &[Value], port: u16) -> usize {
    containers.iter().position(|container| has_port(container, port)).unwrap_or(0)
}

/// Adds to the container that serves what it needs to be found: its port, unless one `beside` it listens there and hands on what
/// it gets, a probe, its files.
fn complete(container: &mut Value, port: u16, beside: bool, files: Option<(&str, &Files)>) {
    // One beside it listens at once; whether the server itself does is what counts.
    let own = container["ports"].get(0).map(|port| port["containerPort"].clone());
    let probed = own.filter(|_| beside).unwrap_or_else(|| port.into());
    if !beside {
        let mut env = vec![json!({"name": "PORT", "value": port.to_string()})];
        let own = container["env"].as_array().cloned().unwrap_or_default();
        if own.iter().any(|variable| variable["name"] == "PORT") {
            env.clear();
        }
        env.extend(own);
        container["env"] = env.into();
        if !has_port(container, port) {
            push(container, "ports", json!({"containerPort": port, "protocol": "TCP"}));
        }
    }
    if container.get("readinessProbe").is_none_or(Value::is_null) {
        container["readinessProbe"] =
            json!({"tcpSocket": {"port": probed}, "periodSeconds": 1, "failureThreshold": 3});
    }
    if let Some((path, files)) = files {
        let mounted = container["volumeMounts"].as_array();
        let taken =
            mounted.is_some_and(|mounts| mounts.iter().any(|mount| mount["mountPath"] == json!(path)));
        if !taken {
            let mut mount = json!({"name": FILES, "mountPath": path, "readOnly": true});
            if let Files::Claim { path, .. } = files
                && !path.is_empty()
            {
                mount["subPath"] = json!(path);
            }
            push(container, "volumeMounts", mount);
        }
    }
}

fn has_port(container: &Value, port: u16) -> bool {
    let ports = container["ports"].as_array();
    ports.is_some_and(|ports| ports.iter().any(|one| one["containerPort"] == json!(port)))
}

fn push(object: &mut Value, list: &str, item: Value) {
    match object[list].as_array_mut() {
        Some(items) => items.push(item),
        None => object[list] = json!([item]),
    }
}

/// Has a container listen elsewhere than its author wrote: its declared ports, and arguments and variables that are the
/// port or end in `=` and the port.
fn moved(container: &mut Value, moves: &Moves) {
    if moves.is_empty() {
        return;
    }
    let text = |value: &mut Value| {
        let Some(text) = value.as_str() else { return };
        for (from, to) in moves {
            let from = from.to_string();
            let rest = text.strip_suffix(from.as_str());
            if rest.is_some_and(|rest| rest.is_empty() || rest.ends_with('=')) {
                *value = format!("{}{to}", rest.unwrap_or_default()).into();
                return;
            }
        }
    };
    for list in ["command", "args"] {
        container[list].as_array_mut().into_iter().flatten().for_each(text);
    }
    for variable in container["env"].as_array_mut().into_iter().flatten() {
        if let Some(value) = variable.get_mut("value") {
            text(value);
        }
    }
    let number = |value: &mut Value| {
        let written = value.as_u64().and_then(|port| u16::try_from(port).ok());
        if let Some(to) = written.and_then(|port| moves.get(&port)) {
            *value = json!(to);
        }
    };
    for port in container["ports"].as_array_mut().into_iter().flatten() {
        if let Some(port) = port.get_mut("containerPort") {
            number(port);
        }
    }
    for probe in ["readinessProbe", "livenessProbe", "startupProbe"] {
        for way in ["httpGet", "tcpSocket", "grpc"] {
            if let Some(port) = container.pointer_mut(&format!("/{probe}/{way}/port")) {
                number(port);
            }
        }
    }
    for list in ["command", "args", "env"] {
        if container[list].is_null()
            && let Some(fields) = container.as_object_mut()
        {
            fields.remove(list);
        }
    }
}

fn mount(spec: &mut Value, files: &Files, path: &str) {
    let volume = match files {
        Files::Folder(folder) => {
            json!({"name": FILES, "hostPath": {"path": folder.path(), "type": "Directory"}})
        }
        Files::Claim { name, .. } => {
            json!({"name": FILES, "persistentVolumeClaim": {"claimName": name, "readOnly": true}})
        }
        Files::Fetched { image, uri, secret } => {
            let mut container = json!({
                "name": "purlin-fetch",
                "image": image,
                "command": ["purlin"],
                "args": ["fetch", uri, path],
                "volumeMounts": [{"name": FILES, "mountPath": path}],
            });
            if let Some(secret) = secret {
                container["args"] = json!(["fetch", "--credentials", "/credentials", uri, path]);
                push(
                    &mut container,
                    "volumeMounts",
                    json!({"name": "purlin-credentials", "mountPath": "/credentials", "readOnly": true}),
                );
                push(
                    spec,
                    "volumes",
                    json!({"name": "purlin-credentials", "secret": {"secretName": secret}}),
                );
            }
            let mut first = vec![container];
            first.extend(spec["initContainers"].as_array().cloned().unwrap_or_default());
            spec["initContainers"] = first.into();
            json!({"name": FILES, "emptyDir": {}})
        }
    };
    push(spec, "volumes", volume);
}

/// Where a Pod answers, once it is ready and not going away.
pub(crate) fn upstream(pod: &Pod) -> Option<Upstream> {
    if pod.meta().deletion_timestamp.is_some() {
        return None;
    }
    let status = pod.status.as_ref()?;
    let ready = status.conditions.iter().flatten();
    if !ready.clone().any(|condition| condition.type_ == "Ready" && condition.status == "True") {
        return None;
    }
    let ip = status.pod_ip.as_deref().filter(|ip| !ip.is_empty())?;
    let host = if ip.contains(':') { format!("[{ip}]") } else { ip.to_owned() };
    let ports = ports(pod)?;
    Some(Upstream {
        http: format!("{host}:{}", ports.http),
        grpc: ports.grpc.map(|grpc| format!("{host}:{grpc}")),
    })
}

/// Where a Pod was told to listen.
pub(crate) fn ports(pod: &Pod) -> Option<Ports> {
    let written = pod.annotations().get(PORTS)?;
    let mut parts = written.split(',').map(str::parse::<u16>);
    Some(Ports { http: parts.next()?.ok()?, grpc: parts.next().and_then(Result::ok) })
}

/// Whether a Pod is at its end and will not answer any more.
pub(crate) fn is_over(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    matches!(phase, Some("Failed" | "Succeeded"))
}

/// What keeps a Pod from answering, if it says: a reason and a message.
pub(crate) fn trouble(pod: &Pod) -> Option<(String, String)> {
    let status = pod.status.as_ref()?;
    let all = status.init_container_statuses.iter().flatten();
    let all = all.chain(status.container_statuses.iter().flatten());
    for container in all {
        let state = container.state.as_ref();
        if let Some(waiting) = state.and_then(|state| state.waiting.as_ref()) {
            let reason = waiting.reason.clone().unwrap_or_default();
            if matches!(reason.as_str(), "" | "ContainerCreating" | "PodInitializing") {
                continue;
            }
            let mut message = waiting.message.clone().unwrap_or_default();
            let last = container.last_state.as_ref().and_then(|state| state.terminated.as_ref());
            if let Some(last) = last {
                message = format!("{message} (it ended with exit code {})", last.exit_code);
            }
            return Some((reason, format!("Pod {}: {}: {message}", pod.name_any(), container.name)));
        }
    }
    let conditions = status.conditions.iter().flatten();
    let mut waiting = conditions.filter(|one| one.type_ == "PodScheduled" && one.status == "False");
    let unschedulable = waiting.next()?;
    let message = unschedulable.message.clone().unwrap_or_default();
    Some(("Unschedulable".to_owned(), format!("Pod {}: {message}", pod.name_any())))
}

/// A template that the API server would refuse, told by the field that is wrong.
pub(crate) fn problem(container: &ModelContainer) -> Option<String> {
    const FIELD: &str = "spec.container.template";
    let template = Value::Object(container.template.clone());
    match serde_path_to_error::deserialize::<_, PodTemplateSpec>(&template) {
        Ok(template) if template.spec.as_ref().is_some_and(|spec| !spec.containers.is_empty()) => None,
        Ok(_) => Some(format!("{FIELD}.spec.containers: at least one container is required")),
        Err(error) => Some(format!("{FIELD}.{}: {}", error.path(), error.inner())),
    }
}

#[cfg(test)]
mod tests {
    use purlin_kernel::api::{Model, ModelContainer, ModelSpec};
    use serde_json::{Value, json};

    use super::{Files, Moves, is_of, label, listened, pod, problem, upstream};

    fn model(container: Value) -> (Model, ModelContainer) {
        let template = json!({"metadata": {"labels": {"app": "x"}}, "spec": {"containers": [container]}});
        let container = ModelContainer {
            template: template.as_object().unwrap().clone(),
            port: 8080,
            grpc_port: Some(8081),
            mount_path: "/mnt/models".to_owned(),
        };
        let spec = ModelSpec { container: Some(container.clone()), ..ModelSpec::default() };
        let mut model = Model::new("m", spec);
        model.metadata.namespace = Some("team".to_owned());
        model.metadata.uid = Some("1234".to_owned());
        (model, container)
    }

    #[test]
    fn a_replica_has_what_it_needs_to_be_found() {
        let (model, container) = model(json!({"name": "c", "image": "i"}));
        let files = Files::Claim { name: "models".to_owned(), path: "iris/1".to_owned() };
        let pod = pod(&model, &container, 2, &Moves::new(), Some(&files));
        assert_eq!(pod["metadata"]["name"], "m-2");
        assert_eq!(pod["metadata"]["labels"], json!({"app": "x", "purlin.dev/model": "m"}));
        assert_eq!(pod["metadata"]["annotations"]["purlin.dev/model-ports"], "8080,8081");
        assert_eq!(pod["metadata"]["ownerReferences"][0]["uid"], "1234");
        let one = &pod["spec"]["containers"][0];
        assert_eq!(one["env"], json!([{"name": "PORT", "value": "8080"}]));
        assert_eq!(one["readinessProbe"]["tcpSocket"]["port"], 8080);
        assert_eq!(
            one["volumeMounts"],
            json!([{
                "name": "purlin-model", "mountPath": "/mnt/models", "readOnly": true, "subPath": "iris/1",
            }])
        );
        assert_eq!(
            pod["spec"]["volumes"],
            json!([{
                "name": "purlin-model", "persistentVolumeClaim": {"claimName": "models", "readOnly": true},
            }])
        );
    }

    #[test]
    fn a_pod_is_of_a_model_until_that_is_described_otherwise() {
        let (mut model, container) = model(json!({"name": "c", "image": "i"}));
        let made = pod(&model, &container, 0, &Moves::from([(8080, 40000)]), None);
        let made = serde_json::from_value(made).unwrap();
        assert!(is_of(&made, &model));
        model.spec.scaling.min_replicas = 7;
        assert!(is_of(&made, &model), "how many there are is no matter of one of them");
        model.spec.container.as_mut().unwrap().template["spec"]["containers"][0]["image"] = "j".into();
        assert!(!is_of(&made, &model));
        let unknown = serde_json::from_value(json!({"metadata": {"name": "m-0"}})).unwrap();
        assert!(is_of(&unknown, &model));
    }

    #[test]
    fn where_ports_are_shared_a_container_is_told_to_listen_elsewhere() {
        let (model, container) = model(json!({
            "name": "c", "image": "i",
            "args": ["--http_port=8080", "--grpc_port", "8081", "--size=18080"],
            "env": [{"name": "HTTP_PORT", "value": "8080"}],
            "ports": [{"containerPort": 8080}, {"containerPort": 8081, "name": "h2c"}],
            "readinessProbe": {"httpGet": {"path": "/ready", "port": 8080}},
        }));
        let moves = Moves::from([(8080, 40000), (8081, 40001)]);
        let pod = pod(&model, &container, 0, &moves, None);
        let one = &pod["spec"]["containers"][0];
        assert_eq!(one["args"], json!(["--http_port=40000", "--grpc_port", "40001", "--size=18080"]));
        assert_eq!(
            one["env"],
            json!([{"name": "PORT", "value": "40000"}, {"name": "HTTP_PORT", "value": "40000"}])
        );
        assert_eq!(one["ports"][0]["containerPort"], 40000);
        assert_eq!(one["ports"][1]["containerPort"], 40001);
        assert_eq!(one["readinessProbe"]["httpGet"]["port"], 40000);
        assert!(one.get("command").is_none(), "{one}");
    }

    #[test]
    fn one_beside_the_server_may_listen_for_it() {
        let (mut model, mut container) = model(json!({
            "name": "main", "image": "i", "args": ["--port=8001"], "ports": [{"containerPort": 8001}],
        }));
        container.grpc_port = None;
        container.template["spec"]["initContainers"] = json!([
            {"name": "once", "image": "j", "args": ["8001"], "ports": [{"containerPort": 9000}]},
            {"name": "beside", "image": "k", "restartPolicy": "Always", "args": ["--port=8080", "--to=8001"],
             "ports": [{"containerPort": 8080}]},
        ]);
        model.spec.container = Some(container.clone());
        assert_eq!(listened(&container).into_iter().collect::<Vec<_>>(), [8001, 8080]);
        let moves = Moves::from([(8001, 41000), (8080, 40000)]);
        let files = Files::Claim { name: "models".to_owned(), path: String::new() };
        let pod = pod(&model, &container, 0, &moves, Some(&files));
        assert_eq!(pod["metadata"]["annotations"]["purlin.dev/model-ports"], "40000");
        let main = &pod["spec"]["containers"][0];
        assert_eq!(main["args"], json!(["--port=41000"]));
        assert_eq!(main["ports"], json!([{"containerPort": 41000}]));
        assert_eq!(main["readinessProbe"]["tcpSocket"]["port"], 41000, "of the server itself");
        assert_eq!(main["volumeMounts"][0]["mountPath"], "/mnt/models");
        assert!(main.get("env").is_none(), "{main}");
        let init = &pod["spec"]["initContainers"];
        assert_eq!(init[0]["args"], json!(["8001"]), "it is over before anybody listens");
        assert_eq!(init[1]["args"], json!(["--port=40000", "--to=41000"]));
        assert!(init[1].get("volumeMounts").is_none());
    }

    #[test]
    fn only_a_ready_pod_that_stays_answers() {
        let (model, container) = model(json!({"name": "c", "image": "i"}));
        let mut object = pod(&model, &container, 0, &Moves::new(), None);
        let read = |object: &Value| serde_json::from_value(object.clone()).unwrap();
        assert_eq!(upstream(&read(&object)), None);
        object["status"] = json!({"podIP": "10.1.2.3", "conditions": [{"type": "Ready", "status": "True"}]});
        let found = upstream(&read(&object)).unwrap();
        assert_eq!((found.http.as_str(), found.grpc.as_deref()), ("10.1.2.3:8080", Some("10.1.2.3:8081")));
        object["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
        assert_eq!(upstream(&read(&object)), None);
    }

    #[test]
    fn a_template_that_is_no_pod_is_told_by_its_field() {
        let (_, mut container) = model(json!({
            "name": "c", "image": "i", "env": [], "ports": [], "resources": {"limits": {"cpu": 1, "memory": "1Gi"}},
        }));
        container.template["spec"]["volumes"] = json!([{"name": "v", "emptyDir": {"sizeLimit": 1024}}]);
        assert_eq!(problem(&container), None);
        for (at, value, field) in [
            ("/metadata", json!("text"), "metadata"),
            ("/metadata", json!([]), "metadata"),
            ("/metadata/labels", json!({"a": 1}), "metadata.labels.a"),
            ("/spec", json!(1), "spec"),
            ("/spec", Value::Null, "spec.containers: at least one"),
            ("/spec/containers", json!([]), "spec.containers: at least one"),
            ("/spec/containers/0", json!("c"), "spec.containers[0]"),
            ("/spec/containers/0/env", json!({"A": "b"}), "spec.containers[0].env"),
            ("/spec/containers/0/ports", json!([8080]), "spec.containers[0].ports[0]"),
            ("/spec/volumes", json!({}), "spec.volumes"),
        ] {
            let mut template = Value::Object(container.template.clone());
            *template.pointer_mut(at).unwrap() = value;
            let wrong =
                ModelContainer { template: template.as_object().unwrap().clone(), ..container.clone() };
            let said = problem(&wrong).unwrap_or_default();
            assert!(said.starts_with(&format!("spec.container.template.{field}")), "{at}: {said}");
        }
    }

    #[test]
    fn a_label_is_never_too_long() {
        assert_eq!(label("short"), "short");
        let long = "x".repeat(200);
        assert_eq!(label(&long).len(), 63);
        assert_ne!(label(&long), label(&"x".repeat(199)));
    }
}
