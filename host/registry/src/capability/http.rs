//! Which servers a plugin may send requests to, and which addresses count as public.

use std::collections::BTreeSet;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::{both, listed};
use crate::manifest::is_dns_subdomain;

/// Requests to servers, as `METHODS [SCHEME://]HOST[:PORT] [in RANGE,...]`: `GET,POST api.example.com`,
/// `* *.example.com:8443`, `GET http://minio.data.svc:9000 in 10.0.0.0/8`.
///
/// The scheme is `https` unless it is written, the port that of the scheme; `:*` stands for every port. `*.example.com` stands for the names below
/// `example.com` and not for itself. Addresses that are not public are reached only where their range is given, or where
/// the host is written as that very address.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HttpGrant {
    /// The methods; empty for all.
    pub methods: BTreeSet<Method>,
    /// The scheme.
    pub scheme: Scheme,
    /// The hosts.
    pub host: HostPattern,
    /// The port; `None` for all.
    pub port: Option<u16>,
    /// Ranges of addresses that may be reached beside public ones.
    pub ranges: BTreeSet<IpNet>,
}

/// The methods of HTTP that a plugin can use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(missing_docs, reason = "the names of HTTP")]
pub enum Method {
    Delete,
    Get,
    Head,
    Options,
    Patch,
    Post,
    Put,
}

impl Method {
    const ALL: &[Method] = &[
        Method::Delete,
        Method::Get,
        Method::Head,
        Method::Options,
        Method::Patch,
        Method::Post,
        Method::Put,
    ];

    /// The name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Method::Delete => "DELETE",
            Method::Get => "GET",
            Method::Head => "HEAD",
            Method::Options => "OPTIONS",
            Method::Patch => "PATCH",
            Method::Post => "POST",
            Method::Put => "PUT",
        }
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How a server is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scheme {
    /// Over TLS.
    Https,
    /// In clear text.
    Http,
}

impl Scheme {
    /// The scheme of a URL.
    pub fn as_str(self) -> &'static str {
        match self {
            Scheme::Https => "https",
            Scheme::Http => "http",
        }
    }

    fn default_port(self) -> u16 {
        match self {
            Scheme::Https => 443,
            Scheme::Http => 80,
        }
    }
}

/// Which hosts.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum HostPattern {
    /// Every host.
    Any,
    /// Names that end so; the text begins with a dot.
    Below(String),
    /// This name, in lower case.
    Name(String),
    /// This address.
    Address(IpAddr),
}

impl HostPattern {
    /// Whether a host, as it stands in a URL without brackets, matches.
    pub fn matches(&self, host: &str) -> bool {
        let host = host.strip_suffix('.').unwrap_or(host);
        let address = host.parse::<IpAddr>().ok();
        match self {
            HostPattern::Any => true,
            HostPattern::Below(suffix) => {
                address.is_none() && host.len() > suffix.len() && host.ends_with(suffix.as_str())
            }
            HostPattern::Name(name) => host == name,
            HostPattern::Address(wanted) => address == Some(*wanted),
        }
    }

    fn intersect(&self, other: &HostPattern) -> Option<HostPattern> {
        match (self, other) {
            (HostPattern::Any, narrow) | (narrow, HostPattern::Any) => Some(narrow.clone()),
            (HostPattern::Below(a), HostPattern::Below(b)) => {
                let (outer, inner) = if a.len() <= b.len() { (a, b) } else { (b, a) };
                inner.ends_with(outer.as_str()).then(|| HostPattern::Below(inner.clone()))
            }
            (HostPattern::Name(name), pattern) | (pattern, HostPattern::Name(name)) => {
                pattern.matches(name).then(|| HostPattern::Name(name.clone()))
            }
            (a, b) => (a == b).then(|| a.clone()),
        }
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HostPattern::Any => f.write_str("*"),
            HostPattern::Below(suffix) => write!(f, "*{suffix}"),
            HostPattern::Name(name) => f.write_str(name),
            HostPattern::Address(IpAddr::V4(address)) => address.fmt(f),
            HostPattern::Address(IpAddr::V6(address)) => write!(f, "[{address}]"),
        }
    }
}

impl HttpGrant {
    /// Whether a request may be sent, as far as its URL says. The address that the host stands for is checked by
    /// [`admits`](Self::admits).
    pub fn allows(&self, method: Method, scheme: Scheme, host: &str, port: u16) -> bool {
        (self.methods.is_empty() || self.methods.contains(&method))
            && self.scheme == scheme
            && self.port.is_none_or(|own| own == port)
            && self.host.matches(host)
    }

