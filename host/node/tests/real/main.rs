//! The node, the scheduler and the Job controller against a real kube-apiserver, as processes of their own that are
//! killed when a test says so. Needs what `tests/real/build.sh` builds; where that cannot run, each test prints why and
//! passes.
#![allow(clippy::unwrap_used)]

mod crash;
mod harness;
mod jobs;
mod pods;
mod probes;
