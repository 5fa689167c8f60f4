//! When a failed request is made again, and after how long.

use std::time::{Duration, SystemTime};

use http::{HeaderMap, StatusCode, header};

/// How often a request is made in all.
pub(super) const ATTEMPTS: u32 = 4;

/// The first pause; each further one is twice as long.
const PAUSE: Duration = Duration::from_millis(100);

/// The longest pause that a registry may ask for. One that wants more is not waited for: the caller comes back later.
pub(super) const LONGEST: Duration = Duration::from_secs(30);

/// Whether a status may be another one soon.
pub(super) fn may_pass(status: StatusCode) -> bool {
    status.is_server_error()
        || status == StatusCode::TOO_MANY_REQUESTS
        || status == StatusCode::REQUEST_TIMEOUT
}

/// The pause before the next attempt, the first of which is 1.
pub(super) fn pause(attempt: u32) -> Duration {
    PAUSE * 2u32.saturating_pow(attempt.saturating_sub(1))
}

/// What the registry asks for: seconds, or a date.
pub(super) fn asked(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = httpdate::parse_http_date(text).ok()?;
    Some(date.duration_since(now).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_and_dates_are_read() {
        let now = httpdate::parse_http_date("Sun, 06 Nov 1994 08:49:30 GMT").expect("date");
        let wait = |text: &str| {
            let headers = HeaderMap::from_iter([(header::RETRY_AFTER, text.parse().expect("header"))]);
            asked(&headers, now)
        };
        assert_eq!(wait("7"), Some(Duration::from_secs(7)));
        assert_eq!(wait("Sun, 06 Nov 1994 08:49:37 GMT"), Some(Duration::from_secs(7)));
        assert_eq!(wait("Sun, 06 Nov 1994 08:49:00 GMT"), Some(Duration::ZERO));
        assert_eq!(wait("soon"), None);
        assert_eq!(asked(&HeaderMap::new(), now), None);
    }
}
