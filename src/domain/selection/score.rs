//! Accuracies, exactly as the archive keeps them.

/// An accuracy in whole ten-thousandths, which is how the archive's column keeps it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Score(u16);

impl Score {
    const ONE: f64 = 10_000.0;

    /// The accuracy rounded to four decimals; `None` unless it lies in 0..=1.
    #[must_use]
    pub fn new(accuracy: f64) -> Option<Self> {
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0..=10000 by the check")]
        (0.0..=1.0).contains(&accuracy).then(|| Self((accuracy * Self::ONE).round() as u16))
    }

    /// The accuracy.
    #[must_use]
    pub fn get(self) -> f64 {
        f64::from(self.0) / Self::ONE
    }

    /// The accuracy times 10,000.
    pub(super) fn ten_thousandths(self) -> u32 {
        u32::from(self.0)
    }
}
