//! Runs one call.
