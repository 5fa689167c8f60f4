//! The Job controller's decision against a model of the API: Pods end at any time, and the controller is killed between
//! any two of its writes. Each Pod must be counted exactly once, and no more Pods run than the Job allows.

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Pod, PodStatus};
use kube::ResourceExt;
use proptest::prelude::*;
use serde_json::json;

use super::decide::{self, FINALIZER};
use super::new_pod;

/// One step of the world.
#[derive(Clone, Debug)]
enum Step {
    /// The controller looks, and is killed after so many writes.
    Look { writes: usize },
    /// A running Pod ends.
    End { which: usize, ok: bool },
    /// A Pod that holds no finalizer is deleted by somebody.
    Clean,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0..8_usize).prop_map(|writes| Step::Look { writes }),
        2 => (0..8_usize, prop::bool::weighted(0.8)).prop_map(|(which, ok)| Step::End { which, ok }),
        1 => Just(Step::Clean),
    ]
}

struct World {
    job: Job,
    pods: Vec<Pod>,
    made: usize,
    succeeded: usize,
    failed: usize,
}

impl World {
    fn new(completions: i32, parallelism: i32, backoff_limit: i32) -> Self {
        let job = json!({
            "metadata": {"name": "job", "namespace": "default", "uid": "job"},
            "spec": {"completions": completions, "parallelism": parallelism, "backoffLimit": backoff_limit,
                "template": {"spec": {"restartPolicy": "Never", "containers": []}}},
        });
        let job = serde_json::from_value(job).unwrap();
        World { job, pods: Vec::new(), made: 0, succeeded: 0, failed: 0 }
    }

    /// Carries out a decision in the controller's order, up to `writes` writes.
    fn look(&mut self, mut writes: usize) {
        let plan = decide::decide(&self.job, &self.pods, Timestamp::now());
        let mut write = || writes.checked_sub(1).map(|left| writes = left).is_some();
        if let Some(status) = plan.status {
            if !write() {
                return;
            }
            self.job.status = Some(status);
        }
        for name in plan.release.iter().chain(&plan.delete) {
            if !write() {
                return;
            }
            for pod in self.pods.iter_mut().filter(|pod| pod.name_any() == *name) {
                pod.finalizers_mut().retain(|finalizer| finalizer != FINALIZER);
            }
        }
        for name in &plan.delete {
            if !write() {
                return;
            }
            self.pods.retain(|pod| pod.name_any() != *name);
        }
        for index in plan.create {
            if !write() {
                return;
            }
            let mut pod = new_pod(&self.job, index);
            pod.metadata.name = Some(format!("pod-{}", self.made));
            pod.metadata.uid = pod.metadata.name.clone();
            self.made += 1;
            self.pods.push(pod);
        }
    }

    fn running(&mut self) -> Vec<&mut Pod> {
        self.pods.iter_mut().filter(|pod| pod.status.is_none()).collect()
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Look { writes } => self.look(*writes),
            Step::End { which, ok } => {
                let mut running = self.running();
                let count = running.len();
                if count > 0 {
                    let pod = &mut running[which % count];
                    // A Pod without the finalizer is about to be deleted: how it ends counts for nothing.
                    let counts = decide::tracked(pod);
                    let phase = if *ok { "Succeeded" } else { "Failed" };
                    pod.status = Some(PodStatus { phase: Some(phase.to_owned()), ..PodStatus::default() });
                    self.succeeded += usize::from(*ok && counts);
                    self.failed += usize::from(!*ok && counts);
                }
            }
            Step::Clean => {
                let gone = self.pods.iter().position(|pod| pod.status.is_some() && !decide::tracked(pod));
                gone.map(|index| self.pods.remove(index));
            }
        }
    }
}

proptest! {
    #[test]
    fn each_pod_is_counted_once_whenever_the_controller_is_killed(
        completions in 1..6_i32,
        parallelism in 1..4_i32,
        backoff_limit in 0..3_i32,
        steps in prop::collection::vec(step(), 0..120),
    ) {
        let mut world = World::new(completions, parallelism, backoff_limit);
        for step in &steps {
            world.step(step);
            prop_assert!(world.running().len() <= usize::try_from(parallelism).unwrap());
        }
        // Left alone, every Pod succeeds and the Job ends.
        for _ in 0..60 {
            world.look(usize::MAX);
            while !world.running().is_empty() && decide::finished(&world.job).is_none() {
                world.step(&Step::End { which: 0, ok: true });
            }
        }
        let kind = decide::finished(&world.job).map(|condition| condition.type_.clone());
        prop_assert!(kind.is_some(), "the Job did not end");
        let status = world.job.status.clone().unwrap();
        let number = |count: Option<i32>| usize::try_from(count.unwrap_or(0)).unwrap();
        prop_assert_eq!(number(status.succeeded), world.succeeded);
        prop_assert_eq!(number(status.failed), world.failed);
        let too_many = world.failed > usize::try_from(backoff_limit).unwrap();
        if kind.as_deref() == Some("Complete") {
            prop_assert!(world.succeeded >= usize::try_from(completions).unwrap());
        } else {
            prop_assert!(too_many);
        }
        prop_assert!(world.pods.iter().all(|pod| !decide::tracked(pod)));
    }
}
