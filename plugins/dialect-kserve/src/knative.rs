//! Conditions as Knative keeps them, which KServe's kinds have taken over.
//!
//! One condition (`Ready`) sums up a few others, its dependents. The rest inform, and say so: their severity is `Info`.
//! The list is in the order of the types. `lastTransitionTime` moves with every change of a condition, of its words too.

use purlin_sdk::serde_json::{Map, Value};
use purlin_sdk::{Object as _, time};

/// The condition that sums up the others.
pub(crate) const READY: &str = "Ready";

/// What a condition says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct State {
    /// `True`, `False` or `Unknown`.
    pub(crate) status: &'static str,
    /// Empty where there is nothing to explain.
    pub(crate) reason: String,
    /// For a person.
    pub(crate) message: String,
}

impl State {
    /// All is well, which needs no reason.
    pub(crate) fn holds() -> Self {
        State { status: "True", reason: String::new(), message: String::new() }
    }

    /// Somebody has to act.
    pub(crate) fn fails(reason: impl Into<String>, message: impl Into<String>) -> Self {
        State { status: "False", reason: reason.into(), message: message.into() }
    }

    /// It is on its way.
    pub(crate) fn pending(reason: impl Into<String>, message: impl Into<String>) -> Self {
        State { status: "Unknown", reason: reason.into(), message: message.into() }
    }

    pub(crate) fn is_true(&self) -> bool {
        self.status == "True"
    }

    pub(crate) fn is_false(&self) -> bool {
        self.status == "False"
    }

    /// The same status for another condition, with another reason, and without one where it holds.
    pub(crate) fn because(&self, reason: &str) -> Self {
        match self.status {
            "True" => State::holds(),
            status => State { status, reason: reason.to_owned(), message: String::new() },
        }
    }

    /// Whether a condition of an object fails in a way that nobody was told yet: for another reason than before, or with a
    /// spec that was not seen yet. The words of one reason may change by themselves.
    pub(crate) fn is_new_failure(&self, object: &Value, kind: &str) -> bool {
        let seen = object.int(&["status", "observedGeneration"]);
        let fresh = seen.is_none() || seen != object.int(&["metadata", "generation"]);
        let before = State::observed(Some(object), kind);
        self.is_false() && (fresh || !before.is_false() || before.reason != self.reason)
    }

    /// What `status.conditions` of a generic object says of one type. Unknown, until it says anything.
    pub(crate) fn observed(object: Option<&Value>, kind: &str) -> Self {
        let Some(condition) = object.and_then(|object| object.condition(kind)) else {
            return State::pending("", "");
        };
        let (reason, message) = (condition.text(&["reason"]), condition.text(&["message"]));
        match condition.text(&["status"]) {
            "True" => State::holds(),
            "False" => State::fails(reason, message),
            _ => State::pending(reason, message),
        }
    }
}

/// The worst of several: one that fails before one that is pending; all hold where none is either.
pub(crate) fn worst<'a>(states: impl IntoIterator<Item = &'a State>) -> State {
    let mut pending = None;
    for state in states {
        match state.status {
            "False" => return state.clone(),
            "True" => {}
            _ => pending = pending.or(Some(state)),
        }
    }
    pending.cloned().unwrap_or_else(State::holds)
}

/// A list of conditions in the making.
pub(crate) struct Living<'a> {
    previous: &'a Value,
    dependents: &'static [&'static str],
    states: Vec<(&'static str, State)>,
    now: String,
}

