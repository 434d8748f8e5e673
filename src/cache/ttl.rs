//! How long things are kept.

use std::time::Duration;

/// Statistics of the archive.
pub const STATS: Duration = Duration::from_secs(10);
/// The newest samples of a service: what another process stored is seen after so long.
pub const METRICS_CURRENT: Duration = Duration::from_secs(1);
/// The last 24 hours of a service.
pub const METRICS_TREND: Duration = Duration::from_mins(1);
/// That there is no such thing. Short: another replica may make it.
pub const ABSENT: Duration = Duration::from_secs(2);
/// The in-process tier keeps nothing longer than this that is loaded from below and is not judged by changes.
pub const IN_PROCESS: Duration = Duration::from_secs(5);

/// Entries: 4 h above 0.8 accuracy and 0.9 compliance, 2 h above 0.6 accuracy, else 1 h (specification, 1.2.3).
#[must_use]
pub fn by_quality(accuracy: f64, compliance: f64) -> Duration {
    Duration::from_hours(match () {
        () if accuracy > 0.8 && compliance > 0.9 => 4,
        () if accuracy > 0.6 => 2,
        () => 1,
    })
}

/// A duration changed by up to a tenth, so that what was loaded together does not expire together.
pub(super) fn jittered(ttl: Duration) -> Duration {
    ttl.mul_f64(rand::random_range(0.9..=1.1))
}

/// A duration in whole milliseconds, as Redis takes it and atomics hold it.
pub(super) fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quality_buys_time() {
        let hours = |accuracy, compliance| by_quality(accuracy, compliance).as_secs() / 3600;
        assert_eq!([hours(0.81, 0.91), hours(0.81, 0.9), hours(0.61, 1.0), hours(0.6, 1.0)], [4, 2, 2, 1]);
    }
}
