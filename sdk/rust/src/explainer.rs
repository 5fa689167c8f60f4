//! The stage that explains: a trait, the model that is explained, and the glue that exports it.

use crate::bindings::inference::purlin::plugin::predictor;
use crate::{Context, Fault, InferRequest, InferResponse, NamedTensor, Setting};

/// A plugin that says why a model answers as it does. See `interface explainer` in the contract.
pub trait Explainer {
    /// Whether the plugin can work with its configuration. It can, unless said otherwise.
    ///
    /// # Errors
    /// A fault that says what has to change.
    fn check(context: &Context) -> Result<(), Fault> {
        let _ = context;
        Ok(())
    }

    /// The explanation of a request, as tensors whose meaning the plugin documents.
    ///
    /// # Errors
    /// `invalid` names inputs or settings, and is the client's error.
    fn explain(request: InferRequest, settings: Vec<Setting>) -> Result<InferResponse, Fault>;
}

/// Asks the model that is explained.
///
/// # Errors
/// The model refuses the inputs, or cannot answer now.
pub fn predict(inputs: Vec<NamedTensor>) -> Result<Vec<NamedTensor>, Fault> {
    predictor::infer(inputs).map_err(|error| Fault::Failed(format!("the model that is explained: {error}")))
}

/// Exports an [`Explainer`]. Call it once, at the top of the crate.
#[macro_export]
macro_rules! export_explainer {
    ($explainer:ty) => {
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            type Exported = $crate::explainer::Export<$explainer>;
    $crate::bindings::base::__export_base_world!(Exported with_types_in $crate::bindings::base);
    $crate::bindings::explainer::__export_explainer_world!(Exported with_types_in $crate::bindings::explainer);
        };
    };
}

/// What [`export_explainer!`](crate::export_explainer) exports; not for use by itself.
#[cfg(target_arch = "wasm32")]
#[doc(hidden)]
pub struct Export<T>(std::marker::PhantomData<T>);

#[cfg(target_arch = "wasm32")]
impl<T: Explainer> crate::bindings::base::exports::purlin::plugin::lifecycle::Guest for Export<T> {
    fn check(context: Context) -> Result<(), Fault> {
        crate::log::panics();
        T::check(&context)
    }
}

#[cfg(target_arch = "wasm32")]
impl<T: Explainer> crate::bindings::explainer::exports::purlin::plugin::explainer::Guest for Export<T> {
    fn explain(request: InferRequest, settings: Vec<Setting>) -> Result<InferResponse, Fault> {
        crate::log::panics();
        T::explain(request, settings)
    }
}
