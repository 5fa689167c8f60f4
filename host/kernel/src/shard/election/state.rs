//! What the election knows and what it does next. Pure but for [`Holdings`], which it tells: no I/O, and time is an
//! argument, so that a test can let many replicas race through a lossy server in simulated time.
//!
//! Every part has a Lease. It is renewed every interval; a right to write lasts four fifths of the Lease's duration
//! from when the renewal was *sent*, and others wait the whole duration from when they *saw* it. So a replica stops
//! before anybody else can begin, whatever the clocks and the network do.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use tokio::time::Instant;

use super::lease::{Record, Seen, object};
use super::{Gateways, Timing};
use crate::shard::{Domain, Holdings};

/// The Lease of the leader.
const LEADER: &str = "purlin-leader";
const MEMBER: &str = "purlin-member-";
const SHARD: &str = "purlin-shard-";
/// After so many times its duration the Lease of a replica that is gone is deleted.
const DEAD_FOR: u32 = 20;
/// What a member's Lease has as its role.
const MEMBER_ROLE: &str = "member";

/// A Lease that this replica may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Slot {
    /// The one that says that this replica lives.
    Member,
    /// The one of a part of the work.
    Part(Domain),
}

/// Something to do at the server.
#[derive(Clone, Debug)]
pub(super) enum Action {
    /// Create this Lease, or replace it where it has a version.
    Write(Slot, Box<Lease>),
    /// Delete this Lease, at this version.
    Delete(Slot, String, String),
    /// Read all Leases anew, from the server itself, and hand them to [`Election::listed`] with this number.
    List(u64),
    /// Delete the Lease, at this version, of a replica that is long gone. What comes of it does not matter.
    Forget(String, String),
}

/// What came of a write.
#[derive(Clone, Debug)]
pub(super) enum Written {
    /// The Lease as it is now; none where it was deleted.
    Done(Option<Box<Lease>>),
    /// Somebody else wrote first. The Lease as it is now, where it is there.
    Conflict(Option<Box<Lease>>),
    /// It may or may not have been written.
    Failed,
}

/// Where this replica is between coming and going.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Not yet among the members.
    Joining,
    /// Among the members, and not yet sure that nobody among them splits namespaces in another way.
    Checking,
    /// Taking part.
    Member,
    /// Giving everything up.
    Leaving,
}

/// What this replica has of a Lease.
#[derive(Clone, Copy, Debug)]
struct Own {
    until: Instant,
    renew_at: Instant,
    draining: bool,
}

/// One replica's view of all Leases.
pub(super) struct Election {
    /// The identity, which outlives a restart and which shares are counted by.
    identity: String,
    /// The identity and a number of this process: what Leases are held by.
    holder: String,
    gateway: Option<String>,
    timing: Timing,
    holdings: Holdings,
    phase: Phase,
    leases: BTreeMap<String, Seen>,
    own: BTreeMap<Slot, Own>,
    busy: BTreeSet<Slot>,
    /// The number of the listing that is to say who else there is, and whether it is on its way.
    check: u64,
    listing: bool,
    not_before: BTreeMap<Slot, Instant>,
    rejoin_at: Instant,
}

impl Election {
    /// A replica that has nothing yet.
    pub(super) fn new(
        identity: &str,
        process: &str,
        gateway: Option<String>,
        timing: Timing,
        holdings: Holdings,
        now: Instant,
    ) -> Self {
        Election {
            identity: identity.to_owned(),
            holder: format!("{identity}_{process}"),
            gateway,
            timing,
            holdings,
            phase: Phase::Joining,
            leases: BTreeMap::new(),
            own: BTreeMap::new(),
            busy: BTreeSet::new(),
            check: 0,
            listing: false,
            not_before: BTreeMap::new(),
            rejoin_at: now,
        }
    }

    /// Whether this replica is among the members now.
    pub(super) fn has_joined(&self, now: Instant) -> bool {
        self.phase == Phase::Member && self.own.get(&Slot::Member).is_some_and(|own| now < own.until)
    }

