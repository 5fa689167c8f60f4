//! The delay before a container is started again: 10 s, doubled at each restart, at most 5 minutes, forgotten when the
//! container ran for 10 minutes. Pure; the Job controller uses the same doubling with its own bound.

use std::time::Duration;

const FIRST: Duration = Duration::from_secs(10);
const CONTAINER_MAX: Duration = Duration::from_secs(300);
const FORGET_AFTER: Duration = Duration::from_secs(600);

/// The delay after the `failures`th end in a row (counted from 1) with `max` as its bound.
pub(crate) fn delay(failures: u32, max: Duration) -> Duration {
    match failures {
        0 => Duration::ZERO,
        n => FIRST.saturating_mul(1_u32.checked_shl(n - 1).unwrap_or(u32::MAX)).min(max),
    }
}

/// A container's ends in a row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Restarts {
    ended: u32,
}

impl Restarts {
    /// Notes that the container ended after `ran`; returns how long to wait before it runs again. The first restart
    /// is immediate, as a kubelet's is.
    pub(crate) fn ended(&mut self, ran: Duration) -> Duration {
        if ran >= FORGET_AFTER {
            self.ended = 0;
        }
        let wait = delay(self.ended, CONTAINER_MAX);
        self.ended += 1;
        wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_to_five_minutes_and_forgets() {
        let mut restarts = Restarts::default();
        let waits: Vec<_> = (0..8).map(|_| restarts.ended(Duration::from_secs(1)).as_secs()).collect();
        assert_eq!(waits, [0, 10, 20, 40, 80, 160, 300, 300]);
        assert_eq!(restarts.ended(Duration::from_secs(601)), Duration::ZERO);
    }

    #[test]
    fn never_overflows() {
        assert_eq!(delay(u32::MAX, CONTAINER_MAX), CONTAINER_MAX);
    }
}
