//! A trial's metrics: read out of text, kept in bounded memory, and fetched or received.
//!
//! `text` and `json` read one line at a time; `series` keeps what they find; `collect` gets the lines from Pods and
//! `push` from HTTP requests. A program may print anything: no line makes a parser fail or grow.

mod collect;
mod json;
mod parser;
pub mod push;
mod series;
mod text;

pub use collect::{CollectError, Collected, Collector};
pub use parser::{FilterError, LineParser};
pub use series::{READINGS_KEPT, Series};
