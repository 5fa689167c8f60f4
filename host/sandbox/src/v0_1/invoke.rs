//! The functions that plugins of version 0.1 export, each as a value that holds its arguments. Arguments are shared
//! rather than copied, because a call may outlive the borrow that made it.

use std::sync::Arc;

use purlin_registry::{Manifest, Stage};
use wasmtime::Store;
use wasmtime::component::{Instance, InstancePre};

use super::bindings::exports::purlin::plugin::{controller, tuner};
use super::{Context, Fault, FieldError, Search, Selector, Suggestion, SyncRequest, SyncResponse};
use crate::call::{CallState, Invocation};

/// The exports of one component, looked up once.
#[derive(Clone)]
pub(crate) struct Exports {
    controller: Option<controller::GuestIndices>,
    tuner: Option<tuner::GuestIndices>,
}

impl Exports {
    /// Finds the exports of the stages that the manifest names.
    pub(crate) fn find(pre: &InstancePre<CallState>, manifest: &Manifest) -> wasmtime::Result<Exports> {
        let mut exports = Exports { controller: None, tuner: None };
        for stage in &manifest.stages {
            match stage {
                Stage::Dialect => exports.controller = Some(controller::GuestIndices::new(pre)?),
                Stage::Tuner => exports.tuner = Some(tuner::GuestIndices::new(pre)?),
            }
        }
        Ok(exports)
    }

    /// Checks the types of all of them.
    pub(crate) fn check(&self, store: &mut Store<CallState>, instance: &Instance) -> wasmtime::Result<()> {
        if let Some(controller) = &self.controller {
            controller.load(&mut *store, instance)?;
        }
        if let Some(tuner) = &self.tuner {
            tuner.load(&mut *store, instance)?;
        }
        Ok(())
    }

    fn controller(
        &self,
        store: &mut Store<CallState>,
        instance: &Instance,
    ) -> wasmtime::Result<controller::Guest> {
        match &self.controller {
            Some(controller) => controller.load(store, instance),
            None => wasmtime::bail!("the component exports no `controller`"),
        }
    }

    fn tuner(&self, store: &mut Store<CallState>, instance: &Instance) -> wasmtime::Result<tuner::Guest> {
        match &self.tuner {
            Some(tuner) => tuner.load(store, instance),
            None => wasmtime::bail!("the component exports no `tuner`"),
        }
    }
}

/// `controller.related`.
pub(crate) struct Related {
    pub(crate) context: Context,
    pub(crate) parent: String,
}

impl Invocation for Related {
    type Answer = Vec<Selector>;
    const STAGE: Stage = Stage::Dialect;

    fn function(&self) -> &'static str {
        "related"
    }

    async fn invoke(
        self,
        store: &mut Store<CallState>,
        instance: &Instance,
        exports: &Exports,
    ) -> wasmtime::Result<Result<Self::Answer, Fault>> {
        let controller = exports.controller(store, instance)?;
        controller.call_related(store, &self.context, &self.parent).await
    }
}

/// `controller.sync` or `controller.finalize`.
pub(crate) struct Sync {
    pub(crate) request: Arc<SyncRequest>,
    pub(crate) finalize: bool,
}

impl Invocation for Sync {
    type Answer = SyncResponse;
    const STAGE: Stage = Stage::Dialect;

    fn function(&self) -> &'static str {
        if self.finalize { "finalize" } else { "sync" }
    }

    async fn invoke(
        self,
        store: &mut Store<CallState>,
        instance: &Instance,
        exports: &Exports,
    ) -> wasmtime::Result<Result<Self::Answer, Fault>> {
        let controller = exports.controller(store, instance)?;
        if self.finalize {
            controller.call_finalize(store, &self.request).await
        } else {
            controller.call_sync(store, &self.request).await
        }
    }
}

/// `tuner.algorithms`.
pub(crate) struct Algorithms;

impl Invocation for Algorithms {
    type Answer = Vec<String>;
    const STAGE: Stage = Stage::Tuner;

    fn function(&self) -> &'static str {
        "algorithms"
    }

    async fn invoke(
        self,
        store: &mut Store<CallState>,
        instance: &Instance,
        exports: &Exports,
    ) -> wasmtime::Result<Result<Self::Answer, Fault>> {
        let tuner = exports.tuner(store, instance)?;
        tuner.call_algorithms(store).await.map(Ok)
    }
}

/// `tuner.validate`.
pub(crate) struct Validate {
    pub(crate) search: Arc<Search>,
}

impl Invocation for Validate {
    type Answer = Vec<FieldError>;
    const STAGE: Stage = Stage::Tuner;

    fn function(&self) -> &'static str {
        "validate"
    }

    async fn invoke(
        self,
        store: &mut Store<CallState>,
        instance: &Instance,
        exports: &Exports,
    ) -> wasmtime::Result<Result<Self::Answer, Fault>> {
        let tuner = exports.tuner(store, instance)?;
        tuner.call_validate(store, &self.search).await.map(Ok)
    }
}

/// `tuner.suggest`.
pub(crate) struct Suggest {
    pub(crate) search: Arc<Search>,
    pub(crate) count: u32,
}

impl Invocation for Suggest {
    type Answer = Vec<Suggestion>;
    const STAGE: Stage = Stage::Tuner;

    fn function(&self) -> &'static str {
        "suggest"
    }

    async fn invoke(
        self,
        store: &mut Store<CallState>,
        instance: &Instance,
        exports: &Exports,
    ) -> wasmtime::Result<Result<Self::Answer, Fault>> {
        let tuner = exports.tuner(store, instance)?;
        tuner.call_suggest(store, &self.search, self.count).await
    }
}

/// `tuner.stop`.
pub(crate) struct Stop {
    pub(crate) search: Arc<Search>,
}

impl Invocation for Stop {
    type Answer = Vec<String>;
    const STAGE: Stage = Stage::Tuner;

    fn function(&self) -> &'static str {
        "stop"
    }

    async fn invoke(
        self,
        store: &mut Store<CallState>,
        instance: &Instance,
        exports: &Exports,
    ) -> wasmtime::Result<Result<Self::Answer, Fault>> {
        let tuner = exports.tuner(store, instance)?;
        tuner.call_stop(store, &self.search).await
    }
}
