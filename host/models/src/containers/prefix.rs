//! Which prompts a replica was given lately, and whom that makes the right one for the next.
//!
//! What a replica has in its cache is not asked for: it is taken to be what it was given, as the endpoint pickers of the
//! Gateway API's inference extension do by default. Load is kept even by bounding it: a replica may have a quarter more
//! than the average (V. Mirrokni, M. Thorup and M. Zadimoghaddam, Consistent Hashing with Bounded Loads, 2016).

use std::num::NonZeroUsize;

use lru::LruCache;

/// Blocks that are remembered of a replica: half a million tokens.
const REMEMBERED: NonZeroUsize = NonZeroUsize::new(32_768).expect("it is not zero");

/// The blocks of prompts that a replica was given, the latest of them.
#[derive(Debug)]
pub(crate) struct Seen(LruCache<u64, ()>);

impl Seen {
    pub(crate) fn new() -> Seen {
        // What is not used yet takes no memory.
        let mut seen = LruCache::unbounded();
        seen.resize(REMEMBERED);
        Seen(seen)
    }

    /// How many blocks of a prompt it was given before, from the beginning.
    pub(crate) fn matched(&self, prompt: &[u64]) -> usize {
        prompt.iter().take_while(|block| self.0.contains(*block)).count()
    }

    /// It is given a prompt.
    pub(crate) fn add(&mut self, prompt: &[u64]) {
        // The end of a prompt is forgotten first: without its beginning it is of no use.
        for block in prompt.iter().rev() {
            self.0.put(*block, ());
        }
    }
}

/// The requests that one of `replicas` may have, this one included, where they have `busy` now.
pub(crate) fn bound(busy: usize, replicas: usize) -> usize {
    ((busy + 1) * 5).div_ceil(replicas.max(1) * 4)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{REMEMBERED, Seen, bound};

    #[test]
    fn the_latest_prompts_are_remembered_from_their_beginning() {
        let mut seen = Seen::new();
        seen.add(&[1, 2, 3]);
        assert_eq!(seen.matched(&[1, 2, 3, 4]), 3);
        assert_eq!(seen.matched(&[1, 5, 3]), 1);
        assert_eq!(seen.matched(&[2, 3]), 2);
        assert_eq!(seen.matched(&[]), 0);
        let many: Vec<u64> = (10..10 + REMEMBERED.get() as u64 - 1).collect();
        seen.add(&many);
        assert_eq!(seen.matched(&[1, 2, 3]), 1);
        assert_eq!(seen.matched(&many), many.len());
        seen.add(&[8, 9]);
        assert_eq!(seen.matched(&many), many.len() - 1);
    }

    proptest! {
        #[test]
        fn somebody_is_always_within_the_bound(busy in proptest::collection::vec(0usize..50, 1..10)) {
            let bound = bound(busy.iter().sum(), busy.len());
            prop_assert!(busy.iter().any(|busy| *busy < bound));
        }
    }
}
