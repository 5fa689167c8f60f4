//! Names of artifacts in registries: `localhost:7444/purlin/tuner-random:0.1.0`. Parsed where a user writes one
//! (`Plugin.spec.image`, the command line); the registry must always be named, because a default one would make the
//! same text mean different code on different machines.

use std::fmt;
use std::str::FromStr;

use crate::digest::Digest;

/// A registry, a repository in it, and a tag or a digest or both.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Reference {
    registry: String,
    repository: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

/// Why text is not a reference.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot read the image reference {text:?}: {problem}")]
pub struct ReferenceError {
    text: String,
    problem: ReferenceProblem,
}

/// What is wrong with a reference.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceProblem {
    /// There is no registry before the first slash.
    #[error("it must begin with a registry, such as `localhost:7444/`")]
    NoRegistry,
    /// The registry is not a host name with an optional port.
    #[error("the registry must be a host name and an optional port")]
    Registry,
    /// The repository breaks the distribution specification's rule.
    #[error(
        "the repository must be of lower-case letters and digits, separated by `.`, `_`, `-` or `/`, \
         and at most 255 long"
    )]
    Repository,
    /// The tag breaks the rule.
    #[error("the tag must be at most 128 letters, digits, `.`, `_` or `-`, not beginning with `.` or `-`")]
    Tag,
    /// The digest is none.
    #[error(transparent)]
    Digest(#[from] crate::digest::NotADigest),
    /// Neither tag nor digest.
    #[error("it must end with a tag (`:0.1.0`) or a digest (`@sha256:...`)")]
    NoVersion,
}

impl Reference {
    /// Host name and optional port.
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// The path in the registry.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// The tag, where there is one.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest, where there is one.
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// Whether the registry is this machine itself, where plain HTTP is safe.
    pub fn is_loopback(&self) -> bool {
        let host = match self.registry.rsplit_once(':') {
            Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
            _ => &self.registry,
        };
        let address = host.trim_start_matches('[').trim_end_matches(']');
        host == "localhost"
            || host.ends_with(".localhost")
            || address.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
    }

    /// Registry and repository, without tag and digest.
    pub fn name(&self) -> String {
        format!("{}/{}", self.registry, self.repository)
    }

    /// The same version under another name (`registry/repository`).
    pub fn renamed(&self, name: &str) -> Result<Reference, ReferenceError> {
        let mut text = name.to_owned();
        if let Some(tag) = &self.tag {
            text = format!("{text}:{tag}");
        }
        if let Some(digest) = &self.digest {
            text = format!("{text}@{digest}");
        }
        text.parse()
    }

    /// The same name with another tag; nothing where it is no tag.
    pub fn tagged(&self, tag: &str) -> Option<Reference> {
        is_tag(tag).then(|| Reference { tag: Some(tag.to_owned()), digest: None, ..self.clone() })
    }

    /// Another version under the same name: nothing but the digest counts in it.
    pub fn at(&self, digest: &Digest) -> Reference {
        Reference { tag: None, digest: Some(digest.clone()), ..self.clone() }
    }
}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse(text).map_err(|problem| ReferenceError { text: text.chars().take(512).collect(), problem })
    }
}

fn parse(text: &str) -> Result<Reference, ReferenceProblem> {
    let (registry, rest) = text.split_once('/').ok_or(ReferenceProblem::NoRegistry)?;
    // `purlin/x:1` has a slash and no registry: a registry has a dot, a port or is `localhost`.
    if !(registry.contains(['.', ':']) || registry == "localhost") {
        return Err(ReferenceProblem::NoRegistry);
    }
    if !is_registry(registry) {
        return Err(ReferenceProblem::Registry);
    }
    let (rest, digest) = match rest.split_once('@') {
        Some((rest, digest)) => (rest, Some(digest.parse()?)),
        None => (rest, None),
    };
    let (repository, tag) = match rest.split_once(':') {
        Some((repository, tag)) => (repository, Some(tag)),
        None => (rest, None),
    };
    if !is_repository(repository) {
        return Err(ReferenceProblem::Repository);
    }
    if tag.is_some_and(|tag| !is_tag(tag)) {
        return Err(ReferenceProblem::Tag);
    }
    if tag.is_none() && digest.is_none() {
        return Err(ReferenceProblem::NoVersion);
    }
    Ok(Reference {
        registry: registry.to_owned(),
        repository: repository.to_owned(),
        tag: tag.map(str::to_owned),
        digest,
    })
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

fn is_registry(text: &str) -> bool {
    let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, port)) => {
            if address.parse::<std::net::Ipv6Addr>().is_err() {
                return false;
            }
            ("", port.strip_prefix(':').or(port.is_empty().then_some("")))
        }
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, Some("")),
        },
    };
    let host_ok = text.starts_with('[')
        || (!host.is_empty()
            && host.len() <= 253
            && host.split('.').all(|label| {
                !label.is_empty()
                    && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
                    && !label.starts_with('-')
                    && !label.ends_with('-')
            }));
    let has_colon = text.rsplit(']').next().is_some_and(|rest| rest.contains(':'));
    let port_ok = port.is_some_and(|port| {
        if has_colon { port.parse::<u16>().is_ok_and(|port| port > 0) } else { port.is_empty() }
    });
    host_ok && port_ok
}

