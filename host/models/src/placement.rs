//! Which of several gateways has a model in memory, and whom the others ask for it.
//!
//! Every model belongs to one gateway, by rendezvous hashing over those that live, so that together they hold more models than
//! one of them could. Two exceptions keep requests from going a long way: a gateway that has the model in memory for whatever
//! reason answers itself, and one that is asked for it often loads it too.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use purlin_kernel::shard::election::Gateways;
use purlin_kernel::shard::rendezvous;
use tokio::sync::watch;

/// A gateway that did not take a request is asked again after this.
const AWAY: Duration = Duration::from_secs(5);

/// A model that is asked so often in a second by way of one gateway is loaded there.
const OFTEN: u32 = 50;

/// The gateways that share the models among them.
#[derive(Clone, Debug)]
pub struct Peers {
    /// This one.
    pub identity: String,
    /// All that live, this one among them.
    pub gateways: watch::Receiver<Gateways>,
}

/// Whose models are whose.
pub(crate) struct Placement {
    /// None where there is one gateway.
    peers: Option<Peers>,
    /// Until when gateways are left alone, by address.
    away: Mutex<HashMap<String, Instant>>,
    asked: Mutex<Asked>,
}

/// How often models were asked that are another gateway's, in this second and the one before.
struct Asked {
    since: Instant,
    now: HashMap<String, u32>,
    before: HashMap<String, u32>,
}

impl Placement {
    pub(crate) fn new(peers: Option<Peers>) -> Placement {
        let asked = Asked { since: Instant::now(), now: HashMap::new(), before: HashMap::new() };
        Placement { peers, away: Mutex::default(), asked: Mutex::new(asked) }
    }

    /// Follows who the gateways are.
    pub(crate) fn gateways(&self) -> Option<watch::Receiver<Gateways>> {
        self.peers.as_ref().map(|peers| peers.gateways.clone())
    }

    /// Whether models of a group are to be in memory here.
    pub(crate) fn is_home(&self, group: &str) -> bool {
        self.home(group).is_none()
    }

    /// The gateway that is to be asked for a group, where that is another one.
    pub(crate) fn elsewhere(&self, group: &str) -> Option<String> {
        let home = self.home(group)?;
        if self.asked().count(group) >= OFTEN { None } else { Some(home) }
    }

    /// A gateway did not take a request.
    pub(crate) fn unreachable(&self, gateway: &str) {
        let mut away = self.away();
        away.retain(|_, until| *until > Instant::now());
        away.insert(gateway.to_owned(), Instant::now() + AWAY);
    }

    /// The address of the gateway that a group belongs to; none where that is this one.
    fn home(&self, group: &str) -> Option<String> {
        let Peers { identity, gateways } = self.peers.as_ref()?;
        let gateways = gateways.borrow();
        // One that the others do not know is asked by nobody, and has what it is asked for itself.
        if gateways.len() < 2 || !gateways.contains_key(identity) {
            return None;
        }
        let away = self.away();
        let there = |address: &String| away.get(address).is_none_or(|until| *until <= Instant::now());
        let members = gateways.iter().filter(|(member, address)| *member == identity || there(address));
        let home = rendezvous(group, members.map(|(member, _)| member.as_str()))?;
        if home == identity { None } else { gateways.get(home).cloned() }
    }

    fn away(&self) -> MutexGuard<'_, HashMap<String, Instant>> {
        self.away.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn asked(&self) -> MutexGuard<'_, Asked> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Asked {
    /// Counts one more, and says how many there were in the busier of this second and the one before.
    fn count(&mut self, group: &str) -> u32 {
        let passed = self.since.elapsed();
        if passed >= Duration::from_secs(1) {
            self.before = std::mem::take(&mut self.now);
            if passed >= Duration::from_secs(2) {
                self.before.clear();
            }
            self.since = Instant::now();
        }
        let now = match self.now.get_mut(group) {
            Some(now) => {
                *now += 1;
                *now
            }
            None => {
                self.now.insert(group.to_owned(), 1);
                1
            }
        };
        now.max(self.before.get(group).copied().unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn placement(identity: &str, members: &[&str]) -> (watch::Sender<Gateways>, Placement) {
        let gateways =
            members.iter().map(|member| ((*member).to_owned(), format!("{member}:7446"))).collect();
        let (sender, gateways) = watch::channel(gateways);
        (sender, Placement::new(Some(Peers { identity: identity.to_owned(), gateways })))
    }

    fn groups() -> impl Iterator<Item = String> {
        (0..300).map(|number| format!("team/model-{number}"))
    }

    #[test]
    fn every_group_has_one_home_and_all_agree_on_it() {
        let names = ["a", "b", "c"];
        let placements: Vec<_> = names.iter().map(|name| placement(name, &names).1).collect();
        for group in groups() {
            let homes = placements.iter().filter(|placement| placement.is_home(&group)).count();
            assert_eq!(homes, 1, "{group}");
            let mut asked: Vec<_> = placements.iter().filter_map(|one| one.elsewhere(&group)).collect();
            asked.dedup();
            assert_eq!(asked.len(), 1, "{group}: {asked:?}");
        }
        let share = groups().filter(|group| placements[0].is_home(group)).count();
        assert!((60..140).contains(&share), "{share} of 300 models on one of three");
    }

    #[test]
    fn alone_or_unknown_a_gateway_has_everything() {
        for (identity, members) in [("a", &["a"][..]), ("a", &[]), ("x", &["a", "b"])] {
            assert!(groups().all(|group| placement(identity, members).1.is_home(&group)), "{members:?}");
        }
        assert!(groups().all(|group| Placement::new(None).is_home(&group)));
    }

    #[test]
    fn only_what_the_lost_one_had_moves() {
        let (sender, placement) = placement("a", &["a", "b", "c"]);
        let before: HashMap<_, _> = groups().map(|group| (group.clone(), placement.home(&group))).collect();
        placement.unreachable("c:7446");
        let lost = |home: &Option<String>| home.as_deref() == Some("c:7446");
        let moved = |group: &String| {
            let now = placement.home(group);
            assert!(!lost(&now));
            now != before[group]
        };
        assert!(groups().all(|group| moved(&group) == lost(&before[&group])));
        sender.send_modify(|gateways| {
            gateways.remove("c");
        });
        assert!(groups().all(|group| moved(&group) == lost(&before[&group])));
    }

    #[test]
    fn what_is_asked_often_is_loaded_here_too() {
        let (_sender, placement) = placement("a", &["a", "b"]);
        let group = groups().find(|group| !placement.is_home(group)).unwrap();
        let relayed = (0..2 * OFTEN).filter(|_| placement.elsewhere(&group).is_some()).count();
        assert!(relayed < OFTEN as usize, "{relayed}");
        assert!(!placement.is_home(&group), "it goes when it is idle");
    }
}
