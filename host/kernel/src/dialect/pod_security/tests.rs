use proptest::prelude::*;
use serde_json::{Value, json};

use super::beyond_baseline;

fn pod(spec: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}, "spec": spec})
}

fn container(fields: Value) -> Value {
    let mut container = json!({"name": "c", "image": "i"});
    container.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    pod(json!({"containers": [container]}))
}

#[test]
fn ordinary_pods_are_within_baseline() {
    for object in [
        pod(json!({"containers": [{"name": "c", "image": "i"}]})),
        pod(json!({"hostNetwork": false, "containers": [], "volumes": [{"name": "v", "emptyDir": {}}]})),
        container(
            json!({"securityContext": {"privileged": false, "capabilities": {"drop": ["ALL"], "add": ["CHOWN"]},
            "seccompProfile": {"type": "RuntimeDefault"}, "procMount": "Default", "seLinuxOptions": {"type": "container_t"}}}),
        ),
        container(json!({"ports": [{"containerPort": 80}, {"containerPort": 81, "hostPort": 0}]})),
        container(json!({"livenessProbe": {"httpGet": {"path": "/", "port": 80}}})),
        json!({"kind": "ConfigMap", "data": {"hostPath": "x", "privileged": "true"}}),
        json!({"kind": "PersistentVolume", "spec": {"nfs": {"server": "a", "path": "/"}}}),
    ] {
        assert_eq!(beyond_baseline(&object), None, "{object}");
    }
}

/// Ways to ask for more than `baseline`, each as a Pod.
fn attempts() -> Vec<(Value, &'static str)> {
    let context = |fields: Value| container(json!({"securityContext": fields}));
    vec![
        (pod(json!({"containers": [], "hostNetwork": true})), "hostNetwork"),
        (pod(json!({"containers": [], "hostPID": true})), "hostPID"),
        (pod(json!({"containers": [], "hostIPC": true})), "hostIPC"),
        (pod(json!({"containers": [], "hostPID": "true"})), "hostPID"),
        (pod(json!({"containers": [], "volumes": [{"name": "v", "hostPath": {"path": "/"}}]})), "hostPath"),
        (pod(json!({"containers": [], "volumes": [{"name": "v", "hostPath": "/"}]})), "hostPath"),
        (pod(json!({"initContainers": [{"securityContext": {"privileged": true}}]})), "privileged"),
        (pod(json!({"ephemeralContainers": [{"securityContext": {"privileged": true}}]})), "privileged"),
        (
            pod(json!({"containers": [], "securityContext": {"sysctls": [{"name": "kernel.msgmax"}]}})),
            "sysctls",
        ),
        (
            pod(json!({"containers": [], "securityContext": {"windowsOptions": {"hostProcess": true}}})),
            "hostProcess",
        ),
        (
            pod(json!({"containers": [], "securityContext": {"seccompProfile": {"type": "Unconfined"}}})),
            "seccomp",
        ),
        (
            pod(json!({"containers": [], "securityContext": {"seLinuxOptions": {"user": "system_u"}}})),
            "seLinux",
        ),
        (context(json!({"privileged": true})), "privileged"),
        (context(json!({"privileged": "true"})), "privileged"),
        (context(json!({"privileged": 1})), "privileged"),
        (context(json!({"capabilities": {"add": ["SYS_ADMIN"]}})), "SYS_ADMIN"),
        (context(json!({"capabilities": {"add": ["CHOWN", "NET_RAW"]}})), "NET_RAW"),
        (context(json!({"capabilities": {"add": "ALL"}})), "ALL"),
        (context(json!({"capabilities": {"add": ["sys_admin"]}})), "sys_admin"),
        (context(json!({"procMount": "Unmasked"})), "procMount"),
        (context(json!({"seccompProfile": {"type": "Unconfined"}})), "seccomp"),
        (context(json!({"appArmorProfile": {"type": "Unconfined"}})), "appArmor"),
        (context(json!({"seLinuxOptions": {"type": "spc_t"}})), "seLinux"),
        (context(json!({"seLinuxOptions": {"type": ["spc_t"]}})), "seLinux"),
        (context(json!({"windowsOptions": {"hostProcess": true}})), "hostProcess"),
        (container(json!({"ports": [{"containerPort": 80, "hostPort": 80}]})), "hostPort"),
        (container(json!({"livenessProbe": {"httpGet": {"host": "169.254.169.254", "port": 80}}})), "host"),
        (
            container(json!({"lifecycle": {"preStop": {"tcpSocket": {"host": "10.0.0.1", "port": 80}}}})),
            "host",
        ),
    ]
}

#[test]
fn each_way_beyond_baseline_is_found_and_named() {
    for (object, what) in attempts() {
        let found = beyond_baseline(&object).unwrap_or_else(|| panic!("not found: {object}"));
        assert!(found.contains(what), "{found} should name {what}");
    }
}

#[test]
fn a_pod_is_found_wherever_it_hides() {
    for (object, what) in attempts() {
        let spec = &object["spec"];
        for hidden in [
            json!({"kind": "Job", "spec": {"template": {"spec": spec}}}),
            json!({"kind": "CronJob", "spec": {"jobTemplate": {"spec": {"template": {"spec": spec}}}}}),
            json!({"kind": "Experiment", "spec": {"trialTemplate": {"object": {"spec": {"template": {"spec": spec}}}}}}),
            json!({"kind": "Strange", "spec": {"workers": [{"deep": [{"pod": spec}]}]}}),
        ] {
            assert!(beyond_baseline(&hidden).is_some_and(|found| found.contains(what)), "{hidden}");
        }
    }
}

#[test]
fn paths_of_the_node_and_annotations_are_found_too() {
    let volume = json!({"kind": "PersistentVolume", "spec": {"hostPath": {"path": "/"}}});
    assert!(beyond_baseline(&volume).is_some());
    let annotated = json!({"kind": "Pod", "metadata": {"annotations":
        {"container.apparmor.security.beta.kubernetes.io/c": "unconfined"}}, "spec": {"containers": []}});
    assert!(beyond_baseline(&annotated).is_some_and(|found| found.contains("annotations")));
}

proptest! {
    #[test]
    fn no_object_is_too_strange(text in "\\PC{0,64}", number in any::<f64>()) {
        let strange = [json!(text), json!(number), json!([text]), json!({ "a": text }), json!(null), json!(true)];
        for value in &strange {
            for field in ["containers", "initContainers", "securityContext", "volumes", "annotations"] {
                let _ = beyond_baseline(&json!({"spec": {field: value, "containers": value}}));
            }
        }
    }
}
