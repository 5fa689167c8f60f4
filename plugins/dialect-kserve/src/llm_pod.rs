//! The Pods of an LLMInferenceService: the user's description, and what KServe's own description adds to it.

use purlin_sdk::Object as _;
use purlin_sdk::serde_json::{Map, Value, json};
use purlin_serving::container::{self, Arguments};

use crate::llm_config::Combined;
use crate::names::MODEL_DIR;
use crate::settings::{flag, without};

/// Where a server of language models listens, as KServe's own description has it.
const PORT: i64 = 8000;
/// Where it listens behind the one that has prompts read elsewhere.
const BEHIND: i64 = 8001;
/// By this header that one is told who reads the prompt.
pub(crate) const READER: &str = "x-prefiller-host-port";
/// Its name.
const SIDECAR: &str = "llm-d-routing-sidecar";

/// One of the parts of a service that have Pods of their own.
pub(crate) struct Part<'a> {
    combined: &'a Combined,
    /// Its own fields: `spec`, or `spec.prefill`.
    pub(crate) workload: &'a Value,
    template: Value,
    uri: &'a str,
    /// Whether the model's files are fetched before the server starts.
    fetched: bool,
    /// Whether its prompts are read elsewhere.
    handed_on: bool,
}

impl<'a> Part<'a> {
    /// The part that writes answers.
    pub(crate) fn main(combined: &'a Combined, uri: &'a str, fetched: bool) -> Part<'a> {
        let workload = &combined.spec;
        let template = workload.at(&["template"]).cloned().unwrap_or_default();
        let handed_on = workload.at(&["prefill"]).is_some();
        Part { combined, workload, template, uri, fetched, handed_on }
    }

    /// The part that reads prompts, if there is one. Its server is that of the main part, where it names none.
    pub(crate) fn prefill(
        combined: &'a Combined,
        uri: &'a str,
        fetched: bool,
        serving: &Value,
    ) -> Option<Part<'a>> {
        let workload = combined.spec.at(&["prefill"])?;
        let template = workload.at(&["template"]).filter(|template| template.is_object());
        let mut template = template.cloned().unwrap_or_else(|| json!({}));
        let index = match main(template.items(&["containers"])) {
            Some(index) => index,
            None => {
                template["containers"] = json!([{"name": "main"}]);
                0
            }
        };
        if let Some(Value::Object(server)) = template.pointer_mut(&format!("/containers/{index}"))
            && server.get("image").and_then(Value::as_str).unwrap_or_default().is_empty()
        {
            server.insert("image".to_owned(), serving.text(&["image"]).into());
        }
        Some(Part { combined, workload, template, uri, fetched, handed_on: false })
    }

    /// `spec.container` of its Model, with the command that KServe's own description has where the user gives none.
    pub(crate) fn container(&self, notes: &mut Vec<String>) -> Value {
        let pod = self.template.clone();
        let index = main(pod.items(&["containers"])).unwrap_or_default();
        let empty = json!({});
        let serving = pod.items(&["containers"]).get(index).unwrap_or(&empty);
        let own_command = !serving.items(&["command"]).is_empty();
        let (told, declared) = (told(serving, own_command), declared(serving));
        // What it is told counts, whatever is declared.
        let usual = told.map_or(declared.contains(&PORT), |port| port == PORT);
        let beside = self.handed_on && !(own_command && usual);
        if self.handed_on && !beside {
            notes.push(format!(
                "spec.prefill has no effect but the header {READER}: by spec.template its command listens on port {PORT} itself; \
                 have it listen on {BEHIND} and declare containerPort {BEHIND}, or leave the command out"
            ));
        }
        if beside && own_command && told.is_none() && declared.is_empty() {
            notes.push(format!(
                "spec.template: its command is taken to listen on port {BEHIND}, behind the {SIDECAR}; declare containerPort where \
                 it listens elsewhere"
            ));
        }
        let expected = if beside { BEHIND } else { PORT };
        let named = || declared.contains(&expected).then_some(expected).or(declared.first().copied());
        let port = if usual { expected } else { told.or_else(named).unwrap_or(expected) };
        let (mut pod, index) = if beside { behind(pod, index, port) } else { (pod, index) };
        let serving = pod.items(&["containers"]).get(index).cloned().unwrap_or_default();
        let mut changes = Map::new();
        if !own_command {
            changes.insert("command".to_owned(), json!(["vllm", "serve", self.served_from()]));
            changes.insert("args".to_owned(), self.arguments(&serving, port, notes).into());
        }
        if serving.items(&["ports"]).is_empty() {
            changes.insert("ports".to_owned(), json!([{"containerPort": port, "protocol": "TCP"}]));
        }
        if beside && serving.at(&["readinessProbe"]).is_none() {
            changes.insert("readinessProbe".to_owned(), probe(port, own_command));
        }
        if let Some(container) = pod.pointer_mut(&format!("/containers/{index}")) {
            container::merge(container, &changes.into(), Arguments::Replace);
        }
        if beside {
            add_sidecar(&mut pod, port);
        }
        let mut container = container::model(self.workload, &Value::Null, pod);
        // `container::model` takes the port of kserve-container or the first; here the server is called main.
        container["port"] = if beside { PORT } else { port }.into();
        container
    }

    fn served_from(&self) -> &str {
        match self.uri.strip_prefix("hf://") {
            Some(repository) if !self.fetched => repository,
            _ => MODEL_DIR,
        }
    }

    fn arguments(&self, serving: &Value, port: i64, notes: &mut Vec<String>) -> Vec<Value> {
        let spec = &self.combined.spec;
        let given = serving.items(&["args"]);
        let mut args = Vec::new();
        let tensor = self.workload.int(&["parallelism", "tensor"]).map(|size| size.to_string());
        for (name, value) in [
            ("--served-model-name", Some(self.combined.model_name.clone())),
            ("--port", Some(port.to_string())),
            ("--tensor-parallel-size", tensor),
        ] {
            if let Some(value) = value.filter(|_| flag(given, name).is_none()) {
                args.extend([json!(name), json!(value)]);
            }
        }
        args.extend(adapters(spec, notes));
        if spec.at(&["trustRemoteCode"]).and_then(Value::as_bool) == Some(true) {
            args.push("--trust-remote-code".into());
        }
        args.extend(additional(serving, notes));
        args.extend(given.iter().cloned());
        args
    }
}

