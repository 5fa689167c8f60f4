//! One Pod's worker: a task that owns the Pod's records, starts its containers through shims, and writes its status.
//! It holds nothing that is not in the API or in the Pod's folder, so that it can be lost at any moment.

pub(crate) mod decide;
pub(crate) mod launch;
pub(crate) mod probe;
pub(crate) mod record;
pub(crate) mod status;
pub(crate) mod supervision;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod, PodStatus};
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use kube::{Api, Resource, ResourceExt};
use serde_json::json;
use tokio::sync::{mpsc, watch};
use tokio_util::task::AbortOnDropHandle;
use tracing::{debug, info, warn};

use crate::events::Severity;
use crate::node::Shared;
use decide::RestartPolicy;
use probe::{Asker, Kind, Verdict};
use record::{Found, Record, Role, State};
use status::Overall;
use supervision::{ContainerReport, Report, Watch};

/// A Pod as the worker's owner last saw it; `None` once it is gone from the API.
pub(crate) type Seen = Option<Arc<Pod>>;

/// One Pod.
pub(crate) struct Worker {
    pub(crate) shared: Arc<Shared>,
    pod: Arc<Pod>,
    uid: String,
    dir: PathBuf,
    records: Vec<Record>,
    volumes: Option<BTreeMap<String, PathBuf>>,
    overall: Overall,
    written: Option<PodStatus>,
    reports_in: mpsc::Receiver<ContainerReport>,
    reports_out: mpsc::Sender<ContainerReport>,
    stop_deadline: Option<Instant>,
    retry_status: Option<Instant>,
    limits_told: bool,
    /// Probes and hooks of each container, ended when it ends.
    askers: Vec<Vec<AbortOnDropHandle<()>>>,
}

impl Worker {
    /// A worker for `pod`, with the records that its folder tells of.
    pub(crate) fn new(shared: Arc<Shared>, pod: Arc<Pod>) -> Self {
        let uid = pod.uid().unwrap_or_default();
        let dir = shared.pods_dir.join(&uid);
        let (reports_out, reports_in) = mpsc::channel(16);
        let mut overall = Overall::default();
        if let Some(status) = &pod.status {
            overall.start_time = status.start_time.as_ref().map(|time| time.0);
            overall.finished = match status.phase.as_deref() {
                Some("Succeeded") => Some(true),
                Some("Failed") => Some(false),
                _ => None,
            };
        }
        let records = record::fresh(&pod);
        Worker {
            askers: records.iter().map(|_| Vec::new()).collect(),
            records,
            volumes: None,
            overall,
            written: None,
            reports_in,
            reports_out,
            stop_deadline: None,
            retry_status: None,
            limits_told: false,
            shared,
            pod,
            uid,
            dir,
        }
    }

