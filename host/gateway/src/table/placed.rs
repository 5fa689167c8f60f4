//! What decides which of several gateways answers for a route.

use std::sync::Arc;

use crate::models::ModelKey;
use crate::served::Served;

/// The models of a route that are in the memory of one gateway.
#[derive(Debug)]
pub(crate) struct Placed {
    /// What says whose they are.
    pub(crate) group: Box<str>,
    /// Those that may answer.
    pub(crate) models: Box<[ModelKey]>,
}

impl Placed {
    /// Of the models that may answer; none where servers elsewhere are among them, which every gateway reaches alike. Where
    /// they are of several groups, the first of these decides: one gateway has them all.
    pub(super) fn of(members: &[Arc<Served>]) -> Option<Placed> {
        if members.iter().any(|model| model.config.container) {
            return None;
        }
        let group = |model: &Arc<Served>| model.config.group.clone().unwrap_or_else(|| model.key.to_string());
        let group = members.iter().map(group).min()?.into_boxed_str();
        Some(Placed { group, models: members.iter().map(|model| model.key.clone()).collect() })
    }
}
