//! Revisions of a predictor, and who of them gets which share of the requests.
//!
//! Each change of the predictor makes a Model with the next number. What a revision was made from is in its annotation, so
//! that a later sync knows whether the current spec has its revision already; that of the latest is in the status too, for
//! the moment in which the status is written and the Model not yet seen. Requests move to a revision once it is ready and
//! not before: until then they stay where they are.

use std::collections::BTreeSet;

use purlin_sdk::Object as _;
use purlin_sdk::serde_json::{Value, json};
use purlin_serving::names::hash;
use purlin_serving::progress::is_ready;

use crate::names::{self, COMPONENT_LABEL, GENERIC, HASH, MIN_REPLICAS, SERVICE_LABEL};

/// One share of the requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Share {
    pub(crate) revision: String,
    pub(crate) percent: i64,
    /// Whether it goes to whichever revision is the latest that is ready.
    pub(crate) latest: bool,
    pub(crate) tag: Option<&'static str>,
}

/// What there should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Plan {
    /// The revision of the current spec.
    pub(crate) created: String,
    /// What the current spec comes to.
    pub(crate) hash: String,
    /// The latest revision that is ready.
    pub(crate) ready: Option<String>,
    /// The revision that had all requests last.
    pub(crate) rolled_out: Option<String>,
    /// The one that had them before.
    pub(crate) previous: Option<String>,
    /// Empty until one is ready.
    pub(crate) shares: Vec<Share>,
}

/// What decides about the shares.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rules {
    /// `canaryTrafficPercent`.
    pub(crate) canary: Option<i64>,
    /// Whether the latest revision has a name of its own in front of the host.
    pub(crate) tags: bool,
}

/// The number at the end of a revision's name.
fn number(stem: &str, name: &str) -> Option<u32> {
    let digits = name.strip_prefix(stem)?.strip_prefix('-')?;
    (digits.len() >= 5 && digits.bytes().all(|byte| byte.is_ascii_digit())).then(|| digits.parse().ok())?
}

/// The observed revisions, with the greatest number last.
fn observed<'a>(children: &'a [Value], stem: &str) -> Vec<(u32, &'a Value)> {
    let revision = |child: &'a Value| {
        child.is(GENERIC, "Model").then(|| Some((number(stem, child.name())?, child))).flatten()
    };
    let mut revisions: Vec<_> = children.iter().filter_map(revision).collect();
    revisions.sort_by_key(|(number, _)| *number);
    revisions
}

/// Decides from the spec of the current revision, the status so far and the Models that were observed.
pub(crate) fn plan(service: &Value, stem: &str, spec: &Value, children: &[Value], rules: Rules) -> Plan {
    let models = observed(children, stem);
    let said = |field: &str| service.text(&["status", "components", "predictor", field]).to_owned();
    let exists = |name: &str| models.iter().any(|(_, model)| model.name() == name);
    let hash = format!("{:016x}", hash(spec));
    let created = created(service, stem, &hash, &models, &said("latestCreatedRevision"));

    // One that was ready stays it, although it may not answer for a moment: nothing older is better.
    let was_ready = said("latestReadyRevision");
    let ready = models
        .iter()
        .rev()
        .find(|(_, model)| is_ready(model) || model.name() == was_ready)
        .map(|(_, model)| model.name().to_owned());

    let kept = |name: String| Some(name).filter(|name| exists(name));
    let mut plan = Plan {
        rolled_out: kept(said("latestRolledoutRevision")),
        previous: kept(said("previousRolledoutRevision")),
        created,
        hash,
        ready,
        shares: Vec::new(),
    };
    let current = shares(service);
    let Some(ready) = plan.ready.clone() else { return plan };
    let goes_on =
        ready != plan.created && !current.is_empty() && current.iter().all(|share| exists(&share.revision));
    plan.shares = if goes_on { current } else { divide(&mut plan, &ready, &current, rules) };
    record(&mut plan, &ready);
    plan
}

/// The name of the current spec's revision.
fn created(service: &Value, stem: &str, hash: &str, models: &[(u32, &Value)], said: &str) -> String {
    let last_seen =
        models.last().map(|(number, model)| (*number, model.annotation(HASH).unwrap_or_default()));
    let last_said = number(stem, said).map(|number| (number, service.text(&["status", "annotations", HASH])));
    // Where both tell of the same one, what was seen counts.
    let last = match (last_seen, last_said) {
        (Some(seen), Some(said)) => Some(if said.0 > seen.0 { said } else { seen }),
        (seen, said) => seen.or(said),
    };
    match last {
        Some((number, of)) if of == hash => format!("{stem}-{number:05}"),
        Some((number, _)) => format!("{stem}-{:05}", number.saturating_add(1)),
        None => format!("{stem}-00001"),
    }
}