    /// Runs until the Pod is gone. Dropping it leaves the containers to their shims.
    pub(crate) async fn run(mut self, mut seen: watch::Receiver<Seen>) {
        if self.overall.finished.is_some() {
            // A finished Pod keeps its folder, for its logs, until it is deleted.
            self.wait_for_deletion(&mut seen).await;
            return;
        }
        self.recover().await;
        self.overall.start_time.get_or_insert_with(Timestamp::now);
        loop {
            let now = seen.borrow_and_update().clone();
            match now {
                Some(pod) => self.pod = pod,
                None => {
                    self.destroy().await;
                    return;
                }
            }
            let mut wake = self.act().await;
            self.write_status().await;
            if self.overall.finished.is_some() && self.retry_status.is_none() {
                self.wait_for_deletion(&mut seen).await;
                return;
            }
            wake = wake.into_iter().chain(self.retry_status).min();
            let sleep = async {
                match wake {
                    Some(at) => tokio::time::sleep_until(at.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                changed = seen.changed() => if changed.is_err() { return },
                Some(report) = self.reports_in.recv() => self.note(report).await,
                () = sleep => {}
            }
        }
    }

    /// Takes up what an earlier host left in the Pod's folder.
    async fn recover(&mut self) {
        for index in 0..self.records.len() {
            let record = &mut self.records[index];
            record.attempts = record::attempts_on_disk(record, &self.dir);
            if record.attempts == 0 {
                continue;
            }
            if let Ok(way) =
                self.shared.images.resolve(record.spec.image.as_deref().unwrap_or_default()).await
            {
                record.image_id = way.image_id();
            }
            record.last = record::previous_end(record, &self.dir, &self.uid);
            let dir = record.dir(&self.dir);
            match record::inspect(&dir) {
                Ok(Found::Intended) if !dir.join(crate::shim::files::LAUNCH).exists() => {
                    // The order was never given: the attempt did not happen.
                    record.attempts -= 1;
                    let _ = std::fs::remove_dir_all(&dir);
                }
                Ok(Found::Intended) => {
                    record.state = State::Starting;
                    let watch = self.watch(index);
                    if let Err(error) = supervision::start(&self.shared.shim, watch) {
                        warn!(pod = %self.pod.name_any(), %error, "a container could not be taken up again");
                    }
                }
                Ok(Found::Held) => {
                    record.state = State::Starting;
                    record.found = true;
                    self.shared.metrics.reattached.inc();
                    info!(pod = %self.pod.name_any(), container = %record.spec.name, "found a running container again");
                    supervision::reattach(self.watch(index));
                }
                Ok(over) => {
                    let report = ContainerReport {
                        index,
                        attempt: self.records[index].attempts - 1,
                        report: Report::Over(over),
                    };
                    self.note(report).await;
                }
                Err(error) => {
                    warn!(pod = %self.pod.name_any(), %error, "a container's folder cannot be read")
                }
            }
        }
    }

    /// Does what is to be done now; returns when to look again.
    async fn act(&mut self) -> Option<Instant> {
        let policy =
            RestartPolicy::parse(self.pod.spec.as_ref().and_then(|spec| spec.restart_policy.as_deref()));
        if let Some(wake) = self.stop_if_asked().await {
            return wake;
        }
        let mut deadline = None;
        if let Some((at, seconds)) = self.active_deadline() {
            if at <= Instant::now() {
                let message =
                    format!("Pod was active on the node longer than the specified deadline ({seconds}s)");
                self.overall.reason = Some(("DeadlineExceeded", message));
                self.stop_all(self.grace()).await;
                if !self.records.iter().any(Record::is_live) {
                    self.overall.finished = Some(false);
                }
                return None;
            }
            deadline = Some(at);
        }
        loop {
            let next = decide::next(&self.records, policy, Instant::now());
            if next.stop_sidecars {
                self.stop_all(self.grace()).await;
            }
            if let Some(succeeded) = next.finished {
                self.overall.finished = Some(succeeded);
                return None;
            }
            let Some(index) = next.start else { return next.wake.into_iter().chain(deadline).min() };
            self.start(index).await;
        }
    }

    /// Handles a Pod that is being deleted. `Some` when it is, with the time to look again.
    async fn stop_if_asked(&mut self) -> Option<Option<Instant>> {
        self.pod.metadata.deletion_timestamp.as_ref()?;
        let grace = self.pod.metadata.deletion_grace_period_seconds.unwrap_or(30).max(0).unsigned_abs();
        if self.records.iter().any(Record::is_live) {
            self.stop_all(grace).await;
            return Some(None);
        }
        if self.overall.finished.is_none() {
            let ok = self.records.iter().filter(|record| record.role == Role::Main);
            self.overall.finished =
                Some(ok.clone().all(|record| record.ended().is_some_and(|end| end.exit.code == 0)));
        }
        Some(None)
    }

    fn active_deadline(&self) -> Option<(Instant, i64)> {
        let seconds = self.pod.spec.as_ref()?.active_deadline_seconds?;
        let elapsed = Timestamp::now().duration_since(self.overall.start_time?).unsigned_abs();
        let allowed = Duration::from_secs(seconds.unsigned_abs());
        Some((Instant::now() + allowed.saturating_sub(elapsed), seconds))
    }

    fn grace(&self) -> u64 {
        let spec = self.pod.spec.as_ref().and_then(|spec| spec.termination_grace_period_seconds);
        spec.unwrap_or(30).max(0).unsigned_abs()
    }

    async fn stop_all(&mut self, grace: u64) {
        // Asked again only to shorten the time, as a second deletion may.
        let deadline = Instant::now() + Duration::from_secs(grace);
        let shorter = self.stop_deadline.is_none_or(|before| deadline + Duration::from_secs(1) < before);
        for index in 0..self.records.len() {
            let record = &mut self.records[index];
            if record.state == State::Starting {
                // Asked now, in case its start hangs, and again when it reports one: it may not have the request yet.
                if let Err(error) = supervision::stop(&record.dir(&self.dir), grace) {
                    debug!(container = %record.spec.name, %error, "a container that starts cannot be asked to stop");
                }
                continue;
            }
            if !matches!(record.state, State::Running(_)) || (record.stopping && !shorter) {
                continue;
            }
            record.stopping = false;
            let why = format!("Stopping container {}", record.spec.name);
            self.stop_one(index, grace, &why).await;
        }
        self.stop_deadline = Some(deadline);
    }

    /// Asks one running container to stop, after its preStop hook.
    async fn stop_one(&mut self, index: usize, grace: u64, why: &str) {
        let record = &mut self.records[index];
        let State::Running(started) = &record.state else { return };
        if std::mem::replace(&mut record.stopping, true) {
            return;
        }
        let at = started.at;
        let dir = record.dir(&self.dir);
        let hook = record.spec.lifecycle.as_ref().and_then(|lifecycle| lifecycle.pre_stop.clone());
        self.event(Severity::Normal, "Killing", why).await;
        let span = tracing::Span::current();
        let stop = move |grace| {
            if let Err(error) = supervision::stop(&dir, grace) {
                span.in_scope(|| warn!(dir = %dir.display(), %error, "a container cannot be stopped"));
            }
        };
        let Some(hook) = hook.filter(|_| grace > 0) else { return stop(grace) };
        let asker = self.asker(index, at);
        self.askers[index].push(AbortOnDropHandle::new(tokio::spawn(async move {
            let before = Instant::now();
            if !matches!(
                tokio::time::timeout(Duration::from_secs(grace), asker.hook(&hook)).await,
                Ok(Ok(()))
            ) {
                warn!(container = asker.container.name, "the preStop hook did not succeed");
            }
            // What the hook used up is gone, but for a moment to end in.
            stop(grace.saturating_sub(before.elapsed().as_secs()).max(2));
        })));
    }

    async fn note(&mut self, report: ContainerReport) {
        let ContainerReport { index, attempt, report } = report;
        if self.records[index].attempts != attempt + 1 {
            return;
        }
        let record = &mut self.records[index];
        match report {
            Report::Started(started) => {
                // Stated again by a shim found again; a container that is already running keeps its probes' results.
                if record.state == State::Starting {
                    let at = started.at;
                    record.state = State::Running(started);
                    record.started = record.spec.startup_probe.is_none();
                    record.ready = record.started && record.spec.readiness_probe.is_none();
                    self.running(index, at).await;
                }
            }
            Report::Probed(verdict) => self.probed(index, verdict).await,
            Report::HookFailed(error) => {
                let name = record.spec.name.clone();
                self.event(
                    Severity::Warning,
                    "FailedPostStartHook",
                    &format!("PostStartHook failed: {error}"),
                )
                .await;
                self.stop_one(index, self.grace(), &format!("FailedPostStartHook of container {name}")).await;
            }
            Report::Over(Found::Held | Found::Intended) => {
                let failure =
                    std::fs::read_to_string(record.dir(&self.dir).join("shim-error")).unwrap_or_default();
                self.lost(index, None, format!("The shim did not start: {failure}")).await;
            }
            Report::Over(Found::Lost(started)) => {
                let message = "The container could not be located: its shim was killed".to_owned();
                self.lost(index, Some(started.at), message).await;
            }
            Report::Over(Found::Exited(exit)) => {
                let message = launch::termination_message(&record.spec, &record.dir(&self.dir), &exit);
                let started = exit.start_error.clone();
                self.askers[index].clear();
                let record = &mut self.records[index];
                let wait = record.end(exit, message, &self.uid);
                if let Some(error) = started {
                    self.event(Severity::Warning, "Failed", &format!("Error: {error}")).await;
                }
                self.again(index, wait).await;
            }
            Report::Broken(error) => {
                let message = format!("the container's folder cannot be read: {error}");
                self.lost(index, None, message).await;
            }
        }
    }

    /// Sets up what goes with a running container.
    async fn running(&mut self, index: usize, at: Timestamp) {
        let asker = self.asker(index, at);
        let lifecycle = asker.container.lifecycle.clone();
        let name = asker.container.name.clone();
        let mut tasks = Vec::new();
        // A container found again had its hook already.
        if let Some(hook) = lifecycle.and_then(|lifecycle| lifecycle.post_start)
            && !self.records[index].found
        {
            tasks.push(AbortOnDropHandle::new(tokio::spawn(asker.clone().after_start(hook))));
        }
        tasks.push(AbortOnDropHandle::new(tokio::spawn(asker.probe())));
        self.askers[index] = tasks;
        self.shared.metrics.started.inc();
        self.event(Severity::Normal, "Started", &format!("Started container {name}")).await;
    }

    async fn probed(&mut self, index: usize, verdict: Verdict) {
        let record = &mut self.records[index];
        match (verdict.kind, &verdict.failure) {
            (Kind::Startup, None) => {
                record.started = true;
                record.ready = record.spec.readiness_probe.is_none();
            }
            (Kind::Readiness, failure) => record.ready = failure.is_none(),
            (Kind::Liveness, None) | (Kind::Startup | Kind::Liveness, Some(_)) => {}
        }
        let Some(failure) = verdict.failure else { return };
        let (name, probe) = (record.spec.name.clone(), verdict.kind.name());
        self.event(Severity::Warning, "Unhealthy", &format!("{probe} probe failed: {failure}")).await;
        if verdict.kind != Kind::Readiness {
            let why = format!("Container {name} failed {} probe, will be restarted", probe.to_lowercase());
            self.stop_one(index, self.grace(), &why).await;
        }
    }

    fn asker(&self, index: usize, started_at: Timestamp) -> Asker {
        Asker {
            shim: self.shared.shim.clone(),
            container: self.records[index].spec.clone(),
            watch: self.watch(index),
            started_at,
        }
    }

    /// Records the end of an attempt of which nobody knows how it ended.
    async fn lost(&mut self, index: usize, started_at: Option<Timestamp>, message: String) {
        warn!(pod = %self.pod.name_any(), container = %self.records[index].spec.name, message, "container lost");
        self.askers[index].clear();
        let now = Timestamp::now();
        let exit = crate::shim::files::Exit {
            code: 137,
            signal: None,
            started_at: started_at.unwrap_or(now),
            finished_at: now,
            out_of_memory: false,
            start_error: None,
        };
        let wait = self.records[index].end_as(exit, "ContainerStatusUnknown", Some(message), &self.uid);
        self.again(index, wait).await;
    }

    /// Puts an ended container back in line, where the Pod's policy says so.
    async fn again(&mut self, index: usize, wait: Duration) {
        let policy =
            RestartPolicy::parse(self.pod.spec.as_ref().and_then(|spec| spec.restart_policy.as_deref()));
        let deleting = self.pod.metadata.deletion_timestamp.is_some() || self.overall.reason.is_some();
        let record = &mut self.records[index];
        let Some(ended) = record.ended().cloned() else { return };
        let done = decide::next(&self.records, policy, Instant::now()).stop_sidecars;
        let record = &mut self.records[index];
        if deleting || done || !policy.restarts(record.role, ended.exit.code) {
            return;
        }
        self.shared.metrics.restarted.inc();
        let name = record.spec.name.clone();
        let until = (!wait.is_zero()).then(|| Instant::now() + wait);
        let message = until.map(|_| {
            format!(
                "back-off {}s restarting failed container={name} pod={}_{}({})",
                wait.as_secs(),
                self.pod.name_any(),
                self.pod.namespace().unwrap_or_default(),
                self.uid
            )
        });
        record.last = Some(ended);
        let reason = if until.is_some() { "CrashLoopBackOff" } else { "ContainerCreating" };
        record.state = State::Waiting { reason, message: message.clone(), until };
        if let Some(message) = message {
            self.event(Severity::Warning, "BackOff", &message).await;
        }
    }

    fn watch(&self, index: usize) -> Watch {
        let record = &self.records[index];
        Watch {
            index,
            attempt: record.attempts.saturating_sub(1),
            dir: record.dir(&self.dir),
            reports: self.reports_out.clone(),
        }
    }

    pub(crate) async fn event(&self, severity: Severity, reason: &str, message: &str) {
        // Off the worker's path: an Event must not make a Pod slower.
        let about = self.pod.object_ref(&());
        self.shared.tell(about, severity, reason, message.to_owned());
    }

    fn api(&self) -> Api<Pod> {
        Api::namespaced(self.shared.client.clone(), &self.pod.namespace().unwrap_or_default())
    }

    async fn write_status(&mut self) {
        let status = status::build(&self.pod, &self.uid, &self.records, &self.overall, Timestamp::now());
        if self.written.as_ref() == Some(&status) {
            return;
        }
        // The UID makes sure that a Pod of the same name made meanwhile is left alone.
        let patch = json!({"metadata": {"uid": self.uid}, "status": status});
        self.retry_status = None;
        match self
            .api()
            .patch_status(&self.pod.name_any(), &PatchParams::default(), &Patch::Merge(&patch))
            .await
        {
            Ok(pod) => {
                self.written = Some(status);
                self.pod = Arc::new(pod);
            }
            Err(kube::Error::Api(error)) if error.code == 404 || error.code == 409 => {
                debug!(pod = %self.pod.name_any(), "the Pod is gone");
            }
            Err(error) => {
                warn!(pod = %self.pod.name_any(), %error, "the Pod's status could not be written; trying again");
                self.retry_status = Some(Instant::now() + Duration::from_secs(1));
            }
        }
    }

    /// Stays with a Pod that is finished: removes it from the API once its deletion is asked for.
    async fn wait_for_deletion(&mut self, seen: &mut watch::Receiver<Seen>) {
        let mut removed = false;
        loop {
            let now = seen.borrow_and_update().clone();
            match now {
                None => return self.destroy().await,
                Some(pod) => self.pod = pod,
            }
            let mut retry = false;
            if self.pod.metadata.deletion_timestamp.is_some() && !removed {
                let params = DeleteParams {
                    grace_period_seconds: Some(0),
                    preconditions: Some(Preconditions {
                        uid: Some(self.uid.clone()),
                        resource_version: None,
                    }),
                    ..DeleteParams::default()
                };
                match self.api().delete(&self.pod.name_any(), &params).await {
                    Ok(_) => removed = true,
                    Err(kube::Error::Api(error)) if error.code == 404 || error.code == 409 => removed = true,
                    Err(error) => {
                        warn!(pod = %self.pod.name_any(), %error, "a finished Pod could not be removed");
                        retry = true;
                    }
                }
            }
            tokio::select! {
                changed = seen.changed() => if changed.is_err() { return },
                () = tokio::time::sleep(Duration::from_secs(1)), if retry => {}
            }
        }
    }

    /// Ends whatever runs for a Pod that is gone, and removes its folder.
    async fn destroy(&mut self) {
        crate::node::destroy(&self.dir).await;
    }
}
