//! Figures as people read them: three digits that count, and thousands apart.

/// A whole number.
pub(crate) fn count(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A figure of any size and unit.
pub(crate) fn figure(value: f64) -> String {
    let size = value.abs();
    match size {
        _ if !size.is_finite() => "-".to_owned(),
        99.95.. => {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "positive, and it saturates")]
            let whole = count(size.round() as u64);
            format!("{}{whole}", if value < 0.0 { "-" } else { "" })
        }
        9.995.. => format!("{value:.1}"),
        _ if size == 0.0 => "0".to_owned(),
        _ => format!("{value:.2}"),
    }
}

/// Milliseconds, without their unit; 0 is what a histogram without times tells.
pub(crate) fn millis(value: f64) -> String {
    if value > 0.0 { figure(value) } else { "-".to_owned() }
}

/// A share as percent, with its unit.
pub(crate) fn percent(share: f64) -> String {
    // What is nearly nothing or nearly all is neither.
    let digits = match share {
        _ if share.total_cmp(&0.0).is_eq() || share.total_cmp(&1.0).is_eq() => 0,
        0.0995..0.9995 | 1.0.. => 1,
        _ => 2,
    };
    if share.is_finite() { format!("{:.digits$} %", share * 100.0) } else { "-".to_owned() }
}

/// A part of a whole as percent; of nothing it is none.
pub(crate) fn share(part: u64, whole: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
    let share = part as f64 / whole as f64;
    percent(share)
}

/// A name for people of a quantile: `p99.9` of 0.999.
pub(crate) fn quantile(quantile: f64) -> String {
    match quantile {
        0.0 => "lowest".to_owned(),
        1.0 => "highest".to_owned(),
        quantile => format!("p{}", trimmed(quantile * 100.0)),
    }
}

/// At most two decimals, and none that say nothing.
fn trimmed(value: f64) -> String {
    let text = format!("{value:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// A tick of an axis, as short as can be.
pub(crate) fn tick(value: f64) -> String {
    match value.abs() {
        1_000_000.0.. => format!("{}M", trimmed(value / 1e6)),
        10_000.0.. => format!("{}k", trimmed(value / 1e3)),
        1_000.0.. => figure(value),
        _ => trimmed(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_short_and_tell_enough() {
        let figures = [0.0, 0.123, 9.99, 9.996, 42.42, 99.96, 1234.5, -1234.5, f64::NAN].map(figure);
        assert_eq!(figures, ["0", "0.12", "9.99", "10.0", "42.4", "100", "1,235", "-1,235", "-"]);
        assert_eq!([7, 1_000, 1_234_567].map(count), ["7", "1,000", "1,234,567"]);
        assert_eq!(
            [0.0, 0.0123, 0.5, 0.9999, 1.0, 1.5].map(percent),
            ["0 %", "1.23 %", "50.0 %", "99.99 %", "100 %", "150.0 %"]
        );
        assert_eq!(share(1, 0), "-");
        assert_eq!([0.0, 0.5, 0.975, 0.9999, 1.0].map(quantile), ["lowest", "p50", "p97.5", "p99.99", "highest"]);
        assert_eq!([0.0, 0.5, 200.0, 2_500.0, 12_500.0, 2e6].map(tick), ["0", "0.5", "200", "2,500", "12.5k", "2M"]);
    }
}
