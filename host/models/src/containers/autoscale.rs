//! How many replicas a model should have, by the requests it gets: the algorithm of Knative's pod autoscaler, as its
//! documentation describes it. Pure: time comes in.
//!
//! The load is averaged over a stable window and over a panic window of a tenth of that. Normally the stable average decides.
//! Where the panic average calls for twice the replicas that there are, it decides, and nothing is taken away until
//! that has not been so for a whole stable window.

use std::collections::VecDeque;
use std::time::Duration;

use purlin_kernel::api::{Scaling, ScalingMetric};

/// Loads are kept for each second.
const SECOND: Duration = Duration::from_secs(1);

/// Seconds that the stable average is over.
const STABLE: usize = 60;

/// Seconds that the panic average is over.
const PANIC: usize = 6;

/// The panic average decides where it calls for so many times the replicas that there are.
const PANIC_THRESHOLD: f64 = 2.0;

/// At most so many times the replicas that can answer are asked for at once.
const MAX_UP: f64 = 1000.0;

/// At most so many times fewer are left at once.
const MAX_DOWN: f64 = 2.0;

/// Of the target, so much is aimed for, so that there is room while replicas start.
const UTILIZATION: f64 = 0.7;

/// Targets where the user set none.
const CONCURRENCY: f64 = 100.0;
const RPS: f64 = 200.0;

/// One second of a model's life.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Load {
    /// Requests at once, on average, those that wait for a replica included.
    pub(crate) concurrency: f64,
    /// Requests that came.
    pub(crate) requests: u64,
}

/// The last minute of a model, and what was made of it.
#[derive(Debug, Default)]
pub(crate) struct Autoscaler {
    /// By second, the newest at the end.
    loads: VecDeque<Load>,
    /// Seconds since the panic average last called for it.
    calm: Option<usize>,
    /// Replicas that a panic asked for; it takes none of these away.
    panic_peak: u32,
    /// Since the last request.
    idle: Duration,
}

impl Autoscaler {
    /// Adds a second, and says how many replicas there should be. `ready` is how many can answer.
    pub(crate) fn tick(&mut self, load: Load, ready: u32, scaling: &Scaling) -> u32 {
        if self.loads.len() == STABLE {
            self.loads.pop_front();
        }
        self.loads.push_back(load);
        let quiet = load.requests == 0 && load.concurrency <= 0.0;
        self.idle = if quiet { self.idle + SECOND } else { Duration::ZERO };
        clamp(self.wanted(ready, scaling), scaling)
    }

    fn wanted(&mut self, ready: u32, scaling: &Scaling) -> u32 {
        let target = target(scaling);
        let replicas = |seconds: usize| {
            let average = self.average(seconds, scaling.metric);
            (average / target).ceil()
        };
        let (stable, panic) = (replicas(STABLE), replicas(PANIC));
        let there = f64::from(ready.max(1));
        let bounded = |wanted: f64| wanted.clamp((there / MAX_DOWN).floor(), (there * MAX_UP).ceil());
        if panic / there >= PANIC_THRESHOLD {
            self.calm = Some(0);
        } else if let Some(calm) = &mut self.calm {
            *calm += 1;
        }
        if self.calm.is_some_and(|calm| calm >= STABLE) {
            (self.calm, self.panic_peak) = (None, 0);
        }
        if self.calm.is_some() {
            self.panic_peak = self.panic_peak.max(whole(bounded(panic))).max(ready);
            return self.panic_peak;
        }
        let wanted = whole(bounded(stable));
        let asleep = self.idle >= Duration::from_secs(u64::from(scaling.idle_seconds));
        match wanted {
            // An average of much and then nothing keeps replicas for a while; silence for as long as the user said does not.
            _ if asleep => 0,
            0 if ready > 0 || self.idle == Duration::ZERO => 1,
            wanted => wanted,
        }
    }

    fn average(&self, seconds: usize, metric: ScalingMetric) -> f64 {
        let of = |load: &Load| match metric {
            ScalingMetric::Concurrency => load.concurrency,
            ScalingMetric::Rps => load.requests as f64,
        };
        let newest = self.loads.iter().rev().take(seconds);
        // A model that is younger than the window is averaged over its life.
        let over = self.loads.len().min(seconds).max(1);
        newest.map(of).sum::<f64>() / over as f64
    }
}

