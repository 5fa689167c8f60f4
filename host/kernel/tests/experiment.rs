//! Experiments against a real API server.
#![allow(clippy::unwrap_used)]

mod common;

use common::{Counting, Native, Running, client, counting_manifest, install, namespace, reaches};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Api, ListParams, Patch, PatchParams, PostParams};
use purlin_kernel::api::{Experiment, Plugin, Trial};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

fn experiment(name: &str, max: u32, parallelism: u32) -> Experiment {
    serde_json::from_value(json!({
        "apiVersion": "purlin.dev/v1alpha1", "kind": "Experiment", "metadata": {"name": name},
        "spec": {
            "parallelism": parallelism, "maxTrials": max,
            "objective": {"metric": "m", "direction": "maximize"},
            "algorithm": {"name": "counting"},
            "parameters": [{"name": "x", "type": "int", "min": "0", "max": "1000"}],
            "metricsCollector": {"source": "none"},
            "trialTemplate": {
                "parameters": [{"name": "value", "reference": "x"}],
                "retain": true,
                "successCondition": "true",
                "object": {"apiVersion": "v1", "kind": "ConfigMap", "data": {"x": "${trialParameters.value}"}},
            },
        },
    }))
    .unwrap()
}

type Alone = tokio::sync::MutexGuard<'static, ()>;

async fn started(test: &str) -> Option<(Alone, kube::Client, String, Running, Counting)> {
    let client = client().await?;
    let alone = common::alone().await;
    let (plugins, tuner) = (Native::default(), Counting::default());
    plugins.add("native/counting:1", counting_manifest("counting", "counting"), tuner.clone());
    let namespace = namespace(&client, test).await;
    let kernel = Running::start(&client, &plugins).await;
    let api: Api<Plugin> = Api::all(client.clone());
    if api.get_opt("counting").await.unwrap().is_none() {
        install(&client, "counting", "native/counting:1", &[]).await;
    }
    reaches(&api, "counting", "Ready", "True/Loaded").await;
    Some((alone, client, namespace, kernel, tuner))
}

