//! The log of revisions in SQLite: opening it, reading it at start, appending batches and dropping old revisions.
//!
//! Used by the writer thread alone. Each row is one change: its revision, the revision that it replaced, the key, where
//! in the body the revision is written, and the body (none for a removal). A newer layout than this binary knows is refused, never guessed at.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension as _, params};

use super::object::{EncodeError, Key, Stored};
use super::state::{Event, EventKind, State};

/// The layout that this binary writes.
const SCHEMA_VERSION: i64 = 1;

/// Why the log cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LogError {
    #[error(
        "{doing} {path}: {source}; check that the disk has space and that no other program uses the file"
    )]
    Database { doing: &'static str, path: PathBuf, source: rusqlite::Error },
    #[error("{path} has store layout {found}, this binary knows up to {SCHEMA_VERSION}; run a newer purlin")]
    Newer { path: PathBuf, found: i64 },
    #[error("revision {revision} in {path} holds no valid object: {source}; restore the file from a copy")]
    Corrupt { path: PathBuf, revision: u64, source: EncodeError },
    #[error("starting the store's writer thread: {0}")]
    Thread(std::io::Error),
}

/// An open log.
pub(super) struct Log {
    connection: Connection,
    path: PathBuf,
}

/// One row to append.
pub(super) struct Row<'a> {
    pub(super) event: &'a Event,
}

