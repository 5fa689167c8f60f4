//! Which of several gets the next request: by weight, in turns that are fair over any few requests, or by what the request
//! has in common with others.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::atomic::{AtomicU64, Ordering};

/// Something and its share, up to which point of the sum of all shares.
#[derive(Debug)]
pub(crate) struct Split<T> {
    ends: Vec<(u64, T)>,
    total: u64,
    stride: u64,
    turn: AtomicU64,
}

impl<T> Split<T> {
    /// A split by weights. What has no weight gets nothing.
    pub(crate) fn new(members: impl IntoIterator<Item = (u32, T)>) -> Split<T> {
        let mut total = 0;
        let mut ends = Vec::new();
        for (weight, member) in members {
            if weight > 0 {
                total += u64::from(weight);
                ends.push((total, member));
            }
        }
        Split { ends, total, stride: stride(total), turn: AtomicU64::new(0) }
    }

    /// The next in turn. As many turns as the weights' sum give each member exactly its weight; over fewer turns the shares
    /// are as close as can be, because consecutive turns fall far apart.
    pub(crate) fn next(&self) -> Option<&T> {
        match self.ends.as_slice() {
            [] => None,
            [(_, only)] => Some(only),
            _ => {
                let turn = self.turn.fetch_add(1, Ordering::Relaxed) % self.total;
                // Below 2^64: a sum of weights is below 2^48, a stride below that sum, and both are reduced first.
                self.at((u128::from(turn) * u128::from(self.stride) % u128::from(self.total)) as u64)
            }
        }
    }

    /// The one for a key; the same key gives the same member as long as the weights stay.
    pub(crate) fn keyed(&self, key: &[u8]) -> Option<&T> {
        if self.total == 0 {
            return None;
        }
        let mut hasher = DefaultHasher::new();
        key.hash(&mut hasher);
        self.at(hasher.finish() % self.total)
    }

    fn at(&self, point: u64) -> Option<&T> {
        let index = self.ends.partition_point(|(end, _)| *end <= point);
        self.ends.get(index).map(|(_, member)| member)
    }

    /// All that have a weight.
    pub(crate) fn members(&self) -> impl Iterator<Item = &T> {
        self.ends.iter().map(|(_, member)| member)
    }
}

/// A step through `0..total` that meets every number once, near the golden section of it, which spreads consecutive steps
/// most evenly.
fn stride(total: u64) -> u64 {
    let golden = (total as f64 * 0.618_033_988_75) as u64;
    (golden.max(1)..total.max(2)).find(|stride| gcd(*stride, total) == 1).unwrap_or(1)
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::Split;

    #[test]
    fn few_requests_already_have_about_the_right_shares() {
        let split = Split::new([(90, "old"), (10, "new")]);
        let first: Vec<_> = (0..20).filter_map(|_| split.next()).collect();
        let new = first.iter().filter(|member| **member == &"new").count();
        assert!((1..=3).contains(&new), "{first:?}");
    }

    #[test]
    fn nobody_gets_anything_without_weight() {
        assert_eq!(Split::new([(0, "a")]).next(), None);
        assert_eq!(Split::new([(0, "a")]).keyed(b"k"), None);
        let split = Split::new([(0, "a"), (1, "b")]);
        assert!((0..10).all(|_| split.next() == Some(&"b")));
    }

    #[test]
    fn a_key_always_goes_to_the_same() {
        let split = Split::new([(50, "a"), (50, "b")]);
        let of = |key: u32| split.keyed(&key.to_le_bytes()).copied();
        assert!((0..100).all(|key| of(key) == of(key)));
        let a = (0..1000).filter(|key| of(*key) == Some("a")).count();
        assert!((400..600).contains(&a), "{a}");
    }

    proptest! {
        #[test]
        fn a_whole_round_gives_each_exactly_its_weight(weights in proptest::collection::vec(0_u32..200, 1..8)) {
            let split = Split::new(weights.iter().copied().enumerate().map(|(index, weight)| (weight, index)));
            let mut got: BTreeMap<usize, u32> = BTreeMap::new();
            for _ in 0..weights.iter().sum::<u32>() {
                *got.entry(*split.next().unwrap()).or_default() += 1;
            }
            for (index, weight) in weights.iter().enumerate() {
                prop_assert_eq!(got.get(&index).copied().unwrap_or(0), if got.len() == 1 && *weight == 0 { 0 } else { *weight });
            }
        }
    }
}
