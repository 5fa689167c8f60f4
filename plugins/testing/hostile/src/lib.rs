//! A dialect that does what a bad plugin might: one component, one kind of misbehaviour for each value of `spec.mode` of
//! the object it is called for (or of `mode` in `Plugin.spec.config`, which wins). Every mode costs the host one call and
//! nothing else; the tests of the sandbox and of the whole hold it to that. See [`modes`] for the list.
//!
//! `spec.during` says in which call it misbehaves: `sync` (the default), `related` or `finalize`. In the others, and in
//! the mode `none`, it answers with nothing.
//!
//! It exports the generated interface itself and not through the SDK's trait, which could not say most of this.

pub mod modes;

use purlin_sdk::bindings::dialect::exports::purlin::plugin::controller::{
    Guest, Selector, SyncRequest, SyncResponse,
};
use purlin_sdk::serde_json::{self, Value};
use purlin_sdk::{Context, Fault, Object as _};

/// The plugin.
pub struct Hostile;

impl Guest for Hostile {
    fn related(context: Context, parent: String) -> Result<Vec<Selector>, Fault> {
        answer("related", &context, &parent).map(|_| Vec::new())
    }

    fn sync(request: SyncRequest) -> Result<SyncResponse, Fault> {
        answer("sync", &request.context, &request.parent)
    }

    fn finalize(request: SyncRequest) -> Result<SyncResponse, Fault> {
        answer("finalize", &request.context, &request.parent)
    }
}

impl purlin_sdk::bindings::base::exports::purlin::plugin::lifecycle::Guest for Hostile {
    fn check(context: Context) -> Result<(), Fault> {
        let config: Value = serde_json::from_str(&context.config).unwrap_or_default();
        if config.text(&["during"]) == "check" {
            modes::run(config.text(&["mode"]), "").map(drop)
        } else {
            Ok(())
        }
    }
}

fn answer(call: &str, context: &Context, parent: &str) -> Result<SyncResponse, Fault> {
    let parent: Value = serde_json::from_str(parent).unwrap_or_default();
    let during = match parent.text(&["spec", "during"]) {
        "" => "sync",
        during => during,
    };
    if call != during {
        return Ok(modes::nothing());
    }
    let config: Value = serde_json::from_str(&context.config).unwrap_or_default();
    let mode = match config.text(&["mode"]) {
        "" => parent.text(&["spec", "mode"]),
        mode => mode,
    };
    modes::run(mode, parent.name())
}

#[cfg(target_arch = "wasm32")]
purlin_sdk::bindings::base::__export_base_world!(Hostile with_types_in purlin_sdk::bindings::base);
#[cfg(target_arch = "wasm32")]
purlin_sdk::bindings::dialect::__export_dialect_world!(Hostile with_types_in purlin_sdk::bindings::dialect);
