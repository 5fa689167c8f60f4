//! Code that does not come back, and takes its instance with it.

use purlin_sdk::Fault;

/// Does what `mode` says.
pub(crate) fn by(mode: &str) -> Fault {
    match mode {
        "trap" => trap(),
        "panic" => panic!("this model panics because it was asked to"),
        "spin" => spin(),
        "grow" => grow(),
        "recurse" => {
            purlin_sdk::log::debug(&format!("came back from the deep with {}", descend(u64::MAX)));
        }
        _ => {}
    }
    Fault::Failed(format!("there is no mode {mode:?}"))
}

#[cfg(target_arch = "wasm32")]
fn trap() {
    core::arch::wasm32::unreachable()
}

#[cfg(not(target_arch = "wasm32"))]
fn trap() {
    std::process::abort()
}

fn spin() {
    let mut counter = 0u64;
    loop {
        counter = std::hint::black_box(counter.wrapping_add(1));
    }
}

/// Takes memory until it gets no more, then ends as an allocation failure does.
fn grow() {
    let mut taken: Vec<Vec<u8>> = Vec::new();
    loop {
        taken.push(std::hint::black_box(vec![1; 1 << 20]));
    }
}

/// Uses a frame of the stack for every number below `depth`; the array keeps the compiler from making a loop of it.
#[inline(never)]
fn descend(depth: u64) -> u64 {
    let frame = std::hint::black_box([depth; 64]);
    if depth == 0 { 0 } else { descend(depth - 1).wrapping_add(frame[std::hint::black_box(0)]) }
}
