//! Plots as SVG that takes its colours from the page's style sheet, so that they are dark where the page is.
//!
//! `plotters` would not do: its SVG backend (0.3.7) writes colours as hexadecimal attributes and knows neither classes nor
//! `currentColor`, so that a plot has one scheme only; it knows no `stroke-dasharray`, so that each dash is an element; it
//! rounds places to whole pixels, at which 600 points in 400 pixels become stairs; it writes no `title` nor `desc`, and has
//! no axis of quantiles.

mod bars;
pub(crate) mod charts;
mod scale;

pub(crate) use self::bars::Bars;
pub(crate) use self::scale::Axis;
use super::markup::{At, Markup};

/// Space left of a plot for the ticks' labels, right for half of the last one, above for the names of bands and the legend,
/// and below.
const LEFT: f64 = 46.0;
const RIGHT: f64 = 20.0;
const BOTTOM: f64 = 34.0;
/// Width of a letter of a plot's text, about.
const LETTER: f64 = 6.4;

/// A plot of lines. Its text is sized for a width of some 300 to 600 pixels.
#[derive(Debug)]
pub(crate) struct Plot {
    pub(crate) id: String,
    pub(crate) title: String,
    /// What it shows, for those who do not see it.
    pub(crate) description: String,
    pub(crate) width: f64,
    pub(crate) height: f64,
    pub(crate) x: Axis,
    pub(crate) y: Axis,
    /// Under the ticks: what the axis is of.
    pub(crate) below: &'static str,
    pub(crate) bands: Vec<Band>,
    /// A line across, with its name.
    pub(crate) bound: Option<(f64, String)>,
    pub(crate) lines: Vec<Line>,
    /// Points to be seen, with what they are.
    pub(crate) notes: Vec<(f64, f64, String)>,
}

/// A part of the x axis, with its name.
#[derive(Debug)]
pub(crate) struct Band {
    pub(crate) from: f64,
    pub(crate) to: f64,
    pub(crate) name: String,
}

/// A line. Where there is no value, it has a gap.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    pub(crate) name: &'static str,
    pub(crate) look: Look,
    pub(crate) points: Vec<(f64, Option<f64>)>,
}

/// How a line looks. They differ by dashes as well as by colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Look {
    /// Whole, with the area below it.
    Area,
    Whole,
    Dashed,
    Dotted,
    /// Whole, with its points: those that are few.
    Points,
}

impl Look {
    const fn class(self) -> &'static str {
        match self {
            Self::Area | Self::Whole | Self::Points => "whole",
            Self::Dashed => "dashed",
            Self::Dotted => "dotted",
        }
    }
}

impl Plot {
    /// Writes it.
    pub(crate) fn draw(&self, markup: &mut Markup) {
        frame(markup, (&self.id, &self.title, &self.description), (self.width, self.height), |svg| {
            self.draw_bands(svg);
            self.draw_axes(svg);
            for line in &self.lines {
                self.draw_line(svg, line);
            }
            if let Some((at, name)) = &self.bound
                && let Some(y) = self.y_at(*at)
            {
                svg.void("path", &[("class", &"bound"), ("d", &format!("M{} {}H{}", LEFT, At(y), At(self.right())))]);
                // Its name stands where the line ends, but for a plot with notes, which are there.
                let (x, anchor) =
                    if self.notes.is_empty() { (self.right() - 2.0, "end") } else { (LEFT + 4.0, "start") };
                let place: [(&str, &dyn std::fmt::Display); 4] =
                    [("class", &"bound"), ("x", &At(x)), ("y", &At(y - 4.0)), ("text-anchor", &anchor)];
                svg.leaf("text", &place, name);
            }
            self.draw_notes(svg);
            self.draw_legend(svg);
        });
    }

    fn top(&self) -> f64 {
        let above = if self.lines.len() > 1 { 28.0 } else { 10.0 };
        if self.bands.is_empty() { above } else { above + 18.0 }
    }

    fn right(&self) -> f64 {
        self.width - RIGHT
    }

    fn bottom(&self) -> f64 {
        self.height - BOTTOM
    }

    fn x_at(&self, value: f64) -> Option<f64> {
        Some(LEFT + self.x.share(value)? * (self.right() - LEFT))
    }

    fn y_at(&self, value: f64) -> Option<f64> {
        Some(self.bottom() - self.y.share(value)? * (self.bottom() - self.top()))
    }

    fn draw_bands(&self, svg: &mut Markup) {
        let mut free = LEFT;
        for band in &self.bands {
            let (Some(from), Some(to)) = (self.x_at(band.from), self.x_at(band.to)) else { continue };
            let (x, width, height) = (At(from), At((to - from).max(0.5)), At(self.bottom() - self.top()));
            svg.void(
                "rect",
                &[("class", &"band"), ("x", &x), ("y", &self.top()), ("width", &width), ("height", &height)],
            );
            // One that has no room is told by the table.
            let (middle, half) = (f64::midpoint(from, to), letters(&band.name) / 2.0);
            if middle - half >= free && middle + half <= self.width {
                let place: [(&str, &dyn std::fmt::Display); 4] =
                    [("class", &"soft"), ("x", &At(middle)), ("y", &(self.top() - 5.0)), ("text-anchor", &"middle")];
                svg.leaf("text", &place, &band.name);
                free = middle + half + LETTER;
            }
        }
    }

