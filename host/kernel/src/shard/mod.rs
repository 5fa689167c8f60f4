//! Which replica works on what: work is split by namespace, and each part has one holder at a time.
//!
//! `assign` says who should have what, `election` gets it by Leases, `holdings` is what this replica has now, and
//! `fence` keeps a replica that has lost a part from writing there. Loops ask [`Holdings`] and know nothing of Leases.

mod assign;
pub mod election;
pub(crate) mod fence;
mod holdings;

use std::fmt;

pub use assign::{Shards, rendezvous};
pub use holdings::{Holdings, Permit};

/// A part of the work that one replica has at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Domain {
    /// What there is once in a cluster: definitions, the status of Plugins, cluster-scoped parents.
    Leader,
    /// The namespaces of one shard.
    Shard(u32),
}

impl fmt::Display for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Domain::Leader => f.write_str("leader"),
            Domain::Shard(number) => write!(f, "shard {number}"),
        }
    }
}
