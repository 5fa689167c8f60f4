//! How trials stand, and what follows for the experiment: counts, the objective's values, the best trial.
//!
//! Pure functions over observed trials; the loop and the search both read from here.

use std::sync::Arc;

use kube::ResourceExt;

use crate::api::{
    Direction, Experiment, MetricValue, Objective, ObservedMetric, OptimalTrial, Trial, TrialCounts, is_true,
};

/// How one trial stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Created, and its object is not known to run.
    Pending,
    /// Its object is there and has not ended.
    Running,
    /// Ended and measured.
    Succeeded,
    /// Ended badly.
    Failed,
    /// Ended because it was told to.
    EarlyStopped,
    /// Ended well, without the objective's metric.
    MetricsUnavailable,
}

impl Phase {
    /// How a trial stands.
    pub(super) fn of(trial: &Trial) -> Phase {
        let Some(status) = &trial.status else { return Phase::Pending };
        let ended = [
            ("Failed", Phase::Failed),
            ("MetricsUnavailable", Phase::MetricsUnavailable),
            ("EarlyStopped", Phase::EarlyStopped),
            ("Succeeded", Phase::Succeeded),
            ("Running", Phase::Running),
        ];
        let reached = ended.iter().find(|(condition, _)| is_true(&status.conditions, condition));
        reached.map_or(Phase::Pending, |(_, phase)| *phase)
    }

    /// Whether it takes up a place.
    pub(super) fn is_active(self) -> bool {
        matches!(self, Phase::Pending | Phase::Running)
    }
}

/// How many trials are in which state.
pub(super) fn count(trials: &[Arc<Trial>]) -> TrialCounts {
    let mut counts = TrialCounts::default();
    for trial in trials {
        counts.total += 1;
        match Phase::of(trial) {
            Phase::Pending => counts.pending += 1,
            Phase::Running => counts.running += 1,
            Phase::Succeeded => counts.succeeded += 1,
            Phase::Failed => counts.failed += 1,
            Phase::EarlyStopped => counts.early_stopped += 1,
            Phase::MetricsUnavailable => counts.metrics_unavailable += 1,
        }
    }
    counts
}

/// The reading that counts, by the objective's strategies.
pub(super) fn objective_value(objective: &Objective, metrics: &[ObservedMetric]) -> Option<f64> {
    let metric = metrics.iter().find(|metric| metric.name == objective.metric)?;
    let stated = objective.strategies.iter().find(|strategy| strategy.metric == objective.metric);
    let text = match (stated.map(|strategy| strategy.value), objective.direction) {
        (Some(MetricValue::Latest), _) => &metric.latest,
        (Some(MetricValue::Min), _) | (None, Direction::Minimize) => &metric.min,
        (Some(MetricValue::Max), _) | (None, Direction::Maximize) => &metric.max,
    };
    text.parse().ok().filter(|value: &f64| value.is_finite())
}

/// The best trial that ended with a measurement, and its value. Of equals the first.
pub(super) fn optimal(experiment: &Experiment, trials: &[Arc<Trial>]) -> Option<(OptimalTrial, f64)> {
    let objective = &experiment.spec.objective;
    let better = |value: f64, than: f64| match objective.direction {
        Direction::Minimize => value < than,
        Direction::Maximize => value > than,
    };
    let measured = trials.iter().filter_map(|trial| {
        matches!(Phase::of(trial), Phase::Succeeded | Phase::EarlyStopped)
            .then(|| objective_value(objective, &trial.status.as_ref()?.metrics))
            .flatten()
            .map(|value| (trial, value))
    });
    let best = measured.reduce(|best, next| if better(next.1, best.1) { next } else { best });
    best.map(|(trial, value)| {
        let metrics = trial.status.as_ref().map(|status| status.metrics.clone()).unwrap_or_default();
        let assignments = trial.spec.assignments.clone();
        (OptimalTrial { trial: trial.name_any(), assignments, metrics }, value)
    })
}

/// Whether a value is as good as the goal.
pub(super) fn reaches_goal(objective: &Objective, value: f64) -> bool {
    objective.goal.is_some_and(|goal| match objective.direction {
        Direction::Minimize => value <= goal,
        Direction::Maximize => value >= goal,
    })
}
