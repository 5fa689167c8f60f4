//! Katib's kinds (`kubeflow.org/v1beta1`), translated.
//!
//! An `Experiment` becomes one generic `purlin.dev/v1alpha1` Experiment of the same name, which the kernel runs. What the
//! kernel reports comes back in Katib's own words: the status of the Experiment, one Katib `Trial` for each generic Trial,
//! and one `Suggestion` with every point. Those two are for people and clients to read. They are children of the
//! Experiment and decide nothing; `sync` of one of them changes nothing.
//!
//! | Module | Job |
//! |---|---|
//! | [`defaults`] | what Katib fills in |
//! | [`validate`] | what Katib's webhook refuses, and what is not supported here |
//! | [`gjson`] | success and failure conditions, to CEL |
//! | [`template`] | where a trial's object comes from |
//! | [`translate`] | Katib's spec to the generic one |
//! | [`trials`], [`suggestion`], [`status`] | what came of it, back |
//! | [`conditions`] | how Katib keeps conditions |
//! | [`events`] | what became true, for the user |

mod conditions;
pub mod defaults;
mod events;
pub mod gjson;
mod status;
mod suggestion;
pub mod template;
mod translate;
mod trials;
pub mod validate;

use purlin_sdk::serde_json::Value;
use purlin_sdk::{Context, Dialect, Fault, Object as _, Selector, SyncRequest, SyncResponse, fault};

/// The group and version of Katib's kinds.
pub const KATIB: &str = "kubeflow.org/v1beta1";
/// The group and version of the generic kinds.
pub const GENERIC: &str = "purlin.dev/v1alpha1";
/// The label by which Katib's clients find an Experiment's Trials.
const EXPERIMENT_LABEL: &str = "katib.kubeflow.org/experiment";

/// The trial that a Pod belongs to.
const TRIAL_LABEL: &str = "katib.kubeflow.org/trial";
/// The label by which the kernel marks an Experiment's Trials.
const GENERIC_EXPERIMENT_LABEL: &str = "purlin.dev/experiment";

/// The plugin.
pub struct Katib;

impl Dialect for Katib {
    fn related(_context: &Context, parent: &Value) -> Result<Vec<Selector>, Fault> {
        if !parent.is(KATIB, "Experiment") {
            return Ok(Vec::new());
        }
        let mut selectors = vec![Selector {
            api_version: GENERIC.to_owned(),
            kind: "Trial".to_owned(),
            namespace: None,
            names: Vec::new(),
            labels: format!("{GENERIC_EXPERIMENT_LABEL}={}", parent.name()),
        }];
        selectors.extend(template::config_map(parent));
        Ok(selectors)
    }

    fn sync(request: &SyncRequest) -> Result<SyncResponse, Fault> {
        if !request.parent.is(KATIB, "Experiment") {
            return Ok(SyncResponse::default());
        }
        let experiment = defaults::applied(&request.parent);
        fault::check(validate::spec(&experiment))?;
        let object = template::object(&experiment, &request.related)?;
        fault::check(validate::template(&experiment, &object))?;
        let generic = translate::experiment(&experiment, object)?;

        let name = experiment.name();
        let observed = request.child(GENERIC, "Experiment", name);
        let trials = trials::observed(&request.related, name);
        let status = status::of(&experiment, observed, &trials, request.context.now_ms);
        let mut children = vec![generic];
        children.push(suggestion::of(&experiment, request, &trials, &status));
        children.extend(trials.iter().map(|trial| trials::of(&experiment, request, trial)));
        let events = events::of(&request.parent, &status);
        Ok(SyncResponse { children, status: Some(status), events, ..SyncResponse::default() })
    }
}

purlin_sdk::export_dialect!(Katib);
