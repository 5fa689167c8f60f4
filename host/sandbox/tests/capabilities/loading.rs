//! What is imported and was not granted keeps a plugin from loading.

use purlin_sandbox::LoadError;

use crate::host::{Host, OTHERS};

#[tokio::test(flavor = "multi_thread")]
async fn each_missing_grant_is_named() {
    let host = Host::new();
    for missing in OTHERS.iter().filter(|grant| !grant.starts_with("kube")) {
        let name = missing.split('(').next().expect("a name");
        let rest: Vec<_> = OTHERS.iter().copied().filter(|grant| grant != missing).collect();
        match host.load(&rest).await {
            Err(LoadError::NotGranted { capability, reason }) => {
                assert!(capability.starts_with(name), "{missing}: {capability}");
                assert!(!reason.is_empty());
            }
            Err(other) => panic!("{missing}: {other}"),
            Ok(_) => panic!("loaded without {missing}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_of_what_was_not_asked_for_gives_nothing() {
    let host = Host::new();
    let grants: Vec<_> = OTHERS
        .iter()
        .copied()
        .chain(["secret(other)", "nn(onnx on cpu)", "kube(write apps/Deployment)"])
        .collect();
    let probe = host.load(&grants).await.expect("load");
    let rights: Vec<_> = probe.plugin().rights().iter().map(ToString::to_string).collect();
    assert!(
        rights
            .iter()
            .all(|right| !right.contains("other") && !right.contains("nn(") && !right.contains("apps")),
        "{rights:?}"
    );
    let result = probe.does(serde_json::json!({"do": "secret", "name": "other"})).await;
    assert!(result.get("denied").is_some(), "{result}");
}
