//! Sources against real servers: an S3 server (versitygw), one that speaks Google's protocol (fake-gcs-server), a registry
//! (distribution), and a mirror of a model hub that these tests serve themselves.
//!
//! The programs come from `tests/serving/build.sh`, which puts them into `~/.cache/purlin/bin`. Without them the tests that
//! need them fail and say so; `PURLIN_SOURCES_SKIP=1` leaves them out where nothing can be built.

mod hub;
mod objects;
mod registry;
mod servers;
