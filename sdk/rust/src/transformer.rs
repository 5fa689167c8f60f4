//! The stage that changes requests and answers: a trait, and the glue that exports it.

use crate::{Context, Fault, InferRequest, InferResponse, Setting};

/// A plugin that changes what a model gets and what a client gets. See `interface transformer` in the contract.
pub trait Transformer {
    /// Whether the plugin can work with its configuration. It can, unless said otherwise.
    ///
    /// # Errors
    /// A fault that says what has to change.
    fn check(context: &Context) -> Result<(), Fault> {
        let _ = context;
        Ok(())
    }

    /// The request that the model gets. The client's own, unless said otherwise.
    ///
    /// # Errors
    /// `invalid` names inputs, and is the client's error.
    fn preprocess(request: InferRequest, settings: Vec<Setting>) -> Result<InferRequest, Fault> {
        let _ = settings;
        Ok(request)
    }

    /// The answer that the client gets. The model's own, unless said otherwise.
    ///
    /// # Errors
    /// A fault, when no answer is possible.
    fn postprocess(response: InferResponse, settings: Vec<Setting>) -> Result<InferResponse, Fault> {
        let _ = settings;
        Ok(response)
    }
}

/// Exports a [`Transformer`]. Call it once, at the top of the crate.
#[macro_export]
macro_rules! export_transformer {
    ($transformer:ty) => {
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            type Exported = $crate::transformer::Export<$transformer>;
    $crate::bindings::base::__export_base_world!(Exported with_types_in $crate::bindings::base);
    $crate::bindings::transformer::__export_transformer_world!(Exported with_types_in $crate::bindings::transformer);
        };
    };
}

/// What [`export_transformer!`](crate::export_transformer) exports; not for use by itself.
#[cfg(target_arch = "wasm32")]
#[doc(hidden)]
pub struct Export<T>(std::marker::PhantomData<T>);

#[cfg(target_arch = "wasm32")]
impl<T: Transformer> crate::bindings::base::exports::purlin::plugin::lifecycle::Guest for Export<T> {
    fn check(context: Context) -> Result<(), Fault> {
        crate::log::panics();
        T::check(&context)
    }
}

#[cfg(target_arch = "wasm32")]
impl<T: Transformer> crate::bindings::transformer::exports::purlin::plugin::transformer::Guest for Export<T> {
    fn preprocess(request: InferRequest, settings: Vec<Setting>) -> Result<InferRequest, Fault> {
        crate::log::panics();
        T::preprocess(request, settings)
    }

    fn postprocess(response: InferResponse, settings: Vec<Setting>) -> Result<InferResponse, Fault> {
        crate::log::panics();
        T::postprocess(response, settings)
    }
}
