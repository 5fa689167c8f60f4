//! A pickle, looked at from its root.
#![no_main]

use libfuzzer_sys::fuzz_target;
use purlin_pickle::{Limits, Pickle};

fuzz_target!(|data: &[u8]| {
    if let Ok(pickle) = Pickle::read(data.to_vec(), Limits { bytes: 16 << 20, ..Limits::default() }) {
        let root = pickle.root();
        let _ = (root.floats(), root.integers(), root.texts(), root.items(), root.entries());
    }
});
