//! The file of `--token-auth-file`: one user a line, `token,user,uid` and optionally `"group1,group2"`, as kube-apiserver
//! takes it. Read once, at start.

use std::path::{Path, PathBuf};

use super::{AUTHENTICATED, COMPONENTS, Identity, RESERVED};

/// Why a file of tokens cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TokenFileError {
    /// It cannot be read or is no CSV.
    #[error("reading the token file {path}: {source}; it has lines of token,user,uid,\"group1,group2\"")]
    Read {
        /// The file.
        path: PathBuf,
        /// What was wrong.
        source: csv::Error,
    },
    /// A line does not say who somebody is.
    #[error("the token file {path}, line {line}: {why}")]
    Line {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: u64,
        /// What was wrong and what to do. Never the token.
        why: String,
    },
}

/// Each token and whose it is, in the order of the file.
///
/// # Errors
/// When the file cannot be read, a line lacks something, a token stands in it twice, or a line claims to be a part of
/// Purlin.
pub(crate) fn read(path: &Path) -> Result<Vec<(String, Identity)>, TokenFileError> {
    let failed = |source| TokenFileError::Read { path: path.to_owned(), source };
    let mut reader =
        csv::ReaderBuilder::new().has_headers(false).flexible(true).from_path(path).map_err(failed)?;
    let mut users: Vec<(String, Identity)> = Vec::new();
    for record in reader.records() {
        let record = record.map_err(failed)?;
        let line = record.position().map_or(0, csv::Position::line);
        let wrong = |why: String| TokenFileError::Line { path: path.to_owned(), line, why };
        let (token, identity) = user(&record).map_err(wrong)?;
        if users.iter().any(|(other, _)| *other == token) {
            return Err(wrong(
                "its token is that of an earlier line; give each user one of their own".into(),
            ));
        }
        users.push((token, identity));
    }
    Ok(users)
}

fn user(record: &csv::StringRecord) -> Result<(String, Identity), String> {
    let (Some(token), Some(user), Some(uid)) = (record.get(0), record.get(1), record.get(2)) else {
        return Err(format!("it has {} columns; at least token, user and uid are needed", record.len()));
    };
    for (column, text) in [("token", token), ("user", user)] {
        if text.trim().is_empty() {
            return Err(format!("its {column} is empty"));
        }
    }
    let mut groups: Vec<String> =
        record.get(3).unwrap_or_default().split(',').map(|group| group.trim().to_owned()).collect();
    groups.retain(|group| !group.is_empty());
    for name in groups.iter().map(String::as_str).chain([user]) {
        if name == COMPONENTS || name.starts_with(RESERVED) {
            return Err(format!("{name:?} is kept for Purlin's own parts; choose another name"));
        }
    }
    if !groups.iter().any(|group| group == AUTHENTICATED) {
        groups.push(AUTHENTICATED.to_owned());
    }
    let identity = Identity { user: user.to_owned(), uid: uid.to_owned(), groups, ..Identity::default() };
    Ok((token.to_owned(), identity))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(text: &str) -> Result<Vec<(String, Identity)>, String> {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), text).expect("written");
        read(file.path()).map_err(|error| error.to_string())
    }

    #[test]
    fn users_have_names_and_groups() {
        let users = written("t1,alice,1,\"dev,ops\"\nt2,bob,2\n").expect("two users");
        assert_eq!(users[0].1.groups, ["dev", "ops", AUTHENTICATED]);
        assert_eq!((users[1].0.as_str(), users[1].1.user.as_str()), ("t2", "bob"));
        assert_eq!(users[1].1.groups, [AUTHENTICATED]);
    }

    #[test]
    fn a_wrong_line_is_named_and_no_token_shown() {
        for (text, why) in [
            ("secret,alice\n", "line 1: it has 2 columns"),
            ("secret,a,1\nsecret,b,2\n", "line 2: its token is that of an earlier line"),
            (",a,1\n", "line 1: its token is empty"),
            ("secret,system:purlin:kernel,1\n", "kept for Purlin's own parts"),
            ("secret,a,1,\"dev,system:purlin:components\"\n", "kept for Purlin's own parts"),
        ] {
            let error = written(text).expect_err(text);
            assert!(error.contains(why) && !error.contains("secret"), "{error}");
        }
        assert!(read(Path::new("/nonexistent/tokens.csv")).is_err());
    }
}
