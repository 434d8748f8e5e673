//! A run from beginning to end.

use std::io::{self, Write as _};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use reqwest::Url;

use crate::attack::Attack;
use crate::bare::Bare;
use crate::caller::client;
use crate::cli::{Arguments, Format};
use crate::figures::{cadences, figures, millis};
use crate::open::{self, Mix};
use crate::plan::Plan;
use crate::processes::{Meter, Share};
use crate::profile::{Phase, Profile, Role};
use crate::progress::Progress;
use crate::record::{Record, Recorder};
use crate::report::{self, Report};
use crate::verdict::Conclusion;
use crate::watch::{Exposition, Look, Watcher};
use crate::{cleanup, database, disk, facts, seed, target, verdict};

/// Open files beside the users' connections: logs, reports, the runtime's own.
const SPARE_FILES: usize = 100;
/// Looks at /metrics of a run, at most about.
const LOOKS: u64 = 360;

/// Seeds, loads, judges and reports.
///
/// # Errors
/// When the command line asks for what is not to be had, or the service is not there.
pub(crate) async fn run(arguments: &Arguments) -> Result<Conclusion> {
    let host = target::target("--host", &arguments.host, &arguments.allowed_hosts)?;
    let operations = target::target("--operations", &arguments.operations, &arguments.allowed_hosts)?;
    target::check_options(&arguments.goose)?;
    let profile = Profile::new(arguments.profile, &arguments.asked());
    raise_file_limit(profile.users())?;
    let baseline = arguments.baseline.as_deref().map(Report::read).transpose()?;
    let watcher = Watcher::new(&operations)?;
    watcher.look().await?;

    let (plan, tree) = Plan::new(profile.entries, profile.population)?;
    let run = Run { arguments, profile, host, watcher, plan: Arc::new(plan) };
    tell(&format!("filling the archive with {} entries", tree.len()))?;
    seed::seed(&run.host, &run.plan, &tree).await?;
    drop(tree);
    if database::ask(database::ANALYZE).is_none() {
        tell(
            "no DATABASE_URL or psql: PostgreSQL's statistics of the new rows are those that autovacuum has made by now",
        )?;
    }
    if let Some(at) = arguments.start_at {
        let pause = (at - chrono::Utc::now()).to_std().context("--start-at is over before the archive is filled")?;
        tell(&format!("waiting until {at}"))?;
        tokio::time::sleep(pause).await;
    }

    let measured = run.measure().await;
    if !arguments.keep {
        tell("removing the rows of the run")?;
        if let Some(left) = cleanup::remove(&run.plan.run).await? {
            tell(&left)?;
        }
    }
    let mut report = measured?;
    report.verdict = verdict::judge(&report, run.profile.demands);
    if let Some(baseline) = &baseline {
        report.verdict.extend(verdict::compare(&report, baseline, arguments.allowed_regression));
    }
    report.conclusion = Conclusion::of(&report.verdict);
    report.passed = report.conclusion == Conclusion::Passed;
    report.write(&arguments.output)?;
    let printed = match arguments.format {
        Format::Text => report::text::render(&report),
        Format::Markdown => report::markdown::render(&report),
        Format::Json => serde_json::to_string_pretty(&report)?,
    };
    writeln!(io::stdout(), "{printed}")?;
    tell(&format!("report in {}", arguments.output.join("report.html").display()))?;
    Ok(report.conclusion)
}

/// What is measured, with what.
struct Run<'a> {
    arguments: &'a Arguments,
    profile: Profile,
    host: Url,
    watcher: Watcher,
    plan: Arc<Plan>,
}

/// The closed loop and what was seen of it.
struct Closed {
    record: Record,
    disk: disk::Disk,
    elapsed: Duration,
    processes: Vec<Share>,
    looks: Vec<Look>,
    before: Exposition,
    after: Exposition,
}

