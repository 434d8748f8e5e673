//! Weights of scores, as whole numbers: see [`WHOLE`](super::levels::WHOLE).

use super::score::Score;

/// The weight 1, 2^47.
const ONE: f64 = 140_737_488_355_328.0;

/// The Darwin Gödel Machine's weight of a score.
pub(super) fn steep(score: Score) -> u64 {
    fixed(sigmoid(10.0 * (score.get() - 0.5)))
}

pub(super) fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// A weight in 0..=1 as a whole number.
pub(super) fn fixed(weight: f64) -> u64 {
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0..=2^47 by construction")]
    let whole = (weight * ONE).round() as u64;
    whole
}