    /// Whether an address may be connected to.
    pub fn admits(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        let written = matches!(self.host, HostPattern::Address(host) if host.to_canonical() == address);
        written || is_public(address) || self.ranges.iter().any(|range| range.contains(&address))
    }

    pub(super) fn intersect(&self, other: &HttpGrant) -> Option<HttpGrant> {
        if self.scheme != other.scheme {
            return None;
        }
        let port = match (self.port, other.port) {
            (Some(a), Some(b)) if a != b => return None,
            (a, b) => a.or(b),
        };
        let host = self.host.intersect(&other.host)?;
        // An address that only one side writes is one that the other lets be reached, or none: `*` is no private address.
        if let HostPattern::Address(address) = host
            && !(self.admits(address) && other.admits(address))
        {
            return None;
        }
        let narrower = |a: &IpNet, b: &IpNet| match (a.contains(b), b.contains(a)) {
            (true, _) => Some(*b),
            (_, true) => Some(*a),
            (false, false) => None,
        };
        let ranges = self.ranges.iter().flat_map(|a| other.ranges.iter().filter_map(move |b| narrower(a, b)));
        Some(HttpGrant {
            methods: both(&self.methods, &other.methods)?,
            scheme: self.scheme,
            host,
            port,
            ranges: ranges.collect(),
        })
    }
}

impl fmt::Display for HttpGrant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", listed(&self.methods))?;
        if self.scheme == Scheme::Http {
            f.write_str("http://")?;
        }
        write!(f, "{}", self.host)?;
        match self.port {
            None => f.write_str(":*")?,
            Some(port) if port != self.scheme.default_port() => write!(f, ":{port}")?,
            Some(_) => {}
        }
        if !self.ranges.is_empty() {
            write!(f, " in {}", listed(&self.ranges))?;
        }
        Ok(())
    }
}

impl FromStr for HttpGrant {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        const FORM: &str = "write http(METHODS [SCHEME://]HOST[:PORT|:*] [in RANGES]), such as http(GET,POST api.example.com)";
        let (what, ranges) = match text.split_once(" in ") {
            Some((what, ranges)) => (what, ranges.split(',').map(range).collect::<Result<_, _>>()?),
            None => (text, BTreeSet::new()),
        };
        let (methods, target) = what.split_once(' ').ok_or(FORM)?;
        let methods = if methods == "*" {
            BTreeSet::new()
        } else {
            methods.split(',').map(method).collect::<Result<_, _>>()?
        };
        let (scheme, authority) = match target.split_once("://") {
            None => (Scheme::Https, target),
            Some(("https", authority)) => (Scheme::Https, authority),
            Some(("http", authority)) => (Scheme::Http, authority),
            Some((other, _)) => return Err(format!("{other:?} is no scheme; there are http and https")),
        };
        let (host, port) = split_port(authority, scheme)?;
        Ok(HttpGrant { methods, scheme, host: self::host(host)?, port, ranges })
    }
}

fn method(text: &str) -> Result<Method, String> {
    let known = Method::ALL.iter().copied().find(|method| method.as_str() == text);
    known.ok_or_else(|| {
        format!("{text:?} is no method; there are {}", listed(&Method::ALL.iter().copied().collect()))
    })
}

fn range(text: &str) -> Result<IpNet, String> {
    let range: IpNet = text
        .parse()
        .map_err(|_| format!("{text:?} is no range of addresses; write one such as 10.0.0.0/8"))?;
    // 10.1.2.3/8 is most likely not meant as all of 10.0.0.0/8.
    if range.trunc() != range {
        return Err(format!("{text:?} has bits set behind its prefix; write {}", range.trunc()));
    }
    Ok(range)
}

/// The host, and the port that is meant.
fn split_port(authority: &str, scheme: Scheme) -> Result<(&str, Option<u16>), String> {
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !host.starts_with('[') || host.ends_with(']') => (host, port),
        _ => return Ok((authority, Some(scheme.default_port()))),
    };
    if port == "*" {
        return Ok((host, None));
    }
    match port.parse::<u16>() {
        Ok(number) if number > 0 && port.bytes().all(|byte| byte.is_ascii_digit()) => {
            Ok((host, Some(number)))
        }
        _ => Err(format!("{port:?} is no port")),
    }
}

