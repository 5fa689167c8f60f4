//! Version 0.1 of the contract, as Rust types. The types are made from `wit/v0.1/` and used as they are by every layer:
//! the kernel builds a [`Search`] and the sandbox lowers that same value into the plugin's memory.
//!
//! All that is specific to this version is in this module and its two children: `host` serves what plugins import,
//! `invoke` calls what they export. A later version gets a module of its own beside it.

mod host;
pub(crate) mod invoke;

/// What the macro makes. Its names mirror the WIT packages; use the re-exports.
#[allow(missing_docs, unreachable_pub, clippy::all, reason = "generated code")]
pub(crate) mod bindings {
    wasmtime::component::bindgen!({
        path: "../../wit/v0.1",
        inline: "
            package purlin:host;

            world host {
                import purlin:plugin/log@0.1.0;
                import purlin:plugin/tuners@0.1.0;
                export purlin:plugin/controller@0.1.0;
                export purlin:plugin/tuner@0.1.0;
            }
        ",
        world: "purlin:host/host",
        imports: { "purlin:plugin/tuners@0.1.0": async },
        exports: { default: async },
        additional_derives: [PartialEq, serde::Serialize, serde::Deserialize],
    });
}

pub use bindings::exports::purlin::plugin::controller::{
    Event, Selector, Severity, SyncRequest, SyncResponse,
};
pub use bindings::purlin::plugin::tuning::{
    Assignment, Direction, Domain, FloatRange, IntRange, Measurement, Objective, Outcome, Parameter, Scale,
    Search, Suggestion, Trial,
};
pub use bindings::purlin::plugin::types::{Context, Fault, FieldError, Retry, Setting};

pub(crate) use host::link;
pub(crate) use invoke::Exports;

/// The version, as manifests name it.
pub const VERSION: &str = "0.1.0";

/// Interfaces that only hold types; importing one asks for nothing.
pub(crate) const TYPES: &[&str] = &["types", "tuning"];

/// The interface that all are granted.
pub(crate) const LOG: &str = "log";
