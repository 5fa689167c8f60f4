//! The tuner stage: a trait for the decision, and the glue that exports it.

use crate::{Context, Fault, FieldError, Search, Setting, Suggestion, fault};

/// A plugin that says where a search should look next. See `interface tuner` in the contract.
pub trait Tuner {
    /// The algorithms that it answers to, in lower case; the manifest's `algorithms` lists the same.
    const ALGORITHMS: &'static [&'static str];

    /// Whether the plugin can work with its configuration. It can, unless said otherwise.
    ///
    /// # Errors
    /// A fault that says what has to change.
    fn check(context: &Context) -> Result<(), Fault> {
        let _ = context;
        Ok(())
    }

    /// All that keeps this search from being run; empty when it can be.
    fn validate(search: &Search) -> Vec<FieldError>;

    /// Up to `count` new points, the same for the same search.
    ///
    /// # Errors
    /// A fault, when no answer is possible.
    fn suggest(search: &Search, count: u32) -> Result<Vec<Suggestion>, Fault>;

    /// Ids of running trials that are not worth finishing. None, unless said otherwise.
    ///
    /// # Errors
    /// A fault, when no answer is possible.
    fn stop(search: &Search) -> Result<Vec<String>, Fault> {
        let _ = search;
        Ok(Vec::new())
    }
}

/// The value of the setting with this name, and its position for [`setting_path`].
pub fn setting<'a>(search: &'a Search, name: &str) -> Option<(usize, &'a Setting)> {
    search.settings.iter().enumerate().find(|(_, setting)| setting.name == name)
}

/// How a field error names a setting: `spec.algorithm.settings[2]`.
pub fn setting_path(index: usize) -> String {
    format!("spec.algorithm.settings[{index}]")
}

/// One error for each setting that is not in `known`, or is given twice.
pub fn unknown_settings(search: &Search, known: &[&str]) -> Vec<FieldError> {
    let mut errors = Vec::new();
    for (index, setting) in search.settings.iter().enumerate() {
        let reason = if !known.contains(&setting.name.as_str()) {
            if known.is_empty() {
                format!("{} has no settings; remove {}", search.algorithm, setting.name)
            } else {
                format!("{} has no setting {}; it has {}", search.algorithm, setting.name, known.join(", "))
            }
        } else if search.settings.iter().take(index).any(|earlier| earlier.name == setting.name) {
            format!("{} is set twice; keep one", setting.name)
        } else {
            continue;
        };
        errors.push(fault::field(setting_path(index), &setting.value, reason));
    }
    errors
}

/// Exports a [`Tuner`]. Call it once, at the top of the crate.
#[macro_export]
macro_rules! export_tuner {
    ($tuner:ty) => {
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            type Exported = $crate::tuner::Export<$tuner>;
    $crate::bindings::base::__export_base_world!(Exported with_types_in $crate::bindings::base);
    $crate::bindings::tuner::__export_tuner_world!(Exported with_types_in $crate::bindings::tuner);
        };
    };
}

/// What [`export_tuner!`](crate::export_tuner) exports for a [`Tuner`]; not for use by itself.
#[cfg(target_arch = "wasm32")]
#[doc(hidden)]
pub struct Export<T>(std::marker::PhantomData<T>);

#[cfg(target_arch = "wasm32")]
impl<T: Tuner> crate::bindings::base::exports::purlin::plugin::lifecycle::Guest for Export<T> {
    fn check(context: Context) -> Result<(), Fault> {
        crate::log::panics();
        T::check(&context)
    }
}

#[cfg(target_arch = "wasm32")]
impl<T: Tuner> crate::bindings::tuner::exports::purlin::plugin::tuner::Guest for Export<T> {
    fn algorithms() -> Vec<String> {
        crate::log::panics();
        T::ALGORITHMS.iter().map(|&name| name.to_owned()).collect()
    }

    fn validate(search: Search) -> Vec<FieldError> {
        crate::log::panics();
        T::validate(&search)
    }

    fn suggest(search: Search, count: u32) -> Result<Vec<Suggestion>, Fault> {
        crate::log::panics();
        T::suggest(&search, count)
    }

    fn stop(search: Search) -> Result<Vec<String>, Fault> {
        crate::log::panics();
        T::stop(&search)
    }
}
