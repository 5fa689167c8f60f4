//! The W3C trace context of a request: what a client sent, and what is handed on in its place.

use std::fmt;

use http::HeaderValue;

/// The header's name.
pub(crate) const TRACEPARENT: &str = "traceparent";

/// A trace's name, which is written as 32 hexadecimal digits. Never zero, which stands for no trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TraceId(u128);

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// A trace that a request is part of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Trace {
    id: TraceId,
    /// Whether it is recorded.
    sampled: bool,
}

impl Trace {
    /// From a header's value. Only what has the form that version 00 has is believed.
    pub(crate) fn parse(value: &HeaderValue) -> Option<Trace> {
        let mut parts = value.to_str().ok()?.split('-');
        let (version, id, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let hex = |text: &str, length: usize| {
            text.len() == length && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        };
        let not_zero = |text: &str| text.bytes().any(|byte| byte != b'0');
        let right = hex(version, 2) && version != "ff" && hex(id, 32) && hex(span, 16) && hex(flags, 2);
        if !right || !not_zero(id) || !not_zero(span) || (version == "00" && parts.next().is_some()) {
            return None;
        }
        Some(Trace {
            id: TraceId(u128::from_str_radix(id, 16).ok()?),
            sampled: u8::from_str_radix(flags, 16).is_ok_and(|flags| flags & 1 == 1),
        })
    }

    /// One that begins here.
    pub(crate) fn begin() -> Trace {
        Trace { id: TraceId(rand::random::<u128>() | 1), sampled: false }
    }

    /// Its name.
    pub(crate) fn id(&self) -> TraceId {
        self.id
    }

    /// The header for who is asked next, with a span of its own.
    pub(crate) fn header(&self) -> Option<HeaderValue> {
        let span = rand::random::<u64>() | 1;
        let text = format!("00-{}-{span:016x}-{:02x}", self.id, u8::from(self.sampled));
        HeaderValue::from_str(&text).ok()
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::Trace;

    #[test]
    fn a_trace_goes_on_and_nothing_else_does() {
        let id = "4bf92f3577b34da6a3ce929d0e0e4736";
        let value = format!("00-{id}-00f067aa0ba902b7-01");
        let trace = Trace::parse(&HeaderValue::from_str(&value).unwrap()).unwrap();
        let next = trace.header().unwrap();
        let next = next.to_str().unwrap();
        assert!(next.starts_with(&format!("00-{id}-")) && next.ends_with("-01") && next != value, "{next}");
        for wrong in [
            "",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x",
        ] {
            assert_eq!(Trace::parse(&HeaderValue::from_static(wrong)), None, "{wrong}");
        }
        let begun = Trace::begin();
        assert_eq!(Trace::parse(&begun.header().unwrap()).unwrap().id(), begun.id());
    }
}
