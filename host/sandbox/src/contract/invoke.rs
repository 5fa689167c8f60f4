//! The functions that plugins export, each as a value that holds its arguments. Their types are the same in every version
//! of the contract, so the versions differ in the names of the interfaces alone. Arguments are shared
//! rather than copied, because a call may outlive the borrow that made it.

use std::sync::Arc;

use purlin_registry::manifest::WIT_0_1;
use purlin_registry::{Manifest, Stage};
use wasmtime::component::{
    Component, ComponentExportIndex, ComponentNamedList, Instance, InstancePre, Lift, Lower, TypedFunc,
};
use wasmtime::{Store, format_err};

use super::{Context, Fault, FieldError, Search, Selector, Suggestion, SyncRequest, SyncResponse};
use crate::call::{CallState, Invocation};

type CheckFunc<'a> = Function<(&'a Context,), (Result<(), Fault>,)>;
type RelatedFunc<'a> = Function<(&'a Context, &'a str), (Result<Vec<Selector>, Fault>,)>;
type SyncFunc<'a> = Function<(&'a SyncRequest,), (Result<SyncResponse, Fault>,)>;
type AlgorithmsFunc = Function<(), (Vec<String>,)>;
type ValidateFunc<'a> = Function<(&'a Search,), (Vec<FieldError>,)>;
type SuggestFunc<'a> = Function<(&'a Search, u32), (Result<Vec<Suggestion>, Fault>,)>;
type StopFunc<'a> = Function<(&'a Search,), (Result<Vec<String>, Fault>,)>;

/// The exports of one component, looked up once.
#[derive(Default)]
pub(crate) struct Exports {
    check: Option<ComponentExportIndex>,
    controller: Option<Controller>,
    tuner: Option<Tuner>,
    serving_runtime: Option<ServingRuntime>,
    pub(crate) preprocess: Option<ComponentExportIndex>,
    pub(crate) postprocess: Option<ComponentExportIndex>,
    pub(crate) explain: Option<ComponentExportIndex>,
    pub(crate) compare: Option<ComponentExportIndex>,
}

struct Controller {
    related: ComponentExportIndex,
    sync: ComponentExportIndex,
    finalize: ComponentExportIndex,
}

/// The functions of `serving-runtime` and its resources.
pub(crate) struct ServingRuntime {
    pub(crate) load: ComponentExportIndex,
    pub(crate) metadata: ComponentExportIndex,
    pub(crate) infer: ComponentExportIndex,
    pub(crate) generate: ComponentExportIndex,
    pub(crate) prompt_tokens: ComponentExportIndex,
    pub(crate) next: ComponentExportIndex,
}

struct Tuner {
    algorithms: ComponentExportIndex,
    validate: ComponentExportIndex,
    suggest: ComponentExportIndex,
    stop: ComponentExportIndex,
}

impl Exports {
    /// Finds the exports of the stages that the manifest names.
    pub(crate) fn find(pre: &InstancePre<CallState>, manifest: &Manifest) -> wasmtime::Result<Exports> {
        let mut exports = Exports::default();
        let name = |interface: &str| format!("purlin:plugin/{interface}@{}", manifest.wit);
        if manifest.wit > WIT_0_1 {
            let interface = Interface::find(pre.component(), name("lifecycle"))?;
            exports.check = Some(interface.function("check")?);
        }
        for stage in &manifest.stages {
            match stage {
                Stage::Dialect => {
                    let interface = Interface::find(pre.component(), name(stage.interface()))?;
                    exports.controller = Some(Controller {
                        related: interface.function("related")?,
                        sync: interface.function("sync")?,
                        finalize: interface.function("finalize")?,
                    });
                }
                Stage::Tuner => {
                    let interface = Interface::find(pre.component(), name(stage.interface()))?;
                    exports.tuner = Some(Tuner {
                        algorithms: interface.function("algorithms")?,
                        validate: interface.function("validate")?,
                        suggest: interface.function("suggest")?,
                        stop: interface.function("stop")?,
                    });
                }
                Stage::ServingRuntime => {
                    let interface = Interface::find(pre.component(), name(stage.interface()))?;
                    exports.serving_runtime = Some(ServingRuntime {
                        load: interface.function("[static]model.load")?,
                        metadata: interface.function("[method]model.metadata")?,
                        infer: interface.function("[method]model.infer")?,
                        generate: interface.function("[method]model.generate")?,
                        prompt_tokens: interface.function("[method]generation.prompt-tokens")?,
                        next: interface.function("[method]generation.next")?,
                    });
                }
                Stage::Transformer => {
                    let interface = Interface::find(pre.component(), name(stage.interface()))?;
                    exports.preprocess = Some(interface.function("preprocess")?);
                    exports.postprocess = Some(interface.function("postprocess")?);
                }
                Stage::Explainer => {
                    let interface = Interface::find(pre.component(), name(stage.interface()))?;
                    exports.explain = Some(interface.function("explain")?);
                }
                Stage::Monitor => {
                    let interface = Interface::find(pre.component(), name(stage.interface()))?;
                    exports.compare = Some(interface.function("compare")?);
                }
            }
        }
        Ok(exports)
    }

