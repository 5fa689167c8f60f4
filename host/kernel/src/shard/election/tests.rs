//! Replicas that race through a lossy, slow server in simulated time.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use tokio::time::Instant;

use super::state::{Action, Election, Slot, Written};
use super::{Timing, TimingError};
use crate::shard::{Domain, Holdings, Shards};

/// A step of the simulation.
const STEP: Duration = Duration::from_millis(50);

/// The server's Leases, by name.
#[derive(Default)]
struct Server {
    leases: BTreeMap<String, Lease>,
    version: u64,
}

impl Server {
    fn write(&mut self, lease: &Lease) -> Written {
        let name = lease.metadata.name.clone().unwrap();
        let present = self.leases.get(&name);
        let version = present.and_then(|lease| lease.metadata.resource_version.clone());
        if version != lease.metadata.resource_version {
            return Written::Conflict(present.cloned().map(Box::new));
        }
        self.version += 1;
        let mut lease = lease.clone();
        lease.metadata.resource_version = Some(self.version.to_string());
        self.leases.insert(name, lease.clone());
        Written::Done(Some(Box::new(lease)))
    }

    fn delete(&mut self, name: &str, version: &str) -> Written {
        match self.leases.get(name) {
            Some(lease) if lease.metadata.resource_version.as_deref() != Some(version) => {
                Written::Conflict(Some(Box::new(lease.clone())))
            }
            Some(_) | None => {
                self.leases.remove(name);
                Written::Done(None)
            }
        }
    }
}

/// A request on its way: it reaches the server at one time, its answer the replica at another.
struct Flight {
    arrives: Instant,
    answered: Instant,
    sent: Instant,
    action: Action,
    answer: Option<Answer>,
    lost: bool,
}

enum Answer {
    Written(Slot, Written),
    Listed(u64, Vec<Lease>),
    Nothing,
}

struct Replica {
    election: Election,
    holdings: Holdings,
    flights: Vec<Flight>,
    /// Until then it neither sends nor hears: stopped, or cut off.
    away: Instant,
    gone: bool,
}

fn shards(count: u32) -> Shards {
    Shards::new(NonZeroU32::new(count).unwrap())
}

fn replica(name: &str, process: &str, count: u32) -> Replica {
    let holdings = Holdings::nothing(shards(count));
    let now = Instant::now();
    Replica {
        election: Election::new(
            name,
            process,
            Some(format!("{name}:7446")),
            Timing::default(),
            holdings.clone(),
            now,
        ),
        holdings,
        flights: Vec::new(),
        away: now,
        gone: false,
    }
}

/// Small and good enough: the tests' own source of chance, so that a failure can be repeated by its seed.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

impl Replica {
    fn step(&mut self, server: &mut Server, chance: &mut Chance, lossy: bool) {
        let now = Instant::now();
        let mut answers = Vec::new();
        for flight in &mut self.flights {
            // A request that was sent arrives even if its sender is no more.
            if flight.answer.is_none() && now >= flight.arrives {
                flight.answer = Some(match &flight.action {
                    Action::Write(slot, lease) => Answer::Written(*slot, server.write(lease)),
                    Action::Delete(slot, name, version) => {
                        Answer::Written(*slot, server.delete(name, version))
                    }
                    Action::Forget(name, version) => {
                        server.delete(name, version);
                        Answer::Nothing
                    }
                    Action::List(check) => Answer::Listed(*check, server.leases.values().cloned().collect()),
                });
            }
        }
        if self.gone || now < self.away {
            return;
        }
        self.flights.retain_mut(|flight| {
            if flight.answer.is_none() || now < flight.answered {
                return true;
            }
            answers.push((flight.sent, flight.answer.take(), flight.lost));
            false
        });
        for (sent, answer, lost) in answers {
            match answer {
                Some(Answer::Written(slot, _)) if lost => {
                    self.election.written(slot, sent, Written::Failed, now);
                }
                Some(Answer::Listed(check, _)) if lost => self.election.listed(check, None, now),
                Some(Answer::Written(slot, written)) => self.election.written(slot, sent, written, now),
                Some(Answer::Listed(check, leases)) => self.election.listed(check, Some(&leases), now),
                Some(Answer::Nothing) | None => {}
            }
        }
        if !lossy || chance.below(3) == 0 {
            let leases: Vec<_> = server.leases.values().cloned().collect();
            self.election.saw_all(&leases, now);
        }
        for action in self.election.due(now) {
            let delay = |chance: &mut Chance| match (lossy, chance.below(20)) {
                (true, 0) => Duration::from_millis(chance.below(6000)),
                (true, _) => Duration::from_millis(chance.below(300)),
                (false, _) => Duration::ZERO,
            };
            let arrives = now + delay(chance);
            let answered = arrives + delay(chance);
            let lost = lossy && chance.below(10) == 0;
            self.flights.push(Flight { arrives, answered, sent: now, action, answer: None, lost });
        }
    }
}

