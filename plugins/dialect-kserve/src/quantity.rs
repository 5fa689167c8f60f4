//! Amounts as Kubernetes writes them, for comparing.

use purlin_sdk::serde_json::Value;

/// An amount in thousandths, rounded up; none where it is no amount.
pub(crate) fn thousandths(value: &Value) -> Option<u128> {
    match value {
        Value::String(text) => of_text(text),
        Value::Number(number) => of_text(&number.to_string()),
        _ => None,
    }
}

fn of_text(text: &str) -> Option<u128> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (digits, suffix) = text.split_at(end);
    let factor: u128 = match suffix {
        "m" => 1,
        "" => 1000,
        "k" => 1_000_000,
        "M" => 1_000_000_000,
        "G" => 1_000_000_000_000,
        "T" => 1_000_000_000_000_000,
        "P" => 1_000_000_000_000_000_000,
        "Ki" => 1000 << 10,
        "Mi" => 1000 << 20,
        "Gi" => 1000 << 30,
        "Ti" => 1000 << 40,
        "Pi" => 1000 << 50,
        _ => return None,
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if (whole.is_empty() && fraction.is_empty()) || fraction.len() > 9 || fraction.contains('.') {
        return None;
    }
    let number = |text: &str| if text.is_empty() { Some(0) } else { text.parse::<u128>().ok() };
    let scale = 10_u128.pow(u32::try_from(fraction.len()).ok()?);
    let whole = number(whole)?.checked_mul(factor)?;
    whole.checked_add(number(fraction)?.checked_mul(factor)?.div_ceil(scale))
}

#[cfg(test)]
mod tests {
    use purlin_sdk::serde_json::json;

    use super::*;

    #[test]
    fn amounts_compare_across_their_units() {
        for (value, expected) in [
            (json!("1"), Some(1000)),
            (json!(2), Some(2000)),
            (json!("250m"), Some(250)),
            (json!("1.5Gi"), Some(1_610_612_736_000)),
            (json!("256Mi"), Some(268_435_456_000)),
            (json!(".5"), Some(500)),
            (json!("1.0001m"), Some(2)),
            (json!(""), None),
            (json!("."), None),
            (json!("1X"), None),
            (json!("1.1.1"), None),
            (json!("999999999999999999999999999999999999999Pi"), None),
            (json!(null), None),
        ] {
            assert_eq!(thousandths(&value), expected, "{value}");
        }
    }
}