    /// Checks the types of all of them.
    pub(crate) fn check(&self, store: &mut Store<CallState>, instance: &Instance) -> wasmtime::Result<()> {
        if let Some(check) = &self.check {
            CheckFunc::of(store, instance, check)?;
        }
        if let Some(controller) = &self.controller {
            RelatedFunc::of(store, instance, &controller.related)?;
            SyncFunc::of(store, instance, &controller.sync)?;
            SyncFunc::of(store, instance, &controller.finalize)?;
        }
        if let Some(tuner) = &self.tuner {
            AlgorithmsFunc::of(store, instance, &tuner.algorithms)?;
            ValidateFunc::of(store, instance, &tuner.validate)?;
            SuggestFunc::of(store, instance, &tuner.suggest)?;
            StopFunc::of(store, instance, &tuner.stop)?;
        }
        Ok(())
    }

    /// Whether the version has `lifecycle`.
    pub(crate) fn has_lifecycle(&self) -> bool {
        self.check.is_some()
    }

    /// Of a plugin that serves models.
    pub(crate) fn serving_runtime(&self) -> wasmtime::Result<&ServingRuntime> {
        self.serving_runtime.as_ref().ok_or_else(|| format_err!("the component exports no `serving-runtime`"))
    }

    fn controller(&self) -> wasmtime::Result<&Controller> {
        self.controller.as_ref().ok_or_else(|| format_err!("the component exports no `controller`"))
    }

    fn tuner(&self) -> wasmtime::Result<&Tuner> {
        self.tuner.as_ref().ok_or_else(|| format_err!("the component exports no `tuner`"))
    }
}

/// An exported interface.
struct Interface<'a> {
    component: &'a Component,
    name: String,
    index: ComponentExportIndex,
}

impl<'a> Interface<'a> {
    fn find(component: &'a Component, name: String) -> wasmtime::Result<Self> {
        let index = component.get_export_index(None, &name);
        let index = index.ok_or_else(|| format_err!("the component exports no `{name}`"))?;
        Ok(Interface { component, name, index })
    }

    fn function(&self, function: &str) -> wasmtime::Result<ComponentExportIndex> {
        let index = self.component.get_export_index(Some(&self.index), function);
        index.ok_or_else(|| format_err!("the component's `{}` has no `{function}`", self.name))
    }
}

/// A function of an instance, its type checked. A call checks the one that it calls and no other: comparing types, name
/// by name, is a good part of what a small call costs.
pub(crate) struct Function<P, R>(TypedFunc<P, R>);

impl<P, R> Function<P, R>
where
    P: ComponentNamedList + Lower + Send + std::marker::Sync,
    R: ComponentNamedList + Lift + Send + std::marker::Sync + 'static,
{
    pub(crate) fn of(
        store: &mut Store<CallState>,
        instance: &Instance,
        index: &ComponentExportIndex,
    ) -> wasmtime::Result<Self> {
        instance.get_typed_func(store, index).map(Function)
    }

    pub(crate) async fn call(&self, store: &mut Store<CallState>, arguments: P) -> wasmtime::Result<R> {
        self.0.call_async(store, arguments).await
    }
}

/// `lifecycle.check`.
pub(crate) struct Check {
    pub(crate) context: Context,
}

impl Invocation for Check {
    type Answer = ();
    const STAGE: Option<Stage> = None;

    fn function(&self) -> &'static str {
        "check"
    }

    fn context(&self) -> Option<&Context> {
        Some(&self.context)
    }

    async fn invoke(
        self,
        store: &mut Store<CallState>,
        instance: &Instance,
        exports: &Exports,
    ) -> wasmtime::Result<Result<Self::Answer, Fault>> {
        let index =
            exports.check.as_ref().ok_or_else(|| format_err!("the component exports no `lifecycle`"))?;
        let (answer,) = CheckFunc::of(store, instance, index)?.call(store, (&self.context,)).await?;
        Ok(answer)
    }
}

/// `controller.related`.
pub(crate) struct Related {
    pub(crate) context: Context,
    pub(crate) parent: String,
}

impl Invocation for Related {
    type Answer = Vec<Selector>;
    const STAGE: Option<Stage> = Some(Stage::Dialect);