/// The shares that the status tells of.
fn shares(service: &Value) -> Vec<Share> {
    let shares = service.items(&["status", "components", "predictor", "traffic"]).iter();
    shares
        .map(|share| Share {
            revision: share.text(&["revisionName"]).to_owned(),
            percent: share.int(&["percent"]).unwrap_or_default().clamp(0, 100),
            latest: share.at(&["latestRevision"]).and_then(Value::as_bool).unwrap_or_default(),
            tag: match share.text(&["tag"]) {
                "latest" => Some("latest"),
                "prev" => Some("prev"),
                _ => None,
            },
        })
        .collect()
}

/// Divides the requests between the latest revision and the one before it.
fn divide(plan: &mut Plan, ready: &str, current: &[Share], rules: Rules) -> Vec<Share> {
    let latest = |percent| Share {
        revision: ready.to_owned(),
        percent,
        latest: true,
        tag: rules.tags.then_some("latest"),
    };
    let Some(canary) = rules.canary.map(|percent| percent.clamp(0, 100)) else { return vec![latest(100)] };
    let base = if plan.rolled_out.as_deref() == Some(ready) {
        // It had all requests and is taken back.
        if canary < 100 { plan.previous.clone() } else { None }
    } else {
        // After one was taken back, the rest belongs to the one that has the requests now.
        let holder = current.iter().find(|share| share.percent == 100 && share.revision != ready);
        if let Some(holder) = holder.filter(|holder| plan.rolled_out.as_ref() != Some(&holder.revision)) {
            plan.rolled_out = Some(holder.revision.clone());
            plan.previous = plan.previous.take().filter(|previous| *previous != holder.revision);
        }
        plan.rolled_out.clone()
    };
    match base.filter(|base| base != ready) {
        Some(base) if canary < 100 => vec![
            latest(canary),
            Share { revision: base, percent: 100 - canary, latest: false, tag: Some("prev") },
        ],
        Some(_) => vec![latest(canary)],
        None => vec![latest(100)],
    }
}

/// A revision that has all requests is rolled out.
fn record(plan: &mut Plan, ready: &str) {
    let whole =
        plan.shares.iter().any(|share| share.latest && share.revision == ready && share.percent == 100);
    if whole && plan.rolled_out.as_deref() != Some(ready) {
        plan.previous = plan.rolled_out.replace(ready.to_owned());
    }
}

/// The Models that should exist: the current revision, and older ones as they were observed while they are needed.
pub(crate) fn models(
    plan: &Plan,
    service: &Value,
    stem: &str,
    spec: &Value,
    min: i64,
    children: &[Value],
) -> Vec<Value> {
    let labels = json!({SERVICE_LABEL: service.name(), COMPONENT_LABEL: "predictor"});
    let annotations = json!({HASH: plan.hash, MIN_REPLICAS: min.to_string()});
    let mut models = vec![names::generic("Model", &plan.created, labels, annotations, spec.clone())];
    let routed: BTreeSet<&str> = plan.shares.iter().map(|share| share.revision.as_str()).collect();
    let needed: BTreeSet<&str> = [&plan.ready, &plan.rolled_out, &plan.previous]
        .into_iter()
        .filter_map(Option::as_deref)
        .chain(routed.iter().copied())
        .collect();
    for (_, model) in observed(children, stem) {
        if model.name() == plan.created || !needed.contains(model.name()) {
            continue;
        }
        let mut kept = names::as_observed(model);
        // One that is only kept to go back to takes no memory.
        let min = if routed.contains(model.name()) {
            model.annotation(MIN_REPLICAS).and_then(|text| text.parse::<i64>().ok())
        } else {
            Some(0)
        };
        if let (Some(min), Some(Value::Object(scaling))) = (min, kept.pointer_mut("/spec/scaling")) {
            scaling.insert("minReplicas".to_owned(), min.into());
        }
        models.push(kept);
    }
    models
}

/// Who answers on a route: the shares, or the current revision alone until one is ready.
pub(crate) fn backends(plan: &Plan) -> Value {
    if plan.shares.is_empty() {
        return json!([{"model": plan.created, "weight": 100}]);
    }
    let backend = |share: &Share| {
        let mut backend = json!({"model": share.revision, "weight": share.percent});
        if let Some(tag) = share.tag {
            backend["tag"] = tag.into();
        }
        backend
    };
    plan.shares.iter().map(backend).collect()
}
