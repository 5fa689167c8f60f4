//! Numbers as people write them: the shortest text that reads back as the same number, and on a step no digits that the
//! step does not have.

/// The shortest decimal that reads back as this number, with a point (`1.0`); very small and very large numbers with an
/// exponent (`1e-7`).
pub(crate) fn number(value: f64) -> String {
    format!("{value:?}")
}

/// `min + position * step`, without the dust that binary arithmetic adds to it (0.30000000000000004): a sum of decimals
/// has no more places than its longest term.
pub(crate) fn on_step(min: f64, step: f64, position: u64) -> String {
    let sum = min + position as f64 * step;
    let places = decimal_places(min).max(decimal_places(step));
    match format!("{sum:.places$}").parse::<f64>() {
        // Adding 0 makes a 0 of a -0.
        Ok(clean) => number(clean + 0.0),
        Err(_) => number(sum),
    }
}

fn decimal_places(value: f64) -> usize {
    let text = value.to_string();
    text.split_once('.').map_or(0, |(_, places)| places.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_leave_no_dust() {
        assert_eq!(on_step(0.1, 0.1, 2), "0.3");
        assert_eq!(on_step(0.0, 0.25, 3), "0.75");
        assert_eq!(on_step(1.0, 1.0, 6), "7.0");
        assert_eq!(on_step(0.001, 0.0001, 7), "0.0017");
        assert_eq!(on_step(-0.7, 0.1, 7), "0.0");
    }

    #[test]
    fn numbers_read_back() {
        assert_eq!(number(0.03), "0.03");
        assert_eq!(number(1e-7), "1e-7");
        assert_eq!(number(64.0), "64.0");
    }
}
