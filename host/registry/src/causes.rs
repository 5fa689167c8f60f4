//! What went wrong, down to its cause, for a person. The outermost error alone ("error sending request") tells nobody
//! anything.

use std::error::Error;

/// A text, and after it the causes of an error, in one line. A cause that the text has already is not said again.
pub fn with_causes(text: impl Into<String>, error: &dyn Error) -> String {
    let mut text = text.into();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        cause = error.source();
    }
    text
}