/// The container that serves: `main`, else the first.
pub(crate) fn main(containers: &[Value]) -> Option<usize> {
    let named = containers.iter().position(|container| container.text(&["name"]) == "main");
    named.or((!containers.is_empty()).then_some(0))
}

/// The arguments in the variable by which KServe's users give more of them, as a shell reads it.
fn additional(serving: &Value, notes: &mut Vec<String>) -> Vec<Value> {
    const VARIABLE: &str = "VLLM_ADDITIONAL_ARGS";
    let variables = serving.items(&["env"]);
    let Some(variable) = variables.iter().find(|one| one.text(&["name"]) == VARIABLE) else {
        return Vec::new();
    };
    let text = variable.text(&["value"]);
    if let Some(words) = shlex::split(text).filter(|_| variable.at(&["valueFrom"]).is_none()) {
        return words.into_iter().map(Value::from).collect();
    }
    let why = if text.is_empty() { "only its value is read" } else { "a quotation in it has no end" };
    notes.push(format!("the variable {VARIABLE} has no effect: {why}"));
    Vec::new()
}

/// The port that a server is told to listen on. A command of the user's own may be a shell's.
fn told(serving: &Value, own_command: bool) -> Option<i64> {
    let args = serving.items(&["args"]);
    let said = if own_command {
        let texts = serving.items(&["command"]).iter().chain(args).filter_map(Value::as_str);
        let words = texts.flat_map(|text| {
            shlex::split(text).filter(|words| !words.is_empty()).unwrap_or_else(|| vec![text.to_owned()])
        });
        flag(&words.map(Value::from).collect::<Vec<_>>(), "--port")
    } else {
        flag(args, "--port")
    };
    said?.parse().ok()
}

