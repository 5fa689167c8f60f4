//! The stage that compares what a model is asked now with what it was asked before: a trait, and the glue that exports it.

use crate::{Context, Fault};

pub use crate::bindings::monitor::exports::purlin::plugin::monitor::{Report, Score, Window};

/// A plugin that watches payloads. See `interface monitor` in the contract.
pub trait Monitor {
    /// Whether the plugin can work with its configuration. It can, unless said otherwise.
    ///
    /// # Errors
    /// A fault that says what has to change.
    fn check(context: &Context) -> Result<(), Fault> {
        let _ = context;
        Ok(())
    }

    /// Whether what was seen lately is other than the reference.
    ///
    /// # Errors
    /// `invalid` names settings.
    fn compare(window: Window) -> Result<Report, Fault>;
}

/// Exports a [`Monitor`]. Call it once, at the top of the crate.
#[macro_export]
macro_rules! export_monitor {
    ($monitor:ty) => {
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            type Exported = $crate::monitor::Export<$monitor>;
    $crate::bindings::base::__export_base_world!(Exported with_types_in $crate::bindings::base);
    $crate::bindings::monitor::__export_monitor_world!(Exported with_types_in $crate::bindings::monitor);
        };
    };
}

/// What [`export_monitor!`](crate::export_monitor) exports; not for use by itself.
#[cfg(target_arch = "wasm32")]
#[doc(hidden)]
pub struct Export<T>(std::marker::PhantomData<T>);

#[cfg(target_arch = "wasm32")]
impl<T: Monitor> crate::bindings::base::exports::purlin::plugin::lifecycle::Guest for Export<T> {
    fn check(context: Context) -> Result<(), Fault> {
        crate::log::panics();
        T::check(&context)
    }
}

#[cfg(target_arch = "wasm32")]
impl<T: Monitor> crate::bindings::monitor::exports::purlin::plugin::monitor::Guest for Export<T> {
    fn compare(window: Window) -> Result<Report, Fault> {
        crate::log::panics();
        T::compare(window)
    }
}
