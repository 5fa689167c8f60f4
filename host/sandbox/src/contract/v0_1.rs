//! What plugins of version 0.1 import. The types are those of the newest version, which this one shares.

use purlin_registry::Rights;
use wasmtime::component::{HasSelf, Linker};

use self::bindings::purlin::plugin::{log, tuners};
use super::bindings::purlin::plugin::log as newest;
use super::{Fault, FieldError, Search, Suggestion, TYPES};
use crate::call::CallState;

/// What the macro makes.
#[allow(missing_docs, unreachable_pub, clippy::all, reason = "generated code")]
mod bindings {
    wasmtime::component::bindgen!({
        path: "../../wit/v0.1",
        inline: "
            package purlin:host;

            world host {
                import purlin:plugin/log@0.1.0;
                import purlin:plugin/tuners@0.1.0;
            }
        ",
        world: "purlin:host/host",
        imports: { "purlin:plugin/tuners@0.1.0": async },
        with: {
            "purlin:plugin/types@0.1.0": crate::contract::bindings::purlin::plugin::types,
            "purlin:plugin/tuning@0.1.0": crate::contract::bindings::purlin::plugin::tuning,
        },
    });
}

/// Links what there is a right to.
pub(super) fn link(linker: &mut Linker<CallState>, rights: &Rights) -> wasmtime::Result<()> {
    for types in TYPES {
        linker.instance(&format!("purlin:plugin/{types}@0.1.0"))?;
    }
    log::add_to_linker::<_, HasSelf<CallState>>(linker, |state| state)?;
    if rights.allow_interface("tuners") {
        tuners::add_to_linker::<_, HasSelf<CallState>>(linker, |state| state)?;
    }
    Ok(())
}

impl log::Host for CallState {
    fn write(&mut self, level: log::Level, message: String) {
        let level = match level {
            log::Level::Trace => newest::Level::Trace,
            log::Level::Debug => newest::Level::Debug,
            log::Level::Info => newest::Level::Info,
            log::Level::Warn => newest::Level::Warn,
            log::Level::Error => newest::Level::Error,
        };
        newest::Host::write(self, level, message);
    }
}

impl tuners::Host for CallState {
    async fn validate(&mut self, search: Search) -> Result<Vec<FieldError>, Fault> {
        super::bindings::purlin::plugin::tuners::Host::validate(self, search).await
    }

    async fn suggest(&mut self, search: Search, count: u32) -> Result<Vec<Suggestion>, Fault> {
        super::bindings::purlin::plugin::tuners::Host::suggest(self, search, count).await
    }
}