    fn draw_axes(&self, svg: &mut Markup) {
        for (value, label) in self.y.ticks() {
            let Some(y) = self.y_at(*value) else { continue };
            svg.void("path", &[("class", &"grid"), ("d", &format!("M{LEFT} {}H{}", At(y), At(self.right())))]);
            svg.leaf("text", &[("x", &(LEFT - 6.0)), ("y", &At(y + 4.0)), ("text-anchor", &"end")], label);
        }
        for (value, label) in self.x.ticks() {
            let Some(x) = self.x_at(*value) else { continue };
            svg.void("path", &[("class", &"axis"), ("d", &format!("M{} {}v4", At(x), At(self.bottom())))]);
            svg.leaf("text", &[("x", &At(x)), ("y", &At(self.bottom() + 16.0)), ("text-anchor", &"middle")], label);
        }
        svg.void("path", &[("class", &"axis"), ("d", &format!("M{LEFT} {}H{}", At(self.bottom()), At(self.right())))]);
        let place: [(&str, &dyn std::fmt::Display); 4] =
            [("class", &"soft"), ("x", &At(self.right())), ("y", &At(self.height - 4.0)), ("text-anchor", &"end")];
        svg.leaf("text", &place, self.below);
    }

    fn draw_line(&self, svg: &mut Markup, line: &Line) {
        let places = line.points.iter().map(|&(x, y)| Some((self.x_at(x)?, self.y_at(y?)?)));
        let places: Vec<Option<(f64, f64)>> = places.collect();
        for run in places.split(Option::is_none) {
            let run: Vec<(f64, f64)> = run.iter().flatten().copied().collect();
            let Some((&first, &last)) = run.first().zip(run.last()) else { continue };
            let points = run.iter().map(|(x, y)| format!("{},{}", At(*x), At(*y))).collect::<Vec<_>>().join(" ");
            let class = line.look.class();
            if line.look == Look::Area && run.len() > 1 {
                let foot = At(self.bottom());
                let around = format!("{points} {},{foot} {},{foot}", At(last.0), At(first.0));
                svg.void("polygon", &[("class", &"area"), ("points", &around)]);
            }
            // A line of one point would not be seen.
            if run.len() > 1 {
                svg.void("polyline", &[("class", &class), ("points", &points)]);
            }
            if run.len() == 1 || line.look == Look::Points {
                for (x, y) in &run {
                    svg.void("circle", &[("class", &class), ("cx", &At(*x)), ("cy", &At(*y)), ("r", &2.5)]);
                }
            }
        }
    }

    fn draw_notes(&self, svg: &mut Markup) {
        for (x, y, name) in &self.notes {
            let (Some(x), Some(y)) = (self.x_at(*x), self.y_at(*y)) else { continue };
            svg.void("circle", &[("class", &"note"), ("cx", &At(x)), ("cy", &At(y)), ("r", &5.5)]);
            let half = letters(name) / 2.0;
            let middle = x.clamp(LEFT + half, (self.right() - half).max(LEFT + half));
            // Above it, or below where the plot ends.
            let text_y = if y - 10.0 < self.top() + 6.0 { y + 20.0 } else { y - 10.0 };
            let place: [(&str, &dyn std::fmt::Display); 4] =
                [("class", &"note"), ("x", &At(middle)), ("y", &At(text_y)), ("text-anchor", &"middle")];
            svg.leaf("text", &place, name);
        }
    }

    fn draw_legend(&self, svg: &mut Markup) {
        // One line is what the title says.
        if self.lines.len() < 2 {
            return;
        }
        let mut x = LEFT;
        for line in &self.lines {
            svg.void("path", &[("class", &line.look.class()), ("d", &format!("M{} 14h22", At(x)))]);
            svg.leaf("text", &[("x", &At(x + 28.0)), ("y", &18)], line.name);
            x += 28.0 + letters(line.name) + 18.0;
        }
    }
}

/// How much room a text takes, about.
fn letters(text: &str) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "some letters")]
    let letters = text.chars().count() as f64;
    letters * LETTER
}

/// A picture with its name and what it shows.
fn frame(
    markup: &mut Markup,
    (id, title, description): (&str, &str, &str),
    (width, height): (f64, f64),
    inside: impl FnOnce(&mut Markup),
) {
    let attributes: [(&str, &dyn std::fmt::Display); 5] = [
        ("xmlns", &"http://www.w3.org/2000/svg"),
        ("viewBox", &format!("0 0 {} {}", At(width), At(height))),
        ("role", &"img"),
        ("aria-labelledby", &format!("{id}-title {id}-desc")),
        ("id", &id),
    ];
    markup.element("svg", &attributes, |svg| {
        svg.leaf("title", &[("id", &format!("{id}-title"))], title);
        svg.leaf("desc", &[("id", &format!("{id}-desc"))], description);
        inside(svg);
    });
}
