//! The roles and bindings that every cluster has: made at start ([`bootstrap`]), and those that gather the rules of
//! others kept up with them ([`aggregate`]).

pub(crate) mod aggregate;
pub(crate) mod bootstrap;
