//! What plugins of version 0.1 import. Each interface is a capability; only those that were granted are linked, so a
//! component that imports another one does not load.

use std::time::Instant;

use purlin_registry::Capability;
use wasmtime::component::{HasSelf, Linker};

use super::bindings::purlin::plugin::{log, tuners, tuning, types};
use super::invoke::{Suggest, Validate};
use super::{Fault, FieldError, Retry, Search, Suggestion};
use crate::call::{self, CallState, Invocation, Origin};
use crate::capability::{Admission, MAX_DEPTH, printable};
use crate::error::CallError;

/// Links what was granted.
pub(crate) fn link(linker: &mut Linker<CallState>, grants: &[Capability]) -> wasmtime::Result<()> {
    types::add_to_linker::<_, HasSelf<CallState>>(linker, |state| state)?;
    tuning::add_to_linker::<_, HasSelf<CallState>>(linker, |state| state)?;
    log::add_to_linker::<_, HasSelf<CallState>>(linker, |state| state)?;
    for grant in grants {
        match grant {
            Capability::CallTuner => tuners::add_to_linker::<_, HasSelf<CallState>>(linker, |state| state)?,
        }
    }
    Ok(())
}

impl types::Host for CallState {}

impl tuning::Host for CallState {}

impl log::Host for CallState {
    fn write(&mut self, level: log::Level, message: String) {
        let Admission::Write { dropped } = self.plugin.log.admit(Instant::now()) else { return };
        let plugin = self.plugin.name.as_str();
        let object = self.origin.subject.as_str();
        if dropped > 0 {
            tracing::warn!(target: "purlin_plugin", plugin, dropped, "the plugin writes too much; lines were dropped");
        }
        let line = printable(&message);
        match level {
            log::Level::Trace => tracing::trace!(target: "purlin_plugin", plugin, object, "{line}"),
            log::Level::Debug => tracing::debug!(target: "purlin_plugin", plugin, object, "{line}"),
            log::Level::Info => tracing::info!(target: "purlin_plugin", plugin, object, "{line}"),
            log::Level::Warn => tracing::warn!(target: "purlin_plugin", plugin, object, "{line}"),
            log::Level::Error => tracing::error!(target: "purlin_plugin", plugin, object, "{line}"),
        }
    }
}

impl tuners::Host for CallState {
    async fn validate(&mut self, search: Search) -> Result<Vec<FieldError>, Fault> {
        self.ask_tuner(search, |search| Validate { search: search.into() }).await
    }

    async fn suggest(&mut self, search: Search, count: u32) -> Result<Vec<Suggestion>, Fault> {
        self.ask_tuner(search, |search| Suggest { search: search.into(), count }).await
    }
}

impl CallState {
    async fn ask_tuner<I: Invocation>(
        &self,
        mut search: Search,
        invocation: impl FnOnce(Search) -> I,
    ) -> Result<I::Answer, Fault> {
        let depth = self.origin.depth + 1;
        if depth > MAX_DEPTH {
            return Err(Fault::Failed(format!("calls between plugins nest at most {MAX_DEPTH} deep")));
        }
        let Some(tuner) = self.plugin.host.resolver.tuner(&search.algorithm) else {
            let reason = format!("no installed plugin serves the algorithm {:?}", search.algorithm);
            return Err(Fault::Failed(reason));
        };
        // The caller's configuration is none of the other plugin's business.
        search.context.config = tuner.core().config.clone();
        let origin = Origin { subject: self.origin.subject.clone(), depth, deadline: Some(self.deadline) };
        // Boxed, because a call that calls a plugin would otherwise contain itself.
        let answer = Box::pin(call::run(tuner.core(), origin, invocation(search))).await;
        answer.map_err(|error| as_fault(error, &tuner.core().name))
    }
}

fn as_fault(error: CallError, tuner: &str) -> Fault {
    match error {
        CallError::Fault(fault) => fault,
        CallError::Busy(_) => Fault::Retry(Retry { after_ms: 1000, reason: format!("{tuner}: {error}") }),
        other => Fault::Failed(format!("{tuner}: {other}")),
    }
}
