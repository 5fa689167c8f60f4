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

/// Nanos in one: the finest amount that is kept.
const NANOS: i128 = 1_000_000_000;

/// The form in which a real server writes a quantity: `0.5` is `500m`, `1024Mi` is `1Gi`. `None` for a text that is no
/// quantity, and for amounts beyond what is counted exactly.
pub fn canonical(text: &str) -> Option<String> {
    number(text)?;
    let (sign, unsigned) = match text.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", text.strip_prefix('+').unwrap_or(text)),
    };
    let end = unsigned.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(unsigned.len());
    let (digits, suffix) = unsigned.split_at(end);
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let mantissa: i128 = format!("0{whole}{fraction}").parse().ok()?;
    let binary = ["Ki", "Mi", "Gi", "Ti", "Pi", "Ei"].iter().position(|known| *known == suffix);
    let decimal = ["n", "u", "m", "", "k", "M", "G", "T", "P", "E"].iter().position(|known| *known == suffix);
    let (mantissa, tens) = match (binary, decimal) {
        (Some(power), _) => {
            (mantissa.checked_mul(1024_i128.checked_pow(u32::try_from(power).ok()? + 1)?)?, 0)
        }
        (None, Some(place)) => (mantissa, 3 * (i32::try_from(place).ok()? - 3)),
        (None, None) => (mantissa, suffix[1..].parse().ok()?),
    };
    // An exponent may be any number: one at the end of what is counted says as much as one beyond.
    let tens = tens.saturating_sub(i32::try_from(fraction.len()).ok()?).saturating_add(9);
    let nanos = scaled(mantissa, tens)?;
    if nanos == 0 {
        return Some("0".to_owned());
    }
    // What is small is written in decimal, whatever it was written in.
    if binary.is_some() && nanos >= 1024 * NANOS {
        let mut amount = nanos / NANOS + i128::from(nanos % NANOS != 0);
        let mut power = 0;
        while amount % 1024 == 0 && power < 6 {
            amount /= 1024;
            power += 1;
        }
        return Some(format!("{sign}{amount}{}", ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"][power]));
    }
    let (mut amount, mut place) = (nanos, 0);
    while amount % 1000 == 0 && place < 9 {
        amount /= 1000;
        place += 1;
    }
    let exponent = binary.is_none() && decimal.is_none();
    let shown = match (exponent, place) {
        (true, 3) => String::new(),
        (true, place) => format!("e{}", 3 * (i32::try_from(place).ok()? - 3)),
        (false, place) => ["n", "u", "m", "", "k", "M", "G", "T", "P", "E"][place].to_owned(),
    };
    Some(format!("{sign}{amount}{shown}"))
}

/// `mantissa * 10^tens`, rounded up: whoever asks for a little gets something.
fn scaled(mantissa: i128, tens: i32) -> Option<i128> {
    let Ok(up) = u32::try_from(tens) else {
        let Some(divisor) = 10_i128.checked_pow(tens.unsigned_abs()) else {
            return Some(i128::from(mantissa != 0));
        };
        return Some(mantissa / divisor + i128::from(mantissa % divisor != 0));
    };
    mantissa.checked_mul(10_i128.checked_pow(up)?)
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

    #[test]
    fn quantities_have_one_form() {
        for (given, written) in [
            ("0.5", "500m"),
            ("1024Mi", "1Gi"),
            ("1.5Gi", "1536Mi"),
            ("1000m", "1"),
            ("1500m", "1500m"),
            ("2000", "2k"),
            ("0", "0"),
            ("0Mi", "0"),
            ("1e3", "1e3"),
            ("1500e0", "1500"),
            ("512", "512"),
            ("0.5Ki", "512"),
            ("-1024Ki", "-1Mi"),
            ("+1", "1"),
            ("0.0000000001", "1n"),
            ("100000000000", "100G"),
            (".5", "500m"),
            ("12E", "12E"),
        ] {
            assert_eq!(canonical(given).as_deref(), Some(written), "{given}");
        }
        for text in ["much", "-+5", "--5", "+-5"] {
            assert_eq!(canonical(text), None, "{text}");
        }
        assert_eq!(canonical("0.1e-2147483648").as_deref(), Some("1e-9"));
        assert_eq!(canonical("1e2147483647"), None);
    }

    proptest! {
        #[test]
        fn no_text_panics(text in ".{0,12}") {
            let _ = number(&text);
            let _ = canonical(&text);
        }

        #[test]
        fn the_form_is_stable_and_the_amount_kept(digits in "[0-9]{1,6}(\\.[0-9]{1,3})?", suffix in "(n|u|m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei|)") {
            let text = format!("{digits}{suffix}");
            let once = canonical(&text).unwrap();
            // A binary amount that no power of 1024 divides has no suffix: `.54Ti`, read again, is a decimal one.
            let twice = canonical(&once).unwrap();
            prop_assert!(twice == once || (suffix.ends_with('i') && !once.ends_with('i')), "{} {}", once, twice);
            prop_assert_eq!(canonical(&twice), Some(twice.clone()));
            let (before, after) = (number(&text).unwrap(), number(&once).unwrap());
            // Rounded up to a nano, or to one where the form is binary.
            let step = if suffix.ends_with('i') { 1.0 } else { 1e-9 };
            prop_assert!(after - before >= -1e-6 * before && after - before <= step + 1e-6 * before, "{} {}", text, once);
        }
    }
}