impl Run<'_> {
    async fn measure(&self) -> Result<Report> {
        let began = chrono::Utc::now();
        let bare = self.bare().await?;
        let mut laps = Vec::new();
        if let Some(bare) = &bare {
            laps.push(self.lap(bare).await?);
        }
        let closed = self.closed().await?;
        // Goose stops for Ctrl-C; whoever pressed it does not wait for the rest.
        let whole = verdict::is_whole(closed.elapsed.as_secs_f64(), self.profile.seconds());
        // As near to the closed loop as can be: a shared machine is not as fast in every minute.
        if let Some(bare) = bare.as_ref().filter(|_| whole) {
            laps.push(self.lap(bare).await?);
        }
        drop(bare);
        let open = if whole { self.open(&closed.record).await? } else { None };
        let mut report = self.report(&closed, open);
        report.began = crate::plan::rfc3339(began);
        report.bare = report::bare(laps, report.requests_per_second);
        Ok(report)
    }

    /// The closed loop.
    async fn closed(&self) -> Result<Closed> {
        let before = self.look_at_all().await?;
        let profile = &self.profile;
        tell(&format!("{:?}: up to {} users, {} s", profile.name, profile.users(), profile.seconds()))?;
        let recorder = Arc::new(Recorder::default());
        let meter = Meter::start()?;
        let following = self.watcher.follow(recorder.began(), Duration::from_secs((profile.seconds() / LOOKS).max(1)));
        let progress = Progress::of(&recorder, profile.seconds())?;
        let disk = self.watch_disk();
        self.attack(&self.host, &profile.phases, profile.roles).run(&self.plan, &recorder).await?;
        let disk = disk.stop(recorder.began());
        drop(progress);
        let (elapsed, processes, looks) = (recorder.began().elapsed(), meter.used(), following.looks());
        drop(following);
        let after = self.look_at_all().await?;
        Ok(Closed { record: recorder.record(), disk, elapsed, processes, looks, before, after })
    }

    /// Looks when the service knows what its database did until now.
    async fn look_at_all(&self) -> Result<Exposition> {
        tell("waiting until the service has read the database's statistics (every 15 s)")?;
        self.watcher.look_at_all().await
    }

    fn attack<'a>(&'a self, host: &'a Url, phases: &'a [Phase], roles: &'a [(Role, usize)]) -> Attack<'a> {
        Attack { host, phases, roles, rate: self.profile.rate, options: &self.arguments.goose }
    }

    /// The open loop, with the mix of the closed one.
    async fn open(&self, closed: &Record) -> Result<Option<report::Open>> {
        let Some(open) = self.profile.open else { return Ok(None) };
        tell(&format!("open loop: {} requests/s, {} s", open.rate, open.seconds))?;
        let before = self.watcher.look().await?;
        let (disk, began) = (self.watch_disk(), Instant::now());
        let (record, first) = open::run(&self.host, open, &Mix::of(closed, self.profile.roles), &self.plan).await?;
        let (elapsed, disk) = (began.elapsed(), disk.stop(first));
        let waits = report::server::waits(&before, &self.watcher.look().await?);
        Ok(Some(report::open(&record, elapsed, open, (waits, disk))))
    }

    fn watch_disk(&self) -> disk::Watch {
        disk::Watch::start(self.arguments.data_directory.as_deref(), &self.arguments.output)
    }

    async fn bare(&self) -> Result<Option<Bare>> {
        if self.profile.bare_seconds == 0 {
            return Ok(None);
        }
        let first = self.plan.entries.first().context("a run without entries")?;
        let path = format!("/api/v1/archive/{}", first.id);
        Ok(Some(Bare::start(&client()?.build()?, &self.host, &path, &self.arguments.output).await?))
    }

    /// Goose against the bare handler: as many users, each of them reading.
    async fn lap(&self, bare: &Bare) -> Result<report::Lap> {
        const READERS: &[(Role, usize)] = &[(Role::Reader, 100)];
        tell(&format!("bare handler: {} users, {} s", self.profile.users(), self.profile.bare_seconds))?;
        let users = self.profile.users();
        let phases = [Phase { users, seconds: 2 }, Phase { users, seconds: self.profile.bare_seconds }];
        let (recorder, meter) = (Arc::new(Recorder::default()), bare.meter());
        self.attack(&bare.url, &phases, READERS).run(&self.plan, &recorder).await?;
        let processes = meter.used();
        let steady = (users, 2, usize::try_from(2 + self.profile.bare_seconds)?);
        let requests_per_second = report::phase(&recorder.record(), steady).requests_per_second;
        Ok(report::Lap { requests_per_second, processes })
    }

    fn report(&self, closed: &Closed, open: Option<report::Open>) -> Report {
        let Self { profile, plan, host, .. } = self;
        let record = &closed.record;
        // Users come and go: their mean number.
        let users = profile.mean_users();
        let cadences = cadences(record, profile.roles, users, closed.elapsed);
        let (all, operations) = figures(record, Some(&cadences));
        let mut disk = closed.disk.clone();
        disk.effects = disk::effects(record, Some(&cadences), &disk.pauses);
        // One that was interrupted is told over the seconds that it had.
        let had = usize::try_from(closed.elapsed.as_secs()).unwrap_or(usize::MAX);
        let steady = profile.steady().into_iter().map(|(users, from, to)| (users, from, to.min(had)));
        let phases: Vec<_> =
            steady.filter(|(_, from, to)| from < to).map(|phase| report::phase(record, phase)).collect();
        let failures = record.failures.iter().map(|((operation, kind), count)| report::FailureCount {
            operation: (*operation).to_owned(),
            kind: kind.clone(),
            count: *count,
        });
        Report {
            version: report::VERSION,
            profile: profile.name,
            run: plan.run.clone(),
            began: String::new(),
            host: host.to_string(),
            facts: facts::gather(&closed.after),
            passed: false,
            conclusion: Conclusion::Failed,
            verdict: Vec::new(),
            machines: profile.machines,
            users: profile.users(),
            entries: plan.entries.len(),
            seconds: closed.elapsed.as_secs_f64(),
            planned_seconds: profile.seconds(),
            requests_per_second: report::rate_of(&phases),
            all,
            operations: (operations.into_iter())
                .map(|(name, figures)| report::OperationFigures { name: name.to_owned(), figures })
                .collect(),
            bare: None,
            open_loop: open,
            disk,
            server: report::server::tell(&closed.before, &closed.after, &closed.looks, closed.elapsed),
            processes: closed.processes.clone(),
            phases,
            timeline: record
                .seconds
                .iter()
                .map(|second| report::SecondFigures {
                    succeeded: second.succeeded(),
                    shed: second.shed,
                    failed: second.failed,
                    p50_ms: millis(second.times.value_at_quantile(0.5)),
                    p95_ms: millis(second.times.value_at_quantile(0.95)),
                })
                .collect(),
            looks: closed.looks.clone(),
            failures: failures.collect(),
        }
    }
}

/// Raises the limit of open files as far as it goes: each user holds a connection, and past the limit connects fail,
/// which would be counted against the service.
fn raise_file_limit(users: usize) -> Result<()> {
    let limit = rlimit::increase_nofile_limit(u64::MAX).context("raising the limit of open files")?;
    let enough = u64::try_from(users + SPARE_FILES)? <= limit;
    ensure!(enough, "{users} users need more open files than the {limit} allowed: raise `ulimit -n` or lower --users");
    Ok(())
}

/// What it is at, for whoever waits.
fn tell(what: &str) -> io::Result<()> {
    writeln!(io::stderr(), "dgm-loadtest: {what}")
}
