//! `$(VAR)` expansion as Pods have it in `command`, `args` and `env`: a known name is replaced, an unknown one stays as
//! it was written, `$$` is a dollar sign. Pure; called while a container's environment and command line are made.

use std::collections::BTreeMap;

/// Expands every `$(NAME)` of `text` that `known` has.
pub(crate) fn expand(text: &str, known: &BTreeMap<String, String>) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        let after = &rest[at + 1..];
        if let Some(escaped) = after.strip_prefix('$') {
            out.push('$');
            rest = escaped;
        } else if let Some((name, tail)) = after.strip_prefix('(').and_then(|inner| inner.split_once(')')) {
            match known.get(name) {
                Some(value) => out.push_str(value),
                None => {
                    out.push_str("$(");
                    out.push_str(name);
                    out.push(')');
                }
            }
            rest = tail;
        } else {
            out.push('$');
            rest = after;
        }
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn known() -> BTreeMap<String, String> {
        BTreeMap::from([("A".to_owned(), "1".to_owned()), ("B".to_owned(), "$(A)".to_owned())])
    }

    #[test]
    fn follows_the_rules_of_pods() {
        for (text, expected) in [
            ("$(A)-$(A)", "1-1"),
            ("$(B)", "$(A)"),
            ("$(MISSING)", "$(MISSING)"),
            ("$$(A)", "$(A)"),
            ("$$$(A)", "$1"),
            ("$(A", "$(A"),
            ("$A $", "$A $"),
        ] {
            assert_eq!(expand(text, &known()), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn leaves_text_without_a_dollar_alone(text in "[^$]*") {
            prop_assert_eq!(expand(&text, &known()), text);
        }

        #[test]
        fn a_doubled_dollar_keeps_anything_literal(text in "[$()A-C]*") {
            prop_assert_eq!(expand(&text.replace('$', "$$"), &known()), text);
        }
    }
}
