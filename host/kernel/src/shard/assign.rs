//! Who should have which shard. Pure: every replica that sees the same members comes to the same answer.

use std::collections::BTreeMap;
use std::num::NonZeroU32;

use sha2::{Digest, Sha256};

use super::Domain;

/// Into how many shards namespaces are split. The same in every replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shards(NonZeroU32);

impl Shards {
    /// One shard: nothing is split.
    pub const ONE: Shards = Shards(NonZeroU32::MIN);

    /// So many shards.
    pub fn new(count: NonZeroU32) -> Self {
        Shards(count)
    }

    /// How many.
    pub fn count(self) -> u32 {
        self.0.get()
    }

    /// The part to which objects of a namespace belong; without one, objects are the leader's.
    pub fn domain(self, namespace: Option<&str>) -> Domain {
        match namespace {
            None => Domain::Leader,
            Some(namespace) => {
                let hash = score(&[namespace.as_bytes()]);
                Domain::Shard(u32::try_from(hash % u64::from(self.count())).unwrap_or(0))
            }
        }
    }

    /// All shards' numbers.
    pub fn numbers(self) -> impl Iterator<Item = u32> {
        0..self.count()
    }

    /// Gives every shard one of the members. No member has two more than another, and when one comes or goes most
    /// shards stay where they are: each goes to the member with the highest hash of both that still has room.
    pub fn assign<'a>(self, members: impl IntoIterator<Item = &'a str>) -> BTreeMap<u32, &'a str> {
        let mut load: BTreeMap<&str, u32> = members.into_iter().map(|member| (member, 0)).collect();
        let Some(number) = u32::try_from(load.len()).ok().filter(|number| *number > 0) else {
            return BTreeMap::new();
        };
        let (share, mut extra) = (self.count() / number, self.count() % number);
        let mut pairs: Vec<_> = load
            .keys()
            .flat_map(|member| self.numbers().map(move |shard| (shard, *member)))
            .map(|(shard, member)| (score(&[member.as_bytes(), &shard.to_be_bytes()]), shard, member))
            .collect();
        pairs.sort_unstable_by(|one, other| other.cmp(one));
        let mut assigned = BTreeMap::new();
        for (_, shard, member) in pairs {
            let Some(has) = load.get_mut(member) else { continue };
            if assigned.contains_key(&shard) || *has > share || (*has == share && extra == 0) {
                continue;
            }
            if *has == share {
                extra -= 1;
            }
            *has += 1;
            assigned.insert(shard, member);
        }
        assigned
    }
}

/// The member that a key belongs to, by rendezvous hashing (Thaler and Ravishankar, 1998): when a member comes or goes, only the
/// keys that it gets or had change theirs. Every process that sees the same members comes to the same answer.
pub fn rendezvous<'a>(key: &str, members: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    members.into_iter().max_by_key(|member| (score(&[member.as_bytes(), key.as_bytes()]), *member))
}

/// A number that follows from texts, the same in every version.
fn score(texts: &[&[u8]]) -> u64 {
    let mut hasher = Sha256::new();
    for text in texts {
        hasher.update(text);
        hasher.update([0]);
    }
    let hash = hasher.finalize();
    let mut first = [0; 8];
    first.copy_from_slice(&hash[..8]);
    u64::from_be_bytes(first)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn shards(count: u32) -> Shards {
        Shards::new(NonZeroU32::new(count).unwrap())
    }

    #[test]
    fn a_namespace_has_the_same_shard_in_every_version() {
        let named = ["default", "team-a", "team-b", "team-1"].map(|name| shards(8).domain(Some(name)));
        assert_eq!(named, [4, 2, 5, 4].map(Domain::Shard));
        assert_eq!(shards(8).domain(None), Domain::Leader);
    }

    proptest! {
        #[test]
        fn shares_are_even(count in 1_u32..40, members in proptest::collection::btree_set("[a-z]{1,8}", 1..9)) {
            let assigned = shards(count).assign(members.iter().map(String::as_str));
            prop_assert_eq!(assigned.len(), count as usize);
            let load = |member: &String| assigned.values().filter(|owner| *owner == member).count();
            let loads: Vec<_> = members.iter().map(load).collect();
            prop_assert!(loads.iter().max().unwrap() - loads.iter().min().unwrap() <= 1, "{:?}", loads);
        }

        #[test]
        fn most_shards_stay_when_a_member_goes(members in proptest::collection::btree_set("[a-z]{4,8}", 3..6)) {
            let before = shards(60).assign(members.iter().map(String::as_str));
            let left: BTreeSet<_> = members.iter().skip(1).cloned().collect();
            let after = shards(60).assign(left.iter().map(String::as_str));
            let gone = members.first().unwrap();
            let moved = before.iter().filter(|(shard, owner)| *owner != gone && after[*shard] != **owner).count();
            prop_assert!(moved <= 30, "{} of 60 moved", moved);
        }
    }
}
