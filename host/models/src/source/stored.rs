//! What of a place only the Secret says that opens it: `storage://BUCKET/PATH` is of the kind that its setting `type` names, and
//! a bucket that is left out (`s3:///PATH`) is the one in `bucket`.

use std::borrow::Cow;

use super::credentials::Credentials;
use super::error::SourceError;

/// The bucket. The second is its older name.
const BUCKET: [&str; 2] = ["bucket", "default_bucket"];
/// A volume's claim.
const CLAIM: [&str; 1] = ["name"];

/// The URI with all that it leaves to the credentials.
///
/// # Errors
/// They do not say it. They may be changed any time, without the Model being changed.
pub(super) fn complete<'a>(uri: &'a str, credentials: &Credentials) -> Result<Cow<'a, str>, SourceError> {
    let Some((scheme, rest)) = uri.split_once("://") else { return Ok(Cow::Borrowed(uri)) };
    let (root, path) = rest.split_once('/').unwrap_or((rest, ""));
    let scheme = match scheme {
        "storage" => kind(uri, credentials)?,
        "s3" | "gs" if root.is_empty() => scheme,
        _ => return Ok(Cow::Borrowed(uri)),
    };
    let names: &[&str] = if scheme == "pvc" { &CLAIM } else { &BUCKET };
    let root = match root {
        "" => credentials.text(names).ok_or_else(|| {
            let name = names[0];
            incomplete(format!(
                "spec.source.secret: {uri} leaves the {name} to it, and it has no {name:?}; set it there"
            ))
        })?,
        root => root,
    };
    Ok(Cow::Owned(format!("{scheme}://{root}/{path}")))
}

/// The scheme for the kind of store.
fn kind(uri: &str, credentials: &Credentials) -> Result<&'static str, SourceError> {
    match credentials.text(&["type"]) {
        Some("s3") => Ok("s3"),
        Some("gcs" | "gs") => Ok("gs"),
        Some("pvc") => Ok("pvc"),
        Some(other) => Err(incomplete(format!(
            "spec.source.secret: its type {other:?} cannot be read; it may be s3, gcs or pvc"
        ))),
        None => Err(incomplete(format!(
            "spec.source.secret: {uri} leaves the kind of store to it, and it has no \"type\"; set it to s3, gcs or pvc"
        ))),
    }
}

fn incomplete(message: String) -> SourceError {
    SourceError { passing: true, ..SourceError::invalid(message) }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn completed(uri: &str, entry: &str) -> String {
        let data = BTreeMap::from([("k".to_owned(), entry.as_bytes().to_vec())]);
        let credentials = Credentials::from_secret(data, BTreeMap::new(), Some("k")).unwrap();
        match complete(uri, &credentials) {
            Ok(uri) => uri.into_owned(),
            Err(error) => format!("{} {}", error.passing, error.message),
        }
    }

    #[test]
    fn kind_and_bucket_come_from_the_secret_where_they_are_left_out() {
        for (uri, entry, expected) in [
            ("storage:///a/b", r#"{"type": "s3", "default_bucket": "old"}"#, "s3://old/a/b"),
            ("storage:///a", r#"{"type": "s3", "bucket": "new", "default_bucket": "old"}"#, "s3://new/a"),
            ("storage://mine/a", r#"{"type": "gcs", "bucket": "new"}"#, "gs://mine/a"),
            ("storage:///a", r#"{"type": "pvc", "name": "claim"}"#, "pvc://claim/a"),
            ("s3:///a", r#"{"bucket": "b"}"#, "s3://b/a"),
            ("s3://b/a", r#"{"bucket": "c"}"#, "s3://b/a"),
            ("https://host/a", r#"{"type": "s3"}"#, "https://host/a"),
            ("/a", "{}", "/a"),
        ] {
            assert_eq!(completed(uri, entry), expected, "{uri} {entry}");
        }
    }

    #[test]
    fn what_nobody_says_is_asked_for() {
        for (uri, entry, says) in [
            ("storage:///a", "{}", "true spec.source.secret: storage:///a leaves the kind of store to it"),
            (
                "storage:///a",
                r#"{"type": "azure"}"#,
                "true spec.source.secret: its type \"azure\" cannot be read",
            ),
            (
                "storage:///a",
                r#"{"type": "s3"}"#,
                "true spec.source.secret: storage:///a leaves the bucket to it",
            ),
            ("s3:///a", r#"{"bucket": ""}"#, "true spec.source.secret: s3:///a leaves the bucket to it"),
        ] {
            let said = completed(uri, entry);
            assert!(said.starts_with(says), "{said}");
        }
    }
}
