//! What PostgreSQL's processes wait for, and how far its write-ahead log is on disk, asked again and again through psql.

use std::collections::BTreeMap;
use std::env;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use super::Wait;
use super::stall::{Detector, Sample, Stall};

/// Between two questions.
const EVERY: Duration = Duration::from_millis(25);
/// First how far the log is written and flushed, then the waits, apart from those for work to come.
const QUESTION: &str = "SELECT pg_current_wal_lsn() || ' ' || pg_current_wal_flush_lsn(), coalesce((SELECT string_agg(event || ' ' || number, ', ' ORDER BY number DESC, event) \
    FROM (SELECT wait_event_type || ':' || wait_event AS event, count(*) AS number FROM pg_stat_activity \
    WHERE pid <> pg_backend_pid() AND wait_event_type NOT IN ('Activity', 'Client', 'Extension') GROUP BY 1) waits), '');\n";
/// Waits of a process that writes or flushes the log itself. Others wait for it with `LWLock:WALWrite`. A new segment (`IO:WALInitWrite`)
/// is 16 MiB of work and no pause.
const FLUSHING: [&str; 2] = ["IO:WALSync", "IO:WALWrite"];

/// A sample from an answer: the positions, and the waits.
pub(super) fn sample((asked, answered): (Instant, Instant), answer: &str) -> Option<(Sample<String>, Waits)> {
    let (positions, waits) = answer.trim_end().split_once('|')?;
    let events = waits.split(", ").filter_map(|wait| wait.rsplit_once(' '));
    let events: Waits = events.filter_map(|(event, number)| Some((event.to_owned(), number.parse().ok()?))).collect();
    let outstanding = FLUSHING.iter().filter_map(|event| events.get(*event)).sum();
    let (progress, detail) = (positions.to_owned(), waits.to_owned());
    Some((Sample { asked, answered, progress, outstanding, detail }, events))
}

/// Processes by what they wait for.
pub(super) type Waits = BTreeMap<String, u64>;

/// Asks, on a thread of its own.
#[derive(Debug)]
pub(super) struct Sessions {
    running: Arc<AtomicBool>,
    psql: Child,
    thread: JoinHandle<(Vec<Stall>, Vec<Wait>)>,
}

impl Sessions {
    /// Starts to ask the database of `DATABASE_URL`.
    ///
    /// # Errors
    /// Without the variable or psql, or when the database does not answer the question.
    pub(super) fn start() -> Result<Self> {
        let url = env::var("DATABASE_URL").ok().filter(|url| !url.is_empty()).context("no DATABASE_URL")?;
        let mut psql = Command::new("psql")
            .args(["-XAtq", "-v", "ON_ERROR_STOP=1", &url])
            .env("PGAPPNAME", "dgm-loadtest")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .context("psql")?;
        let (questions, answers) = (psql.stdin.take().context("psql")?, psql.stdout.take().context("psql")?);
        let mut connection = (questions, BufReader::new(answers));
        let first = ask(&mut connection);
        if first.is_none() {
            let _ = psql.kill();
            let _ = psql.wait();
        }
        ensure!(first.is_some(), "psql reaches no primary by DATABASE_URL");
        let running = Arc::new(AtomicBool::new(true));
        let thread = thread::Builder::new().name("disk-sessions".to_owned()).spawn({
            let running = Arc::clone(&running);
            move || run(&running, &mut connection)
        })?;
        Ok(Self { running, psql, thread })
    }

    /// Stops, and answers the stalls and what was waited for.
    pub(super) fn stop(mut self) -> (Vec<Stall>, Vec<Wait>) {
        self.running.store(false, Ordering::Relaxed);
        // An answer that does not come is not waited for.
        let _ = self.psql.kill();
        let _ = self.psql.wait();
        self.thread.join().unwrap_or_default()
    }
}

type Connection = (std::process::ChildStdin, BufReader<std::process::ChildStdout>);

fn ask((questions, answers): &mut Connection) -> Option<(Sample<String>, Waits)> {
    let asked = Instant::now();
    questions.write_all(QUESTION.as_bytes()).ok()?;
    let mut answer = String::new();
    answers.read_line(&mut answer).ok()?;
    sample((asked, Instant::now()), &answer)
}

#[expect(clippy::cast_precision_loss, reason = "some thousands")]
fn run(running: &AtomicBool, connection: &mut Connection) -> (Vec<Stall>, Vec<Wait>) {
    let (mut detector, mut sums, mut samples) = (Detector::default(), BTreeMap::<String, (u64, u64)>::new(), 0_u64);
    while running.load(Ordering::Relaxed) {
        let asked = Instant::now();
        let Some((sample, waits)) = ask(connection) else { break };
        detector.add(sample);
        samples += 1;
        for (event, number) in waits {
            let (sum, most) = sums.entry(event).or_default();
            (*sum, *most) = (*sum + number, number.max(*most));
        }
        thread::sleep(EVERY.saturating_sub(asked.elapsed()));
    }
    let wait =
        |(event, (sum, most)): (String, (u64, u64))| Wait { event, mean: sum as f64 / samples.max(1) as f64, most };
    let mut waits: Vec<Wait> = sums.into_iter().map(wait).collect();
    waits.sort_by(|a, b| b.mean.total_cmp(&a.mean));
    (detector.finish(), waits)
}
