//! The stage that serves models: a trait for one model, and the glue that exports it.

use crate::{Context, Fault};

pub use crate::bindings::inference::purlin::plugin::serving::{
    Chunk, FinishReason, GenerateRequest, GenerationSettings, InferRequest, InferResponse, Message,
    ModelFile, ModelMetadata, ModelRequest, Parameter, ParameterValue, Prompt, Tasks,
};

/// A plugin that serves models of some formats. A value is one loaded model; see `interface serving-runtime` in the
/// contract.
pub trait ServingRuntime: Sized + 'static {
    /// Whether the plugin can work with its configuration. It can, unless said otherwise.
    ///
    /// # Errors
    /// A fault that says what has to change.
    fn check(context: &Context) -> Result<(), Fault> {
        let _ = context;
        Ok(())
    }

    /// Loads a model.
    ///
    /// # Errors
    /// `invalid` names fields of the Model.
    fn load(request: ModelRequest) -> Result<Self, Fault>;

    /// What the model takes, gives and can be asked for.
    fn metadata(&self) -> ModelMetadata;

    /// Tensors for tensors.
    ///
    /// # Errors
    /// `invalid` names inputs, and is the client's error.
    fn infer(&self, request: InferRequest) -> Result<InferResponse, Fault>;

    /// Text for text. The model does not generate, unless said otherwise.
    ///
    /// # Errors
    /// `failed` where it does not.
    fn generate(&self, request: GenerateRequest) -> Result<Box<dyn Generation>, Fault> {
        let _ = request;
        Err(Fault::Failed("the model does not generate text".to_owned()))
    }
}

/// Text in the making.
pub trait Generation {
    /// Tokens of the prompt.
    fn prompt_tokens(&self) -> u32;

    /// The next piece; `None` behind the last one.
    ///
    /// # Errors
    /// A fault, when it cannot go on.
    fn next(&mut self) -> Result<Option<Chunk>, Fault>;
}

impl ModelRequest {
    /// The value of a setting, by its name without dashes before it: `max_length` finds `--max_length` and
    /// `--max-length`.
    pub fn setting(&self, name: &str) -> Option<&str> {
        let plain = |text: &str| text.trim_start_matches('-').replace('-', "_");
        let found = self.settings.iter().find(|setting| plain(&setting.name) == plain(name));
        found.map(|setting| setting.value.as_str())
    }

    /// The one file that ends in one of these; the shortest name where there are several.
    pub fn file_ending(&self, endings: &[&str]) -> Option<&ModelFile> {
        let fits = |file: &&ModelFile| endings.iter().any(|ending| file.name.ends_with(ending));
        self.files.iter().filter(fits).min_by_key(|file| (file.name.matches('/').count(), file.name.len()))
    }
}

/// Exports a [`ServingRuntime`]. Call it once, at the top of the crate.
#[macro_export]
macro_rules! export_serving_runtime {
    ($runtime:ty) => {
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            type Exported = $crate::serving::Export<$runtime>;
    $crate::bindings::base::__export_base_world!(Exported with_types_in $crate::bindings::base);
    $crate::bindings::serving_runtime::__export_serving_runtime_world!(Exported with_types_in $crate::bindings::serving_runtime);
        };
    };
}

/// What [`export_serving_runtime!`](crate::export_serving_runtime) exports; not for use by itself.
#[cfg(target_arch = "wasm32")]
#[doc(hidden)]
pub struct Export<T>(std::marker::PhantomData<T>);

#[cfg(target_arch = "wasm32")]
mod export {
    use std::cell::RefCell;

    use super::{Export, Generation, ServingRuntime};
    use crate::bindings::serving_runtime::exports::purlin::plugin::serving_runtime as stage;
    use crate::{Context, Fault};

    /// A loaded model as the host holds it.
    #[doc(hidden)]
    pub struct Held<T>(T);

    /// A generation as the host holds it.
    #[doc(hidden)]
    pub struct HeldGeneration(RefCell<Box<dyn Generation>>);

    impl<T: ServingRuntime> crate::bindings::base::exports::purlin::plugin::lifecycle::Guest for Export<T> {
        fn check(context: Context) -> Result<(), Fault> {
            crate::log::panics();
            T::check(&context)
        }
    }

    impl<T: ServingRuntime> stage::Guest for Export<T> {
        type Model = Held<T>;
        type Generation = HeldGeneration;
    }

    impl<T: ServingRuntime> stage::GuestModel for Held<T> {
        fn load(request: super::ModelRequest) -> Result<stage::Model, Fault> {
            crate::log::panics();
            T::load(request).map(|model| stage::Model::new(Held(model)))
        }

        fn metadata(&self) -> super::ModelMetadata {
            self.0.metadata()
        }

        fn infer(&self, request: super::InferRequest) -> Result<super::InferResponse, Fault> {
            self.0.infer(request)
        }

        fn generate(&self, request: super::GenerateRequest) -> Result<stage::Generation, Fault> {
            let generation = self.0.generate(request)?;
            Ok(stage::Generation::new(HeldGeneration(RefCell::new(generation))))
        }
    }

    impl stage::GuestGeneration for HeldGeneration {
        fn prompt_tokens(&self) -> u32 {
            self.0.borrow().prompt_tokens()
        }

        fn next(&self) -> Result<Option<super::Chunk>, Fault> {
            self.0.borrow_mut().next()
        }
    }
}
