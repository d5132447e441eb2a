//! How long a failing request is tried again, and what a server says about when.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use reqwest::StatusCode;
use reqwest::header::{HeaderMap, RETRY_AFTER};

use super::{TransferError, TransferOptions};

/// Tries for a host that has never answered: its name may be mistyped, and nobody wants to wait a
/// minute to be told.
const TRIES_UNREACHED: u32 = 3;

/// One failed try.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) cause: TransferError,
    pub(super) hope: Hope,
    /// The pause that the server asks for.
    pub(super) pause: Option<Duration>,
}

/// Whether another try may help.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hope {
    None,
    /// Some, but no host has answered yet.
    Little,
    Good,
}

impl Fault {
    pub(super) fn passing(cause: TransferError) -> Self {
        Self {
            cause,
            hope: Hope::Good,
            pause: None,
        }
    }

    pub(super) fn lasting(cause: TransferError) -> Self {
        Self {
            cause,
            hope: Hope::None,
            pause: None,
        }
    }
}

/// The last fault of a request that was given up.
#[derive(Debug, thiserror::Error)]
#[error("given up at try {tries}")]
pub(super) struct GaveUp {
    pub(super) tries: u32,
    #[source]
    pub(super) cause: TransferError,
}

/// Counts the tries of one request and waits between them.
#[derive(Debug)]
pub(super) struct Patience<'o> {
    options: &'o TransferOptions,
    failures: u32,
}

impl<'o> Patience<'o> {
    pub(super) fn new(options: &'o TransferOptions) -> Self {
        Self {
            options,
            failures: 0,
        }
    }

    /// Forgets earlier failures: something arrived.
    pub(super) fn progressed(&mut self) {
        self.failures = 0;
    }

    /// Waits before the next try, or says that there is none.
    pub(super) async fn wait(&mut self, fault: Fault) -> Result<(), GaveUp> {
        self.failures += 1;
        let delay = self.delay(fault)?;
        tracing::debug!(
            failures = self.failures,
            ?delay,
            "a request failed and is tried again"
        );
        tokio::time::sleep(delay).await;
        Ok(())
    }

    fn delay(&self, fault: Fault) -> Result<Duration, GaveUp> {
        let tries = match fault.hope {
            Hope::None => 1,
            Hope::Little => self.options.tries.min(TRIES_UNREACHED),
            Hope::Good => self.options.tries,
        };
        let gave_up = |cause| GaveUp {
            tries: self.failures,
            cause,
        };
        if self.failures >= tries {
            return Err(gave_up(fault.cause));
        }
        let doublings = (self.failures - 1).min(20);
        let delay = self.options.first_delay.saturating_mul(1 << doublings);
        let delay = delay.min(self.options.max_delay);
        match (fault.pause, &fault.cause) {
            (Some(pause), TransferError::Status { status, .. })
                if pause > self.options.max_wait =>
            {
                let status = *status;
                Err(gave_up(TransferError::Pause { status, pause }))
            }
            (Some(pause), _) if !pause.is_zero() => Ok(pause),
            _ => Ok(delay),
        }
    }
}

/// Whether a status is worth another try.
pub(super) fn is_passing(status: StatusCode) -> bool {
    match status.as_u16() {
        // Not implemented and version not supported will stay so.
        501 | 505 => false,
        408 | 425 | 429 | 500..=599 => true,
        _ => false,
    }
}

/// The pause that a refusal asks for.
pub(super) fn pause_asked(headers: &HeaderMap) -> Option<Duration> {
    let text = |name: &str| headers.get(name)?.to_str().ok();
    if let Some(value) = text(RETRY_AFTER.as_str()) {
        let value = value.trim();
        if let Ok(seconds) = value.parse() {
            return Some(Duration::from_secs(seconds));
        }
        let until = parse_http_date(value)?;
        let pause = until.duration_since(SystemTime::now());
        return Some(pause.unwrap_or_default());
    }
    // draft-ietf-httpapi-ratelimit-headers, as the hub sends it: `"api";r=0;t=55`, with the seconds
    // until the window ends as `t`.
    let mut parameters = text("ratelimit")?.split([';', ',']);
    let seconds = parameters.find_map(|parameter| parameter.trim().strip_prefix("t="))?;
    seconds.trim().parse().ok().map(Duration::from_secs)
}

