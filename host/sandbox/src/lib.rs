//! Runs plugin components under limits, with only the capabilities that they were granted
#![forbid(unsafe_code)]
