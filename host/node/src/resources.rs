//! Quantities of CPU and memory: parsing Kubernetes quantities, what this host has, and what a Pod asks for. Pure but
//! for reading the host's own size.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

/// Pods that the node says it can hold.
pub(crate) const MAX_PODS: u32 = 2000;

/// A quantity in thousandths of its unit, rounded up; `None` when it is not one.
pub(crate) fn thousandths(quantity: &Quantity) -> Option<u128> {
    let text = quantity.0.trim();
    let number_end =
        text.find(|c: char| !(c.is_ascii_digit() || matches!(c, '.' | '+' | '-'))).unwrap_or(text.len());
    let (number, suffix) = text.split_at(number_end);
    let (scale, down): (u128, u128) = match suffix {
        "" => (1, 1),
        "n" => (1, 1_000_000_000),
        "u" => (1, 1_000_000),
        "m" => (1, 1000),
        "k" => (1000, 1),
        "M" => (1_000_000, 1),
        "G" => (1_000_000_000, 1),
        "T" => (10_u128.pow(12), 1),
        "P" => (10_u128.pow(15), 1),
        "E" => (10_u128.pow(18), 1),
        "Ki" => (1 << 10, 1),
        "Mi" => (1 << 20, 1),
        "Gi" => (1 << 30, 1),
        "Ti" => (1 << 40, 1),
        "Pi" => (1 << 50, 1),
        "Ei" => (1 << 60, 1),
        exponent => {
            let power: i32 = exponent.strip_prefix(['e', 'E'])?.parse().ok()?;
            let factor = 10_u128.checked_pow(power.unsigned_abs())?;
            if power < 0 { (1, factor) } else { (factor, 1) }
        }
    };
    let (whole, fraction) = number.trim_start_matches('+').split_once('.').unwrap_or((number, ""));
    let digits = format!("{whole}{fraction}");
    let value: u128 = digits.parse().ok()?;
    let divisor = 10_u128.checked_pow(u32::try_from(fraction.len()).ok()?)?.checked_mul(down)?;
    Some(value.checked_mul(scale)?.checked_mul(1000)?.div_ceil(divisor))
}

/// CPU in thousandths of a core, memory in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Amount {
    pub(crate) cpu_millis: u128,
    pub(crate) memory_bytes: u128,
}

impl Amount {
    fn of(quantities: Option<&BTreeMap<String, Quantity>>) -> Self {
        let get = |name: &str| {
            quantities.and_then(|quantities| quantities.get(name)).and_then(thousandths).unwrap_or(0)
        };
        Amount { cpu_millis: get("cpu"), memory_bytes: get("memory").div_ceil(1000) }
    }

    pub(crate) fn plus(self, other: Amount) -> Amount {
        Amount {
            cpu_millis: self.cpu_millis.saturating_add(other.cpu_millis),
            memory_bytes: self.memory_bytes.saturating_add(other.memory_bytes),
        }
    }

    fn max(self, other: Amount) -> Amount {
        Amount {
            cpu_millis: self.cpu_millis.max(other.cpu_millis),
            memory_bytes: self.memory_bytes.max(other.memory_bytes),
        }
    }
}

/// What a Pod asks for: the sum over its containers and sidecars, or its largest init container.
pub(crate) fn requested(pod: &Pod) -> Amount {
    let Some(spec) = &pod.spec else { return Amount::default() };
    let requests = |resources: &Option<k8s_openapi::api::core::v1::ResourceRequirements>| {
        Amount::of(resources.as_ref().and_then(|resources| resources.requests.as_ref()))
    };
    let running = spec
        .containers
        .iter()
        .fold(Amount::default(), |sum, container| sum.plus(requests(&container.resources)));
    let mut sidecars = Amount::default();
    let mut largest = Amount::default();
    for init in spec.init_containers.iter().flatten() {
        if init.restart_policy.as_deref() == Some("Always") {
            sidecars = sidecars.plus(requests(&init.resources));
            largest = largest.max(sidecars);
        } else {
            largest = largest.max(sidecars.plus(requests(&init.resources)));
        }
    }
    running.plus(sidecars).max(largest)
}

/// What this host has.
pub(crate) fn capacity() -> Amount {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let memory = std::fs::read_to_string("/proc/meminfo")
        .ok()
        .and_then(|text| {
            let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
            line.trim().trim_end_matches(" kB").trim().parse::<u128>().ok()
        })
        .unwrap_or(1 << 20);
    Amount { cpu_millis: cores as u128 * 1000, memory_bytes: memory * 1024 }
}

/// The host's capacity of one resource, in thousandths.
pub(crate) fn capacity_thousandths(resource: &str) -> u128 {
    match resource {
        "cpu" => capacity().cpu_millis,
        "memory" => capacity().memory_bytes * 1000,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_quantities() {
        for (text, expected) in [
            ("1", Some(1000)),
            ("250m", Some(250)),
            ("1.5", Some(1500)),
            ("1Ki", Some(1_024_000)),
            ("1e3", Some(1_000_000)),
            ("100n", Some(1)),
            ("x", None),
            ("1Q", None),
        ] {
            assert_eq!(thousandths(&Quantity(text.to_owned())), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in ".*") {
            let _ = thousandths(&Quantity(text));
        }
    }
}
