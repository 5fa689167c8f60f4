//! Gets a trial's metrics out of its Pods: the log of the primary container, or its termination message.

use std::collections::BTreeMap;

use futures::AsyncReadExt;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, ListParams, LogParams};
use kube::{Client, ResourceExt};

use super::parser::{FilterError, LONGEST_LINE, LineParser};
use super::series::Series;
use crate::api::{MetricSource, TRIAL_LABEL, Trial};

/// Why metrics could not be collected.
#[derive(Debug, thiserror::Error)]
pub enum CollectError {
    /// A filter is wrong.
    #[error(transparent)]
    Filter(#[from] FilterError),
    /// The server could not be asked.
    #[error("could not read the output of trial {trial}")]
    Api {
        /// The trial.
        trial: String,
        /// What went wrong.
        #[source]
        source: kube::Error,
    },
    /// The log broke off.
    #[error("the log of trial {trial} broke off")]
    Log {
        /// The trial.
        trial: String,
        /// What went wrong.
        #[source]
        source: std::io::Error,
    },
}

/// What there was to collect.
#[derive(Debug, PartialEq)]
pub enum Collected {
    /// The output was read to its end.
    Series(Series),
    /// There is nothing to read from, and why.
    Nothing(String),
}

/// Reads Pods.
#[derive(Clone)]
pub struct Collector {
    client: Client,
}

impl Collector {
    /// A collector over a client.
    pub fn new(client: Client) -> Self {
        Collector { client }
    }

    /// Reads all that a trial has printed so far.
    ///
    /// # Errors
    /// The server could not be asked, or the trial's filter is wrong.
    pub async fn collect(&self, trial: &Trial) -> Result<Collected, CollectError> {
        let source = trial.spec.metrics_collector.source;
        match source {
            MetricSource::None => Ok(Collected::Series(Series::default())),
            MetricSource::Push => {
                let status = trial.status.as_ref();
                Ok(Collected::Series(status.map_or_else(Series::default, |status| {
                    Series::resume(&status.metrics, &status.measurements)
                })))
            }
            MetricSource::Stdout | MetricSource::File => {
                let parser = LineParser::new(&trial.spec.objective, &trial.spec.metrics_collector)?;
                let Some(pod) = self.primary_pod(trial).await? else {
                    return Ok(Collected::Nothing("the trial's object has no Pod to read from".to_owned()));
                };
                let Some(container) = primary_container(&pod, trial.spec.primary_container.as_deref()) else {
                    return Ok(Collected::Nothing(format!(
                        "Pod {} has no container to read from",
                        pod.name_any()
                    )));
                };
                if source == MetricSource::File {
                    return Ok(read_message(&pod, &container, &parser));
                }
                self.read_log(trial, &pod, &container, &parser).await
            }
        }
    }

    async fn primary_pod(&self, trial: &Trial) -> Result<Option<Pod>, CollectError> {
        let name = trial.name_any();
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), &trial.namespace().unwrap_or_default());
        for selector in [format!("{TRIAL_LABEL}={name}"), format!("batch.kubernetes.io/job-name={name}")] {
            let found = pods
                .list(&ListParams::default().labels(&selector))
                .await
                .map_err(|source| CollectError::Api { trial: name.clone(), source })?;
            if let Some(pod) = choose(found.items, &trial.spec.primary_pod_labels) {
                return Ok(Some(pod));
            }
        }
        Ok(None)
    }

    async fn read_log(
        &self,
        trial: &Trial,
        pod: &Pod,
        container: &str,
        parser: &LineParser,
    ) -> Result<Collected, CollectError> {
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), &trial.namespace().unwrap_or_default());
        let params = LogParams { container: Some(container.to_owned()), ..LogParams::default() };
        let log = match pods.log_stream(&pod.name_any(), &params).await {
            Ok(log) => log,
            // No such container yet, or its log is gone with its node.
            Err(kube::Error::Api(status)) if matches!(status.code, 400 | 404) => {
                return Ok(Collected::Nothing(format!(
                    "Pod {} has no log: {}",
                    pod.name_any(),
                    status.message
                )));
            }
            Err(source) => return Err(CollectError::Api { trial: trial.name_any(), source }),
        };
        futures::pin_mut!(log);
        let mut series = Series::default();
        let mut lines = Lines::default();
        let mut chunk = vec![0; 16 * 1024];
        loop {
            let read = log
                .read(&mut chunk)
                .await
                .map_err(|source| CollectError::Log { trial: trial.name_any(), source })?;
            if read == 0 {
                break;
            }
            lines.feed(&chunk[..read], |line| parser.line(line, &mut series));
        }
        lines.end(|line| parser.line(line, &mut series));
        Ok(Collected::Series(series))
    }
}

