//! Bars, one below the other.

use super::frame;
use crate::report::content::format::figure;
use crate::report::markup::{At, Markup};

/// Height of a bar with the room below it.
const ROW: f64 = 26.0;
/// Room for the names at the left and the values at the right.
const LEFT: f64 = 90.0;
const RIGHT: f64 = 52.0;
const WIDTH: f64 = 480.0;

/// Bars of values that are not below 0.
#[derive(Debug)]
pub(crate) struct Bars {
    pub(crate) id: String,
    pub(crate) title: String,
    /// What they show, for those who do not see it.
    pub(crate) description: String,
    pub(crate) values: Vec<(String, f64)>,
    /// All of them together, as a bar below the others.
    pub(crate) sum: f64,
    /// A line that they cannot pass, with its name.
    pub(crate) most: Option<(f64, String)>,
}

impl Bars {
    /// Writes them.
    pub(crate) fn draw(&self, markup: &mut Markup) {
        let most = self.most.as_ref().map_or(0.0, |(most, _)| *most);
        let all = self.sum.max(most).max(f64::MIN_POSITIVE);
        let length = |value: f64| At(((WIDTH - LEFT - RIGHT) * value / all).max(1.0));
        let rows = self.values.iter().map(|(name, value)| (name.as_str(), *value, "bar"));
        let rows: Vec<_> = rows.chain(std::iter::once(("together", self.sum, "bar sum"))).collect();
        #[expect(clippy::cast_precision_loss, reason = "some bars")]
        let height = rows.len() as f64 * ROW + 24.0;
        frame(markup, (&self.id, &self.title, &self.description), (WIDTH, height), |svg| {
            if let Some((most, name)) = &self.most {
                let x = At(LEFT + length(*most).0);
                svg.void("path", &[("class", &"bound"), ("d", &format!("M{x} 16V{}", At(height - 4.0)))]);
                svg.leaf("text", &[("class", &"bound"), ("x", &x), ("y", &11), ("text-anchor", &"middle")], name);
            }
            let mut y = 20.0;
            for (name, value, class) in rows {
                svg.leaf("text", &[("x", &(LEFT - 8.0)), ("y", &At(y + 14.0)), ("text-anchor", &"end")], &short(name));
                let width = length(value);
                svg.void(
                    "rect",
                    &[("class", &class), ("x", &LEFT), ("y", &At(y)), ("width", &width), ("height", &(ROW - 7.0))],
                );
                let beside = At(LEFT + width.0 + 6.0);
                svg.leaf("text", &[("class", &"over"), ("x", &beside), ("y", &At(y + 14.0))], &figure(value));
                y += ROW;
            }
        });
    }
}

/// As much of a name as has room.
fn short(name: &str) -> String {
    const LETTERS: usize = 12;
    let cut = name.chars().count() > LETTERS;
    name.chars().take(if cut { LETTERS - 1 } else { LETTERS }).chain(cut.then_some('…')).collect()
}
