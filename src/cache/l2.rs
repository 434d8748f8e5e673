//! The Redis tier, one node or a cluster. It never fails a request: whatever goes wrong is a miss, soon.

use std::collections::HashSet;
use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, Weak};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::future::select_ok;
use futures_util::{FutureExt as _, TryFutureExt as _};
use redis::{Cmd, ErrorKind, FromRedisValue, InfoDict, RedisError};
use tracing::Instrument as _;
use tracing::field::Empty;

use super::breaker::Breaker;
use super::connection::{CONNECT, Connection};
use super::ttl::milliseconds;
use super::value::{self, Cached, Stamp};
use super::writes::{Writes, failure};
use super::{Redis, info};
use crate::telemetry::catalogue::cache::{CACHE_REDIS_DURATION, CACHE_REDIS_UP};
use crate::telemetry::catalogue::labels::RedisFailure;
use crate::telemetry::catalogue::redis_server::REDIS_INFO_UP;
use crate::telemetry::spans;

/// How often deletions that failed are tried again, and a Redis that is away is asked whether it is back.
const TEND: Duration = Duration::from_millis(250);
/// How often a Redis that nobody asks is asked whether it is still there.
const ASK: Duration = Duration::from_secs(1);
/// Every command that this tier uses.
pub(super) const COMMANDS: [&str; 5] = ["SET", "GET", "DEL", "INFO", "PING"];

pub(super) struct L2 {
    redis: Redis,
    /// Replaced when it does not answer and a new one does.
    connection: RwLock<Connection>,
    breaker: Breaker,
    writes: Writes,
    /// Whether the last INFO was refused.
    info_refused: AtomicBool,
    /// Keys whose deletion failed: they are not read until it succeeds, for what Redis holds of them is old.
    doomed: Mutex<HashSet<String>>,
}

impl std::fmt::Debug for L2 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("L2").field("breaker", &self.breaker).finish_non_exhaustive()
    }
}

impl L2 {
    pub(super) fn new(redis: &Redis) -> Result<Arc<Self>, RedisError> {
        let l2 = Arc::new(Self {
            redis: redis.clone(),
            connection: RwLock::new(Connection::new(redis)?),
            breaker: Breaker::new(),
            writes: Writes::default(),
            info_refused: AtomicBool::new(false),
            doomed: Mutex::default(),
        });
        tokio::spawn(tend(Arc::downgrade(&l2)));
        Ok(l2)
    }

    /// `Err`: Redis could not be asked. Bytes that are not of our form are a miss.
    pub(super) async fn fetch_remote(&self, key: &str) -> Result<Option<(Cached, Stamp)>, ()> {
        if self.is_doomed(key) {
            return Ok(None);
        }
        let found: Option<Bytes> = self.guarded("GET", self.redis.timeout, |get| get.arg(key)).await.map_err(drop)?;
        Ok(found.and_then(value::decode))
    }

    /// Keeps a copy of what can be loaded again.
    pub(super) async fn put(&self, key: &str, cached: &Cached, stamp: Stamp, life: Duration) {
        let _ = self.set(key, cached, stamp, life, self.redis.timeout).await;
    }

    /// Stores the only copy of a value, for a caller that is told whether it was stored.
    pub(super) async fn store(
        &self,
        key: &str,
        cached: &Cached,
        stamp: Stamp,
        life: Duration,
    ) -> Result<(), RedisFailure> {
        self.set(key, cached, stamp, life, self.redis.answer_timeout()).await
    }

    async fn set(
        &self,
        key: &str,
        cached: &Cached,
        stamp: Stamp,
        life: Duration,
        patience: Duration,
    ) -> Result<(), RedisFailure> {
        if self.is_doomed(key) {
            return Err(RedisFailure::Unavailable);
        }
        let life = milliseconds(life).max(1);
        let bytes = value::encode(cached, stamp);
        self.write("SET", key, patience, |set| set.arg(key).arg(&bytes[..]).arg("PX").arg(life)).await
    }

