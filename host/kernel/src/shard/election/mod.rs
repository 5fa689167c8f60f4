//! Gets this replica its share of the work, by Leases in one namespace.
//!
//! Every replica has a Lease that says that it lives, and each part of the work has one that says who does it. Replicas
//! that see the same members share out the parts in the same way, so nobody has to tell anybody. A part moves in order
//! (its holder finishes what it has begun and gives the Lease up) or, where its holder is gone, by the end of its Lease.
//!
//! `state` decides; this module watches the Leases and writes them.

mod lease;
mod state;

use std::collections::BTreeMap;
use std::time::Duration;

use futures::{StreamExt, pin_mut};
use k8s_openapi::api::coordination::v1::Lease;
use kube::api::{Api, DeleteParams, ListParams, PostParams, Preconditions};
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Client, Error as KubeError, ResourceExt};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{Domain, Holdings};
use crate::observe::ShardMetrics;

use lease::ROLE;
use state::{Action, Election, Slot, Written};

/// How often one line says why this replica does not take part.
const SAY_AGAIN: Duration = Duration::from_secs(30);

/// How long Leases last and how often they are renewed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    duration: Duration,
    renew: Duration,
}

/// Times that do not work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TimingError {
    /// Leases count in whole seconds.
    #[error("a lease duration of {0:?} is no whole number of seconds from 1 up")]
    NotWhole(Duration),
    /// One lost renewal would lose the Lease.
    #[error("a renew interval of {renew:?} is too long for leases of {duration:?}: at most {:?}", *duration / 2)]
    TooRare {
        /// The interval.
        renew: Duration,
        /// The duration.
        duration: Duration,
    },
}

impl Timing {
    /// Leases that last `duration` and are renewed every `renew`.
    ///
    /// # Errors
    /// The duration is not in whole seconds, or the interval is more than half of it, or nothing.
    pub fn new(duration: Duration, renew: Duration) -> Result<Self, TimingError> {
        if duration.is_zero() || duration.subsec_nanos() != 0 {
            return Err(TimingError::NotWhole(duration));
        }
        if renew.is_zero() || renew > duration / 2 {
            return Err(TimingError::TooRare { renew, duration });
        }
        Ok(Timing { duration, renew })
    }

    /// How long after a renewal was sent this replica may rely on it.
    fn deadline(self) -> Duration {
        self.duration * 4 / 5
    }
}

impl Default for Timing {
    fn default() -> Self {
        Timing { duration: Duration::from_secs(5), renew: Duration::from_secs(2) }
    }
}

/// Where replicas answer requests for models, by identity.
pub type Gateways = BTreeMap<String, String>;

/// What an election is held with.
pub struct Config {
    /// The API server. Not fenced: this is what fences go by.
    pub client: Client,
    /// Where the Leases are.
    pub namespace: String,
    /// This replica: a DNS label that no other has.
    pub identity: String,
    /// How long Leases last.
    pub timing: Timing,
    /// Where this replica answers requests for models: the `HOST:PORT` by which other replicas reach it.
    pub gateway: Option<String>,
    /// Told where all replicas do.
    pub gateways: tokio::sync::watch::Sender<Gateways>,
    /// What to tell of what this replica has.
    pub holdings: Holdings,
    /// What to count with.
    pub metrics: ShardMetrics,
}