    /// A replica that splits namespaces into another number of shards, and that number.
    pub(super) fn differing(&self, now: Instant) -> Option<(&str, u32)> {
        // One that is leaving is no member any more and may still have shards.
        self.leases.values().filter(|seen| seen.is_live(now)).find_map(|seen| {
            let shards = seen.record.shards.filter(|shards| *shards != self.holdings.shards().count())?;
            Some((seen.record.holder.as_deref()?, shards))
        })
    }

    /// Whether a replica of the same identity lives. It has to end first.
    pub(super) fn namesake(&self, now: Instant) -> bool {
        let seen = self.leases.get(&self.name(Slot::Member));
        seen.is_some_and(|seen| {
            seen.is_live(now) && seen.record.holder.as_deref() != Some(self.holder.as_str())
        })
    }

    /// The parts that this replica has.
    pub(super) fn parts(&self) -> impl Iterator<Item = Domain> {
        self.own.keys().filter_map(|slot| match slot {
            Slot::Part(domain) => Some(*domain),
            Slot::Member => None,
        })
    }

    /// Whether nothing is left to give up.
    pub(super) fn has_left(&self) -> bool {
        self.phase == Phase::Leaving && self.own.is_empty() && self.busy.is_empty()
    }

    /// Begins to give everything up.
    pub(super) fn leave(&mut self) {
        self.phase = Phase::Leaving;
    }

    /// A Lease was seen.
    pub(super) fn saw(&mut self, name: &str, lease: &Lease, now: Instant) {
        let version = lease.metadata.resource_version.clone();
        let record = Record::of(lease, self.timing.duration);
        let since = match self.leases.get(name) {
            Some(seen) if version.as_deref().is_some_and(|version| seen.is_newer_than(version)) => return,
            Some(seen) if same_renewal(&seen.record, &record) => seen.since,
            Some(_) | None => now,
        };
        self.leases.insert(name.to_owned(), Seen { record, version, since });
        self.check_own(name, now);
    }

    /// A Lease was seen to be gone. Whoever had it may not know yet: it is not free before it would have ended.
    pub(super) fn saw_deleted(&mut self, name: &str, now: Instant) {
        if name.starts_with(MEMBER) {
            self.leases.remove(name);
        } else if let Some(seen) = self.leases.get_mut(name) {
            seen.version = None;
        }
        self.check_own(name, now);
    }

    /// All Leases that there are.
    pub(super) fn saw_all(&mut self, leases: &[Lease], now: Instant) {
        let present: BTreeSet<_> = leases.iter().filter_map(|lease| lease.metadata.name.as_deref()).collect();
        let gone: Vec<_> =
            self.leases.keys().filter(|name| !present.contains(name.as_str())).cloned().collect();
        for lease in leases {
            if let Some(name) = &lease.metadata.name {
                self.saw(name, lease, now);
            }
        }
        for name in gone {
            self.saw_deleted(&name, now);
        }
    }

    /// The listing of that number, which was begun after this replica joined; none where it failed.
    pub(super) fn listed(&mut self, check: u64, leases: Option<&[Lease]>, now: Instant) {
        if check == self.check {
            self.listing = false;
        }
        let Some(leases) = leases else { return };
        self.saw_all(leases, now);
        if self.phase == Phase::Checking && check == self.check {
            self.phase = Phase::Member;
            if self.differing(now).is_some() {
                // Both may have come at once, and then both go. Nobody who has begun to work ever yields.
                self.withdraw(now);
            }
        }
    }

    /// A write came back that was sent at `sent`.
    pub(super) fn written(&mut self, slot: Slot, sent: Instant, written: Written, now: Instant) {
        self.busy.remove(&slot);
        let name = self.name(slot);
        match written {
            Written::Done(Some(lease)) => {
                let ours = lease.spec.as_ref().and_then(|spec| spec.holder_identity.as_deref())
                    == Some(self.holder.as_str());
                if ours {
                    self.have(slot, sent, now);
                } else {
                    self.gave_up(slot);
                }
                self.saw(&name, &lease, now);
            }
            Written::Done(None) => {
                self.gave_up(slot);
                self.leases.remove(&name);
            }
            Written::Conflict(Some(lease)) => {
                self.saw(&name, &lease, now);
                self.again(slot, now);
            }
            Written::Conflict(None) => {
                self.saw_deleted(&name, now);
                self.again(slot, now);
            }
            Written::Failed => self.again(slot, now),
        }
        // What was seen while the write was on its way counts from now on.
        self.check_own(&name, now);
    }