/// The ports that a server says it has, in its own order.
fn declared(serving: &Value) -> Vec<i64> {
    serving.items(&["ports"]).iter().filter_map(|port| port.int(&["containerPort"])).collect()
}

/// A Pod whose server is to have another listen in its place: the server is the first container, and on a port of its own.
fn behind(mut pod: Value, index: usize, port: i64) -> (Value, usize) {
    let Some(containers) = pod.get_mut("containers").and_then(Value::as_array_mut) else {
        return (pod, index);
    };
    let mut server = containers.remove(index);
    let number = |declared: &Value| declared.int(&["containerPort"]);
    let mut gone: Vec<Value> = Vec::new();
    if let Some(ports) = server.get_mut("ports").and_then(Value::as_array_mut) {
        if ports.iter().any(|declared| number(declared) == Some(port)) {
            let left = ports.extract_if(.., |declared| number(declared) == Some(PORT));
            gone = left.map(|one| one["name"].clone()).filter(Value::is_string).collect();
        }
        for declared in ports.iter_mut().filter(|declared| number(declared) == Some(PORT)) {
            // Its name stays: probes may know it by that.
            declared["containerPort"] = port.into();
        }
    }
    for probe in ["livenessProbe", "readinessProbe", "startupProbe"] {
        for way in ["httpGet", "tcpSocket"] {
            if let Some(at) =
                server.pointer_mut(&format!("/{probe}/{way}/port")).filter(|at| gone.contains(at))
            {
                *at = port.into();
            }
        }
    }
    let args = server.items(&["args"]);
    if server.items(&["command"]).is_empty() && flag(args, "--port") == Some(PORT.to_string()) {
        server["args"] = without(args, "--port").into();
    }
    containers.insert(0, server);
    (pod, 0)
}

/// What says whether a server can answer, where its Pod does not say it: KServe's own, or, of a command that may be any server's,
/// that it takes connections.
fn probe(port: i64, own_command: bool) -> Value {
    if own_command {
        return json!({"tcpSocket": {"port": port}, "periodSeconds": 1, "failureThreshold": 3});
    }
    json!({"httpGet": {"path": "/health", "port": port}, "periodSeconds": 2, "timeoutSeconds": 5, "failureThreshold": 60})
}

/// Adds who has prompts read elsewhere: it listens in the server's place, asks who it is told to, and then the server.
fn add_sidecar(pod: &mut Value, server: i64) {
    let mut sidecars = json!([{
        "name": SIDECAR,
        "image": "ghcr.io/llm-d/llm-d-routing-sidecar:v0.7.1",
        "imagePullPolicy": "IfNotPresent",
        "restartPolicy": "Always",
        "ports": [{"containerPort": PORT, "protocol": "TCP"}],
        "securityContext": {
            "allowPrivilegeEscalation": false,
            "readOnlyRootFilesystem": true,
            "runAsNonRoot": true,
            "capabilities": {"drop": ["ALL"]},
        },
        "command": [
            "/app/pd-sidecar",
            format!("--port={PORT}"),
            format!("--vllm-port={server}"),
            "--kv-connector=nixlv2",
            // It would ask for a pool that there is not; the gateway lets no client name a reader.
            "--enable-ssrf-protection=false",
            "--secure-proxy=false",
        ],
    }]);
    // What the user says of it counts.
    if let Some(own) = pod.get("initContainers") {
        let mut both = json!({"initContainers": sidecars});
        container::merge(&mut both, &json!({"initContainers": own}), Arguments::Replace);
        sidecars = both["initContainers"].take();
    }
    pod["initContainers"] = sidecars;
}

