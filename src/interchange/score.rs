//! Which number of a peer becomes an entry's accuracy, and how it comes to lie in 0..=1.

use std::str::FromStr;

use serde_json::{Map, Value};

/// The number taken as the score.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Score {
    /// The fitness by the peer's own rule.
    Fitness,
    /// A metric: its name, or a path of names with dots (`public_metrics.accuracy`).
    Field(String),
}

/// How scores come to lie in 0..=1. Never by clamping.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Scale {
    /// As they are.
    Identity,
    /// The run's lowest becomes 0 and its highest 1; when all are equal they become 1, each being the best known. The
    /// same program scores differently as the run goes on.
    MinMax,
    /// Divided by a finite number above 0.
    Divide(f64),
}

impl FromStr for Scale {
    type Err = String;

    fn from_str(s: &str) -> Result<Self, String> {
        let divisor = |x: &str| x.parse().ok().filter(|x: &f64| x.is_finite() && *x > 0.0).map(Self::Divide);
        match s {
            "identity" => Ok(Self::Identity),
            "min-max" => Ok(Self::MinMax),
            _ => s.strip_prefix("divide:").and_then(divisor).ok_or_else(|| {
                format!("unknown scale {s:?}: expected identity, min-max, or divide:X with a finite X above 0")
            }),
        }
    }
}

impl std::fmt::Display for Scale {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Identity => f.pad("identity"),
            Self::MinMax => f.pad("min-max"),
            Self::Divide(x) => write!(f, "divide:{x}"),
        }
    }
}

/// Why a run cannot be mapped with the options given.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum MappingError {
    /// Scores do not lie in 0..=1.
    #[error(
        "{outside} of {of} scores lie outside 0..=1 with the scale {scale} (before scaling they run from {min} to {max}); \
         choose --scale min-max (lowest to 0, highest to 1), --scale divide:X (X the highest possible score), \
         or --score FIELD for a metric that lies in 0..=1"
    )]
    OutOfRange {
        /// How many.
        outside: usize,
        /// How many finite scores there are.
        of: usize,
        /// The lowest, unscaled.
        min: f64,
        /// The highest, unscaled.
        max: f64,
        /// The scale chosen.
        scale: Scale,
    },
    /// A divisor that is not a finite number above 0.
    #[error("cannot divide scores by {0}: expected a finite number above 0")]
    Divisor(f64),
    /// No program has the score's field.
    #[error("no program has a number at {field:?} among its metrics; numbers are at: {known}")]
    NoSuchField {
        /// The field asked for.
        field: String,
        /// Fields that hold numbers.
        known: String,
    },
    /// The field for compliance is missing, no number, or outside 0..=1.
    #[error("compliance of {id}: {field:?} is {found}, expected a number in 0..=1")]
    Compliance {
        /// The program.
        id: String,
        /// The field asked for.
        field: String,
        /// What stands there.
        found: String,
    },
}

/// The metric at a name or, failing that, at a path of names.
pub(super) fn field<'a>(metrics: &'a Map<String, Value>, path: &str) -> Option<&'a Value> {
    metrics.get(path).or_else(|| {
        let mut names = path.split('.');
        let first = metrics.get(names.next()?)?;
        names.try_fold(first, |value, name| value.get(name))
    })
}

/// The paths, at most two names deep, that hold numbers.
pub(super) fn numeric_fields(metrics: &Map<String, Value>) -> Vec<String> {
    let mut paths = Vec::new();
    for (name, value) in metrics {
        if value.is_number() {
            paths.push(name.clone());
        }
        let inner = value.as_object().into_iter().flatten().filter(|(_, value)| value.is_number());
        paths.extend(inner.map(|(below, _)| format!("{name}.{below}")));
    }
    paths
}

/// Scales the finite scores; the others stay none.
pub(super) fn scale(scores: &[Option<f64>], scale: Scale) -> Result<Vec<Option<f64>>, MappingError> {
    let finite = || scores.iter().flatten().copied();
    let min = finite().fold(f64::INFINITY, f64::min);
    let max = finite().fold(f64::NEG_INFINITY, f64::max);
    // Halved, since the difference of two doubles may be beyond one.
    let spread = max / 2.0 - min / 2.0;
    let scaled: Vec<_> = match scale {
        Scale::Identity => scores.to_vec(),
        Scale::Divide(by) if !(by.is_finite() && by > 0.0) => return Err(MappingError::Divisor(by)),
        Scale::Divide(by) => scores.iter().map(|score| score.map(|x| x / by)).collect(),
        Scale::MinMax => scores
            .iter()
            .map(|score| score.map(|x| if spread > 0.0 { (x / 2.0 - min / 2.0) / spread } else { 1.0 }))
            .collect(),
    };
    let outside = scaled.iter().flatten().filter(|x| !(0.0..=1.0).contains(*x)).count();
    if outside > 0 {
        return Err(MappingError::OutOfRange { outside, of: finite().count(), min, max, scale });
    }
    Ok(scaled)
}

/// To the four decimals of `numeric(5,4)`; also makes -0 plain.
pub(super) fn round(score: f64) -> f64 {
    (score * 1e4).round() / 1e4 + 0.0
}