impl<'a> Living<'a> {
    /// Conditions of `object`, of which `Ready` sums up the `dependents`.
    pub(crate) fn of(object: &'a Value, dependents: &'static [&'static str], now_ms: u64) -> Self {
        Living { previous: object, dependents, states: Vec::new(), now: time::rfc3339(now_ms) }
    }

    /// Sets one. It must not be `Ready`.
    pub(crate) fn set(&mut self, kind: &'static str, state: State) {
        self.states.retain(|(other, _)| *other != kind);
        self.states.push((kind, state));
    }

    /// What `Ready` says: a dependent that was not set is unknown.
    pub(crate) fn ready(&self) -> State {
        let state = |kind: &&str| {
            let found = self.states.iter().find(|(other, _)| other == kind);
            found.map_or_else(|| State::pending("", ""), |(_, state)| state.clone())
        };
        worst(&self.dependents.iter().map(state).collect::<Vec<_>>())
    }

    /// The list, for `status.conditions`.
    pub(crate) fn into_value(mut self) -> Value {
        let ready = self.ready();
        self.states.push((READY, ready));
        self.states.sort_by_key(|(kind, _)| *kind);
        self.states.iter().map(|(kind, state)| self.entry(kind, state)).collect()
    }

    fn entry(&self, kind: &str, state: &State) -> Value {
        let mut entry = Map::new();
        let mut set = |field: &str, text: &str| {
            if !text.is_empty() {
                entry.insert(field.to_owned(), text.into());
            }
        };
        set("type", kind);
        set("status", state.status);
        set("reason", &state.reason);
        set("message", &state.message);
        if kind != READY && !self.dependents.contains(&kind) {
            set("severity", "Info");
        }
        let before = self.previous.condition(kind).and_then(Value::as_object);
        let same = before.is_some_and(|before| {
            before.iter().filter(|(field, _)| *field != "lastTransitionTime").eq(entry.iter())
        });
        let since = before.and_then(|before| before.get("lastTransitionTime")).filter(|_| same).cloned();
        entry.insert("lastTransitionTime".to_owned(), since.unwrap_or_else(|| self.now.as_str().into()));
        entry.into()
    }
}

#[cfg(test)]
mod tests {
    use purlin_sdk::serde_json::json;

    use super::*;

    const DEPENDENTS: &[&str] = &["B", "C"];

    fn list(object: &Value, minute: u64, b: State, c: State) -> Value {
        let mut living = Living::of(object, DEPENDENTS, minute * 60_000);
        living.set("C", c);
        living.set("B", b);
        living.set("A", State::fails("No", ""));
        json!({"status": {"conditions": living.into_value()}})
    }

    #[test]
    fn ready_sums_up_its_dependents_and_nothing_else() {
        let ready = |b: State, c: State| {
            let object = list(&json!({}), 0, b, c);
            object.condition(READY).map(|entry| entry.text(&["status"]).to_owned())
        };
        let waiting = || State::pending("Waiting", "");
        assert_eq!(ready(State::holds(), State::holds()).as_deref(), Some("True"));
        assert_eq!(ready(State::holds(), waiting()).as_deref(), Some("Unknown"));
        assert_eq!(ready(waiting(), State::fails("Broken", "b")).as_deref(), Some("False"));
    }

    #[test]
    fn entries_are_in_order_and_those_that_inform_say_so() {
        let object = list(&json!({}), 0, State::holds(), State::holds());
        let entries = object.items(&["status", "conditions"]);
        let types: Vec<_> = entries.iter().map(|entry| entry.text(&["type"])).collect();
        assert_eq!(types, ["A", "B", "C", "Ready"]);
        assert_eq!(entries[0]["severity"], "Info");
        assert_eq!(entries[1].get("severity"), None);
        assert_eq!(entries[3].get("severity"), None);
        assert_eq!(entries[3].get("reason"), None);
    }

    #[test]
    fn a_time_moves_with_any_change_and_never_alone() {
        let waiting = |reason| State::pending(reason, "");
        let first = list(&json!({}), 1, waiting("X"), State::holds());
        let same = list(&first, 2, waiting("X"), State::holds());
        assert_eq!(first, same);
        let reworded = list(&first, 3, waiting("Y"), State::holds());
        let since = |kind: &str| reworded.condition(kind).map(|entry| entry.text(&["lastTransitionTime"]));
        assert_eq!(since("B"), Some("1970-01-01T00:03:00Z"));
        assert_eq!(since("C"), Some("1970-01-01T00:01:00Z"));
    }
}