    /// Deletes a key, now or as soon as Redis can be reached and accepts it.
    pub(super) async fn delete(&self, key: &str) -> Result<(), RedisFailure> {
        let deleted = self.write("DEL", key, self.redis.answer_timeout(), |del| del.arg(key)).await;
        let mut doomed = self.doomed.lock().unwrap_or_else(PoisonError::into_inner);
        if deleted.is_ok() {
            doomed.remove(key);
        } else {
            doomed.insert(key.to_owned());
        }
        deleted
    }

    async fn write(
        &self,
        name: &'static str,
        key: &str,
        patience: Duration,
        arguments: impl FnOnce(&mut Cmd) -> &mut Cmd,
    ) -> Result<(), RedisFailure> {
        let written = self.guarded(name, patience, arguments).await;
        if let Err(reason) = written {
            self.writes.failed(name, key, reason);
        }
        written
    }

    /// Asks with more patience than a request has; one failure is enough. A connection of the library does not recover from a
    /// failed login, so a new one is tried at the same time, and takes the place of the other when it answers first.
    pub(super) async fn probe(&self) -> Result<(), RedisError> {
        let (mut known, mut new) = (self.connection(), Connection::new(&self.redis)?);
        let by_known = ping(&mut known, 2 * CONNECT).map_ok(|()| false).boxed();
        let by_new = ping(&mut new, 2 * CONNECT).map_ok(|()| true).boxed();
        let answer = select_ok([by_known, by_new]).await.map(|(is_new, _)| is_new);
        match answer {
            Ok(is_new) => {
                if is_new {
                    *self.connection.write().unwrap_or_else(PoisonError::into_inner) = new;
                }
                self.breaker.succeeded();
                Ok(())
            }
            Err(error) => {
                self.breaker.failed(true, &error);
                Err(error)
            }
        }
    }

    /// Asks with the patience of the library; one failure is none yet.
    async fn ask(&self) {
        match ping(&mut self.connection(), self.redis.answer_timeout()).await {
            Ok(()) => self.breaker.succeeded(),
            Err(error) => self.breaker.failed(false, &error),
        }
    }

