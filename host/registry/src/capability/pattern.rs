//! Patterns over names with dots.

use std::fmt;
use std::str::FromStr;

/// Names such as `com.example.done`: one (`com.example.done`), all that begin alike (`com.example.*`), or all (`*`).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Dotted {
    /// Every name.
    All,
    /// Names that begin with this text, which ends with a dot.
    Under(String),
    /// This name.
    Exactly(String),
}

impl Dotted {
    /// Whether a name matches.
    pub fn matches(&self, name: &str) -> bool {
        match self {
            Dotted::All => true,
            Dotted::Under(prefix) => name.len() > prefix.len() && name.starts_with(prefix.as_str()),
            Dotted::Exactly(exact) => name == exact,
        }
    }

    /// What matches both.
    pub(super) fn intersect(&self, other: &Dotted) -> Option<Dotted> {
        let (wide, narrow) = if self.rank() <= other.rank() { (self, other) } else { (other, self) };
        let inside = match (wide, narrow) {
            (Dotted::All, _) => true,
            (Dotted::Under(outer), Dotted::Under(inner)) => {
                // Both are prefixes; the longer one is the narrower.
                let (outer, inner) = if outer.len() <= inner.len() { (outer, inner) } else { (inner, outer) };
                return inner.starts_with(outer.as_str()).then(|| Dotted::Under(inner.clone()));
            }
            (wide, Dotted::Exactly(name)) => wide.matches(name),
            (_, Dotted::All | Dotted::Under(_)) => false,
        };
        inside.then(|| narrow.clone())
    }

    fn rank(&self) -> u8 {
        match self {
            Dotted::All => 0,
            Dotted::Under(_) => 1,
            Dotted::Exactly(_) => 2,
        }
    }
}

impl fmt::Display for Dotted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Dotted::All => f.write_str("*"),
            Dotted::Under(prefix) => write!(f, "{prefix}*"),
            Dotted::Exactly(name) => f.write_str(name),
        }
    }
}

impl FromStr for Dotted {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let segment = |text: &str| {
            !text.is_empty()
                && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_/:".contains(&byte))
        };
        let name = |text: &str| text.split('.').all(segment);
        match text.strip_suffix(".*") {
            _ if text == "*" => Ok(Dotted::All),
            Some(prefix) if name(prefix) => Ok(Dotted::Under(format!("{prefix}."))),
            None if name(text) => Ok(Dotted::Exactly(text.to_owned())),
            _ => Err(format!("{text:?} is no type of events; write com.example.done or com.example.*")),
        }
    }
}
