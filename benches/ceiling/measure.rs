//! The run: every setup's server, every row on it, every number of connections.

use std::io::{self, Write as _};

use anyhow::{Context as _, Result};

use crate::archive::Archive;
use crate::cpu::Cpu;
use crate::figures::Figures;
use crate::report::Report;
use crate::rows::{Proof, Row, parse};
use crate::stack::{ORDER, Setup, Stack, Target};
use crate::wrk::{self, Script};

/// Seconds of a row before its figures count.
const WARM_UP: u64 = 1;
/// How much shorter than a row's lap those of the bare handler before and after it are.
const BARE_SHARE: u64 = 3;
/// Connections that fill the queue before claims are measured.
const QUEUERS: u32 = 64;

/// What is to be measured.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) rows: Vec<&'static Row>,
    pub(crate) connections: Vec<u32>,
    pub(crate) seconds: u64,
}

/// A row at a number of connections.
#[derive(Debug)]
pub(crate) struct Lap {
    pub(crate) row: &'static Row,
    pub(crate) connections: u32,
    pub(crate) figures: Figures,
    /// Requests a second of the bare handler at as many connections, the mean of a lap just before and one just after:
    /// a machine that changes its pace changes both. `None` for the bare handler itself.
    pub(crate) bare: Option<f64>,
    pub(crate) cpu: Cpu,
    /// Of the service, afterwards, in bytes.
    pub(crate) resident: u64,
    /// What the database says against the answers, if anything.
    pub(crate) lost: Option<String>,
}

/// Measures everything that is planned.
///
/// # Errors
/// When a server or the loader fails; errors of single requests are counted.
pub(crate) async fn measure(stack: &mut Stack, archive: &Archive, plan: &Plan) -> Result<Report> {
    let mut report = Report::default();
    // Of every run of the loader, so that no two make the same ids.
    let mut number = 0;
    // Idle but for its laps.
    let bare = stack.serve(Setup::Bare, Some(&archive.answer)).await?.context("the bare handler is gone")?;
    for setup in ORDER {
        let rows: Vec<_> = plan.rows.iter().copied().filter(|row| row.setup == setup).collect();
        if rows.is_empty() {
            continue;
        }
        stack.settle().await?;
        let served = if setup == Setup::Bare { None } else { stack.serve(setup, None).await? };
        let Some(target) = (if setup == Setup::Bare { Some(&bare) } else { served.as_ref() }) else {
            report.left_out.extend(rows.iter().map(|row| row.name));
            continue;
        };
        if matches!(setup, Setup::WithoutL1 | Setup::WithoutCaches) {
            archive.warm(&target.caller).await?;
        }
        for row in rows {
            for &connections in &plan.connections {
                let course = Course { stack, archive, target, bare: &bare, row, connections };
                let lap = course.measure(plan.seconds, &mut number).await.with_context(|| row.name)?;
                writeln!(
                    io::stderr(),
                    "{:<12} {connections:>4}  {:>8.0}/s  {} errors{}{}",
                    row.name,
                    lap.figures.rate(),
                    lap.figures.errors(),
                    lap.figures.kinds(),
                    lap.lost.as_ref().map_or_else(String::new, |lost| format!("; {lost}"))
                )?;
                report.laps.push(lap);
            }
        }
        if let Some(target) = served {
            target.process.stop().await?;
        }
    }
    bare.process.stop().await?;
    Ok(report)
}

/// What a lap needs.
struct Course<'a> {
    stack: &'a Stack,
    archive: &'a Archive,
    target: &'a Target,
    bare: &'a Target,
    row: &'static Row,
    connections: u32,
}

impl Course<'_> {
    async fn measure(&self, seconds: u64, number: &mut u32) -> Result<Lap> {
        let Self { stack, target, row, connections, .. } = *self;
        if matches!(row.script, Script::Claim) {
            // A completion costs more than a creation, and is every other request only: enough for the row.
            let queue = parse("queue").ok().context("the row that fills the queue is gone")?;
            self.load(target, queue, (QUEUERS, seconds + WARM_UP), number).await?;
        }
        let before_it = self.pace(seconds, number).await?;
        self.load(target, row, (connections, WARM_UP), number).await?;
        let before = self.count(row.proof.as_ref()).await?;
        let meter = stack.meter(target)?;
        let (figures, cpu) = {
            let then = meter.read()?;
            let figures = self.load(target, row, (connections, seconds), number).await?;
            (figures, meter.read()?.since(then))
        };
        let resident = meter.resident()?;
        let lost = match &row.proof {
            Some(proof) => check(proof, &figures, connections, self.count(Some(proof)).await? - before),
            None => None,
        };
        let after_it = self.pace(seconds, number).await?;
        let bare = before_it.zip(after_it).map(|(before, after)| f64::midpoint(before, after));
        Ok(Lap { row, connections, figures, bare, cpu, resident, lost })
    }

    /// The rate of the bare handler now; `None` when it is what is measured.
    async fn pace(&self, seconds: u64, number: &mut u32) -> Result<Option<f64>> {
        if self.row.setup == Setup::Bare {
            return Ok(None);
        }
        let row = parse(self.row.against).ok().context("the row of the bare handler is gone")?;
        let figures = self.load(self.bare, row, (self.connections, (seconds / BARE_SHARE).max(1)), number).await?;
        Ok(Some(figures.rate()))
    }

    /// One run of the loader, after a look at an answer.
    async fn load(&self, target: &Target, row: &Row, shape: (u32, u64), number: &mut u32) -> Result<Figures> {
        *number += 1;
        let Self { stack, archive, .. } = *self;
        let requests = (row.requests)(archive, &format!("{}-{number}", archive.run));
        let caller = match row.status {
            304 => target.caller.with("if-none-match", &archive.etag),
            _ => target.caller.clone(),
        };
        let first = requests.first().context("a row without requests")?;
        caller.send(first, row.status).await?;
        wrk::run(stack.directory(), &caller, (row.script, &requests), shape).await
    }

    async fn count(&self, proof: Option<&Proof>) -> Result<i64> {
        match proof {
            None => Ok(0),
            Some(proof) => Ok(self.stack.psql(proof.sql).await?.parse()?),
        }
    }
}

/// Holds the rows that were written against the answers. What is in flight when the loader stops, once in the run before
/// and once in this, may be missing or too much.
#[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
fn check(proof: &Proof, figures: &Figures, connections: u32, rows: i64) -> Option<String> {
    let expected = figures.requests.saturating_sub(figures.errors()) as f64 * proof.each;
    let slack = f64::from(2 * connections + 1) * proof.each.max(1.0);
    let credible = (expected - slack..=expected + slack).contains(&(rows as f64));
    (!credible).then(|| format!("{expected} rows were acknowledged, {rows} are there ({slack} may be in flight)"))
}
