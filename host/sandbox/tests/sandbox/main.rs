//! Plugins of every temper, made from text: what they do costs their own call and nothing else.

mod fixture;
mod hostile;
mod latency;
mod loading;
mod nesting;
mod quota;
