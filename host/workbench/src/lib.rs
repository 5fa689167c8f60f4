//! The tools of plugin authors: a project from a template ([`project`]), a component from a project in whichever of the
//! four languages ([`build`]), calls with expected answers in the real sandbox ([`case`], [`check`]), and the files whose
//! change asks for all that again ([`watch`]).
//!
//! Called by `purlin plugin new|build|test|dev`. It knows compilers and package installers by name, and nothing of
//! Kubernetes; it never reaches a cluster or a plugin registry.
#![forbid(unsafe_code)]

pub mod build;
pub mod case;
pub mod check;
mod language;
pub mod project;
mod toolchain;
pub mod watch;

pub use language::{Language, UnknownProject};