/// How much of the metric a replica should have.
fn target(scaling: &Scaling) -> f64 {
    let usual = match scaling.metric {
        ScalingMetric::Concurrency => CONCURRENCY,
        ScalingMetric::Rps => RPS,
    };
    let mut target = scaling.target.filter(|target| *target > 0.0).unwrap_or(usual);
    if scaling.metric == ScalingMetric::Concurrency && scaling.concurrency > 0 {
        target = target.min(f64::from(scaling.concurrency));
    }
    (target * UTILIZATION).max(0.01)
}

fn clamp(wanted: u32, scaling: &Scaling) -> u32 {
    let most = match scaling.max_replicas {
        0 => u32::MAX,
        most => most.max(scaling.min_replicas),
    };
    wanted.clamp(scaling.min_replicas, most)
}

fn whole(replicas: f64) -> u32 {
    // Both ends are bounded above; a cast from beyond them saturates.
    replicas as u32
}

#[cfg(test)]
mod tests {
    use purlin_kernel::api::{Scaling, ScalingMetric};

    use super::{Autoscaler, Load};

    fn scaling(min: u32, max: u32, target: f64) -> Scaling {
        Scaling { min_replicas: min, max_replicas: max, target: Some(target), ..Scaling::default() }
    }

    fn busy(concurrency: f64) -> Load {
        Load { concurrency, requests: 10 }
    }

    /// What is wanted after each of these loads, where replicas come at once.
    fn run(scaler: &mut Autoscaler, scaling: &Scaling, loads: &[Load], mut ready: u32) -> Vec<u32> {
        loads
            .iter()
            .map(|load| {
                ready = scaler.tick(*load, ready, scaling);
                ready
            })
            .collect()
    }

    #[test]
    fn a_steady_load_is_spread_at_seven_tenths_of_the_target() {
        let mut scaler = Autoscaler::default();
        let wanted = run(&mut scaler, &scaling(1, 0, 10.0), &[busy(35.0); 130], 5);
        assert_eq!(wanted.last(), Some(&5));
    }

    #[test]
    fn requests_a_second_are_a_metric_too() {
        let scaling = Scaling { metric: ScalingMetric::Rps, ..scaling(0, 0, 10.0) };
        let mut scaler = Autoscaler::default();
        let load = Load { concurrency: 0.1, requests: 28 };
        assert_eq!(run(&mut scaler, &scaling, &[load; 130], 4).last(), Some(&4));
    }

    #[test]
    fn a_burst_brings_replicas_at_once_and_they_stay_for_a_minute() {
        let mut scaler = Autoscaler::default();
        let scaling = scaling(1, 0, 10.0);
        run(&mut scaler, &scaling, &[busy(1.0); 60], 1);
        let wanted = run(&mut scaler, &scaling, &[busy(100.0); 6], 1);
        assert!(wanted[1] > 2, "{wanted:?}");
        assert_eq!(wanted[5], 15);
        let after = run(&mut scaler, &scaling, &[busy(1.0); 180], 15);
        assert_eq!(after[30], 15, "a panic takes nothing away");
        assert_eq!(after[179], 1);
        // At most half of them go at once.
        for pair in after.windows(2) {
            assert!(pair[1] * 2 + 1 >= pair[0], "{pair:?}");
        }
    }

    #[test]
    fn silence_ends_the_last_replica_only_after_the_idle_time() {
        let scaling = Scaling { idle_seconds: 30, ..scaling(0, 0, 10.0) };
        let mut scaler = Autoscaler::default();
        run(&mut scaler, &scaling, &[busy(1.0); 10], 1);
        let wanted = run(&mut scaler, &scaling, &[Load::default(); 40], 1);
        assert!(wanted[..29].iter().all(|wanted| *wanted >= 1), "{wanted:?}");
        assert_eq!(wanted[29..], [0; 11]);
        // The first request brings it back.
        assert_eq!(scaler.tick(busy(1.0), 0, &scaling), 1);
    }

    #[test]
    fn the_users_bounds_hold() {
        let mut scaler = Autoscaler::default();
        assert_eq!(run(&mut scaler, &scaling(2, 3, 1.0), &[busy(100.0); 10], 2).last(), Some(&3));
        let mut scaler = Autoscaler::default();
        assert_eq!(run(&mut scaler, &scaling(2, 3, 1.0), &[Load::default(); 100], 2).last(), Some(&2));
    }
}
