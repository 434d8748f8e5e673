//! The plots of a report.

use super::{Axis, Band, Bars, Line, Look, Plot};
use crate::report::content::format::{figure, millis};
use crate::report::content::{Part, best, bottleneck, cores_of, first_over, followed};
use crate::report::{Report, SecondFigures};
use crate::verdict::LATENCY_MS;

/// Points of a line, at most: more are not seen, and make the document large.
pub(crate) const POINTS: usize = 600;
const SIZE: (f64, f64) = (480.0, 260.0);
const SMALL: (f64, f64) = (300.0, 150.0);

/// A picture.
#[derive(Debug)]
pub(crate) enum Chart {
    Plot(Plot),
    Bars(Bars),
}

/// The pictures of a section.
pub(crate) fn charts(report: &Report, part: Part) -> Vec<Chart> {
    let plots = match part {
        Part::Bottleneck => return cores(report).map(Chart::Bars).into_iter().collect(),
        Part::Time => over_time(report),
        Part::Latency => distribution(report),
        Part::Phases => knee(report),
        Part::Looks => looks(report),
        _ => Vec::new(),
    };
    plots.into_iter().map(Chart::Plot).collect()
}

fn cores(report: &Report) -> Option<Bars> {
    let bars: Vec<_> = report.processes.iter().map(|share| (share.program.clone(), share.cores)).collect();
    let most = cores_of(report).map(|cores| (cores, format!("all {cores:.0} cores")));
    (!bars.is_empty()).then(|| Bars {
        id: "plot-cores".to_owned(),
        title: "Cores kept busy".to_owned(),
        description: bottleneck(report),
        sum: bars.iter().map(|(_, cores)| cores).sum(),
        values: bars,
        most,
    })
}

/// A plot that is yet to be given what else it shows.
fn plot(id: &str, title: String, (width, height): (f64, f64), (x, y): (Axis, Axis), lines: Vec<Line>) -> Plot {
    let (bands, bound, notes) = (Vec::new(), None, Vec::new());
    let (id, description) = (format!("plot-{id}"), describe(&lines));
    Plot { id, title, description, width, height, x, y, below: "", bands, bound, lines, notes }
}

/// What lines show, in words.
fn describe(lines: &[Line]) -> String {
    let each = lines.iter().map(|line| {
        let values = || line.points.iter().filter_map(|(_, value)| *value);
        match (values().reduce(f64::min), values().reduce(f64::max), values().next_back()) {
            (Some(low), Some(high), Some(end)) => {
                format!("{}: between {} and {}, at the end {}.", line.name, figure(low), figure(high), figure(end))
            }
            _ => format!("{}: nothing.", line.name),
        }
    });
    each.collect::<Vec<_>>().join(" ")
}

#[expect(clippy::cast_precision_loss, reason = "seconds and users of a run")]
const fn float(value: usize) -> f64 {
    value as f64
}

fn over_time(report: &Report) -> Vec<Plot> {
    let seconds = &report.timeline;
    if seconds.is_empty() {
        return Vec::new();
    }
    let each = seconds.len().div_ceil(POINTS);
    let thinned = |value: &dyn Fn(&[SecondFigures]) -> Option<f64>| -> Vec<(f64, Option<f64>)> {
        // A point stands in the middle of its seconds.
        let middle = |at: usize, part: &[SecondFigures]| float(at * each) + float(part.len()) / 2.0;
        seconds.chunks(each).enumerate().map(|(at, part)| (middle(at, part), value(part))).collect()
    };
    let rate = |name, look, of: fn(&SecondFigures) -> u64| {
        #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
        let points = thinned(&|part| Some(part.iter().map(of).sum::<u64>() as f64 / float(part.len())));
        Line { name, look, points }
    };
    // A second without a success has no latency. Quantiles of several seconds cannot be added up: the highest stands for all.
    let latency = |name, look, of: fn(&SecondFigures) -> f64| {
        let points = thinned(&|part| part.iter().filter(|second| second.succeeded > 0).map(of).reduce(f64::max));
        Line { name, look, points }
    };
    let rates = vec![
        rate("successful", Look::Area, |second| second.succeeded),
        rate("shed", Look::Dashed, |second| second.shed),
        rate("failed", Look::Dotted, |second| second.failed),
    ];
    let latencies =
        vec![latency("p95", Look::Whole, |second| second.p95_ms), latency("p50", Look::Dashed, |second| second.p50_ms)];
    let (means, highest) = if each > 1 {
        (format!(" (means of {each} s)"), format!(" (highest of {each} s)"))
    } else {
        (String::new(), String::new())
    };
    let x = || Axis::seconds(float(seconds.len()));
    // Few that are lost among many that succeed would not be seen.
    let lost: Vec<Line> = rates.iter().filter(|line| line.look != Look::Area).cloned().collect();
    let any = values(&lost).any(|rate| rate > 0.0);
    let lost = any.then(|| {
        let y = Axis::from_zero(values(&lost), 5.0);
        plot("lost", format!("Shed and failed a second{means}"), SIZE, (x(), y), lost)
    });
    let y = Axis::from_zero(values(&rates), 5.0);
    let throughput = plot("throughput", format!("Requests a second{means}"), SIZE, (x(), y), rates);
    let y = Axis::logarithmic(values(&latencies).chain([LATENCY_MS]));
    let latency = plot("latency", format!("Latency, milliseconds{highest}"), SIZE, (x(), y), latencies);
    let bands = || {
        let band = |phase: &crate::report::PhaseFigures| Band {
            from: float(phase.from.min(seconds.len())),
            to: float(phase.to.min(seconds.len())),
            name: format!("{}{}", phase.users, if report.phases.len() > 4 { "" } else { " users" }),
        };
        report.phases.iter().filter(|phase| phase.from < seconds.len()).map(band).collect()
    };
    let below = if report.phases.len() > 4 { "seconds; above: users" } else { "seconds" };
    let latency = Plot { bound: Some(bound()), ..latency };
    let plots = [throughput, latency].into_iter().chain(lost);
    plots.map(|plot| Plot { bands: bands(), below, ..plot }).collect()
}

