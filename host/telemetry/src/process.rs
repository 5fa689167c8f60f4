//! Facts about this process under the names that Prometheus client libraries share (`process_*`), read when scraped.

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

/// Reads `/proc/self` at each scrape. Where there is none it reports nothing.
#[derive(Debug)]
pub struct ProcessCollector;

/// What `/proc/self` says now.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ProcessFacts {
    /// Resident set, in bytes.
    pub resident_bytes: u64,
    /// Virtual memory, in bytes.
    pub virtual_bytes: u64,
    /// User and system time so far, in seconds.
    pub cpu_seconds: f64,
    /// Operating system threads.
    pub threads: u64,
    /// Open file descriptors.
    pub open_files: u64,
}

/// Clock ticks a second in `/proc/*/stat`: fixed by the kernel's user interface on every architecture that Rust's
/// Linux targets run on.
const TICKS_A_SECOND: f64 = 100.0;

/// Reads the facts, or `None` where this system has no `/proc`.
pub fn facts() -> Option<ProcessFacts> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    let open_files = std::fs::read_dir("/proc/self/fd").map_or(0, |entries| entries.count() as u64);
    parse(&status, &stat, open_files)
}

fn parse(status: &str, stat: &str, open_files: u64) -> Option<ProcessFacts> {
    let field = |name: &str| -> Option<u64> {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim_start_matches(':').split_whitespace().next()?.parse().ok()
    };
    // The second field is the program's name in parentheses and may itself hold spaces and parentheses.
    let after_name = stat.rsplit_once(')')?.1;
    let numbers: Vec<&str> = after_name.split_whitespace().collect();
    let user: f64 = numbers.get(11)?.parse().ok()?;
    let system: f64 = numbers.get(12)?.parse().ok()?;
    Some(ProcessFacts {
        resident_bytes: field("VmRSS")? * 1024,
        virtual_bytes: field("VmSize")? * 1024,
        cpu_seconds: (user + system) / TICKS_A_SECOND,
        threads: field("Threads")?,
        open_files,
    })
}

impl Collector for ProcessCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let Some(facts) = facts() else { return Ok(()) };
        let mut gauge = |name, help, value: u64| {
            let gauge = ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
            let metric = encoder.encode_descriptor(name, help, None, gauge.metric_type())?;
            gauge.encode(metric)
        };
        gauge("process_resident_memory_bytes", "Resident memory in bytes", facts.resident_bytes)?;
        gauge("process_virtual_memory_bytes", "Virtual memory in bytes", facts.virtual_bytes)?;
        gauge("process_threads", "Operating system threads", facts.threads)?;
        gauge("process_open_fds", "Open file descriptors", facts.open_files)?;
        let cpu = ConstCounter::new(facts.cpu_seconds);
        let metric = encoder.encode_descriptor(
            "process_cpu_seconds",
            "User and system time in seconds",
            None,
            cpu.metric_type(),
        )?;
        cpu.encode(metric)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_name_with_spaces_and_parentheses() {
        let status = "Name:\tx\nVmSize:\t  2048 kB\nVmRSS:\t    1024 kB\nThreads:\t3\n";
        let stat = "7 (a (b) c) S 1 7 7 0 -1 4194560 1 0 0 0 150 50 0 0 20 0 3 0 1 1 1";
        let facts = parse(status, stat, 9).unwrap();
        assert_eq!(facts.resident_bytes, 1024 * 1024);
        assert_eq!(facts.virtual_bytes, 2048 * 1024);
        assert!((facts.cpu_seconds - 2.0).abs() < f64::EPSILON);
        assert_eq!((facts.threads, facts.open_files), (3, 9));
    }

    #[test]
    fn malformed_text_gives_nothing() {
        assert_eq!(parse("", "", 0), None);
        assert_eq!(parse("VmRSS: x kB", "7 (x) S", 0), None);
    }
}
