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
    /// Whether it was measured before in this run.
    pub(crate) again: bool,
    pub(crate) figures: Figures,
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
    for setup in ORDER {
        let rows: Vec<_> = plan.rows.iter().copied().filter(|row| row.setup == setup).collect();
        if rows.is_empty() {
            continue;
        }
        stack.settle().await?;
        let Some(target) = stack.serve(setup, Some(&archive.answer)).await? else {
            report.left_out.extend(rows.iter().map(|row| row.name));
            continue;
        };
        if matches!(setup, Setup::WithoutL1 | Setup::WithoutCaches) {
            archive.warm(&target.caller).await?;
        }
        for row in rows {
            for &connections in &plan.connections {
                let lap = Course { stack, archive, target: &target, row, connections };
                let mut lap = lap.measure(plan.seconds, &mut number).await.with_context(|| row.name)?;
                lap.again = report.laps.iter().any(|l| l.row.name == row.name && l.connections == connections);
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
        target.process.stop().await?;
    }
    Ok(report)
}

/// What a lap needs.
struct Course<'a> {
    stack: &'a Stack,
    archive: &'a Archive,
    target: &'a Target,
    row: &'static Row,
    connections: u32,
}

impl Course<'_> {
    async fn measure(&self, seconds: u64, number: &mut u32) -> Result<Lap> {
        let Self { stack, target, row, connections, .. } = *self;
        if matches!(row.script, Script::Claim) {
            // A completion costs more than a creation, and is every other request only: enough for the row.
            let queue = parse("queue").ok().context("the row that fills the queue is gone")?;
            self.load(queue, (QUEUERS, seconds + WARM_UP), number).await?;
        }
        self.load(row, (connections, WARM_UP), number).await?;
        let before = self.count(row.proof.as_ref()).await?;
        let meter = stack.meter(target)?;
        let (figures, cpu) = {
            let then = meter.read()?;
            let figures = self.load(row, (connections, seconds), number).await?;
            (figures, meter.read()?.since(then))
        };
        let resident = meter.resident()?;
        let lost = match &row.proof {
            Some(proof) => check(proof, &figures, connections, self.count(Some(proof)).await? - before),
            None => None,
        };
        Ok(Lap { row, connections, again: false, figures, cpu, resident, lost })
    }

    /// One run of the loader, after a look at an answer.
    async fn load(&self, row: &Row, shape: (u32, u64), number: &mut u32) -> Result<Figures> {
        *number += 1;
        let Self { stack, archive, target, .. } = *self;
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
