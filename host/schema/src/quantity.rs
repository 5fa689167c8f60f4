//! Quantities of resources: a number and a suffix, `500m` or `1.5Gi`.
//!
//! Called where amounts are checked or compared. Pure; it knows nothing of what is measured.

/// What a suffix multiplies by; `None` for one that is none.
fn factor(suffix: &str) -> Option<f64> {
    const KIBI: f64 = 1024.0;
    Some(match suffix {
        "n" => 1e-9,
        "u" => 1e-6,
        "m" => 1e-3,
        "" => 1.0,
        "k" => 1e3,
        "M" => 1e6,
        "G" => 1e9,
        "T" => 1e12,
        "P" => 1e15,
        "E" => 1e18,
        "Ki" => KIBI,
        "Mi" => KIBI.powi(2),
        "Gi" => KIBI.powi(3),
        "Ti" => KIBI.powi(4),
        "Pi" => KIBI.powi(5),
        "Ei" => KIBI.powi(6),
        _ => return None,
    })
}

/// The amount, as near as a double comes to it; `None` for a text that is no quantity.
pub fn number(text: &str) -> Option<f64> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let digits = unsigned.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(unsigned.len());
    let (digits, suffix) = unsigned.split_at(digits);
    let dots = digits.matches('.').count();
    if digits.len() <= dots || dots > 1 {
        return None;
    }
    let amount = match factor(suffix) {
        Some(factor) => digits.parse::<f64>().ok()? * factor,
        None => {
            let exponent: i32 = suffix.strip_prefix(['e', 'E'])?.parse().ok()?;
            digits.parse::<f64>().ok()? * 10_f64.powi(exponent)
        }
    };
    Some(if text.starts_with('-') { -amount } else { amount })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn quantities_have_a_number_and_a_suffix() {
        for (text, amount) in [
            ("1", 1.0),
            ("0.5", 0.5),
            ("1.5Ki", 1536.0),
            ("-2m", -0.002),
            ("+3", 3.0),
            ("1e3", 1000.0),
            ("2E-2", 0.02),
            ("5.", 5.0),
        ] {
            assert_eq!(number(text), Some(amount), "{text}");
        }
        for text in ["", "much", "1 Gi", "Gi", ".", "1.2.3", "1KiB", "1e", "1e+"] {
            assert_eq!(number(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in ".{0,12}") {
            let _ = number(&text);
        }
    }
}
