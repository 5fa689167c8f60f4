//! Starting one container: resolve its image, environment and volumes, write the order, and hand it to a shim. Also
//! what is read back at its end: the termination message.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Container;
use kube::ResourceExt;

use super::record::State;
use super::{Worker, supervision};
use crate::backoff;
use crate::env::{self, Objects};
use crate::events::Severity;
use crate::expand::expand;
use crate::resources;
use crate::run::Order;
use crate::shim::files::{self, Bind, Exit, Isolation, Launch, Limits};
use crate::volume;

/// A termination message is at most this long.
const MESSAGE_BYTES: u64 = 4096;
const MESSAGE_FILE: &str = "termination-message";
const DEFAULT_MESSAGE_PATH: &str = "/dev/termination-log";
/// How soon a container whose configuration was wrong is tried again.
const CONFIG_RETRY: Duration = Duration::from_secs(2);

/// Why a container could not be started, as its waiting state says it.
struct Refusal {
    reason: &'static str,
    message: String,
    retry: Duration,
}

impl Worker {
    /// Starts container `index`, or records why it waits.
    pub(super) async fn start(&mut self, index: usize) {
        if let Err(refusal) = self.try_start(index).await {
            let record = &mut self.records[index];
            let until = Some(Instant::now() + refusal.retry);
            let told = matches!(&record.state, State::Waiting { reason, message, .. }
                if *reason == refusal.reason && message.as_deref() == Some(&refusal.message));
            record.state =
                State::Waiting { reason: refusal.reason, message: Some(refusal.message.clone()), until };
            if !told {
                let reason = match refusal.reason {
                    "ContainerCreating" => "FailedMount",
                    "ImagePullBackOff" => "BackOff",
                    _ => "Failed",
                };
                self.event(Severity::Warning, reason, &refusal.message).await;
            }
        }
    }

    async fn try_start(&mut self, index: usize) -> Result<(), Refusal> {
        let spec = self.records[index].spec.clone();
        let image = spec.image.clone().unwrap_or_default();
        let way = match self.shared.images.resolve(&image).await {
            Ok(way) => way,
            Err(message) => {
                let record = &mut self.records[index];
                record.pull_failures += 1;
                let reason = if record.pull_failures == 1 { "ErrImagePull" } else { "ImagePullBackOff" };
                let retry = backoff::delay(record.pull_failures, Duration::from_secs(300));
                return Err(Refusal { reason, message, retry });
            }
        };
        self.records[index].image_id = way.image_id();
        let config =
            |message: String| Refusal { reason: "CreateContainerConfigError", message, retry: CONFIG_RETRY };
        let namespace = self.pod.namespace().unwrap_or_default();
        let client = self.shared.client.clone();
        let objects = Objects { client: &client, namespace: &namespace };
        if self.volumes.is_none() {
            let folders =
                volume::set_up(&objects, &self.pod, &self.dir.join("volumes")).await.map_err(|error| {
                    Refusal { reason: "ContainerCreating", message: error.to_string(), retry: CONFIG_RETRY }
                })?;
            self.volumes = Some(folders);
        }
        let folders = self.volumes.clone().unwrap_or_default();
        let mut env = env::resolve(&objects, &self.pod, &spec, &way.env())
            .await
            .map_err(|error| config(error.to_string()))?;
        let hostname = self.pod.spec.as_ref().and_then(|spec| spec.hostname.clone());
        env.entry("HOSTNAME".to_owned()).or_insert_with(|| hostname.unwrap_or_else(|| self.pod.name_any()));
        let mut binds = volume::binds(&spec, &folders, &env).map_err(|error| config(error.to_string()))?;

        let attempt = self.records[index].attempts;
        let dir = self.records[index].attempt_dir(&self.dir, attempt);
        let failed =
            |message: String| Refusal { reason: "CreateContainerError", message, retry: CONFIG_RETRY };
        // What an order that was never given left behind is not this attempt's.
        let _ = fs::remove_dir_all(&dir);
        supervision::prepare(&dir)
            .map_err(|error| failed(format!("preparing {}: {error}", dir.display())))?;
        let message_file = dir.join(MESSAGE_FILE);
        File::create(&message_file)
            .map_err(|error| failed(format!("creating {}: {error}", message_file.display())))?;
        binds.push(Bind {
            source: message_file,
            target: spec.termination_message_path.as_deref().unwrap_or(DEFAULT_MESSAGE_PATH).into(),
            read_only: false,
        });
        let isolation = self.shared.capabilities.isolation();
        let limits = limits(&spec);
        let cgroup = self.cgroup(&spec.name, attempt, limits).map_err(failed)?;
        let id = format!("{}-{}-{attempt}", self.uid, spec.name);
        let expanded =
            |words: &Option<Vec<String>>| words.iter().flatten().map(|word| expand(word, &env)).collect();
        let order = Order {
            command: expanded(&spec.command),
            args: expanded(&spec.args),
            container: &spec,
            env: env.clone(),
            binds,
            isolation,
            dir: &dir,
            id: &id,
            cgroup: cgroup.as_deref(),
        };
        let planned = way.program(order).map_err(failed)?;
        if let Some(what) = way.stands_for().filter(|_| attempt == 0) {
            let message = format!("Image {image:?} is mapped: {what}");
            self.event(Severity::Normal, "ImageMapped", &message).await;
        }
        if let Some(caveat) = planned.caveat.filter(|_| isolation == Isolation::None) {
            self.event(Severity::Warning, "MountPathsRewritten", &caveat).await;
        }
        if limits != Limits::default() && cgroup.is_none() && !self.limits_told {
            self.limits_told = true;
            let message = "this host gives the node no cgroup v2: the CPU limit is not enforced, and the memory limit \
                           bounds each process's own data only";
            self.event(Severity::Warning, "LimitsNotEnforced", message).await;
        }
        self.event(
            Severity::Normal,
            "Pulled",
            &format!("Container image {image:?} already present on machine"),
        )
        .await;
        let launch = Launch {
            program: planned.program,
            env: planned.env,
            working_dir: planned.working_dir,
            binds: planned.binds,
            isolation,
            limits,
            cgroup,
        };
        files::write_json(&dir, files::LAUNCH, &launch).map_err(|error| failed(error.to_string()))?;
        let record = &mut self.records[index];
        record.attempts += 1;
        record.pull_failures = 0;
        record.state = State::Starting;
        self.event(Severity::Normal, "Created", &format!("Created container: {}", spec.name)).await;
        let watch = self.watch(index);
        if let Err(error) = supervision::start(&self.shared.shim, watch) {
            self.lost(index, None, format!("The shim could not be started: {error}")).await;
        }
        Ok(())
    }