fn domains(count: u32) -> Vec<Domain> {
    std::iter::once(Domain::Leader).chain((0..count).map(Domain::Shard)).collect()
}

fn holders(replicas: &[Replica], domain: Domain) -> usize {
    replicas.iter().filter(|replica| replica.holdings.holds(domain)).count()
}

async fn run(replicas: &mut [Replica], server: &mut Server, chance: &mut Chance, time: Duration, count: u32) {
    let end = Instant::now() + time;
    while Instant::now() < end {
        for replica in replicas.iter_mut() {
            replica.step(server, chance, false);
        }
        for domain in domains(count) {
            assert!(holders(replicas, domain) <= 1, "{domain} is held twice");
        }
        tokio::time::advance(STEP).await;
    }
}

#[tokio::test(start_paused = true)]
async fn replicas_share_and_take_over_what_a_dead_one_had() {
    let (mut server, mut chance) = (Server::default(), Chance(7));
    let mut replicas: Vec<_> = ["a", "b", "c"].iter().map(|name| replica(name, "1", 6)).collect();
    run(&mut replicas, &mut server, &mut chance, Duration::from_secs(8), 6).await;
    let has = |replica: &Replica| (0..6).filter(|n| replica.holdings.holds(Domain::Shard(*n))).count();
    assert_eq!(replicas.iter().map(has).collect::<Vec<_>>(), [2, 2, 2]);
    assert_eq!(holders(&replicas, Domain::Leader), 1);
    let before: Vec<_> = (0..6).filter(|n| replicas[1].holdings.holds(Domain::Shard(*n))).collect();
    replicas[1].gone = true;
    let died = Instant::now();
    let taken = |replicas: &[Replica]| {
        before.iter().all(|n| [0, 2].iter().any(|r| replicas[*r].holdings.holds(Domain::Shard(*n))))
    };
    while !taken(&replicas) {
        run(&mut replicas, &mut server, &mut chance, STEP, 6).await;
        assert!(died.elapsed() < Duration::from_secs(6), "failover took three renewals or more");
    }
}

#[tokio::test(start_paused = true)]
async fn a_replica_that_leaves_hands_over_at_once() {
    let (mut server, mut chance) = (Server::default(), Chance(7));
    let mut replicas: Vec<_> = ["a", "b"].iter().map(|name| replica(name, "1", 4)).collect();
    run(&mut replicas, &mut server, &mut chance, Duration::from_secs(8), 4).await;
    replicas[0].election.leave();
    run(&mut replicas, &mut server, &mut chance, Duration::from_millis(500), 4).await;
    assert!(replicas[0].election.has_left());
    for domain in domains(4) {
        assert!(replicas[1].holdings.holds(domain), "{domain}");
    }
}