#[tokio::test(flavor = "multi_thread")]
async fn experiments_run_to_their_ends() {
    let Some((_alone, client, namespace, kernel, tuner)) = started("experiment").await else { return };
    let experiments: Api<Experiment> = Api::namespaced(client.clone(), &namespace);
    let trials: Api<Trial> = Api::namespaced(client.clone(), &namespace);

    // The budget is kept: every index once, each with the value that was suggested for it.
    experiments.create(&PostParams::default(), &experiment("budget", 7, 3)).await.unwrap();
    let done = reaches(&experiments, "budget", "Succeeded", "True/MaxTrialsReached").await;
    assert_eq!(done["status"]["trials"]["succeeded"], 7, "{done:#}");
    let made =
        trials.list(&ListParams::default().labels("purlin.dev/experiment=budget")).await.unwrap().items;
    let indexes: BTreeSet<u32> = made.iter().map(|trial| trial.spec.index).collect();
    assert_eq!(indexes, (0..7).collect());
    let objects: Api<ConfigMap> = Api::namespaced(client.clone(), &namespace);
    for trial in &made {
        let object = objects.get(trial.metadata.name.as_ref().unwrap()).await.unwrap();
        assert_eq!(object.data.unwrap()["x"], trial.spec.index.to_string());
    }

    // A raised budget resumes an experiment that may be resumed.
    let raise = json!({"spec": {"maxTrials": 9, "resumePolicy": "LongRunning"}});
    experiments.patch("budget", &PatchParams::default(), &Patch::Merge(&raise)).await.unwrap();
    let done = common::eventually("two more trials", async || {
        let now = serde_json::to_value(experiments.get("budget").await.ok()?).ok()?;
        (now["status"]["trials"]["succeeded"] == 9).then_some(now)
    })
    .await;
    assert_eq!(done["status"]["trials"]["total"], 9);
    reaches(&experiments, "budget", "Succeeded", "True/MaxTrialsReached").await;

    // What cannot be run is refused with the fields' names, and can be corrected.
    let mut wrong = serde_json::to_value(experiment("wrong", 1, 1)).unwrap();
    wrong["spec"]["algorithm"]["settings"] = json!([{"name": "unknown", "value": "1"}]);
    let wrong: Experiment = serde_json::from_value(wrong).unwrap();
    experiments.create(&PostParams::default(), &wrong).await.unwrap();
    let failed = reaches(&experiments, "wrong", "Failed", "True/InvalidSpec").await;
    assert!(failed["status"]["conditions"].to_string().contains("spec.algorithm.settings[0]"), "{failed:#}");
    let cure = json!({"spec": {"algorithm": {"settings": null}}});
    experiments.patch("wrong", &PatchParams::default(), &Patch::Merge(&cure)).await.unwrap();
    reaches(&experiments, "wrong", "Succeeded", "True/MaxTrialsReached").await;

    // A tuner that traps is shown, and asked again.
    tuner.faults.store(2, Ordering::Relaxed);
    experiments.create(&PostParams::default(), &experiment("traps", 2, 1)).await.unwrap();
    reaches(&experiments, "traps", "Succeeded", "True/MaxTrialsReached").await;

    // A suspended experiment starts nothing until it goes on.
    let mut suspended = serde_json::to_value(experiment("suspended", 2, 1)).unwrap();
    suspended["spec"]["suspend"] = json!(true);
    let suspended: Experiment = serde_json::from_value(suspended).unwrap();
    experiments.create(&PostParams::default(), &suspended).await.unwrap();
    reaches(&experiments, "suspended", "Suspended", "True/Suspended").await;
    let made = trials.list(&ListParams::default().labels("purlin.dev/experiment=suspended")).await.unwrap();
    assert!(made.items.is_empty());
    let resume = json!({"spec": {"suspend": false}});
    experiments.patch("suspended", &PatchParams::default(), &Patch::Merge(&resume)).await.unwrap();
    reaches(&experiments, "suspended", "Succeeded", "True/MaxTrialsReached").await;

    // An object that is deleted while it runs fails its trial, and enough failures fail the experiment.
    let mut fragile = serde_json::to_value(experiment("fragile", 5, 1)).unwrap();
    fragile["spec"]["maxFailedTrials"] = json!(0);
    fragile["spec"]["trialTemplate"]["successCondition"] = json!("object.data.done == 'yes'");
    let fragile: Experiment = serde_json::from_value(fragile).unwrap();
    experiments.create(&PostParams::default(), &fragile).await.unwrap();
    let name = common::eventually("a running trial", async || {
        let made = trials.list(&ListParams::default().labels("purlin.dev/experiment=fragile")).await.ok()?;
        let trial = serde_json::to_value(made.items.first()?).ok()?;
        (common::condition(&trial, "Running") == "True/ObjectRunning")
            .then(|| trial["metadata"]["name"].as_str().unwrap().to_owned())
    })
    .await;
    objects.delete(&name, &Default::default()).await.unwrap();
    reaches(&trials, &name, "Failed", "True/ObjectDeleted").await;
    reaches(&experiments, "fragile", "Failed", "True/MaxFailedTrialsReached").await;
    kernel.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kernel_that_is_killed_loses_and_doubles_nothing() {
    let Some((_alone, client, namespace, mut kernel, _)) = started("killed").await else { return };
    let experiments: Api<Experiment> = Api::namespaced(client.clone(), &namespace);
    experiments.create(&PostParams::default(), &experiment("killed", 40, 4)).await.unwrap();
    let plugins = Native::default();
    plugins.add("native/counting:1", counting_manifest("counting", "counting"), Counting::default());
    for round in 0..6 {
        tokio::time::sleep(Duration::from_millis(40 + 30 * round)).await;
        kernel.kill();
        kernel = Running::start(&client, &plugins).await;
    }
    let done = reaches(&experiments, "killed", "Succeeded", "True/MaxTrialsReached").await;
    assert_eq!(done["status"]["trials"]["total"], 40);
    let trials: Api<Trial> = Api::namespaced(client.clone(), &namespace);
    let made = trials.list(&ListParams::default()).await.unwrap().items;
    let indexes: BTreeSet<u32> = made.iter().map(|trial| trial.spec.index).collect();
    assert_eq!((made.len(), indexes), (40, (0..40).collect()));
    kernel.stop().await;
}

/// Prints how long many experiments take that do nothing. `PURLIN_TEST_EXPERIMENTS` says how many; by default few.
#[tokio::test(flavor = "multi_thread")]
async fn many_experiments_run_at_once() {
    let Some((_alone, client, namespace, kernel, _)) = started("many").await else { return };
    let count: u32 = std::env::var("PURLIN_TEST_EXPERIMENTS").ok().and_then(|n| n.parse().ok()).unwrap_or(50);
    let experiments: Api<Experiment> = Api::namespaced(client.clone(), &namespace);
    let started = Instant::now();
    for at in 0..count {
        experiments.create(&PostParams::default(), &experiment(&format!("e{at}"), 2, 1)).await.unwrap();
    }
    let mut left = count;
    while left > 0 {
        tokio::time::sleep(Duration::from_millis(250)).await;
        let all = experiments.list(&ListParams::default()).await.unwrap().items;
        let values = all.iter().map(|experiment| serde_json::to_value(experiment).unwrap());
        let done = values.filter(|e: &Value| common::condition(e, "Succeeded").starts_with("True")).count();
        left = count - u32::try_from(done).unwrap();
        assert!(started.elapsed() < Duration::from_secs(300), "{left} of {count} are not done");
    }
    eprintln!("{count} experiments in {:?}", started.elapsed());
    kernel.stop().await;
}
