//! Times from outside: RFC 3339 with a zone, in years that PostgreSQL, JSON and every client can represent and that leave room for
//! arithmetic.

use chrono::{DateTime, Datelike as _, FixedOffset, Months, NaiveDateTime, TimeDelta, Utc};
use serde::de::Error as _;
use serde::{Deserialize as _, Deserializer};

/// First and last year of a time that is accepted.
const YEARS: std::ops::RangeInclusive<i32> = 1..=9998;
/// The first and the last moment of them, in seconds since 1970.
const BOUNDS: (i64, i64) = (-62_135_596_800, 253_370_764_799);

/// The time so much later, or earlier if the span is negative; the end of the accepted years when it is beyond.
#[must_use]
pub fn plus(at: DateTime<Utc>, span: TimeDelta) -> DateTime<Utc> {
    let (first, last) = BOUNDS;
    let sum = at.checked_add_signed(span).filter(|sum| is_accepted(*sum));
    let bound = if span < TimeDelta::zero() { first } else { last };
    sum.or_else(|| DateTime::from_timestamp(bound, 0)).unwrap_or(at)
}

/// The time so many months earlier; the first accepted one when it is beyond.
#[must_use]
pub fn months_before(at: DateTime<Utc>, months: u32) -> DateTime<Utc> {
    let first = DateTime::from_timestamp(BOUNDS.0, 0).unwrap_or(at);
    at.checked_sub_months(Months::new(months)).map_or(first, |before| before.max(first))
}

/// A time.
///
/// # Errors
/// What is wrong and what to send.
pub fn parse(text: &str) -> Result<DateTime<Utc>, String> {
    let time = rfc3339(text).map_err(|error| reason(text, error))?.to_utc();
    if is_accepted(time) {
        Ok(time)
    } else {
        Err(format!("{text:?}: the year must be from {} to {}", YEARS.start(), YEARS.end()))
    }
}

/// As RFC 3339 writes it, or with an offset without its colon, as `strftime` writes it in many languages (and generated clients do).
fn rfc3339(text: &str) -> chrono::ParseResult<DateTime<FixedOffset>> {
    match text.as_bytes() {
        [.., b'+' | b'-', a, b, c, d] if [a, b, c, d].iter().all(|digit| digit.is_ascii_digit()) => {
            let (hours, minutes) = text.split_at(text.len() - 2);
            DateTime::parse_from_rfc3339(&format!("{hours}:{minutes}"))
        }
        _ => DateTime::parse_from_rfc3339(text),
    }
}

/// Whether its year, by UTC, is one that is accepted.
#[must_use]
pub fn is_accepted(time: DateTime<Utc>) -> bool {
    YEARS.contains(&time.year())
}

/// Why a text is not a time, with the two usual mistakes by name.
fn reason(text: &str, error: chrono::ParseError) -> String {
    if text.parse::<NaiveDateTime>().is_ok() || NaiveDateTime::parse_from_str(text, "%F %T%.f").is_ok() {
        return format!("{text:?} has no time zone: append Z for UTC, or an offset such as +02:00");
    }
    if let Some((before, offset)) = text.rsplit_once(' ')
        && rfc3339(&format!("{before}+{offset}")).is_ok()
    {
        return format!("{text:?}: a + in a URL means a space: write %2B, or give the time in UTC with Z");
    }
    format!("{text:?} is not a time such as 2026-11-27T10:00:00Z (RFC 3339): {error}")
}

/// For fields that may be absent or null.
pub(crate) fn optional<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<DateTime<Utc>>, D::Error> {
    let text = Option::<std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
    text.map(|text| parse(&text)).transpose().map_err(D::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_with_a_zone_are_taken_and_others_are_explained() {
        for (text, utc) in [
            ("2026-11-27T10:00:00Z", "2026-11-27T10:00:00Z"),
            ("2026-11-27T10:00:00.123456+02:00", "2026-11-27T08:00:00.123456Z"),
            ("2026-11-27T10:00:00.5+0230", "2026-11-27T07:30:00.5Z"),
            ("2026-11-27T10:00:00-0800", "2026-11-27T18:00:00Z"),
            ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00Z"),
            ("9998-12-31T23:59:59Z", "9998-12-31T23:59:59Z"),
        ] {
            assert_eq!(parse(text).unwrap(), utc.parse::<DateTime<Utc>>().unwrap(), "{text}");
        }
        for (text, words) in [
            ("2026-11-27T10:00:00", "append Z for UTC"),
            ("2026-11-27 10:00:00.5", "append Z for UTC"),
            ("2026-11-27T10:00:00 02:00", "write %2B"),
            ("2026-11-27T10:00:00 0200", "write %2B"),
            ("2026-11-27T10:00:00+9900", "is not a time such as"),
            ("2026-1127", "is not a time such as"),
            ("-262143-01-01T00:00:00Z", "is not a time such as"),
            ("+262142-12-31T00:00:00Z", "is not a time such as"),
            ("9999-12-31T23:59:59-01:00", "the year must be from 1 to 9998"),
            ("0001-01-01T00:00:00+14:00", "the year must be from 1 to 9998"),
            ("0000-01-01T00:00:00Z", "the year must be from 1 to 9998"),
            ("2026-02-30T00:00:00Z", "is not a time such as"),
            ("2026-11-27", "is not a time such as"),
            ("1764237600", "is not a time such as"),
            ("", "is not a time such as"),
        ] {
            let said = parse(text).unwrap_err();
            assert!(said.contains(words) && said.contains(text), "{said}");
        }
    }

    #[test]
    fn sums_end_at_the_accepted_years() {
        let now: DateTime<Utc> = "2026-11-27T10:00:00Z".parse().unwrap();
        assert_eq!(plus(now, TimeDelta::days(1)).to_rfc3339(), "2026-11-28T10:00:00+00:00");
        assert_eq!(plus(now, TimeDelta::MAX).to_rfc3339(), "9998-12-31T23:59:59+00:00");
        assert_eq!(plus(now, TimeDelta::MIN).to_rfc3339(), "0001-01-01T00:00:00+00:00");
        assert_eq!(months_before(now, 12).to_rfc3339(), "2025-11-27T10:00:00+00:00");
        for months in [30_000, u32::MAX] {
            assert_eq!(months_before(now, months).to_rfc3339(), "0001-01-01T00:00:00+00:00");
        }
    }
}