    fn connection(&self) -> Connection {
        self.connection.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Why the last writes were refused.
    pub(super) fn refuses_writes(&self) -> Option<RedisFailure> {
        self.writes.refused()
    }

    /// Tries whether a write like the one that was refused is accepted again.
    async fn try_refused_write(&self) {
        let Some((name, key)) = self.writes.sample() else { return };
        let mut command = redis::cmd(name);
        command.arg(&key);
        if name == "SET" {
            command.arg("").arg("PX").arg(1000);
        }
        if within(self.redis.answer_timeout(), self.connection().run::<redis::Value>(&command)).await.is_ok() {
            self.writes.accepted();
        }
    }

    /// The commands that Redis refuses, tried on a key of this probe.
    pub(super) async fn refused_commands(&self) -> Vec<(&'static str, RedisError)> {
        let key = format!("dgm:{{doctor}}:{:016x}", rand::random::<u64>());
        let mut refused = Vec::new();
        for name in COMMANDS {
            let mut command = redis::cmd(name);
            match name {
                "SET" => _ = command.arg(&key).arg("").arg("PX").arg(10_000),
                "GET" | "DEL" => _ = command.arg(&key),
                _ => {}
            }
            if let Err(error) = within(2 * CONNECT, self.connection().run::<redis::Value>(&command)).await {
                refused.push((name, error));
            }
        }
        refused
    }

    /// The INFO of each node; `None` when it is refused, or Redis does not answer.
    pub(super) async fn info(&self) -> Option<Vec<InfoDict>> {
        let mut connection = self.connection();
        let answer = within(CONNECT, async { connection.run(&redis::cmd("INFO")).await }).await.and_then(info::nodes);
        REDIS_INFO_UP.set((), if answer.is_ok() { 1.0 } else { 0.0 });
        match answer {
            Ok(nodes) => {
                if self.info_refused.swap(false, Ordering::Relaxed) {
                    tracing::info!("Redis answers INFO again");
                }
                Some(nodes)
            }
            // One that does not answer is reported by the breaker.
            Err(error) if failure(&error) == RedisFailure::Unavailable => None,
            Err(error) => {
                if !self.info_refused.swap(true, Ordering::Relaxed) {
                    tracing::warn!(%error, "Redis refuses INFO: its memory, evictions and clients are not measured; allow it with ACL SETUSER <user> +info");
                }
                None
            }
        }
    }

    pub(super) fn is_up(&self) -> bool {
        self.breaker.is_up()
    }

    fn is_doomed(&self, key: &str) -> bool {
        self.doomed.lock().unwrap_or_else(PoisonError::into_inner).contains(key)
    }

    /// Runs a command under the deadline and the breaker.
    async fn guarded<T: FromRedisValue>(
        &self,
        name: &'static str,
        patience: Duration,
        arguments: impl FnOnce(&mut Cmd) -> &mut Cmd,
    ) -> Result<T, RedisFailure> {
        if !self.breaker.admits() {
            return Err(RedisFailure::Unavailable);
        }
        let mut command = redis::cmd(name);
        arguments(&mut command);
        let span = spans::child!(
            "redis",
            otel.name = name,
            otel.kind = "client",
            otel.status_code = Empty,
            otel.status_description = Empty,
            db.system.name = "redis",
            db.operation.name = name,
            error.type = Empty,
        );
        let mut connection = self.connection();
        let started = Instant::now();
        let answer = within(patience, connection.run(&command)).instrument(span.clone()).await;
        CACHE_REDIS_DURATION.observe((), started.elapsed());
        match answer {
            Ok(answer) => {
                self.breaker.succeeded();
                Ok(answer)
            }
            Err(error) => {
                tracing::debug!(%error, "Redis failed");
                spans::failed(&span, &format!("{:?}", error.kind()), &error);
                let reason = failure(&error);
                if reason == RedisFailure::Unavailable {
                    self.breaker.failed(false, &error);
                } else {
                    self.breaker.succeeded();
                }
                Err(reason)
            }
        }
    }
}

async fn within<T>(longest: Duration, call: impl Future<Output = Result<T, RedisError>>) -> Result<T, RedisError> {
    let late = || RedisError::from((ErrorKind::Io, "no answer in time"));
    tokio::time::timeout(longest, call).await.unwrap_or_else(|_| Err(late()))
}

/// A refusal is an answer, too.
async fn ping(connection: &mut Connection, longest: Duration) -> Result<(), RedisError> {
    match within(longest, connection.run::<redis::Value>(&redis::cmd("PING"))).await {
        Err(error) if failure(&error) == RedisFailure::Unavailable => Err(error),
        _ => Ok(()),
    }
}

/// Finds out how Redis is before anybody asks and while nobody does, and makes good the deletions that it did not take; ends
/// with the tier.
async fn tend(l2: Weak<L2>) {
    let mut told = false;
    let mut asked = Instant::now();
    loop {
        let Some(l2) = l2.upgrade() else { return };
        if !told || !l2.is_up() {
            // Whoever asked for it is told; here the breaker has heard it.
            let _ = l2.probe().await;
            CACHE_REDIS_UP.set((), if l2.is_up() { 1.0 } else { 0.0 });
            l2.writes.report();
            told = true;
        } else if l2.breaker.is_doubted() || asked.elapsed() >= ASK {
            l2.ask().await;
            asked = Instant::now();
        }
        if l2.is_up() {
            l2.try_refused_write().await;
        }
        let keys: Vec<String> =
            l2.doomed.lock().unwrap_or_else(PoisonError::into_inner).iter().take(1000).cloned().collect();
        for key in keys {
            if l2.delete(&key).await.is_err() {
                break;
            }
        }
        drop(l2);
        tokio::time::sleep(TEND).await;
    }
}