#[tokio::test(start_paused = true)]
async fn replicas_that_split_differently_never_work_side_by_side() {
    for seed in 1..40 {
        let (mut server, mut chance) = (Server::default(), Chance(seed));
        let mut replicas = vec![replica("a", "1", 2), replica("b", "1", 3)];
        let end = Instant::now() + Duration::from_secs(60);
        while Instant::now() < end {
            for replica in &mut replicas {
                replica.step(&mut server, &mut chance, true);
            }
            let works = |replica: &Replica| (0..3).any(|n| replica.holdings.holds(Domain::Shard(n)));
            assert!(!(works(&replicas[0]) && works(&replicas[1])), "seed {seed}");
            tokio::time::advance(STEP).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_stolen_lease_is_let_go_and_got_back() {
    let (mut server, mut chance) = (Server::default(), Chance(7));
    let mut replicas = vec![replica("a", "1", 1)];
    run(&mut replicas, &mut server, &mut chance, Duration::from_secs(2), 1).await;
    assert!(replicas[0].holdings.holds(Domain::Leader));
    let mut stolen = server.leases["purlin-leader"].clone();
    let spec = stolen.spec.as_mut().unwrap();
    spec.holder_identity = Some("thief".to_owned());
    spec.lease_duration_seconds = Some(1_000_000);
    server.version += 1;
    stolen.metadata.resource_version = Some(server.version.to_string());
    server.leases.insert("purlin-leader".to_owned(), stolen);
    run(&mut replicas, &mut server, &mut chance, STEP * 2, 1).await;
    assert!(!replicas[0].holdings.holds(Domain::Leader));
    run(&mut replicas, &mut server, &mut chance, Duration::from_secs(52), 1).await;
    assert!(replicas[0].holdings.holds(Domain::Leader), "a thief that does not renew loses it again");
}

/// Whatever is delayed, lost, stopped, cut off or started again, no part is ever held twice, and once all is well
/// every part is held.
#[tokio::test(start_paused = true)]
async fn no_part_is_ever_held_twice() {
    const COUNT: u32 = 3;
    for seed in 1..25 {
        let (mut server, mut chance) = (Server::default(), Chance(seed));
        let mut replicas: Vec<_> = ["a", "b", "c"].iter().map(|name| replica(name, "1", COUNT)).collect();
        let end = Instant::now() + Duration::from_secs(120);
        let (mut restarts, mut ghosts) = (1, Vec::new());
        while Instant::now() < end {
            for replica in replicas.iter_mut().chain(&mut ghosts) {
                replica.step(&mut server, &mut chance, true);
            }
            for domain in domains(COUNT) {
                assert!(holders(&replicas, domain) <= 1, "seed {seed}: {domain} is held twice");
            }
            if chance.below(100) == 0 {
                let which = chance.below(3) as usize;
                match chance.below(3) {
                    0 => replicas[which].away = Instant::now() + Duration::from_millis(chance.below(9000)),
                    1 => replicas[which].election.leave(),
                    _ => {
                        restarts += 1;
                        let name = ["a", "b", "c"][which];
                        let fresh = replica(name, &restarts.to_string(), COUNT);
                        let mut dead = std::mem::replace(&mut replicas[which], fresh);
                        // What it has sent may still arrive.
                        dead.gone = true;
                        ghosts.push(dead);
                    }
                }
            }
            tokio::time::advance(STEP).await;
        }
        let mut replicas: Vec<_> = ["d", "e"].iter().map(|name| replica(name, "1", COUNT)).collect();
        run(&mut replicas, &mut server, &mut chance, Duration::from_secs(16), COUNT).await;
        for domain in domains(COUNT) {
            assert_eq!(holders(&replicas, domain), 1, "seed {seed}: {domain}");
        }
    }
}

#[test]
fn times_that_would_lose_leases_are_refused() {
    let seconds = Duration::from_secs;
    assert_eq!(Timing::new(seconds(5), seconds(2)), Ok(Timing::default()));
    assert!(matches!(Timing::new(seconds(5), seconds(3)), Err(TimingError::TooRare { .. })));
    assert!(matches!(Timing::new(Duration::from_millis(1500), seconds(1)), Err(TimingError::NotWhole(_))));
}
