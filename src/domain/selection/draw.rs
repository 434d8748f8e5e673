//! Drawing ranks by a rule.

use rand::distr::{Distribution as _, OpenClosed01};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use rand_distr::Zipf;

use super::levels::{Level, Levels, WHOLE, share};
use super::score::Score;
use super::weight::{fixed, sigmoid};
use super::{Error, Rule};

/// Nearer to 1 than this, the exponent is taken for 1: Zipf's cumulative function divides by their difference, and would
/// lose more digits by it than the difference makes.
const NEAR: f64 = 1e-8;

/// The ranks of `n` draws from `count` candidates, in the order of the draw.
pub(super) fn ranks(levels: &Levels, count: u32, rule: Rule, n: usize, seed: u64) -> Result<Vec<u32>, Error> {
    if count == 0 {
        return Err(Error::NoCandidates);
    }
    let rng = &mut ChaCha8Rng::seed_from_u64(seed);
    Ok(match rule {
        Rule::ScoreChildProp => Table::new(levels, true, |_, level| level.steep).draw(n, rng),
        Rule::ScoreProp => Table::new(levels, false, |_, level| level.steep).draw(n, rng),
        Rule::Weighted => {
            let weigh = around_median(levels, count);
            Table::new(levels, true, |score, _| fixed(weigh(score))).draw(n, rng)
        }
        Rule::PowerLaw { alpha } if !alpha.is_finite() || alpha < 0.0 => {
            return Err(Error::Parameter("alpha must be a finite number, 0 or more"));
        }
        Rule::PowerLaw { alpha } => {
            let alpha = if (alpha - 1.0).abs() < NEAR { 1.0 } else { alpha };
            let zipf = Zipf::new(f64::from(count), alpha)
                .map_err(|_| Error::Parameter("alpha must be a finite number, 0 or more"))?;
            (0..n).map(|_| whole(zipf.sample(rng) - 1.0, count)).collect()
        }
        Rule::Tournament { size: 0 } => return Err(Error::Parameter("a tournament needs a size of at least 1")),
        // The winner has the smallest of `size` uniform ranks. The smallest of `size` uniform numbers in 0..1 is
        // distributed as 1 - u^(1/size), so one number u stands for them all.
        Rule::Tournament { size } => (0..n)
            .map(|_| {
                let u: f64 = OpenClosed01.sample(rng);
                whole(-(u.ln() / f64::from(size)).exp_m1() * f64::from(count), count)
            })
            .collect(),
        Rule::Uniform => (0..n).map(|_| rng.random_range(0..count)).collect(),
        Rule::Best => (0..count).take(n).collect(),
    })
}

/// The rank at `place`; rounding may reach `count`, which no rank does.
fn whole(place: f64, count: u32) -> u32 {
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0..=count by construction")]
    (place as u32).min(count - 1)
}

/// `ShinkaEvolve`'s weight of a score.
pub(super) fn around_median(levels: &Levels, count: u32) -> impl Fn(Score) -> f64 {
    let middle = twice_median(levels.iter().map(|(score, level)| (score.ten_thousandths(), level.entries)), count);
    // Both in units of 1/20,000, so that the differences are exact.
    let place = move |score: Score| 2 * score.ten_thousandths();
    let mut distances: Vec<_> =
        levels.iter().map(|(score, level)| (place(score).abs_diff(middle), level.entries)).collect();
    distances.sort_by_key(|&(distance, _)| distance);
    let spread = (f64::from(twice_median(distances.into_iter(), count)) / 40_000.0).max(1e-6);
    move |score| sigmoid(10.0 * ((f64::from(place(score)) - f64::from(middle)) / 20_000.0) / spread)
}

/// Twice the median of `count` numbers that come sorted, up or down, each with how often it occurs.
fn twice_median(sorted: impl Iterator<Item = (u32, u32)>, count: u32) -> u32 {
    let (mut seen, mut sum) = (0_u32, 0);
    for (value, times) in sorted {
        // The two middle ranks are one and the same for an odd count.
        for middle in [(count - 1) / 2, count / 2] {
            if (seen..seen + times).contains(&middle) {
                sum += value;
            }
        }
        seen += times;
    }
    sum
}

/// Every level with what it weighs, cumulated: a candidate owns as many of the numbers below `total` as it weighs.
struct Table<'a> {
    /// Where each row's numbers start; apart from the rows, since it is these that are searched.
    starts: Vec<u128>,
    rows: Vec<Row<'a>>,
    total: u128,
    by_children: bool,
}

struct Row<'a> {
    /// Weight of the score, by which shares are multiplied; never 0.
    weight: u64,
    /// The level's best rank.
    first: u32,
    level: &'a Level,
}

impl<'a> Table<'a> {
    fn new(levels: &'a Levels, by_children: bool, weigh: impl Fn(Score, &Level) -> u64) -> Self {
        let (mut starts, mut rows) = (Vec::with_capacity(levels.len()), Vec::with_capacity(levels.len()));
        let (mut total, mut first) = (0, 0);
        for (score, level) in levels.iter() {
            let weight = weigh(score, level);
            // What weighs nothing is never drawn. Something always weighs: every score by the first two rules, and by
            // the third every score from the median up.
            if weight > 0 {
                starts.push(total);
                rows.push(Row { weight, first, level });
                let shares = if by_children { level.shares } else { u128::from(level.entries) * u128::from(WHOLE) };
                total += u128::from(weight) * shares;
            }
            first += level.entries;
        }
        Self { starts, rows, total, by_children }
    }

    fn draw(&self, n: usize, rng: &mut ChaCha8Rng) -> Vec<u32> {
        (0..n).filter_map(|_| self.owner(rng.random_range(0..self.total))).collect()
    }

    /// The rank of the candidate that owns this number.
    fn owner(&self, number: u128) -> Option<u32> {
        let at = self.starts.partition_point(|&start| start <= number).checked_sub(1)?;
        let (row, start) = (self.rows.get(at)?, self.starts.get(at)?);
        let (mut rank, mut rest) = (row.first, (number - start) / u128::from(row.weight));
        for (&children, &count) in &row.level.groups {
            let share = u128::from(if self.by_children { share(children) } else { WHOLE });
            if rest < share * u128::from(count) {
                return Some(rank + u32::try_from(rest / share).ok()?);
            }
            rest -= share * u128::from(count);
            rank += count;
        }
        None
    }
}