impl Log {
    pub(super) fn open(path: &Path) -> Result<Self, LogError> {
        let failed = |doing: &'static str| {
            let path = path.to_owned();
            move |source| LogError::Database { doing, path, source }
        };
        let connection = Connection::open(path).map_err(failed("opening"))?;
        connection
            .execute_batch(
                "PRAGMA journal_mode = WAL;
                 PRAGMA synchronous = FULL;
                 PRAGMA locking_mode = EXCLUSIVE;
                 PRAGMA wal_autocheckpoint = 4000;
                 PRAGMA cache_size = -2048;
                 CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;",
            )
            .map_err(failed("preparing"))?;
        let found: Option<i64> = connection
            .query_row("SELECT value FROM meta WHERE name = 'schema'", [], |row| row.get(0))
            .optional()
            .map_err(failed("reading the layout of"))?;
        if let Some(found) = found.filter(|found| *found > SCHEMA_VERSION) {
            return Err(LogError::Newer { path: path.to_owned(), found });
        }
        connection
            .execute_batch(
                "BEGIN IMMEDIATE;
                 CREATE TABLE IF NOT EXISTS log (
                   revision  INTEGER PRIMARY KEY,
                   previous  INTEGER NOT NULL,
                   resource  TEXT NOT NULL,
                   namespace TEXT NOT NULL,
                   name      TEXT NOT NULL,
                   at        INTEGER NOT NULL,
                   body      BLOB
                 );
                 INSERT OR IGNORE INTO meta VALUES ('schema', 1), ('compacted', 0), ('revision', 0);
                 COMMIT;",
            )
            .map_err(failed("laying out"))?;
        Ok(Self { connection, path: path.to_owned() })
    }

    fn failed(&self, doing: &'static str) -> impl Fn(rusqlite::Error) -> LogError + use<> {
        let path = self.path.clone();
        move |source| LogError::Database { doing, path: path.clone(), source }
    }

    fn number(&self, name: &str) -> Result<u64, rusqlite::Error> {
        self.connection
            .query_row("SELECT value FROM meta WHERE name = ?1", [name], |row| row.get::<_, i64>(0))
            .map(|value| value.unsigned_abs())
    }

    /// Reads the whole log into a state.
    pub(super) fn load(&self) -> Result<State, LogError> {
        let reading = self.failed("reading");
        let compacted = self.number("compacted").map_err(&reading)?;
        let mut state = State::new(compacted);
        let mut names: HashMap<String, Arc<str>> = HashMap::new();
        let mut statement = self
            .connection
            .prepare("SELECT revision, resource, namespace, name, at, body FROM log ORDER BY revision")
            .map_err(&reading)?;
        let mut rows = statement.query([]).map_err(&reading)?;
        while let Some(row) = rows.next().map_err(&reading)? {
            let revision = row.get::<_, i64>(0).map_err(&reading)?.unsigned_abs();
            let mut shared = |column| -> Result<Arc<str>, LogError> {
                let text: String = row.get(column).map_err(&reading)?;
                Ok(names.entry(text).or_insert_with_key(|text| text.as_str().into()).clone())
            };
            let (resource, namespace) = (shared(1)?, shared(2)?);
            let name: String = row.get(3).map_err(&reading)?;
            let at = row.get::<_, i64>(4).map_err(&reading)?;
            let body: Option<Vec<u8>> = row.get(5).map_err(&reading)?;
            let previous = state.get(&resource, &namespace, &name);
            let key = Key { resource, namespace, name: name.into() };
            let event = match (body, previous) {
                (Some(body), previous) => {
                    let object = Stored::from_log(key, revision, usize::try_from(at).unwrap_or(0), body)
                        .map_err(|source| LogError::Corrupt { path: self.path.clone(), revision, source })?;
                    let kind = if previous.is_some() { EventKind::Modified } else { EventKind::Added };
                    Event { kind, object: Arc::new(object), previous }
                }
                (None, Some(previous)) => Event {
                    kind: EventKind::Deleted,
                    object: Arc::new(previous.moved_to(revision)),
                    previous: Some(previous),
                },
                // The row that it removed was compacted away together with everything before it.
                (None, None) => {
                    state.advance(revision);
                    continue;
                }
            };
            state.apply(event);
        }
        state.advance(self.number("revision").map_err(&reading)?);
        state.forget(compacted);
        Ok(state)
    }

    /// Appends rows in one transaction; on return they survive a crash.
    pub(super) fn append<'a>(&mut self, rows: impl Iterator<Item = Row<'a>>) -> Result<(), rusqlite::Error> {
        let transaction = self.connection.transaction()?;
        {
            let mut insert = transaction.prepare("INSERT INTO log VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)")?;
            for Row { event } in rows {
                let Stored { key, revision, body, .. } = &*event.object;
                let previous = signed(event.previous.as_ref().map_or(0, |previous| previous.revision));
                let at = signed(event.object.offset() as u64);
                let body: Option<&[u8]> = (event.kind != EventKind::Deleted).then_some(body);
                insert.execute(params![
                    signed(*revision),
                    previous,
                    key.resource,
                    key.namespace,
                    key.name,
                    at,
                    body
                ])?;
            }
        }
        transaction.commit()
    }

    /// Deletes what was superseded or removed between `from` and `through`.
    pub(super) fn compact(&mut self, from: u64, through: u64, newest: u64) -> Result<(), rusqlite::Error> {
        let (from, through, newest) = (signed(from), signed(through), signed(newest));
        let transaction = self.connection.transaction()?;
        transaction.execute(
            "DELETE FROM log WHERE revision IN
               (SELECT previous FROM log WHERE revision > ?1 AND revision <= ?2 AND previous > 0)",
            params![from, through],
        )?;
        transaction.execute(
            "DELETE FROM log WHERE revision > ?1 AND revision <= ?2 AND body IS NULL",
            params![from, through],
        )?;
        transaction.execute("UPDATE meta SET value = ?1 WHERE name = 'compacted'", [through])?;
        transaction.execute("UPDATE meta SET value = ?1 WHERE name = 'revision'", [newest])?;
        transaction.commit()
    }

    pub(super) fn compacted(&self) -> Result<u64, rusqlite::Error> {
        self.number("compacted")
    }
}

/// A revision as SQLite holds it; 2^63 revisions are never reached.
fn signed(revision: u64) -> i64 {
    i64::try_from(revision).unwrap_or(i64::MAX)
}