    /// What is to be done now. Each answer is to be carried out and reported; none is given twice meanwhile.
    pub(super) fn due(&mut self, now: Instant) -> Vec<Action> {
        self.expire(now);
        let mut actions = Vec::new();
        match self.phase {
            Phase::Joining => {
                let free = !self.namesake(now) && self.differing(now).is_none() && now >= self.rejoin_at;
                if free && self.may_write(Slot::Member, now) {
                    actions.push(self.write(Slot::Member));
                }
            }
            Phase::Checking => {
                if !std::mem::replace(&mut self.listing, true) {
                    actions.push(Action::List(self.check));
                }
                self.renew(Slot::Member, now, &mut actions);
            }
            Phase::Member => {
                self.renew(Slot::Member, now, &mut actions);
                let wanted = self.wanted(now);
                for domain in self.domains() {
                    self.settle(domain, wanted.contains(&domain), now, &mut actions);
                }
                if self.own.contains_key(&Slot::Part(Domain::Leader)) {
                    self.forget_the_dead(now, &mut actions);
                }
            }
            Phase::Leaving => {
                // The others share out what this one has before it is free: then each is taken the moment it is.
                if self.own.contains_key(&Slot::Member) && self.may_write(Slot::Member, now) {
                    actions.extend(self.delete(Slot::Member));
                }
                for domain in self.domains() {
                    self.settle(domain, false, now, &mut actions);
                }
            }
        }
        actions
    }

    /// When to call [`Election::due`] again, if nothing happens before.
    pub(super) fn next(&self, now: Instant) -> Instant {
        let owned = self.own.iter().flat_map(|(slot, own)| {
            let renewal = (!self.busy.contains(slot)).then_some(own.renew_at);
            [Some(own.until), renewal]
        });
        let ends = self.leases.values().map(Seen::expires);
        let pauses = self.not_before.values().map(|at| Some(*at));
        let times = owned.chain(ends).chain(pauses).chain([Some(self.rejoin_at)]).flatten();
        times.filter(|at| *at > now).min().unwrap_or(now + self.timing.renew)
    }

    /// Clears away the Leases of replicas that did not come back.
    fn forget_the_dead(&mut self, now: Instant, actions: &mut Vec<Action>) {
        let long = self.timing.duration * DEAD_FOR;
        for (name, seen) in self.leases.iter_mut().filter(|(name, _)| name.starts_with(MEMBER)) {
            if let Some(version) = seen.version.clone().filter(|_| now >= seen.since + long) {
                // Tried again after as long, should it fail.
                seen.since = now - seen.record.duration.min(now - seen.since);
                actions.push(Action::Forget(name.clone(), version));
            }
        }
    }

    /// Stops what was not renewed in time.
    fn expire(&mut self, now: Instant) {
        let ended: Vec<_> =
            self.own.iter().filter(|(_, own)| now >= own.until).map(|(slot, _)| *slot).collect();
        for slot in ended {
            self.lose(slot, "it could not be renewed in time", now);
        }
    }

    /// Whether what this replica has is still its own, after `name` was seen.
    fn check_own(&mut self, name: &str, now: Instant) {
        let Some(slot) = self.own.keys().copied().find(|slot| self.name(*slot) == name) else { return };
        let ours = self.leases.get(name).is_some_and(|seen| {
            seen.version.is_some() && seen.record.holder.as_deref() == Some(self.holder.as_str())
        });
        // A write of our own that is on its way may be what was seen.
        if !ours && !self.busy.contains(&slot) {
            self.lose(slot, "somebody else changed its Lease", now);
        }
    }