/// Takes part until `stop`, then gives everything up and leaves.
///
/// # Expected flow
/// Join, which waits for replicas that split the work differently and for one of the same identity; then take, renew
/// and give up parts as members come and go. `joined` says whether this replica is among the members.
///
/// # Guarantees
/// No two replicas hold a part at the same time, as long as every clock runs at the same speed within a fifth.
/// On return nothing is held.
pub async fn run(config: Config, joined: tokio::sync::watch::Sender<bool>, stop: CancellationToken) {
    let Config { client, namespace, identity, timing, gateway, gateways, holdings, metrics } = config;
    let api: Api<Lease> = Api::namespaced(client, &namespace);
    let process = format!("{:08x}", rand::random::<u32>());
    let mut election = Election::new(&identity, &process, gateway, timing, holdings.clone(), Instant::now());
    let watched = watcher::Config::default().labels(ROLE).timeout(30);
    let events = watcher(api.clone(), watched).default_backoff();
    pin_mut!(events);
    let mut listed = Vec::new();
    let mut known = false;
    let mut writes: JoinSet<Done> = JoinSet::new();
    let mut said = None;
    let mut leaving = false;
    loop {
        let now = Instant::now();
        // Before the first list nobody knows who is there.
        if known || leaving {
            for action in election.due(now) {
                writes.spawn(carry_out(api.clone(), action, timing.deadline()));
            }
        }
        joined.send_if_modified(|was| std::mem::replace(was, election.has_joined(now)) != *was);
        gateways.send_if_modified(|known| {
            let live = election.gateways(now);
            std::mem::replace(known, live) != *known
        });
        let parts: Vec<_> = election.parts().collect();
        let leads = parts.contains(&Domain::Leader);
        metrics.holds(parts.len() - usize::from(leads), leads);
        if leaving && election.has_left() {
            return;
        }
        explain(&election, &identity, now, &mut said);
        tokio::select! {
            event = events.next() => match event {
                Some(Ok(Event::Init)) => listed.clear(),
                Some(Ok(Event::InitApply(lease))) => listed.push(lease),
                Some(Ok(Event::InitDone)) => {
                    // The task may have been kept from running since the list was begun: it is as old as it is.
                    election.saw_all(&std::mem::take(&mut listed), Instant::now());
                    known = true;
                }
                Some(Ok(Event::Apply(lease))) => election.saw(&lease.name_any(), &lease, Instant::now()),
                Some(Ok(Event::Delete(lease))) => election.saw_deleted(&lease.name_any(), Instant::now()),
                Some(Err(error)) => {
                    metrics.failed();
                    tracing::debug!(error = %crate::report(&error), "watch of Leases interrupted");
                }
                None => {}
            },
            Some(done) = writes.join_next() => match done {
                Ok(Done::Written(slot, sent, written)) => {
                    if matches!(written, Written::Failed) {
                        metrics.failed();
                    }
                    election.written(slot, sent, written, Instant::now());
                }
                Ok(Done::Listed(check, leases)) => election.listed(check, leases.as_deref(), Instant::now()),
                Ok(Done::Nothing) => {}
                Err(error) => tracing::error!(%error, "a write of a Lease ended by itself"),
            },
            () = holdings.drained() => {}
            () = tokio::time::sleep_until(election.next(now)) => {}
            () = stop.cancelled(), if !leaving => {
                leaving = true;
                election.leave();
            }
        }
    }
}

/// Says why this replica does not take part, now and then.
fn explain(election: &Election, identity: &str, now: Instant, said: &mut Option<Instant>) {
    if election.has_joined(now) || said.is_some_and(|at| now < at + SAY_AGAIN) {
        return;
    }
    if let Some((other, shards)) = election.differing(now) {
        tracing::error!(
            replica = other,
            shards,
            "waiting: a replica splits the work into another number of shards; stop all that do, or start this one \
             with --shards {shards}"
        );
    } else if election.namesake(now) {
        tracing::warn!(identity, "waiting: a replica of this identity lives, or did a moment ago");
    } else {
        return;
    }
    *said = Some(now);
}

/// What came of an action.
enum Done {
    Written(Slot, Instant, Written),
    Listed(u64, Option<Vec<Lease>>),
    Nothing,
}

async fn carry_out(api: Api<Lease>, action: Action, patience: Duration) -> Done {
    let sent = Instant::now();
    match action {
        Action::List(check) => {
            let parameters = ListParams::default().labels(ROLE);
            let listed = tokio::time::timeout(patience, api.list(&parameters)).await;
            Done::Listed(check, listed.ok().and_then(Result::ok).map(|list| list.items))
        }
        Action::Forget(name, version) => {
            let _ = tokio::time::timeout(patience, api.delete(&name, &at(version))).await;
            Done::Nothing
        }
        Action::Write(slot, lease) => {
            let written = tokio::time::timeout(patience, write(&api, &lease)).await;
            Done::Written(slot, sent, written.unwrap_or(Written::Failed))
        }
        Action::Delete(slot, name, version) => {
            let deleting = async {
                match api.delete(&name, &at(version)).await {
                    Ok(_) => Written::Done(None),
                    Err(KubeError::Api(status)) if status.code == 404 => Written::Done(None),
                    Err(KubeError::Api(status)) if status.code == 409 => conflict(&api, &name).await,
                    Err(_) => Written::Failed,
                }
            };
            let deleted = tokio::time::timeout(patience, deleting).await;
            Done::Written(slot, sent, deleted.unwrap_or(Written::Failed))
        }
    }
}

async fn write(api: &Api<Lease>, lease: &Lease) -> Written {
    let name = lease.name_any();
    let parameters = PostParams::default();
    let result = match lease.metadata.resource_version {
        Some(_) => api.replace(&name, &parameters, lease).await,
        None => api.create(&parameters, lease).await,
    };
    match result {
        Ok(lease) => Written::Done(Some(Box::new(lease))),
        Err(KubeError::Api(status)) if matches!(status.code, 404 | 409) => conflict(api, &name).await,
        Err(error) => {
            tracing::debug!(lease = name, error = %crate::report(&error), "a Lease could not be written");
            Written::Failed
        }
    }
}

/// The Lease that stood in the way of a write.
async fn conflict(api: &Api<Lease>, name: &str) -> Written {
    match api.get_opt(name).await {
        Ok(lease) => Written::Conflict(lease.map(Box::new)),
        Err(_) => Written::Failed,
    }
}

fn at(version: String) -> DeleteParams {
    let preconditions = Some(Preconditions { resource_version: Some(version), uid: None });
    DeleteParams { preconditions, ..DeleteParams::default() }
}

#[cfg(test)]
mod tests;