/// The line that latency is to stay below.
fn bound() -> (f64, String) {
    (LATENCY_MS, format!("{LATENCY_MS:.0} ms"))
}

fn values(lines: &[Line]) -> impl Iterator<Item = f64> {
    lines.iter().flat_map(|line| line.points.iter().filter_map(|(_, value)| *value))
}

fn distribution(report: &Report) -> Vec<Plot> {
    let line = |name, look, of: &[(f64, f64)]| {
        // The highest is infinitely far on this axis; the table has it.
        let points = of.iter().filter(|(quantile, _)| *quantile < 1.0).map(|&(at, value)| (at, Some(value)));
        Line { name, look, points: points.filter(|(_, value)| value.is_some_and(|value| value > 0.0)).collect() }
    };
    let mut lines = vec![
        line("raw", Look::Points, &report.all.raw.distribution),
        line("corrected", Look::Dashed, &report.all.corrected.distribution),
    ];
    lines.extend(report.open_loop.iter().map(|open| line("open loop", Look::Dotted, &open.figures.raw.distribution)));
    lines.retain(|line| !line.points.is_empty());
    if lines.is_empty() {
        return Vec::new();
    }
    let y = Axis::logarithmic(values(&lines).chain([LATENCY_MS]));
    let title = "Milliseconds by quantile".to_owned();
    let plot = plot("distribution", title, SIZE, (Axis::nines(), y), lines);
    vec![Plot { bound: Some(bound()), below: "quantile", ..plot }]
}

/// Throughput and p95 by the number of users, where there are several.
fn knee(report: &Report) -> Vec<Plot> {
    let phases = &report.phases;
    if phases.len() < 2 {
        return Vec::new();
    }
    let x = || Axis::places(phases.iter().map(|phase| phase.users.to_string()));
    let line = |name, of: &dyn Fn(&crate::report::PhaseFigures) -> Option<f64>| {
        let points = phases.iter().enumerate().map(|(at, phase)| (float(at), of(phase))).collect();
        vec![Line { name, look: Look::Points, points }]
    };
    let rates = line("successful requests a second", &|phase| Some(phase.requests_per_second));
    let latencies = line("p95", &|phase| (phase.p95_ms > 0.0).then_some(phase.p95_ms));
    let y = Axis::from_zero(values(&rates), 5.0);
    let rate = plot("knee-rate", "Requests a second by users".to_owned(), SIZE, (x(), y), rates);
    let y = Axis::logarithmic(values(&latencies).chain([LATENCY_MS]));
    let latency = plot("knee-p95", "p95 by users, milliseconds".to_owned(), SIZE, (x(), y), latencies);
    let highest = best(phases).map(|at| {
        let most = phases[at].requests_per_second;
        (float(at), most, format!("highest: {}/s", figure(most)))
    });
    let over = first_over(phases).map(|at| {
        let p95 = phases[at].p95_ms;
        (float(at), p95, format!("first over: {} ms", millis(p95)))
    });
    let below = "users of each phase";
    vec![
        Plot { notes: highest.into_iter().collect(), below, ..rate },
        Plot { notes: over.into_iter().collect(), bound: Some(bound()), below, ..latency },
    ]
}

fn looks(report: &Report) -> Vec<Plot> {
    let end = report.looks.iter().map(|look| look.at).fold(0.0, f64::max);
    let small = followed(&report.looks).into_iter().enumerate().map(|(at, (name, seen))| {
        let each = seen.len().div_ceil(POINTS).max(1);
        let points = seen.iter().step_by(each).map(|&(at, value)| (at, Some(value))).collect();
        let lines = vec![Line { name: "value", look: Look::Area, points }];
        let y = Axis::from_zero(values(&lines), 2.0);
        let plot = plot(&format!("look-{at}"), name, SMALL, (Axis::seconds(end), y), lines);
        Plot { below: "seconds", ..plot }
    });
    small.collect()
}
