//! A Lease as the election sees it: who has it, and when that was last seen to change.
//!
//! A holder writes its own clock's time into the Lease. Nobody compares it with another clock: that it changes is what
//! counts, and how long it has not, by the observer's own monotonic clock.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use tokio::time::Instant;

/// Says into how many shards the replica that wrote the Lease splits namespaces.
pub(super) const SHARDS: &str = "purlin.dev/shards";
/// Where the replica that wrote the Lease of a member answers requests for models: `HOST:PORT`.
pub(super) const GATEWAY: &str = "purlin.dev/gateway";
/// On every Lease of the kernel; its value says what the Lease is for.
pub(super) const ROLE: &str = "purlin.dev/lease";

/// How many times our own duration another's may be, up or down.
const LONGEST: u32 = 10;

/// What a Lease says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Record {
    /// Who has it; none where it was given up.
    pub holder: Option<String>,
    /// When the holder last renewed it, by the holder's clock.
    pub renewed: Option<Timestamp>,
    /// How long it lasts without a renewal.
    pub duration: Duration,
    /// How many times it went from one holder to another.
    pub transitions: i32,
    /// Into how many shards its writer splits namespaces, where that is said.
    pub shards: Option<u32>,
    /// Where its writer answers requests for models, where that is said.
    pub gateway: Option<String>,
}

impl Record {
    /// Reads a Lease. `usual` is the duration of one that says none; one that says far more is not believed, or a
    /// single wrong number would keep a part from everybody for good.
    pub(super) fn of(lease: &Lease, usual: Duration) -> Self {
        let spec = lease.spec.clone().unwrap_or_default();
        let seconds = spec.lease_duration_seconds.and_then(|seconds| u64::try_from(seconds).ok());
        let annotations = lease.metadata.annotations.as_ref();
        Record {
            holder: spec.holder_identity.filter(|holder| !holder.is_empty()),
            renewed: spec.renew_time.map(|time| time.0),
            duration: seconds.map_or(usual, Duration::from_secs).clamp(usual / LONGEST, usual * LONGEST),
            transitions: spec.lease_transitions.unwrap_or(0),
            shards: annotations.and_then(|all| all.get(SHARDS)).and_then(|text| text.parse().ok()),
            gateway: annotations.and_then(|all| all.get(GATEWAY)).cloned(),
        }
    }
}

/// A Lease that was seen.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    /// What it said.
    pub record: Record,
    /// The version that said so; none where the Lease is gone from the server.
    pub version: Option<String>,
    /// When this process first saw this holder's renewal.
    pub since: Instant,
}

impl Seen {
    /// When it ends, unless it is seen to be renewed. One without a holder has ended.
    pub(super) fn expires(&self) -> Option<Instant> {
        self.record.holder.is_some().then(|| self.since + self.record.duration)
    }

    /// Whether somebody has it.
    pub(super) fn is_live(&self, now: Instant) -> bool {
        self.expires().is_some_and(|end| now < end)
    }

    /// Whether `version` is older than what was seen. Versions of one resource count upwards.
    pub(super) fn is_newer_than(&self, version: &str) -> bool {
        let number = |text: &str| text.parse::<u64>().ok();
        match (self.version.as_deref().and_then(number), number(version)) {
            (Some(known), Some(other)) => other < known,
            _ => false,
        }
    }
}

/// The Lease to write: `record` under a name, on top of the version that was seen.
pub(super) fn object(name: &str, role: &str, record: &Record, version: Option<String>) -> Lease {
    let shards = record.shards.map(|shards| (SHARDS.to_owned(), shards.to_string()));
    let gateway = record.gateway.clone().map(|gateway| (GATEWAY.to_owned(), gateway));
    let annotations: BTreeMap<_, _> = shards.into_iter().chain(gateway).collect();
    Lease {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            resource_version: version,
            labels: Some(BTreeMap::from([(ROLE.to_owned(), role.to_owned())])),
            annotations: Some(annotations).filter(|annotations| !annotations.is_empty()),
            ..ObjectMeta::default()
        },
        spec: Some(LeaseSpec {
            holder_identity: record.holder.clone(),
            lease_duration_seconds: i32::try_from(record.duration.as_secs().max(1)).ok(),
            lease_transitions: Some(record.transitions),
            renew_time: record.renewed.map(MicroTime),
            ..LeaseSpec::default()
        }),
    }
}