/// Adapters that the server fetches from the hub by itself.
fn adapters(spec: &Value, notes: &mut Vec<String>) -> Vec<Value> {
    let lora = spec.at(&["model", "lora"]).unwrap_or(&Value::Null);
    let mut modules = Vec::new();
    for adapter in lora.items(&["adapters"]) {
        let (name, uri) = (adapter.text(&["name"]), adapter.text(&["uri"]));
        match uri.strip_prefix("hf://") {
            Some(repository) => modules.push(json!(format!("{name}={repository}"))),
            None => notes.push(format!(
                "spec.model.lora.adapters: {name} has no effect: a model has one source, and {uri} is not on the hub"
            )),
        }
    }
    if modules.is_empty() {
        return modules;
    }
    let mut args = vec![json!("--enable-lora"), json!("--lora-modules")];
    args.extend(modules);
    for (field, name) in [
        ("maxRank", "--max-lora-rank"),
        ("maxAdapters", "--max-loras"),
        ("maxCpuAdapters", "--max-cpu-loras"),
    ] {
        if let Some(value) = lora.int(&[field]) {
            args.extend([json!(name), json!(value.to_string())]);
        }
    }
    args
}

#[cfg(test)]
mod tests {
    use purlin_sdk::serde_json::{Value, json};

    use super::{Part, additional};
    use crate::llm_config::Combined;

    /// The Model's container of a service that has its prompts read elsewhere, and what is said about it.
    fn container(template: Value) -> (Value, Vec<String>) {
        let spec = json!({"template": template, "prefill": {}});
        let combined = Combined { spec, model_name: "m".to_owned(), configs: Vec::new() };
        let mut notes = Vec::new();
        (Part::main(&combined, "hf://a/b", true).container(&mut notes), notes)
    }

    #[test]
    fn a_server_leaves_its_place_to_who_has_prompts_read_elsewhere() {
        for server in [
            json!({"image": "i"}),
            json!({"image": "i", "ports": [{"containerPort": 8000}]}),
            json!({"image": "i", "args": ["--port=8000"]}),
            json!({"image": "i", "args": ["--port", "8000"], "ports": [{"containerPort": 8001}]}),
        ] {
            let mut named = server.clone();
            named["name"] = "main".into();
            let (made, notes) = container(json!({"containers": [{"name": "logs", "image": "j"}, named]}));
            let pod = &made["template"]["spec"];
            let main = &pod["containers"][0];
            assert_eq!((&main["name"], &made["port"]), (&json!("main"), &json!(8000)), "{server}");
            assert_eq!(main["args"], json!(["--served-model-name", "m", "--port", "8001"]), "{server}");
            assert_eq!(main["ports"][0]["containerPort"], 8001, "{server}");
            assert_eq!(main["readinessProbe"]["httpGet"]["port"], 8001, "{server}");
            assert_eq!(pod["containers"][1]["name"], "logs");
            let sidecar = &pod["initContainers"][0]["command"];
            assert!(sidecar.to_string().contains("--vllm-port=8001"), "{sidecar}");
            assert!(notes.is_empty(), "{notes:?}");
        }
    }

    #[test]
    fn a_port_keeps_its_name() {
        let (made, _) = container(json!({"containers": [{
            "name": "main", "image": "i", "ports": [{"containerPort": 8000, "name": "http"}],
            "livenessProbe": {"httpGet": {"path": "/health", "port": "http"}},
        }]}));
        let ports = &made["template"]["spec"]["containers"][0]["ports"];
        assert_eq!(ports, &json!([{"containerPort": 8001, "name": "http"}]));
        let both = json!({"name": "main", "image": "i", "args": ["--port=9000"], "ports": [
            {"containerPort": 8000, "name": "http"}, {"containerPort": 9000, "name": "api"}],
            "livenessProbe": {"tcpSocket": {"port": "http"}}});
        let (made, _) = container(json!({"containers": [both]}));
        let main = &made["template"]["spec"]["containers"][0];
        assert_eq!(main["ports"], json!([{"containerPort": 9000, "name": "api"}]));
        assert_eq!(main["readinessProbe"]["httpGet"]["port"], 9000);
        assert_eq!(main["livenessProbe"]["tcpSocket"]["port"], 9000);
    }

