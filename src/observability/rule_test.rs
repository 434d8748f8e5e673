//! Series of promtool's tests (<https://prometheus.io/docs/prometheus/latest/configuration/unit_testing_rules/#series>) with gaps.

/// A part of a series: `count + 1` samples, each larger by `step` than the one before; `None`: no sample.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Part {
    first: Option<f64>,
    step: f64,
    more: u64,
}

/// The values of a series up to a minute, with what a scrape that is missed leaves in the gaps (start and length in minutes): Prometheus
/// marks the series stale, writes 0 to its own about the scrape, and goes on with what recording rules record. After its last value a
/// series continues as before.
pub(super) fn with_gap(series: &str, values: &str, gaps: &[(u64, u64)], end: u64) -> String {
    let Some(parts) = values.split_whitespace().map(part).collect::<Option<Vec<_>>>() else { return values.to_owned() };
    let is_recorded = series.split('{').next().is_some_and(|name| name.contains(':'));
    let is_own = series.starts_with("up{") || series.starts_with("scrape_");
    let mut text = Vec::new();
    let mut minute = 0;
    let last = parts.len().saturating_sub(1);
    #[allow(clippy::cast_possible_truncation, reason = "minutes")]
    let absent = |minutes: u64| format!("stale{}", " _".repeat(minutes as usize - 1));
    for (index, mut part) in parts.into_iter().enumerate() {
        if index == last {
            part.more = part.more.max(end.saturating_sub(minute));
        }
        let (start, until) = (minute, minute + part.more + 1);
        minute = until;
        if is_recorded {
            text.push(written(part, 0, part.more));
            continue;
        }
        let mut from = start;
        for (gap, length) in gaps {
            let (begins, ends) = ((*gap).clamp(from, until), (gap + length).clamp(from, until));
            if begins == ends {
                continue;
            }
            if from < begins {
                text.push(written(part, from - start, begins - 1 - start));
            }
            let missing = ends - begins;
            text.push(if is_own { format!("0x{}", missing - 1) } else { absent(missing) });
            from = ends;
        }
        if from < until {
            text.push(written(part, from - start, part.more));
        }
    }
    text.join(" ")
}

/// The samples of a part from one to another.
fn written(part: Part, from: u64, to: u64) -> String {
    let Some(first) = part.first else { return format!("_x{}", to - from + 1) };
    #[allow(clippy::cast_precision_loss, reason = "minutes")]
    let first = part.step.mul_add(from as f64, first);
    if part.step == 0.0 { format!("{first}x{}", to - from) } else { format!("{first}{:+}x{}", part.step, to - from) }
}

/// Reads `a`, `axn`, `a+bxn`, `a-bxn`, `_` and `_xn`.
fn part(text: &str) -> Option<Part> {
    let (values, more) = match text.rsplit_once('x') {
        Some((values, more)) => (values, more.parse().ok()?),
        None => (text, 0),
    };
    if values == "_" {
        // `_xn` is n samples.
        return Some(Part {
            first: None,
            step: 0.0,
            more: if text == "_" { 0_u64 } else { u64::checked_sub(more, 1)? },
        });
    }
    if let Ok(first) = values.parse() {
        return Some(Part { first: Some(first), step: 0.0, more });
    }
    let sign = values[1..].rfind(['+', '-'])? + 1;
    Some(Part { first: Some(values[..sign].parse().ok()?), step: values[sign..].parse().ok()?, more })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_are_cut_into_series() {
        let cases = [
            ("dgm_a", "1x20", "1x3 stale _ 1x24"),
            ("dgm_a", "0+60x20", "0+60x3 stale _ 360+60x24"),
            ("dgm_a", "5 4 3-1x20", "5x0 4x0 3-1x1 stale _ -1-1x24"),
            ("dgm_a", "_x60", "_x4 stale _ _x54"),
            ("dgm_a", "1 2 2 2 2 2 2", "1x0 2x0 2x0 2x0 stale stale 2x24"),
            ("up{job=\"dgm\"}", "1x20", "1x3 0x1 1x24"),
            ("dgm:rate5m{}", "7x20", "7x30"),
            ("dgm_a", "1e9x20", "1000000000x3 stale _ 1000000000x24"),
            ("dgm_a", "1x2 stale 1x3", "1x2 stale 1x3"),
        ];
        for (series, values, wanted) in cases {
            assert_eq!(with_gap(series, values, &[(4, 2)], 30), wanted, "{values}");
        }
        assert_eq!(with_gap("dgm_a", "1x20", &[(2, 1), (4, 2)], 8), "1x1 stale 1x0 stale _ 1x14");
    }
}
