//! The Purlin binary: command line and wiring, no logic of its own.
#![forbid(unsafe_code)]
fn main() {}
