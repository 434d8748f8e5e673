//! Axes: where a value stands, and which values are written beside them.

use crate::report::content::format::{quantile, tick};

/// An axis with its ticks.
#[derive(Debug)]
pub(crate) struct Axis {
    scale: Scale,
    ticks: Vec<(f64, String)>,
}

#[derive(Debug, Clone, Copy)]
enum Scale {
    Linear {
        low: f64,
        high: f64,
    },
    /// Each decade has the same room. Both are above 0.
    Logarithmic {
        low: f64,
        high: f64,
    },
    /// Each nine has the same room, as in plots of `HdrHistogram`; up to this many nines.
    Nines(f64),
}

impl Axis {
    /// From 0 to a round value that is not below any of these, with at most `most` steps.
    pub(crate) fn from_zero(values: impl Iterator<Item = f64>, most: f64) -> Self {
        let highest = values.filter(|value| value.is_finite()).fold(0.0, f64::max);
        let highest = if highest > 0.0 { highest } else { 1.0 };
        let step = step(highest / most);
        let steps = (highest / step - 1e-9).ceil();
        Self {
            scale: Scale::Linear { low: 0.0, high: steps * step },
            ticks: every(step, steps).map(|value| (value, tick(value))).collect(),
        }
    }

    /// Seconds from 0 to exactly this many, ticks at times as clocks have them.
    pub(crate) fn seconds(all: f64) -> Self {
        const STEPS: [f64; 13] =
            [1.0, 2.0, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1_800.0, 3_600.0, 14_400.0];
        let all = if all.is_finite() && all > 0.0 { all } else { 1.0 };
        let step = STEPS.into_iter().find(|step| all / step <= 8.0).unwrap_or_else(|| step(all / 8.0));
        Self {
            scale: Scale::Linear { low: 0.0, high: all },
            ticks: every(step, (all / step).floor()).map(|value| (value, format!("{value:.0}"))).collect(),
        }
    }

    /// Decades around these values.
    pub(crate) fn logarithmic(values: impl Iterator<Item = f64>) -> Self {
        let (mut least, mut most) = (f64::MAX, f64::MIN_POSITIVE);
        for value in values.filter(|value| value.is_finite() && *value > 0.0) {
            (least, most) = (least.min(value), most.max(value));
        }
        if least > most {
            (least, most) = (1.0, 1.0);
        }
        // What is far below the highest is of no weight, and has no room.
        let low = 10_f64.powf((least.max(most / 1e7) + 1e-12).log10().floor());
        let high = step(most).max(low * 10.0);
        let decades = (high / low).log10();
        let parts: &[f64] = if decades <= 2.5 { &[1.0, 2.0, 5.0] } else { &[1.0] };
        let powers = std::iter::successors(Some(low), |power| Some(power * 10.0));
        let ticks = powers.take_while(|power| *power <= high * 1.000_001);
        let ticks = ticks.flat_map(|power| parts.iter().map(move |part| power * part));
        let ticks = ticks.filter(|value| *value <= high * 1.000_001).map(|value| (value, tick(value)));
        Self { scale: Scale::Logarithmic { low, high }, ticks: ticks.collect() }
    }

    /// Quantiles from 0 to 99.99 %.
    pub(crate) fn nines() -> Self {
        let ticks = [0.0, 0.5, 0.9, 0.99, 0.999, 0.9999].map(|of| {
            let name = quantile(of).replace("lowest", "p0");
            (of, name)
        });
        Self { scale: Scale::Nines(4.0), ticks: ticks.to_vec() }
    }

    /// Places 0, 1, 2 ... with names.
    pub(crate) fn places(names: impl Iterator<Item = String>) -> Self {
        let ticks: Vec<(f64, String)> = (0_u32..).map(f64::from).zip(names).collect();
        let last = ticks.last().map_or(0.0, |(at, _)| *at);
        Self { scale: Scale::Linear { low: -0.4, high: last + 0.4 }, ticks }
    }

    /// Values that are written beside it.
    pub(crate) fn ticks(&self) -> &[(f64, String)] {
        &self.ticks
    }

    /// Where a value stands, from 0 to 1; `None` when it is none of the axis.
    pub(crate) fn share(&self, value: f64) -> Option<f64> {
        let share = match self.scale {
            Scale::Linear { low, high } => (value - low) / (high - low),
            // What is above 0 and has no room stands at the end.
            Scale::Logarithmic { low, high } if value > 0.0 => ((value / low).log10() / (high / low).log10()).max(0.0),
            Scale::Logarithmic { .. } => return None,
            Scale::Nines(nines) => -(1.0 - value).log10() / nines,
        };
        (-1e-9..=1.0 + 1e-9).contains(&share).then_some(share)
    }
}

/// The least of 1, 2, 5, 10, 20 ... that is not below a value.
fn step(least: f64) -> f64 {
    let power = 10_f64.powf(least.log10().floor());
    let part = [1.0, 2.0, 5.0].into_iter().find(|part| part * power >= least * (1.0 - 1e-9)).unwrap_or(10.0);
    part * power
}

fn every(step: f64, steps: f64) -> impl Iterator<Item = f64> {
    (0_u32..).map(f64::from).take_while(move |at| *at <= steps).map(move |at| at * step)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(axis: &Axis) -> Vec<&str> {
        axis.ticks().iter().map(|(_, name)| name.as_str()).collect()
    }

    #[test]
    fn ticks_are_round() {
        assert_eq!(names(&Axis::from_zero([3.0, 917.0].into_iter(), 5.0)), ["0", "200", "400", "600", "800", "1,000"]);
        assert_eq!(names(&Axis::from_zero([0.0].into_iter(), 2.0)), ["0", "0.5", "1"]);
        assert_eq!(names(&Axis::seconds(9.5)), ["0", "2", "4", "6", "8"]);
        assert_eq!(names(&Axis::seconds(1_800.0)), ["0", "300", "600", "900", "1200", "1500", "1800"]);
        assert_eq!(names(&Axis::logarithmic([3.3, 100.0].into_iter())), ["1", "2", "5", "10", "20", "50", "100"]);
        assert_eq!(names(&Axis::logarithmic([0.3, 4_000.0].into_iter())), ["0.1", "1", "10", "100", "1,000"]);
        assert_eq!(names(&Axis::logarithmic(std::iter::empty())), ["1", "2", "5", "10"]);
        assert_eq!(names(&Axis::nines()), ["p0", "p50", "p90", "p99", "p99.9", "p99.99"]);
    }

    #[test]
    fn values_have_their_place() {
        let close = |axis: &Axis, value: f64, share: f64| (axis.share(value).unwrap() - share).abs() < 1e-6;
        let log = Axis::logarithmic([1.0, 100.0].into_iter());
        assert!(close(&log, 10.0, 0.5) && log.share(0.0).is_none() && log.share(f64::NAN).is_none());
        let nines = Axis::nines();
        assert!(close(&nines, 0.99, 0.5) && close(&nines, 0.0, 0.0) && close(&nines, 0.9999, 1.0));
        assert!(nines.share(1.0).is_none(), "the highest is infinitely far");
        assert!(close(&Axis::places(["a".to_owned()].into_iter()), 0.0, 0.5));
    }
}