    fn lose(&mut self, slot: Slot, why: &'static str, now: Instant) {
        self.own.remove(&slot);
        match slot {
            Slot::Part(domain) => {
                tracing::warn!(%domain, why, "lost");
                self.holdings.lose(domain);
            }
            Slot::Member if self.phase == Phase::Leaving => {}
            Slot::Member => {
                tracing::warn!(why, "no longer among the replicas");
                self.phase = Phase::Joining;
                self.rejoin_at = now;
                for domain in self.parts().collect::<Vec<_>>() {
                    self.lose(Slot::Part(domain), "this replica is no longer among the others", now);
                }
            }
        }
    }

    /// Goes, to come again after a while.
    fn withdraw(&mut self, now: Instant) {
        self.phase = Phase::Joining;
        let part = Duration::from_millis(rand::random_range(0..=self.timing.duration.as_millis() as u64));
        self.rejoin_at = now + self.timing.duration + part;
        self.own.remove(&Slot::Member);
        self.not_before.insert(Slot::Member, self.rejoin_at);
    }

    fn have(&mut self, slot: Slot, sent: Instant, now: Instant) {
        let until = sent + self.timing.deadline();
        if now >= until {
            // The answer took so long that others may have seen the Lease end.
            self.again(slot, now);
            return;
        }
        self.not_before.remove(&slot);
        let renew_at = sent + self.timing.renew;
        if slot == Slot::Member {
            self.holdings.live(until);
        }
        match self.own.get_mut(&slot) {
            Some(own) => {
                own.until = until;
                own.renew_at = renew_at;
                if let Slot::Part(domain) = slot {
                    self.holdings.extend(domain, until);
                }
            }
            None => match (slot, self.phase) {
                (Slot::Part(domain), Phase::Member) => {
                    tracing::info!(%domain, "taken");
                    self.own.insert(slot, Own { until, renew_at, draining: false });
                    self.holdings.take(domain, until);
                }
                (Slot::Member, Phase::Joining) => {
                    self.own.insert(slot, Own { until, renew_at, draining: false });
                    self.phase = Phase::Checking;
                    self.check += 1;
                    self.listing = false;
                }
                // It came too late; what was written ends by itself.
                (Slot::Part(_), Phase::Joining | Phase::Checking | Phase::Leaving)
                | (Slot::Member, Phase::Checking | Phase::Member | Phase::Leaving) => {}
            },
        }
    }

    fn gave_up(&mut self, slot: Slot) {
        if self.own.remove(&slot).is_some()
            && let Slot::Part(domain) = slot
        {
            tracing::info!(%domain, "given up");
            self.holdings.release(domain);
        }
    }

    fn again(&mut self, slot: Slot, now: Instant) {
        let pause = (self.timing.renew / 8).clamp(Duration::from_millis(20), Duration::from_millis(500));
        self.not_before.insert(slot, now + pause.mul_f64(rand::random_range(0.5..1.0)));
    }

    fn domains(&self) -> Vec<Domain> {
        std::iter::once(Domain::Leader).chain(self.holdings.shards().numbers().map(Domain::Shard)).collect()
    }

    /// The members that live, by identity, and with this replica once it has joined.
    fn members(&self, now: Instant) -> impl Iterator<Item = (&str, &Seen)> {
        self.leases
            .iter()
            .filter(move |(_, seen)| seen.is_live(now))
            .filter_map(|(name, seen)| Some((name.strip_prefix(MEMBER)?, seen)))
    }

    /// Where the members that live answer requests for models, by identity.
    pub(super) fn gateways(&self, now: Instant) -> Gateways {
        let address = |seen: &Seen| seen.record.gateway.clone();
        self.members(now).filter_map(|(identity, seen)| Some((identity.to_owned(), address(seen)?))).collect()
    }

    /// The parts that this replica should have.
    fn wanted(&self, now: Instant) -> BTreeSet<Domain> {
        let others = self.members(now).map(|(identity, _)| identity);
        let members: BTreeSet<_> = others.chain([self.identity.as_str()]).collect();
        let shares = self.holdings.shards().assign(members);
        let shards = shares.iter().filter(|(_, member)| **member == self.identity);
        // Whoever leads goes on leading: a change would gain nothing.
        std::iter::once(Domain::Leader).chain(shards.map(|(shard, _)| Domain::Shard(*shard))).collect()
    }

