//! Fields of a certificate.

use std::net::IpAddr;
use std::time::{SystemTime, UNIX_EPOCH};

use framelane::{Error, ErrorKind};
use rustls::CertificateError;
use rustls::pki_types::{CertificateDer, UnixTime};
use time::OffsetDateTime;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

/// From when to when a certificate is valid, in seconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    not_before_s: i64,
    not_after_s: i64,
}

impl Validity {
    /// The day it begins, as in 2026-11-25.
    pub fn not_before(&self) -> String {
        date(self.not_before_s)
    }

    /// The day it ends, as in 2029-11-24.
    pub fn not_after(&self) -> String {
        date(self.not_after_s)
    }

    /// Whole days until it ends; negative when it has ended.
    pub fn days_left(&self, now: SystemTime) -> i64 {
        (self.not_after_s - seconds(now)).div_euclid(24 * 60 * 60)
    }

    /// Checks the validity period. Returns the error that `rustls` returns outside of it.
    pub(super) fn check(&self, now: UnixTime) -> Result<(), CertificateError> {
        let now_s = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        let unix = |seconds: i64| {
            UnixTime::since_unix_epoch(std::time::Duration::from_secs(u64::try_from(seconds).unwrap_or(0)))
        };
        if now_s < self.not_before_s {
            return Err(CertificateError::NotValidYetContext {
                time: now,
                not_before: unix(self.not_before_s),
            });
        }
        if now_s > self.not_after_s {
            return Err(CertificateError::ExpiredContext { time: now, not_after: unix(self.not_after_s) });
        }
        Ok(())
    }
}

/// Details of a certificate for messages.
#[derive(Clone, Debug)]
pub(super) struct Details {
    /// Host names and addresses that it is for.
    pub names: Vec<String>,
    pub common_name: String,
    pub validity: Validity,
}

impl Details {
    /// Reads a certificate from any source. Its signature is not checked: TLS proves possession of the key.
    pub fn read(certificate: &CertificateDer<'_>) -> Result<Self, Error> {
        let (rest, parsed) = X509Certificate::from_der(certificate).map_err(|_| damaged())?;
        if !rest.is_empty() {
            return Err(damaged());
        }
        let validity = Validity {
            not_before_s: parsed.validity().not_before.timestamp(),
            not_after_s: parsed.validity().not_after.timestamp(),
        };
        let names = parsed.subject_alternative_name().map_err(|_| damaged())?;
        let names = names.map(|names| names.value.general_names.iter().filter_map(name).collect());
        let common_name = parsed.subject().iter_common_name().next().and_then(|name| name.as_str().ok());
        Ok(Details {
            names: names.unwrap_or_default(),
            common_name: common_name.unwrap_or_default().to_owned(),
            validity,
        })
    }
}

fn damaged() -> Error {
    Error::new(ErrorKind::Damaged, "expected an X.509 certificate, found something else")
        .with_hint("create it again with `framelane identity`")
}

fn name(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => match bytes.len() {
            4 => Some(IpAddr::from(<[u8; 4]>::try_from(*bytes).ok()?).to_string()),
            16 => Some(IpAddr::from(<[u8; 16]>::try_from(*bytes).ok()?).to_string()),
            _ => None,
        },
        _ => None,
    }
}

/// A day, as in 2026-11-25, in UTC.
pub(super) fn date(unix_s: i64) -> String {
    OffsetDateTime::from_unix_timestamp(unix_s)
        .map_or_else(|_| "an unknown date".to_owned(), |time| time.date().to_string())
}

/// Today, as in 2026-11-25, in UTC.
pub(super) fn today() -> String {
    date(seconds(SystemTime::now()))
}

fn seconds(time: SystemTime) -> i64 {
    let whole = |duration: std::time::Duration| i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
    time.duration_since(UNIX_EPOCH).map_or_else(|before| -whole(before.duration()), whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_told_in_utc() {
        assert_eq!(
            [0, 86_399, 86_400, -1].map(date),
            ["1970-01-01", "1970-01-01", "1970-01-02", "1969-12-31"]
        );
        assert_eq!(date(i64::MAX), "an unknown date");
        let validity = Validity { not_before_s: 0, not_after_s: 3 * 86_400 };
        assert_eq!(validity.days_left(UNIX_EPOCH), 3);
        assert_eq!(validity.days_left(UNIX_EPOCH + std::time::Duration::from_secs(3 * 86_400 + 1)), -1);
    }

    #[test]
    fn the_first_and_the_last_second_are_within() {
        let validity = Validity { not_before_s: 10, not_after_s: 20 };
        let at =
            |seconds| validity.check(UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds)));
        assert!(at(10).is_ok() && at(20).is_ok());
        assert!(matches!(at(9), Err(CertificateError::NotValidYetContext { .. })));
        assert!(matches!(at(21), Err(CertificateError::ExpiredContext { .. })));
    }
}
