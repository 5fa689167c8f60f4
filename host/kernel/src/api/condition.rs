//! Status conditions: reading one, and setting one so that its transition time moves only when its status does.
//!
//! Used by every loop that writes a generic resource's status. Never reads the clock: the time is an argument.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

/// What a condition should say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change<'a> {
    /// The condition's type, such as `Ready`.
    pub kind: &'a str,
    /// `true`, `false`, or `None` for unknown.
    pub status: Option<bool>,
    /// One UpperCamelCase word.
    pub reason: &'a str,
    /// A sentence for a person.
    pub message: String,
    /// The `metadata.generation` that this was decided on.
    pub generation: Option<i64>,
}

/// The condition of a type.
pub fn find<'a>(conditions: &'a [Condition], kind: &str) -> Option<&'a Condition> {
    conditions.iter().find(|condition| condition.type_ == kind)
}

/// Whether the condition of a type is there and true.
pub fn is_true(conditions: &[Condition], kind: &str) -> bool {
    find(conditions, kind).is_some_and(|condition| condition.status == "True")
}

/// Sets a condition. `lastTransitionTime` stays where the status did not change.
pub fn set(conditions: &mut Vec<Condition>, change: Change<'_>, now: Timestamp) {
    let status = match change.status {
        Some(true) => "True",
        Some(false) => "False",
        None => "Unknown",
    };
    let fresh = Condition {
        type_: change.kind.to_owned(),
        status: status.to_owned(),
        reason: change.reason.to_owned(),
        message: change.message,
        observed_generation: change.generation,
        last_transition_time: Time(whole_seconds(now)),
    };
    match conditions.iter_mut().find(|condition| condition.type_ == change.kind) {
        Some(present) => {
            let last_transition_time = if present.status == fresh.status {
                present.last_transition_time.clone()
            } else {
                fresh.last_transition_time.clone()
            };
            *present = Condition { last_transition_time, ..fresh };
        }
        None => conditions.push(fresh),
    }
}

/// Times in the API have whole seconds; comparing a status with the stored one needs the same.
pub(crate) fn whole_seconds(now: Timestamp) -> Timestamp {
    Timestamp::from_second(now.as_second()).unwrap_or(now)
}
