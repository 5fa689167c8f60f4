//! Faults as no well-meaning plugin makes them.

use purlin_sdk::{Fault, fault};

/// The fault of a mode; `None` where the mode is of another sort.
pub(crate) fn of(mode: &str) -> Option<Fault> {
    Some(match mode {
        "fault" => Fault::Failed("this model fails because it was asked to".to_owned()),
        "fault-named" => named("spec.settings[0].value"),
        "fault-input" => named("inputs[0].shape"),
        "fault-empty" => Fault::Invalid(Vec::new()),
        "fault-blank" => Fault::Failed(String::new()),
        "fault-huge" => Fault::Failed("x".repeat(1 << 20)),
        "fault-huge-field" => fault::invalid("f".repeat(1 << 20), "v".repeat(1 << 20), "r".repeat(1 << 20)),
        "fault-many" => Fault::Invalid(
            (0..20_000).map(|index| fault::field(format!("inputs[{index}]"), "x", "is wrong")).collect(),
        ),
        "fault-control" => Fault::Failed("one\r\nTwo: 2\r\n\r\n\u{0}\u{1b}[31mred".to_owned()),
        "fault-not-utf-8" => Fault::Failed(not_utf_8()),
        "fault-retry" => fault::retry(1_500, "this model is not ready"),
        "fault-retry-never" => fault::retry(u64::MAX, "this model is never ready"),
        _ => return None,
    })
}

/// A fault that names a field.
pub(crate) fn named(field: &str) -> Fault {
    fault::invalid(field, "hostile", "this model refuses what it is given because it was asked to")
}

/// A string that is none, which safe Rust cannot make.
pub(crate) fn not_utf_8() -> String {
    // SAFETY: none. The string is not looked at here; the host, which reads it, must refuse it.
    unsafe { String::from_utf8_unchecked(vec![b'o', 0xff, 0xfe, b'k']) }
}

#[cfg(test)]
mod tests {
    use super::{Fault, of};

    #[test]
    fn the_faults_are_as_bad_as_they_claim() {
        assert!(matches!(of("fault-empty"), Some(Fault::Invalid(fields)) if fields.is_empty()));
        assert!(matches!(of("fault-many"), Some(Fault::Invalid(fields)) if fields.len() == 20_000));
        assert!(matches!(of("fault-huge"), Some(Fault::Failed(text)) if text.len() == 1 << 20));
        assert!(of("trap").is_none());
    }
}