/// The distribution specification's rule for `<name>`.
pub(crate) fn is_repository(text: &str) -> bool {
    let component = |component: &str| {
        let bytes = component.as_bytes();
        let alphanumeric = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        // Separators: one `.`, one or two `_`, any number of `-`.
        let separators = component.split(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
        bytes.first().is_some_and(alphanumeric)
            && bytes.last().is_some_and(alphanumeric)
            && separators.into_iter().all(|separator| {
                matches!(separator, "" | "." | "_" | "__") || separator.bytes().all(|byte| byte == b'-')
            })
    };
    text.len() <= 255 && text.split('/').all(component)
}

/// The rule for tags.
pub(crate) fn is_tag(text: &str) -> bool {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    text.len() <= 128
        && text.bytes().next().is_some_and(word)
        && text.bytes().all(|byte| word(byte) || byte == b'.' || byte == b'-')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn good_references_are_read_and_written_back() {
        let digest = format!("sha256:{}", "a".repeat(64));
        for text in [
            "localhost:7444/purlin/tuner-random:0.1.0",
            "localhost/a:b",
            "ghcr.io/org/team/x_y__z.a--b:V1.2-rc_3",
            "127.0.0.1:80/a:b",
            "[::1]:7444/a:b",
            &format!("registry.example.com/a/b@{digest}"),
            &format!("registry.example.com/a/b:1@{digest}"),
        ] {
            let reference: Reference = text.parse().expect(text);
            assert_eq!(reference.to_string(), text);
        }
    }

    #[test]
    fn each_problem_is_named() {
        let problem = |text: &str| text.parse::<Reference>().expect_err(text).problem;
        assert_eq!(problem("tuner-random"), ReferenceProblem::NoRegistry);
        assert_eq!(problem("purlin/tuner-random:1"), ReferenceProblem::NoRegistry);
        assert_eq!(problem("localhost:99999/a:b"), ReferenceProblem::Registry);
        assert_eq!(problem("-x.io/a:b"), ReferenceProblem::Registry);
        assert_eq!(problem("x.io/../a:b"), ReferenceProblem::Repository);
        assert_eq!(problem("x.io/A:b"), ReferenceProblem::Repository);
        assert_eq!(problem("x.io//a:b"), ReferenceProblem::Repository);
        assert_eq!(problem("x.io/a:-b"), ReferenceProblem::Tag);
        assert_eq!(problem("x.io/a"), ReferenceProblem::NoVersion);
        assert!(matches!(problem("x.io/a@sha256:1"), ReferenceProblem::Digest(_)));
    }

    #[test]
    fn only_this_machine_is_loopback() {
        let loopback = |text: &str| text.parse::<Reference>().expect(text).is_loopback();
        assert!(loopback("localhost:7444/a:b") && loopback("127.0.0.1:1/a:b") && loopback("[::1]:1/a:b"));
        assert!(!loopback("localhost.example.com/a:b") && !loopback("10.0.0.1:1/a:b"));
    }

    proptest! {
        #[test]
        fn any_text_is_refused_or_read_back(text in "[ -~]{0,64}") {
            if let Ok(reference) = text.parse::<Reference>() {
                prop_assert_eq!(reference.to_string(), text);
            }
        }

        #[test]
        fn a_repository_never_leads_out_of_a_folder(text in "[a-z./_-]{0,32}") {
            if is_repository(&text) {
                prop_assert!(text.split('/').all(|part| part != ".." && part != "." && !part.is_empty()));
            }
        }
    }
}
