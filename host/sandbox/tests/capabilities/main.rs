//! What a plugin gets of the host, and what it does not: a component that tries what each test tells it to
//! (`plugins/testing/probe`), real servers, and grants of all kinds. Every case is an attempt to get more than was granted,
//! or shows that what was granted works.

mod egress;
mod history;
mod host;
mod loading;
mod stores;
