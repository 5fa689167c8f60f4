//! Prefixes of artifact names, as policies, mirrors and credentials have them. A prefix ends at a boundary of the name:
//! `ghcr.io/acme` covers `ghcr.io/acme/tuner` and not `ghcr.io/acme-evil/tuner`.

/// Whether a prefix covers a name without a tag (`registry/repository`). An empty prefix covers everything.
pub fn covers(prefix: &str, name: &str) -> bool {
    let prefix = prefix.trim_end_matches('/');
    match name.strip_prefix(prefix) {
        Some(rest) => prefix.is_empty() || rest.is_empty() || rest.starts_with(['/', ':', '@']),
        None => false,
    }
}

/// How specific a prefix is: the longer one wins.
pub fn weight(prefix: &str) -> usize {
    prefix.trim_end_matches('/').len()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::covers;

    #[test]
    fn a_prefix_ends_at_a_boundary() {
        for prefix in ["ghcr.io/acme", "ghcr.io/acme/", "ghcr.io", "", "ghcr.io/acme/tuner"] {
            assert!(covers(prefix, "ghcr.io/acme/tuner"), "{prefix}");
        }
        for prefix in ["ghcr.io/acm", "ghcr.i", "ghcr.io/acme/tuner/x", "hcr.io", "ghcr.io/acme-evil"] {
            assert!(!covers(prefix, "ghcr.io/acme/tuner"), "{prefix}");
        }
        assert!(!covers("ghcr.io/acme", "ghcr.io/acme-evil/tuner"));
        assert!(!covers("ghcr.io", "ghcr.io.evil.example/acme/tuner"));
    }

    proptest! {
        #[test]
        fn what_is_covered_goes_on_at_a_boundary(prefix in "[a-z./-]{1,12}", rest in "[a-z/-]{0,12}") {
            let name = format!("{prefix}{rest}");
            let ends = prefix.ends_with('/') || rest.is_empty() || rest.starts_with('/');
            prop_assert_eq!(covers(&prefix, &name), ends || prefix.trim_end_matches('/').is_empty());
        }
    }
}