    /// Brings one part to where it should be.
    fn settle(&mut self, domain: Domain, wanted: bool, now: Instant, actions: &mut Vec<Action>) {
        let slot = Slot::Part(domain);
        match (self.own.get(&slot).copied(), wanted) {
            (Some(own), _) if own.draining || !wanted => {
                if !own.draining {
                    self.holdings.drain(domain);
                    self.own.insert(slot, Own { draining: true, ..own });
                }
                if self.holdings.is_drained(domain) {
                    // Before the Lease is free, so that nobody has it while this replica still thinks it does.
                    self.holdings.release(domain);
                    if self.may_write(slot, now) {
                        actions.push(self.give_up(slot));
                    }
                } else {
                    self.renew(slot, now, actions);
                }
            }
            (Some(_), _) => self.renew(slot, now, actions),
            (None, true) => {
                if self.is_free(slot, now) && self.may_write(slot, now) {
                    actions.push(self.write(slot));
                }
            }
            (None, false) => {}
        }
    }

    fn is_free(&self, slot: Slot, now: Instant) -> bool {
        self.leases.get(&self.name(slot)).is_none_or(|seen| {
            !seen.is_live(now) || seen.record.holder.as_deref() == Some(self.holder.as_str())
        })
    }

    fn may_write(&self, slot: Slot, now: Instant) -> bool {
        !self.busy.contains(&slot) && self.not_before.get(&slot).is_none_or(|at| now >= *at)
    }

    fn renew(&mut self, slot: Slot, now: Instant, actions: &mut Vec<Action>) {
        let due = self.own.get(&slot).is_some_and(|own| now >= own.renew_at);
        if due && self.may_write(slot, now) {
            actions.push(self.write(slot));
        }
    }

    /// Takes or renews a Lease, on top of what was seen of it.
    fn write(&mut self, slot: Slot) -> Action {
        self.put(slot, Some(self.holder.clone()))
    }

    fn give_up(&mut self, slot: Slot) -> Action {
        self.put(slot, None)
    }

    fn put(&mut self, slot: Slot, holder: Option<String>) -> Action {
        self.busy.insert(slot);
        let name = self.name(slot);
        let seen = self.leases.get(&name);
        let before = seen.map(|seen| (&seen.record.holder, seen.record.transitions));
        let transitions = match before {
            Some((known, transitions)) if holder.is_some() && *known != holder => {
                transitions.saturating_add(1)
            }
            Some((_, transitions)) => transitions,
            None => 0,
        };
        let record = Record {
            renewed: holder.is_some().then(Timestamp::now),
            holder,
            duration: self.timing.duration,
            transitions,
            shards: Some(self.holdings.shards().count()),
            gateway: self.gateway.clone().filter(|_| slot == Slot::Member),
        };
        let role = match slot {
            Slot::Member => MEMBER_ROLE,
            Slot::Part(Domain::Leader) => "leader",
            Slot::Part(Domain::Shard(_)) => "shard",
        };
        let version = seen.and_then(|seen| seen.version.clone());
        Action::Write(slot, Box::new(object(&name, role, &record, version)))
    }

    fn delete(&mut self, slot: Slot) -> Option<Action> {
        let name = self.name(slot);
        let version = self.leases.get(&name).and_then(|seen| seen.version.clone());
        match version {
            Some(version) => {
                self.busy.insert(slot);
                Some(Action::Delete(slot, name, version))
            }
            None => {
                self.own.remove(&slot);
                None
            }
        }
    }

    fn name(&self, slot: Slot) -> String {
        match slot {
            Slot::Member => format!("{MEMBER}{}", self.identity),
            Slot::Part(Domain::Leader) => LEADER.to_owned(),
            Slot::Part(Domain::Shard(shard)) => {
                format!("{SHARD}{shard}-of-{}", self.holdings.shards().count())
            }
        }
    }
}

fn same_renewal(one: &Record, other: &Record) -> bool {
    one.holder == other.holder && one.renewed == other.renewed && one.transitions == other.transitions
}