    fn function(&self) -> &'static str {
        "related"
    }

    fn context(&self) -> Option<&Context> {
        Some(&self.context)
    }

    async fn invoke(
        self,
        store: &mut Store<CallState>,
        instance: &Instance,
        exports: &Exports,
    ) -> wasmtime::Result<Result<Self::Answer, Fault>> {
        let related = RelatedFunc::of(store, instance, &exports.controller()?.related)?;
        let (answer,) = related.call(store, (&self.context, self.parent.as_str())).await?;
        Ok(answer)
    }
}

/// `controller.sync` or `controller.finalize`.
pub(crate) struct Sync {
    pub(crate) request: Arc<SyncRequest>,
    pub(crate) finalize: bool,
}

impl Invocation for Sync {
    type Answer = SyncResponse;
    const STAGE: Option<Stage> = Some(Stage::Dialect);

    fn function(&self) -> &'static str {
        if self.finalize { "finalize" } else { "sync" }
    }

    fn context(&self) -> Option<&Context> {
        Some(&self.request.context)
    }

    async fn invoke(
        self,
        store: &mut Store<CallState>,
        instance: &Instance,
        exports: &Exports,
    ) -> wasmtime::Result<Result<Self::Answer, Fault>> {
        let controller = exports.controller()?;
        let index = if self.finalize { &controller.finalize } else { &controller.sync };
        let (answer,) = SyncFunc::of(store, instance, index)?.call(store, (&*self.request,)).await?;
        Ok(answer)
    }
}

/// `tuner.algorithms`.
pub(crate) struct Algorithms;

impl Invocation for Algorithms {
    type Answer = Vec<String>;
    const STAGE: Option<Stage> = Some(Stage::Tuner);

    fn function(&self) -> &'static str {
        "algorithms"
    }

    async fn invoke(
        self,
        store: &mut Store<CallState>,
        instance: &Instance,
        exports: &Exports,
    ) -> wasmtime::Result<Result<Self::Answer, Fault>> {
        let algorithms = AlgorithmsFunc::of(store, instance, &exports.tuner()?.algorithms)?;
        let (answer,) = algorithms.call(store, ()).await?;
        Ok(Ok(answer))
    }
}

/// `tuner.validate`.
pub(crate) struct Validate {
    pub(crate) search: Arc<Search>,
}

impl Invocation for Validate {
    type Answer = Vec<FieldError>;
    const STAGE: Option<Stage> = Some(Stage::Tuner);

    fn function(&self) -> &'static str {
        "validate"
    }

    fn context(&self) -> Option<&Context> {
        Some(&self.search.context)
    }

    async fn invoke(
        self,
        store: &mut Store<CallState>,
        instance: &Instance,
        exports: &Exports,
    ) -> wasmtime::Result<Result<Self::Answer, Fault>> {
        let validate = ValidateFunc::of(store, instance, &exports.tuner()?.validate)?;
        let (answer,) = validate.call(store, (&*self.search,)).await?;
        Ok(Ok(answer))
    }
}

/// `tuner.suggest`.
pub(crate) struct Suggest {
    pub(crate) search: Arc<Search>,
    pub(crate) count: u32,
}

impl Invocation for Suggest {
    type Answer = Vec<Suggestion>;
    const STAGE: Option<Stage> = Some(Stage::Tuner);

    fn function(&self) -> &'static str {
        "suggest"
    }

    fn context(&self) -> Option<&Context> {
        Some(&self.search.context)
    }

    async fn invoke(
        self,
        store: &mut Store<CallState>,
        instance: &Instance,
        exports: &Exports,
    ) -> wasmtime::Result<Result<Self::Answer, Fault>> {
        let suggest = SuggestFunc::of(store, instance, &exports.tuner()?.suggest)?;
        let (answer,) = suggest.call(store, (&*self.search, self.count)).await?;
        Ok(answer)
    }
}

/// `tuner.stop`.
pub(crate) struct Stop {
    pub(crate) search: Arc<Search>,
}

impl Invocation for Stop {
    type Answer = Vec<String>;
    const STAGE: Option<Stage> = Some(Stage::Tuner);

    fn function(&self) -> &'static str {
        "stop"
    }

    fn context(&self) -> Option<&Context> {
        Some(&self.search.context)
    }

    async fn invoke(
        self,
        store: &mut Store<CallState>,
        instance: &Instance,
        exports: &Exports,
    ) -> wasmtime::Result<Result<Self::Answer, Fault>> {
        let stop = StopFunc::of(store, instance, &exports.tuner()?.stop)?;
        let (answer,) = stop.call(store, (&*self.search,)).await?;
        Ok(answer)
    }
}
