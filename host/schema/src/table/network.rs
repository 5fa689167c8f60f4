//! The rows of services and of what leads to them.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::builtin::{age, items, labels, name, number, or_none, text};

/// How many addresses or ports a row shows.
const SHOWN: usize = 3;

pub(super) fn service(object: &Value, now: Timestamp) -> Vec<Value> {
    let spec = &object["spec"];
    let mut external: Vec<&str> = items(&spec["externalIPs"]).iter().map(text).collect();
    let balanced = items(&object["status"]["loadBalancer"]["ingress"]);
    external.extend(
        balanced
            .iter()
            .map(|one| if one["ip"].is_string() { text(&one["ip"]) } else { text(&one["hostname"]) }),
    );
    let outside = match text(&spec["type"]) {
        "ExternalName" => text(&spec["externalName"]).into(),
        "LoadBalancer" if external.is_empty() => json!("<pending>"),
        _ => or_none(&external.join(",")),
    };
    let port = |port: &Value| match port["nodePort"].as_i64() {
        Some(node) if node > 0 => format!("{}:{node}/{}", number(&port["port"]), text(&port["protocol"])),
        _ => format!("{}/{}", number(&port["port"]), text(&port["protocol"])),
    };
    let ports = items(&spec["ports"]).iter().map(port).collect::<Vec<_>>().join(",");
    vec![
        name(object),
        spec["type"].clone(),
        or_none(text(&spec["clusterIP"])),
        outside,
        or_none(&ports),
        age(object, now),
        labels(&spec["selector"]),
    ]
}

/// The first few texts, and how many more there are.
fn few(all: &[String]) -> String {
    match all.len().checked_sub(SHOWN) {
        Some(more @ 1..) => format!("{} + {more} more...", all[..SHOWN].join(",")),
        Some(0) | None => all.join(","),
    }
}

pub(super) fn endpoints(object: &Value, now: Timestamp) -> Vec<Value> {
    let mut all = Vec::new();
    for subset in items(&object["subsets"]) {
        let ports = items(&subset["ports"]);
        for address in items(&subset["addresses"]) {
            let address = text(&address["ip"]);
            if ports.is_empty() {
                all.push(address.to_owned());
            }
            all.extend(ports.iter().map(|port| format!("{address}:{}", number(&port["port"]))));
        }
    }
    vec![name(object), or_none(&few(&all)), age(object, now)]
}

pub(super) fn slice(object: &Value, now: Timestamp) -> Vec<Value> {
    let ports: Vec<String> =
        items(&object["ports"]).iter().map(|port| number(&port["port"]).to_string()).collect();
    let ports = if ports.is_empty() { "<unset>".to_owned() } else { few(&ports) };
    let addresses = items(&object["endpoints"]).iter().flat_map(|endpoint| items(&endpoint["addresses"]));
    let addresses: Vec<String> = addresses.map(|address| text(address).to_owned()).collect();
    let addresses = if addresses.is_empty() { "<unset>".to_owned() } else { few(&addresses) };
    vec![name(object), object["addressType"].clone(), ports.into(), addresses.into(), age(object, now)]
}

pub(super) fn ingress(object: &Value, now: Timestamp) -> Vec<Value> {
    let spec = &object["spec"];
    let hosts: Vec<String> = items(&spec["rules"])
        .iter()
        .map(|rule| text(&rule["host"]).to_owned())
        .filter(|host| !host.is_empty())
        .collect();
    let hosts = if hosts.is_empty() { "*".to_owned() } else { few(&hosts) };
    let balanced = items(&object["status"]["loadBalancer"]["ingress"]).iter();
    let addresses =
        balanced.map(|one| if one["ip"].is_string() { text(&one["ip"]) } else { text(&one["hostname"]) });
    vec![
        name(object),
        or_none(text(&spec["ingressClassName"])),
        hosts.into(),
        addresses.collect::<Vec<_>>().join(",").into(),
        if items(&spec["tls"]).is_empty() { "80" } else { "80, 443" }.into(),
        age(object, now),
    ]
}
