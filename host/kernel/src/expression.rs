//! Conditions in CEL over an object, such as a trial's success condition.
//!
//! Compiled once a text and kept in a bounded table, because thousands of trials share a few texts. A condition that
//! reads a field which is not there yet is false, not an error: a fresh object has no status.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use cel::{Context, ExecutionError, Program, Value};

/// Texts that are kept compiled.
const KEPT: usize = 1024;

/// Why a condition has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ConditionError {
    /// It does not parse.
    #[error("`{text}` is no CEL expression: {why}")]
    Syntax {
        /// The condition.
        text: String,
        /// What the parser said.
        why: String,
    },
    /// It cannot be evaluated on this object.
    #[error("`{text}` could not be evaluated: {why}")]
    Evaluation {
        /// The condition.
        text: String,
        /// What went wrong.
        why: String,
    },
}

/// Compiled conditions.
#[derive(Default)]
pub(crate) struct Conditions {
    compiled: Mutex<HashMap<String, Arc<Program>>>,
}

impl Conditions {
    /// Whether a condition holds of an object.
    ///
    /// # Errors
    /// The text is no expression, or does not answer with true or false.
    pub(crate) fn holds(&self, text: &str, object: &serde_json::Value) -> Result<bool, ConditionError> {
        let program = self.compile(text)?;
        let failed = |why: String| ConditionError::Evaluation { text: text.to_owned(), why };
        let mut context = Context::default();
        context.add_variable("object", object.clone()).map_err(|error| failed(error.to_string()))?;
        match program.execute(&context) {
            Ok(Value::Bool(holds)) => Ok(holds),
            Ok(other) => {
                Err(failed(format!("the answer is a {:?}, and must be true or false", other.type_of())))
            }
            Err(ExecutionError::NoSuchKey(_)) => Ok(false),
            Err(error) => Err(failed(error.to_string())),
        }
    }

    /// Checks that a text is an expression.
    ///
    /// # Errors
    /// It is none.
    pub(crate) fn check(&self, text: &str) -> Result<(), ConditionError> {
        self.compile(text).map(|_| ())
    }

    fn compile(&self, text: &str) -> Result<Arc<Program>, ConditionError> {
        let mut compiled = self.compiled.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(program) = compiled.get(text) {
            return Ok(program.clone());
        }
        let program = Program::compile(text)
            .map_err(|error| ConditionError::Syntax { text: text.to_owned(), why: error.to_string() })?;
        if compiled.len() >= KEPT {
            compiled.clear();
        }
        let program = Arc::new(program);
        compiled.insert(text.to_owned(), program.clone());
        Ok(program)
    }
}

#[cfg(test)]
mod tests {
    use super::{ConditionError, Conditions};
    use proptest::prelude::*;
    use serde_json::json;

    const COMPLETE: &str =
        r#"object.status.conditions.exists(c, c.type == "Complete" && c.status == "True")"#;

    #[test]
    fn a_fresh_object_satisfies_nothing() {
        assert_eq!(Conditions::default().holds(COMPLETE, &json!({"kind": "Job"})), Ok(false));
        assert_eq!(Conditions::default().holds(COMPLETE, &json!({"status": {}})), Ok(false));
    }

    #[test]
    fn a_condition_holds_when_its_status_says_so() {
        let job = |status: &str| json!({"status": {"conditions": [{"type": "Complete", "status": status}]}});
        let conditions = Conditions::default();
        assert_eq!(conditions.holds(COMPLETE, &job("True")), Ok(true));
        assert_eq!(conditions.holds(COMPLETE, &job("False")), Ok(false));
        assert_eq!(conditions.holds("true", &json!({})), Ok(true));
    }

    #[test]
    fn numbers_compare_whatever_their_sign() {
        let pod = json!({"status": {"succeeded": 1, "ratio": 0.5}});
        assert_eq!(Conditions::default().holds("object.status.succeeded >= 1", &pod), Ok(true));
        assert_eq!(Conditions::default().holds("object.status.ratio < 1.0", &pod), Ok(true));
    }

    #[test]
    fn what_is_no_condition_is_refused() {
        let conditions = Conditions::default();
        assert!(matches!(conditions.check("object.status ==="), Err(ConditionError::Syntax { .. })));
        assert!(matches!(conditions.holds("1 + 1", &json!({})), Err(ConditionError::Evaluation { .. })));
        assert!(matches!(
            conditions.holds("nothing.here", &json!({})),
            Err(ConditionError::Evaluation { .. })
        ));
    }

    proptest! {
        #[test]
        fn any_text_is_evaluated_or_refused(text in "[a-z.()=&|!\"'0-9 \\[\\]{},?:+*-]{0,40}") {
            let _ = Conditions::default().holds(&text, &json!({"status": {}}));
        }
    }
}
