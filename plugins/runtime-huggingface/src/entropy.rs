//! What libraries here draw from the system: the seeds of hash maps, and nothing that is secret. A plugin has no system to
//! draw from, and its answers must not depend on what is drawn, so it is always the same.

use getrandom::Error;
use purlin_sdk::random::Random;

/// The source that the crate `getrandom` calls where it is built with `getrandom_backend="custom"`.
///
/// # Safety
/// `dest` must be valid for writes of `len` bytes, which the crate promises.
#[expect(
    unsafe_code,
    reason = "the crate calls it by its symbol and hands it memory that is not initialised"
)]
#[unsafe(no_mangle)]
unsafe extern "Rust" fn __getrandom_v03_custom(dest: *mut u8, len: usize) -> Result<(), Error> {
    let mut random = Random::new(0, 0);
    for offset in 0..len {
        // SAFETY: the offset is below `len`, for which the caller vouches.
        unsafe { dest.add(offset).write(random.bits() as u8) };
    }
    Ok(())
}