    #[test]
    fn a_command_of_the_users_own_is_believed() {
        let own = |mut server: Value| {
            server["image"] = "i".into();
            container(json!({"containers": [server]}))
        };
        for (server, port) in [
            (json!({"command": ["x"], "ports": [{"containerPort": 9000}]}), 9000),
            (json!({"command": ["x"], "args": ["--port=9000"]}), 9000),
            (json!({"command": ["sh", "-c", "exec x serve --port 9000"]}), 9000),
            (json!({"command": ["x"], "ports": [{"containerPort": 9090}, {"containerPort": 8001}]}), 8001),
            (json!({"command": ["x"], "args": ["--port=9000"], "ports": [{"containerPort": 9090}]}), 9000),
            (json!({"command": ["x"], "args": ["--port=9000"], "ports": [{"containerPort": 8000}]}), 9000),
        ] {
            let (made, notes) = own(server.clone());
            let pod = &made["template"]["spec"];
            assert!(pod["initContainers"].to_string().contains(&format!("--vllm-port={port}")), "{server}");
            assert_eq!(pod["containers"][0]["readinessProbe"]["tcpSocket"]["port"], port, "{server}");
            assert!(notes.is_empty(), "{notes:?}");
        }
        for server in [
            json!({"command": ["x"], "ports": [{"containerPort": 8000}]}),
            json!({"command": ["x"], "ports": [{"containerPort": 9090}, {"containerPort": 8000}]}),
            json!({"command": ["x", "--port", "8000"], "ports": [{"containerPort": 9090}]}),
            json!({"command": ["sh", "-c"], "args": ["exec x serve --port 8000 --seed=1"]}),
        ] {
            let (made, notes) = own(server.clone());
            assert!(made["template"]["spec"].get("initContainers").is_none(), "{server}");
            assert!(notes[0].contains("spec.prefill"), "{notes:?}");
            assert_eq!(made["port"], 8000, "{server}");
        }
        // As in KServe, where the other has the usual port.
        let (made, notes) = own(json!({"command": ["x"]}));
        assert!(made["template"]["spec"]["initContainers"].to_string().contains("--vllm-port=8001"));
        assert!(notes[0].contains("8001"), "{notes:?}");
    }

    #[test]
    fn ports_for_other_purposes_are_left_alone() {
        let ports = json!([{"containerPort": 8000, "name": "http"}, {"containerPort": 5600, "name": "nixl"}]);
        let (made, _) = container(json!({"containers": [{"name": "main", "image": "i", "ports": ports}]}));
        let main = &made["template"]["spec"]["containers"][0];
        assert_eq!(main["ports"][0], json!({"containerPort": 8001, "name": "http"}));
        assert_eq!(main["ports"][1]["containerPort"], 5600);
        assert_eq!(main["args"], json!(["--served-model-name", "m", "--port", "8001"]));
        let spec = json!({"template": {"containers": [
            {"image": "i", "command": ["x"], "ports": [{"containerPort": 8080}, {"containerPort": 8001}]}]}});
        let combined = Combined { spec, model_name: "m".to_owned(), configs: Vec::new() };
        let alone = Part::main(&combined, "hf://a/b", true).container(&mut Vec::new());
        assert_eq!(alone["port"], 8080);
    }

    #[test]
    fn additional_arguments_are_read_as_a_shell_does() {
        let read = |value: Value| {
            let mut notes = Vec::new();
            let mut variable = json!({"name": "VLLM_ADDITIONAL_ARGS"});
            variable
                .as_object_mut()
                .into_iter()
                .for_each(|one| one.extend(value.as_object().cloned().unwrap_or_default()));
            (additional(&json!({"env": [variable]}), &mut notes), notes)
        };
        let (args, notes) = read(json!({"value": "--a 'b c' --d=\"e\""}));
        assert_eq!((args, notes.len()), (vec![json!("--a"), json!("b c"), json!("--d=e")], 0));
        for odd in [json!({"value": "--a 'b"}), json!({"valueFrom": {"configMapKeyRef": {}}})] {
            let (args, notes) = read(odd);
            assert_eq!((args.len(), notes.len()), (0, 1));
        }
        assert!(additional(&json!({}), &mut Vec::new()).is_empty());
    }
}
