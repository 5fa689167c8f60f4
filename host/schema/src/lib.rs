//! Kubernetes schemas as pure functions: structural schemas, patches, field ownership and printer columns
#![forbid(unsafe_code)]
