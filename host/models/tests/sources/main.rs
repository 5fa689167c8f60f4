//! Sources against real servers: an S3 server (versitygw), one that speaks Google's protocol (fake-gcs-server), a registry
//! (distribution), and a mirror of a model hub that these tests serve themselves.
//!
//! The programs come from `tests/serving/build.sh`, which puts them into `~/.cache/purlin/bin`. Without them the tests that
//! need them fail and say so; `PURLIN_SOURCES_SKIP=1` leaves them out where nothing can be built.

#![expect(clippy::unwrap_used, reason = "what the tests share is of the tests")]

mod hub;
mod objects;
mod registry;
mod servers;
