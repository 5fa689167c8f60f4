//! Numbers as text, as the other SDKs write them.

/// The shortest decimal that reads back as this number, as ECMAScript writes it: `0.5`, `64`, `1e-7`.
pub(crate) fn number(value: f64) -> String {
    if value == 0.0 {
        return "0".to_owned();
    }
    if (1e-6..1e21).contains(&value.abs()) || !value.is_finite() {
        return value.to_string();
    }
    let text = format!("{value:e}");
    if text.contains("e-") { text } else { text.replace('e', "e+") }
}

/// `min + position * step`, without the dust of binary arithmetic (0.30000000000000004).
pub(crate) fn on_step(min: f64, step: f64, position: u64) -> String {
    let sum = min + position as f64 * step;
    let places = places(min).max(places(step));
    format!("{sum:.places$}").parse().map_or_else(|_| number(sum), number)
}

fn places(value: f64) -> usize {
    value.to_string().split_once('.').map_or(0, |(_, places)| places.len())
}
