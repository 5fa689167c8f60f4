//! Reads request paths. Repository names contain slashes, so what a path means is found from its end; whatever does not
//! parse into one of these cases is refused before anything looks at the disk.

use super::error::Refusal;
use crate::digest::Digest;
use crate::reference::{is_repository, is_tag};

/// What a path names.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// `/v2/`
    Base,
    /// `/v2/_catalog`
    Catalog,
    /// `/v2/<name>/tags/list`
    Tags(String),
    /// `/v2/<name>/manifests/<reference>`
    Manifest(String, Version),
    /// `/v2/<name>/blobs/<digest>`
    Blob(String, Digest),
    /// `/v2/<name>/blobs/uploads/`
    Uploads(String),
    /// `/v2/<name>/blobs/uploads/<session>`
    Upload(String, uuid::Uuid),
    /// `/v2/<name>/referrers/<digest>`
    Referrers(String, Digest),
}

/// A tag or a digest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Version {
    Tag(String),
    Digest(Digest),
}

pub(super) fn parse(path: &str) -> Result<Target, Refusal> {
    let rest = match path.strip_prefix("/v2") {
        Some("" | "/") => return Ok(Target::Base),
        Some(rest) => rest.strip_prefix('/').ok_or(Refusal::NameUnknown)?,
        None => return Err(Refusal::NameUnknown),
    };
    if rest == "_catalog" {
        return Ok(Target::Catalog);
    }
    let named = |name: &str| {
        if is_repository(name) { Ok(name.to_owned()) } else { Err(Refusal::NameInvalid(name.to_owned())) }
    };
    if let Some(name) = rest.strip_suffix("/tags/list") {
        return Ok(Target::Tags(named(name)?));
    }
    if let Some(name) = rest.strip_suffix("/blobs/uploads/").or_else(|| rest.strip_suffix("/blobs/uploads")) {
        return Ok(Target::Uploads(named(name)?));
    }
    let (before, last) = rest.rsplit_once('/').ok_or(Refusal::NameUnknown)?;
    if let Some(name) = before.strip_suffix("/blobs/uploads") {
        let session = last.parse().map_err(|_| Refusal::UploadUnknown)?;
        return Ok(Target::Upload(named(name)?, session));
    }
    let digest = || last.parse::<Digest>().map_err(|error| Refusal::DigestInvalid(error.to_string()));
    if let Some(name) = before.strip_suffix("/blobs") {
        return Ok(Target::Blob(named(name)?, digest()?));
    }
    if let Some(name) = before.strip_suffix("/referrers") {
        return Ok(Target::Referrers(named(name)?, digest()?));
    }
    if let Some(name) = before.strip_suffix("/manifests") {
        let version = if last.contains(':') {
            Version::Digest(digest()?)
        } else if is_tag(last) {
            Version::Tag(last.to_owned())
        } else {
            return Err(Refusal::ManifestUnknown);
        };
        return Ok(Target::Manifest(named(name)?, version));
    }
    Err(Refusal::NameUnknown)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn paths_are_read_from_their_end() {
        let digest = Digest::of(b"x");
        assert_eq!(parse("/v2/").expect("base"), Target::Base);
        let tags = parse("/v2/blobs/uploads/tags/list").expect("odd names are names");
        assert_eq!(tags, Target::Tags("blobs/uploads".to_owned()));
        let blob = parse(&format!("/v2/a/b/c/blobs/{digest}")).expect("blob");
        assert_eq!(blob, Target::Blob("a/b/c".to_owned(), digest.clone()));
        let manifest = parse("/v2/a/manifests/1.0").expect("manifest");
        assert_eq!(manifest, Target::Manifest("a".to_owned(), Version::Tag("1.0".to_owned())));
    }

    #[test]
    fn names_that_lead_elsewhere_are_refused() {
        for path in [
            "/v2/../../etc/blobs/uploads/",
            "/v2/a/../b/tags/list",
            "/v2/a/blobs/sha256:../../../etc/passwd",
            "/v2/a/blobs/uploads/../../x",
            "/v2/a/manifests/..",
            "/v2//tags/list",
            "/v3/",
        ] {
            parse(path).expect_err(path);
        }
    }

    proptest! {
        #[test]
        fn any_path_is_read_or_refused(path in "/v2/[ -~]{0,80}") {
            let _ = parse(&path);
        }
    }
}
