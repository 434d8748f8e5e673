//! The servers of a URL and the one of them that connections go to.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use sqlx::postgres::PgConnectOptions;

use super::error::{Error, Located};
use super::losses;
use super::probe;
use super::sqlstate::class;
use crate::telemetry::catalogue::database::DB_ERRORS;

/// Which of several servers is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// The one that accepts writes.
    Primary,
    /// One in recovery.
    Standby,
}

/// After a failed search the next one starts this much later.
const RETRY: Duration = Duration::from_millis(250);
/// After a successful one, this much.
const RECHECK: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct Servers {
    /// Name and options of each.
    all: Vec<(String, PgConnectOptions)>,
    wanted: Wanted,
    search_path_is_given: bool,
    /// The one in use.
    chosen: AtomicUsize,
    /// Lost connections at the last successful check, plus one; 0: none was checked yet.
    checked: AtomicU64,
    /// When one other than before was chosen.
    changed: Mutex<Option<Instant>>,
    /// The last check; held while one runs, so that one runs at a time.
    last: tokio::sync::Mutex<Option<(Instant, Option<Error>)>>,
    /// When a pool that got no connection was last explained.
    explained: tokio::sync::Mutex<Option<Instant>>,
}

impl Servers {
    pub(super) fn new(all: Vec<(String, PgConnectOptions)>, wanted: Wanted, search_path_is_given: bool) -> Self {
        Self {
            all,
            wanted,
            search_path_is_given,
            chosen: AtomicUsize::new(0),
            checked: AtomicU64::new(0),
            changed: Mutex::default(),
            last: tokio::sync::Mutex::default(),
            explained: tokio::sync::Mutex::default(),
        }
    }

    /// The name and the options of the server in use.
    pub(super) fn chosen(&self) -> Option<&(String, PgConnectOptions)> {
        self.all.get(self.chosen.load(Ordering::Acquire)).or(self.all.first())
    }

    /// Whether the server in use became it within this time.
    pub(super) fn changed_within(&self, time: Duration) -> bool {
        self.all.len() > 1
            && self
                .changed
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .is_some_and(|changed| changed.elapsed() <= time)
    }

    /// Whether nothing asks for a check: one was successful, and with several servers no connection was lost since.
    pub(super) fn is_checked(&self) -> bool {
        let checked = self.checked.load(Ordering::Acquire);
        checked > 0 && (self.all.len() == 1 || checked == losses::count() + 1)
    }

    /// Checks the servers and chooses one; `adopt` is called when another one than before was chosen.
    pub(super) async fn check(&self, adopt: impl Fn(&PgConnectOptions)) -> Result<(), Error> {
        let mut last = self.last.lock().await;
        let ever = self.checked.load(Ordering::Acquire) > 0;
        match &*last {
            _ if self.is_checked() => return Ok(()),
            Some((at, Some(error))) if at.elapsed() < RETRY => return Err(error.duplicate()),
            Some((at, None)) if ever && at.elapsed() < RECHECK => return Ok(()),
            _ => {}
        }
        let count = losses::count();
        let outcome = self.choose(ever).await;
        *last = Some((Instant::now(), outcome.as_ref().err().map(Error::duplicate)));
        let chosen = outcome?;
        self.checked.store(count + 1, Ordering::Release);
        if self.chosen.swap(chosen, Ordering::AcqRel) != chosen
            && let Some((name, options)) = self.all.get(chosen)
        {
            *self.changed.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
            if ever {
                tracing::warn!(server = name.as_str(), wanted = ?self.wanted, "connections go to another server");
            }
            adopt(options);
        }
        Ok(())
    }

    /// Why a pool could open no connection, of which it says only that none was there in time: what the server answers to a new one.
    /// `None` when it accepts one, and within a second of the last answer.
    pub(super) async fn refusal(&self) -> Option<Error> {
        let mut explained = self.explained.try_lock().ok()?;
        if explained.is_some_and(|at| at.elapsed() < RECHECK) {
            return None;
        }
        let (name, options) = self.chosen()?;
        let refusal = probe::ask(options).await.err().map(|error| located(name, error));
        *explained = Some(Instant::now());
        refusal
    }

    async fn choose(&self, ever: bool) -> Result<usize, Error> {
        let current = self.chosen.load(Ordering::Acquire);
        let mut refusals = Vec::new();
        for place in 0..self.all.len() {
            let index = (current + place) % self.all.len();
            let Some((name, options)) = self.all.get(index) else { continue };
            match probe::ask(options).await {
                Ok(facts) => {
                    if self.all.len() == 1 || facts.in_recovery == (self.wanted == Wanted::Standby) {
                        facts.check(name, self.search_path_is_given)?;
                        return Ok(index);
                    }
                    let is = if facts.in_recovery { "is a standby" } else { "is a primary" };
                    refusals.push(format!("{name} {is}"));
                }
                // No more connections: those that are open still work.
                Err(sqlx::Error::Database(error))
                    if ever && index == current && error.code().is_some_and(|code| code == "53300") =>
                {
                    return Ok(index);
                }
                Err(error) if self.all.len() == 1 => return Err(located(name, error)),
                Err(error) => {
                    let text = format!("{name}: {error}");
                    DB_ERRORS.increment((class(&error),));
                    refusals.push(text);
                }
            }
        }
        let wanted = match self.wanted {
            Wanted::Primary => "accepts writes",
            Wanted::Standby => "is a standby",
        };
        let text = format!("none of the servers {wanted} ({})", refusals.join("; "));
        Err(sqlx::Error::Io(std::io::Error::new(std::io::ErrorKind::NotConnected, text)).into())
    }
}

/// The error of a connection attempt, with the name of the server.
pub(super) fn located(server: &str, error: sqlx::Error) -> Error {
    let located = |cause| Located { server: server.to_owned(), cause };
    match error {
        sqlx::Error::Io(error) => sqlx::Error::Io(std::io::Error::new(error.kind(), located(error.to_string()))).into(),
        sqlx::Error::Tls(error) => sqlx::Error::Tls(located(error.to_string()).into()).into(),
        other => other.into(),
    }
}