/// The Pod whose output counts: with the labels asked for, one that succeeded before one that did not, and the newest.
fn choose(pods: Vec<Pod>, labels: &BTreeMap<String, String>) -> Option<Pod> {
    let carries = |pod: &Pod| labels.iter().all(|(label, value)| pod.labels().get(label) == Some(value));
    pods.into_iter().filter(carries).max_by_key(|pod| {
        let succeeded = pod.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Succeeded");
        (succeeded, pod.creation_timestamp().map(|time| time.0), pod.name_any())
    })
}

fn primary_container(pod: &Pod, wanted: Option<&str>) -> Option<String> {
    let containers = &pod.spec.as_ref()?.containers;
    match wanted {
        Some(wanted) => containers.iter().find(|container| container.name == wanted),
        None => containers.first(),
    }
    .map(|container| container.name.clone())
}

fn read_message(pod: &Pod, container: &str, parser: &LineParser) -> Collected {
    let statuses = pod.status.as_ref().and_then(|status| status.container_statuses.as_ref());
    let status = statuses.into_iter().flatten().find(|status| status.name == container);
    let ended = status.and_then(|status| status.state.as_ref()).and_then(|state| state.terminated.as_ref());
    match ended.and_then(|ended| ended.message.as_deref()) {
        Some(message) => {
            let mut series = Series::default();
            parser.text(message, &mut series);
            Collected::Series(series)
        }
        None => Collected::Nothing(format!("container {container} of Pod {} left no file", pod.name_any())),
    }
}

/// Puts lines together from chunks, in memory bounded by the longest line.
#[derive(Default)]
struct Lines {
    partial: Vec<u8>,
    too_long: bool,
}

impl Lines {
    fn feed(&mut self, chunk: &[u8], mut line: impl FnMut(&str)) {
        let mut parts = chunk.split(|byte| *byte == b'\n').peekable();
        while let Some(part) = parts.next() {
            if self.partial.len() + part.len() > LONGEST_LINE {
                self.too_long = true;
                self.partial.clear();
            }
            if !self.too_long {
                self.partial.extend_from_slice(part);
            }
            if parts.peek().is_some() {
                self.end(&mut line);
            }
        }
    }

    fn end(&mut self, mut line: impl FnMut(&str)) {
        if !std::mem::take(&mut self.too_long) && !self.partial.is_empty() {
            line(String::from_utf8_lossy(&self.partial).trim_end_matches('\r'));
        }
        self.partial.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::{LONGEST_LINE, Lines};
    use proptest::prelude::*;

    fn gather(chunks: &[&[u8]]) -> Vec<String> {
        let (mut lines, mut found) = (Lines::default(), Vec::new());
        for chunk in chunks {
            lines.feed(chunk, |line| found.push(line.to_owned()));
        }
        lines.end(|line| found.push(line.to_owned()));
        found
    }

    #[test]
    fn a_line_beyond_the_limit_costs_itself_and_no_more() {
        let long = vec![b'x'; LONGEST_LINE + 1];
        assert_eq!(gather(&[b"a\n", &long, &long, b"tail\nb"]), ["a", "b"]);
    }

    proptest! {
        #[test]
        fn lines_are_the_same_however_they_are_cut(text in "([a-z=0-9]{0,20}\n){0,20}[a-z]{0,5}", cut in 1..9_usize) {
            let chunks: Vec<&[u8]> = text.as_bytes().chunks(cut).collect();
            let expected: Vec<_> = text.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect();
            prop_assert_eq!(gather(&chunks), expected);
        }
    }
}