/// Parses the one date format that servers may send (RFC 9110, 5.6.7, IMF-fixdate):
/// `Sun, 06 Nov 1994 08:49:37 GMT`.
fn parse_http_date(text: &str) -> Option<SystemTime> {
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let (_, rest) = text.split_once(", ")?;
    let mut words = rest.split(' ');
    let day: u64 = words.next()?.parse().ok()?;
    let month = words.next()?;
    let month = MONTHS.iter().position(|name| *name == month)? as u64 + 1;
    let year: u64 = words.next()?.parse().ok()?;
    let mut clock = words.next()?.split(':').map(str::parse::<u64>);
    let mut unit = || clock.next()?.ok();
    let (hour, minute, second) = (unit()?, unit()?, unit()?);
    let is_sane = (1970..10_000).contains(&year) && (1..=31).contains(&day);
    if words.next() != Some("GMT") || !is_sane || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    // Days since 1970-01-01, counting years from March so that the leap day comes last.
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let leap_days = year / 4 - year / 100 + year / 400;
    let days = 365 * year + leap_days + (153 * month + 2) / 5 + day - 1;
    // The same sum for 1970-01-01.
    let days = days.checked_sub(719_468)?;
    let seconds = ((days * 24 + hour) * 60 + minute) * 60 + second;
    UNIX_EPOCH.checked_add(Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_read() {
        let cases = [
            ("Thu, 01 Jan 1970 00:00:00 GMT", Some(0)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(784_111_777)),
            ("Thu, 29 Feb 2024 23:59:59 GMT", Some(1_709_251_199)),
            ("Tue, 01 Mar 2000 00:00:00 GMT", Some(951_868_800)),
            ("Sun, 06 Foo 1994 08:49:37 GMT", None),
            ("Sun, 06 Nov 1994 08:49 GMT", None),
            ("Sun, 06 Nov 1994 08:49:37 CET", None),
            ("", None),
        ];
        for (text, expected) in cases {
            let found = parse_http_date(text);
            let expected = expected.map(|seconds| UNIX_EPOCH + Duration::from_secs(seconds));
            assert_eq!(found, expected, "{text}");
        }
    }

    #[test]
    fn pauses_are_read() {
        let cases = [
            ("retry-after", "7", Some(7)),
            ("retry-after", "Sun, 06 Nov 1994 08:49:37 GMT", Some(0)),
            ("retry-after", "soon", None),
            ("ratelimit", "\"api\";r=0;t=55", Some(55)),
            ("x-other", "1", None),
        ];
        for (name, value, expected) in cases {
            let mut headers = HeaderMap::new();
            headers.insert(name, value.parse().unwrap());
            assert_eq!(
                pause_asked(&headers),
                expected.map(Duration::from_secs),
                "{name}: {value}"
            );
        }
    }

    #[test]
    fn pauses_double_up_to_a_limit() {
        let options = TransferOptions {
            tries: 9,
            first_delay: Duration::from_secs(1),
            max_delay: Duration::from_secs(5),
            ..TransferOptions::default()
        };
        let mut patience = Patience::new(&options);
        let limit = Duration::ZERO;
        let mut delays = Vec::new();
        for failures in 1..9 {
            patience.failures = failures;
            let fault = Fault::passing(TransferError::TimedOut { limit });
            delays.push(patience.delay(fault).unwrap().as_secs());
        }
        assert_eq!(delays, [1, 2, 4, 5, 5, 5, 5, 5]);
        patience.failures = 9;
        let fault = Fault::passing(TransferError::TimedOut { limit });
        assert_eq!(patience.delay(fault).unwrap_err().tries, 9);
    }

    #[test]
    fn a_pause_longer_than_allowed_is_given_up() {
        let options = TransferOptions::default();
        let mut patience = Patience::new(&options);
        patience.failures = 1;
        let fault = Fault {
            pause: Some(Duration::from_secs(3600)),
            ..Fault::passing(TransferError::Status {
                status: 429,
                message: String::new(),
            })
        };
        let cause = patience.delay(fault).unwrap_err().cause;
        assert!(
            matches!(cause, TransferError::Pause { status: 429, .. }),
            "{cause:?}"
        );
    }
}
