//! Completion indexes as a Job's status writes them: `0,2-4`. Pure.

use std::collections::BTreeSet;

/// Reads the status format; what is no index is left out.
pub(super) fn parse(text: &str) -> BTreeSet<i32> {
    let mut out = BTreeSet::new();
    for part in text.split(',').filter(|part| !part.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        if let (Ok(first), Ok(last)) = (first.parse::<i32>(), last.parse::<i32>()) {
            out.extend(first..=last);
        }
    }
    out
}

/// Writes the status format.
pub(super) fn format(indexes: &BTreeSet<i32>) -> String {
    let mut runs: Vec<(i32, i32)> = Vec::new();
    for index in indexes {
        match runs.last_mut() {
            Some((_, last)) if *last + 1 == *index => *last = *index,
            _ => runs.push((*index, *index)),
        }
    }
    let runs = runs.iter().map(|(first, last)| match last - first {
        0 => first.to_string(),
        1 => format!("{first},{last}"),
        _ => format!("{first}-{last}"),
    });
    runs.collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn writes_runs_of_three_as_a_range() {
        assert_eq!(format(&BTreeSet::from([0, 2, 3, 4, 6, 7])), "0,2-4,6,7");
    }

    proptest! {
        #[test]
        fn reads_what_it_writes(indexes in proptest::collection::btree_set(0..200, 0..60)) {
            prop_assert_eq!(parse(&format(&indexes)), indexes);
        }
    }
}
