//! Durations of rules, which can be made shorter: a test need not wait for hours.

use std::fmt::Write as _;
use std::time::Duration;

/// No range is made shorter than this: a rate needs a few samples.
const SHORTEST: Duration = Duration::from_secs(10);

/// A duration as Prometheus writes it; `None` when it is none.
pub(super) fn parse(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit())?);
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86400,
        "w" => 604_800,
        _ => return None,
    };
    Some(Duration::from_secs(digits.parse::<u64>().ok()?.checked_mul(seconds)?))
}

/// The same, `pace` times as long.
pub(super) fn scaled(text: &str, pace: f64) -> String {
    match parse(text) {
        Some(time) if pace < 1.0 => format!("{}s", time.mul_f64(pace).as_secs_f64().ceil()),
        _ => text.to_owned(),
    }
}

/// Scales every range (`[5m]`) of an expression, and puts seconds in the place of `$(5m)`.
pub(super) fn fill(expr: &str, pace: f64) -> String {
    let ranges = replaced(expr, "[", "]", |range| {
        parse(range).map(|time| {
            let range =
                if pace < 1.0 { format!("{}s", time.mul_f64(pace).max(SHORTEST).as_secs()) } else { range.to_owned() };
            format!("[{range}]")
        })
    });
    replaced(&ranges, "$(", ")", |time| parse(time).map(|time| (time.as_secs_f64() * pace.min(1.0)).ceil().to_string()))
}

/// Names of series that a missed scrape takes away; `up` and `scrape_*` Prometheus writes itself, and recording rules go on.
const SCRAPED: [&str; 4] = ["certmanager_", "dgm_", "kubelet_", "process_"];

/// An expression whose instant selectors reach five minutes back. Prometheus ends a series at the first scrape that fails, and with it
/// every alert, and every wait, that is about it.
pub(super) fn held(expr: &str) -> String {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    let mut result = String::with_capacity(expr.len() * 2);
    let mut rest = expr;
    while let Some(start) = rest.find(|c: char| word(c) || c == '"') {
        let (before, from) = rest.split_at(start);
        result.push_str(before);
        if let Some(quoted) = from.strip_prefix('"') {
            let end = quoted.find('"').map_or(from.len(), |end| end + 2);
            result.push_str(&from[..end]);
            rest = &from[end..];
            continue;
        }
        let name = from.find(|c| !word(c)).unwrap_or(from.len());
        let is_scraped = SCRAPED.iter().any(|prefix| from.starts_with(prefix));
        let end = if is_scraped && from[name..].starts_with('{') { name + braced(&from[name..]) } else { name };
        let (selector, after) = from.split_at(end);
        if is_scraped && !after.starts_with('[') {
            let _ = write!(result, "last_over_time({selector}[5m])");
        } else {
            result.push_str(selector);
        }
        rest = after;
    }
    result + rest
}

/// Length of what is in braces at the start; a brace in quotes closes nothing.
fn braced(text: &str) -> usize {
    let mut quoted = false;
    let end = text.find(|c| {
        quoted ^= c == '"';
        c == '}' && !quoted
    });
    end.map_or(text.len(), |end| end + 1)
}

/// Replaces what stands between two marks where `with` knows something better.
fn replaced(text: &str, open: &str, close: &str, with: impl Fn(&str) -> Option<String>) -> String {
    let mut result = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once(open) {
        result.push_str(before);
        let better = after.split_once(close).and_then(|(inner, after)| Some((with(inner)?, after)));
        if let Some((better, after)) = better {
            result.push_str(&better);
            rest = after;
        } else {
            result.push_str(open);
            rest = after;
        }
    }
    result.push_str(rest);
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instant_selectors_reach_back() {
        let cases = [
            ("dgm_a == 0", "last_over_time(dgm_a[5m]) == 0"),
            (
                "max by (job, dgm) (dgm_a{x=\"a|{b}\", y!=\"dgm_c\"}) > 2 and rate(dgm_b{x=\"y\"}[5m]) > 1",
                "max by (job, dgm) (last_over_time(dgm_a{x=\"a|{b}\", y!=\"dgm_c\"}[5m])) > 2 and rate(dgm_b{x=\"y\"}[5m]) > 1",
            ),
            ("1 - dgm_a / dgm_b > 0.8", "1 - last_over_time(dgm_a[5m]) / last_over_time(dgm_b[5m]) > 0.8"),
            (
                "dgm:rate5m{slo=\"a\"} > 1 unless up{job=\"dgm_x\"} == 1",
                "dgm:rate5m{slo=\"a\"} > 1 unless up{job=\"dgm_x\"} == 1",
            ),
            ("max_over_time(dgm_a[2h]) - dgm_a", "max_over_time(dgm_a[2h]) - last_over_time(dgm_a[5m])"),
        ];
        for (expr, wanted) in cases {
            assert_eq!(held(expr), wanted);
        }
    }

    #[test]
    fn ranges_and_seconds_are_filled_in() {
        let expr = "rate(a{b=~\"[0-9]+\"}[1h]) > 2 and time() - c > $(2h)";
        assert_eq!(fill(expr, 1.0), "rate(a{b=~\"[0-9]+\"}[1h]) > 2 and time() - c > 7200");
        assert_eq!(fill(expr, 0.01), "rate(a{b=~\"[0-9]+\"}[36s]) > 2 and time() - c > 72");
        assert_eq!(fill("x[5m]", 0.01), "x[10s]");
        assert_eq!((scaled("15m", 1.0), scaled("15m", 0.01)), ("15m".to_owned(), "9s".to_owned()));
        assert_eq!((parse("90x"), parse("m"), parse("")), (None, None, None));
    }
}
