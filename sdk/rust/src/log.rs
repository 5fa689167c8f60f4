//! Lines in the kernel's log. The host adds the plugin's and the object's identity, and limits rate and length.

use crate::bindings::base::purlin::plugin::log as host;

/// A line for whoever debugs the plugin itself.
pub fn trace(message: &str) {
    write(host::Level::Trace, message);
}

/// A line for whoever asks why a decision was made.
pub fn debug(message: &str) {
    write(host::Level::Debug, message);
}

/// A line that an operator may want to see.
pub fn info(message: &str) {
    write(host::Level::Info, message);
}

/// Something is odd and was handled.
pub fn warn(message: &str) {
    write(host::Level::Warn, message);
}

/// Something is wrong. Tell the user as well, with a fault or an event.
pub fn error(message: &str) {
    write(host::Level::Error, message);
}

#[cfg(target_arch = "wasm32")]
fn write(level: host::Level, message: &str) {
    host::write(level, message);
}

/// Outside a sandbox there is no host to write to.
#[cfg(not(target_arch = "wasm32"))]
fn write(level: host::Level, message: &str) {
    eprintln!("{level:?}: {message}");
}

/// Sends the message of a panic to the log before it becomes a trap, which has no message of its own. The exported
/// functions call this first.
#[cfg(target_arch = "wasm32")]
pub(crate) fn panics() {
    std::panic::set_hook(Box::new(|panic| error(&panic.to_string())));
}