fn host(text: &str) -> Result<HostPattern, String> {
    let wrong = || format!("{text:?} is no host; write a name in lower case, *.name, an address or *");
    if text == "*" {
        return Ok(HostPattern::Any);
    }
    if let Some(address) = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')) {
        return address
            .parse::<Ipv6Addr>()
            .map(|address| HostPattern::Address(address.into()))
            .map_err(|_| wrong());
    }
    if let Ok(address) = text.parse::<Ipv4Addr>() {
        return Ok(HostPattern::Address(address.into()));
    }
    let (below, name) = match text.strip_prefix("*.") {
        Some(name) => (true, name),
        None => (false, text),
    };
    // A name whose last label is a number is an address to every URL parser, in one of its odd forms.
    let numeric =
        name.rsplit('.').next().is_some_and(|label| label.starts_with(|first: char| first.is_ascii_digit()));
    if !is_dns_subdomain(name) || numeric {
        return Err(wrong());
    }
    Ok(if below { HostPattern::Below(format!(".{name}")) } else { HostPattern::Name(name.to_owned()) })
}

/// Whether an address is one of the public Internet: in none of the special-purpose ranges of IANA's registries (RFC 6890
/// and its successors). An IPv6 address that stands for an IPv4 one (mapped, NAT64, 6to4) is as public as that one.
pub fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => !V4_SPECIAL.iter().any(|range| range.contains(&address)),
        IpAddr::V6(address) => match embedded(address) {
            Some(inner) => is_public(inner.into()),
            None => !V6_SPECIAL.iter().any(|range| range.contains(&address)),
        },
    }
}

/// The IPv4 address that an IPv6 address is translated to.
fn embedded(address: Ipv6Addr) -> Option<Ipv4Addr> {
    const NAT64: Ipv6Net = v6(0x64, 0xff9b, 0, 96);
    const SIX_TO_FOUR: Ipv6Net = v6(0x2002, 0, 0, 16);
    let octets = address.octets();
    let four = |at: usize| Ipv4Addr::new(octets[at], octets[at + 1], octets[at + 2], octets[at + 3]);
    if address.to_ipv4_mapped().is_some() || NAT64.contains(&address) {
        Some(four(12))
    } else if SIX_TO_FOUR.contains(&address) {
        Some(four(2))
    } else {
        None
    }
}

const fn v4(a: u8, b: u8, c: u8, prefix: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, 0), prefix)
}

const fn v6(a: u16, b: u16, c: u16, prefix: u8) -> Ipv6Net {
    Ipv6Net::new_assert(Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0), prefix)
}

const V4_SPECIAL: &[Ipv4Net] = &[
    v4(0, 0, 0, 8),       // this network
    v4(10, 0, 0, 8),      // private
    v4(100, 64, 0, 10),   // shared by carriers
    v4(127, 0, 0, 8),     // loopback
    v4(169, 254, 0, 16),  // link-local, with the metadata services of clouds
    v4(172, 16, 0, 12),   // private
    v4(192, 0, 0, 24),    // protocol assignments
    v4(192, 0, 2, 24),    // documentation
    v4(192, 88, 99, 24),  // 6to4 relays
    v4(192, 168, 0, 16),  // private
    v4(198, 18, 0, 15),   // benchmarks
    v4(198, 51, 100, 24), // documentation
    v4(203, 0, 113, 24),  // documentation
    v4(224, 0, 0, 4),     // multicast
    v4(240, 0, 0, 4),     // reserved, and broadcast
];

const V6_SPECIAL: &[Ipv6Net] = &[
    v6(0, 0, 0, 96),          // unspecified, loopback, and IPv4-compatible
    v6(0x64, 0xff9b, 1, 48),  // local translation
    v6(0x100, 0, 0, 64),      // discard
    v6(0x2001, 0, 0, 23),     // protocol assignments, with Teredo
    v6(0x2001, 0xdb8, 0, 32), // documentation
    v6(0x3fff, 0, 0, 20),     // documentation
    v6(0x5f00, 0, 0, 16),     // segment routing
    v6(0xfc00, 0, 0, 7),      // unique local
    v6(0xfe80, 0, 0, 10),     // link-local
    v6(0xfec0, 0, 0, 10),     // site-local
    v6(0xff00, 0, 0, 8),      // multicast
];
