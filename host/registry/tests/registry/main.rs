//! Plugins packed, pushed, pulled and damaged, through a real server on a loopback port.

mod client;
mod fixture;
mod packing;
mod protocol;
mod supply;
