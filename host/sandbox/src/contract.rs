//! The contract as Rust types. The types are made from the newest version in `wit/` and used as they are by every layer:
//! the kernel builds a [`Search`] and the sandbox lowers that same value into the plugin's memory.
//!
//! What crosses between host and plugin is compared by structure, so an interface that two versions share needs one set
//! of types and one of functions: `imports` links what plugins may ask the host for, `invoke` calls what plugins export, in
//! whichever version they do. `serving` has what came with version 0.3, for plugins that serve models.

mod imports;
pub(crate) mod invoke;
pub(crate) mod serving;

use std::collections::BTreeSet;

use purlin_registry::manifest::WIT_0_3;
use semver::Version;
use wasmtime::component::Linker;

use crate::call::CallState;

/// What the macro makes. Its names mirror the WIT packages; use the re-exports.
#[allow(missing_docs, unreachable_pub, clippy::all, reason = "generated code")]
pub(crate) mod bindings {
    wasmtime::component::bindgen!({
        path: "../../wit/v0.3",
        inline: "
            package purlin:host;

            world host {
                import purlin:plugin/log@0.3.0;
                import purlin:plugin/tuners@0.3.0;
                import purlin:plugin/http@0.3.0;
                import purlin:plugin/secrets@0.3.0;
                import purlin:plugin/kv@0.3.0;
                import purlin:plugin/blobs@0.3.0;
                import purlin:plugin/events@0.3.0;
                export purlin:plugin/controller@0.3.0;
                export purlin:plugin/tuner@0.3.0;
            }
        ",
        world: "purlin:host/host",
        imports: {
            "purlin:plugin/tuners@0.3.0": async,
            "purlin:plugin/http@0.3.0": async,
            "purlin:plugin/secrets@0.3.0": async,
            "purlin:plugin/kv@0.3.0": async,
            "purlin:plugin/blobs@0.3.0": async,
            "purlin:plugin/events@0.3.0": async,
        },
        exports: { default: async },
        additional_derives: [PartialEq, serde::Serialize, serde::Deserialize],
    });
}

pub use bindings::exports::purlin::plugin::controller::{
    Event, Selector, Severity, SyncRequest, SyncResponse,
};
pub use bindings::purlin::plugin::blobs::Info as BlobInfo;
pub use bindings::purlin::plugin::events::Event as CloudEvent;
pub use bindings::purlin::plugin::http::{
    Header as HttpHeader, Method as HttpMethod, Request as HttpRequest, Response as HttpResponse,
};
pub use bindings::purlin::plugin::kv::Item as KvItem;
pub use bindings::purlin::plugin::tuning::{
    Assignment, Direction, Domain, FloatRange, IntRange, Measurement, Objective, Outcome, Parameter, Scale,
    Search, Suggestion, Trial,
};
pub use bindings::purlin::plugin::types::{Context, Fault, FieldError, HostError, Retry, Setting};

pub(crate) use invoke::Exports;

/// Interfaces that only hold types.
const TYPES: &str = "types";
const TUNING: &str = "tuning";

/// Interfaces that may be imported without a grant: types, tensors and the log.
pub(crate) const FREE: &[&str] = &[TYPES, TUNING, "log", "serving", "tensors"];

/// Links interfaces of one version; a component that imports another one does not load.
pub(crate) fn link(
    linker: &mut Linker<CallState>,
    version: &Version,
    interfaces: &BTreeSet<&'static str>,
) -> wasmtime::Result<()> {
    imports::link(linker, version, interfaces)?;
    if *version >= WIT_0_3 { serving::link(linker) } else { Ok(()) }
}