    fn cgroup(&self, name: &str, attempt: u32, limits: Limits) -> Result<Option<std::path::PathBuf>, String> {
        let Some(root) = &self.shared.capabilities.cgroup else { return Ok(None) };
        let folder = root.join(format!("{}-{name}-{attempt}", self.uid));
        let write = || -> std::io::Result<()> {
            fs::create_dir_all(&folder)?;
            if let Some(millis) = limits.cpu_millis {
                fs::write(folder.join("cpu.max"), format!("{} 100000", millis * 100))?;
            }
            if let Some(bytes) = limits.memory_bytes {
                fs::write(folder.join("memory.max"), bytes.to_string())?;
                // Absent without swap accounting, where there is nothing to bound.
                let _ = fs::write(folder.join("memory.swap.max"), "0");
                let _ = fs::write(folder.join("memory.oom.group"), "1");
            }
            fs::write(folder.join("pids.max"), "4096")
        };
        write().map_err(|error| format!("making the cgroup {}: {error}", folder.display()))?;
        Ok(Some(folder))
    }
}

fn limits(spec: &Container) -> Limits {
    let limits = spec.resources.as_ref().and_then(|resources| resources.limits.as_ref());
    let get = |name: &str| limits.and_then(|limits| limits.get(name)).and_then(resources::thousandths);
    Limits {
        cpu_millis: get("cpu").and_then(|millis| u64::try_from(millis).ok()),
        memory_bytes: get("memory").and_then(|millis| u64::try_from(millis.div_ceil(1000)).ok()),
    }
}

/// The termination message of an attempt: what the program wrote to its file, or the end of its log where the
/// container asks for that, or why it could not be started.
pub(crate) fn termination_message(spec: &Container, dir: &Path, exit: &Exit) -> Option<String> {
    if let Some(error) = &exit.start_error {
        return Some(error.clone());
    }
    let text = tail(&dir.join(MESSAGE_FILE)).unwrap_or_default();
    if !text.is_empty() {
        return Some(text);
    }
    if exit.code == 0 || spec.termination_message_policy.as_deref() != Some("FallbackToLogsOnError") {
        return None;
    }
    let log = tail(&dir.join(files::LOG)).unwrap_or_default();
    let lines = log.lines().filter_map(|line| line.splitn(4, ' ').nth(3));
    Some(lines.collect::<Vec<_>>().join("\n")).filter(|text| !text.is_empty())
}

fn tail(file: &Path) -> std::io::Result<String> {
    let mut file = File::open(file)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(MESSAGE_BYTES)))?;
    let mut bytes = Vec::new();
    file.take(MESSAGE_BYTES).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::Timestamp;

    fn exit(code: i32) -> Exit {
        let at = Timestamp::UNIX_EPOCH;
        Exit { code, signal: None, started_at: at, finished_at: at, out_of_memory: false, start_error: None }
    }

    #[test]
    fn the_message_is_the_end_of_the_file() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(MESSAGE_FILE), format!("lost{}", "x".repeat(4096))).unwrap();
        let message = termination_message(&Container::default(), dir.path(), &exit(0)).unwrap();
        assert_eq!(message, "x".repeat(4096));
    }

    #[test]
    fn the_log_stands_in_only_for_errors_and_only_when_asked() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(files::LOG), "2026-01-01T00:00:00Z stderr F boom\n").unwrap();
        let asks = Container {
            termination_message_policy: Some("FallbackToLogsOnError".to_owned()),
            ..Container::default()
        };
        assert_eq!(termination_message(&asks, dir.path(), &exit(1)).as_deref(), Some("boom"));
        assert_eq!(termination_message(&asks, dir.path(), &exit(0)), None);
        assert_eq!(termination_message(&Container::default(), dir.path(), &exit(1)), None);
    }
}
