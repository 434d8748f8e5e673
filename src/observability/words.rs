//! Objectives in words.

/// A share, as in `99.9 %`.
pub(super) fn percent(share: f64) -> String {
    // Without what a product of fractions leaves behind the last digit.
    format!("{} %", (share * 1e6).round() / 1e4)
}

/// Seconds, as in `100 ms`.
pub(super) fn milliseconds(seconds: f64) -> String {
    format!("{} ms", (seconds * 1e6).round() / 1e3)
}
