//! Reconciles the generic resources and drives dialect plugins
#![forbid(unsafe_code)]
