//! The Redis tier. It never fails a request: whatever goes wrong is a miss, soon.

use std::collections::HashSet;
use std::future::Future;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::io::tcp::TcpSettings;
use redis::{Client, IntoConnectionInfo as _, RedisError, Script};

use super::value::Cached;
use crate::telemetry::catalogue::cache::CACHE_REDIS_UP;

/// Longest wait for one answer on the path of a request.
const PATIENCE: Duration = Duration::from_millis(20);
/// So many failures in a row open the breaker.
const FAILURES: u32 = 5;
/// How long an open breaker keeps requests away.
const PAUSE: Duration = Duration::from_secs(1);
/// How often deletions that failed are tried again.
const RETRY: Duration = Duration::from_millis(250);

/// Sets a value unless a newer version is there. The version stands in bytes 2 to 9, big endian: for versions, which are
/// never negative, comparing the bytes compares the numbers.
const FILL: &str = r"
local old = redis.call('GETRANGE', KEYS[1], 0, 8)
if #old == 9 and string.sub(old, 2, 9) > string.sub(ARGV[1], 2, 9) then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1";

#[derive(Debug)]
pub(super) struct L2 {
    connection: ConnectionManager,
    fill: Script,
    started: Instant,
    failures: AtomicU32,
    /// Milliseconds since `started` until which Redis is left alone.
    closed_until: AtomicU64,
    /// Keys whose deletion failed: they are not read until it succeeds, for what Redis holds of them is old.
    doomed: Mutex<HashSet<String>>,
}

impl L2 {
    pub(super) fn new(url: &str) -> Result<Arc<Self>, RedisError> {
        let info = url.into_connection_info()?;
        // Off by default there; without it a small answer waits for the acknowledgement of the one before.
        let info = info.set_tcp_settings(TcpSettings::default().set_nodelay(true));
        let config = ConnectionManagerConfig::new()
            .set_number_of_retries(1)
            .set_max_delay(Duration::from_millis(500))
            .set_connection_timeout(Some(Duration::from_secs(1)))
            .set_response_timeout(Some(Duration::from_millis(250)));
        let connection = ConnectionManager::new_lazy_with_config(Client::open(info)?, config)?;
        let l2 = Arc::new(Self {
            connection,
            fill: Script::new(FILL),
            started: Instant::now(),
            failures: AtomicU32::new(0),
            closed_until: AtomicU64::new(0),
            doomed: Mutex::default(),
        });
        tokio::spawn(retry_deletions(Arc::downgrade(&l2)));
        Ok(l2)
    }

    /// `Err`: Redis could not be asked.
    pub(super) async fn get(&self, key: &str) -> Result<Option<Cached>, ()> {
        if self.is_doomed(key) {
            return Ok(None);
        }
        let mut connection = self.connection.clone();
        let found: Option<Bytes> =
            self.guarded(async move { redis::cmd("GET").arg(key).query_async(&mut connection).await }).await?;
        Ok(found.and_then(Cached::decode))
    }

    pub(super) async fn put(&self, key: &str, cached: &Cached, ttl: Duration) {
        if self.is_doomed(key) {
            return;
        }
        let mut connection = self.connection.clone();
        let mut call = self.fill.key(key);
        call.arg(&cached.encode()[..]).arg(u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX).max(1));
        let _: Result<i64, ()> = self.guarded(async move { call.invoke_async(&mut connection).await }).await;
    }

    pub(super) async fn delete(&self, keys: &[String]) {
        // One command for each: keys of several slots must not stand in one call of a cluster.
        let mut pipeline = redis::pipe();
        for key in keys {
            pipeline.del(key).ignore();
        }
        let mut connection = self.connection.clone();
        let deleted: Result<(), ()> = self.guarded(async move { pipeline.query_async(&mut connection).await }).await;
        if let Ok(mut doomed) = self.doomed.lock() {
            for key in keys {
                if deleted.is_ok() {
                    doomed.remove(key)
                } else {
                    doomed.insert(key.clone())
                };
            }
        }
    }

    pub(super) async fn probe(&self) {
        let mut connection = self.connection.clone();
        let ping = async move { redis::cmd("PING").query_async::<String>(&mut connection).await };
        let answered = tokio::time::timeout(Duration::from_secs(2), ping).await;
        self.note(matches!(answered, Ok(Ok(_))), true);
    }

    pub(super) fn is_up(&self) -> bool {
        self.failures.load(Ordering::Relaxed) < FAILURES
    }

    fn is_doomed(&self, key: &str) -> bool {
        self.doomed.lock().is_ok_and(|doomed| doomed.contains(key))
    }

    /// Runs a command under the deadline and the breaker. When the pause is over one caller after another tries again;
    /// the first success closes the breaker.
    async fn guarded<T>(&self, call: impl Future<Output = Result<T, RedisError>>) -> Result<T, ()> {
        if self.elapsed() < self.closed_until.load(Ordering::Relaxed) {
            return Err(());
        }
        match tokio::time::timeout(PATIENCE, call).await {
            Ok(Ok(answer)) => {
                self.note(true, false);
                Ok(answer)
            }
            Ok(Err(error)) => {
                tracing::debug!(%error, "Redis failed");
                self.note(false, false);
                Err(())
            }
            Err(_) => {
                self.note(false, false);
                Err(())
            }
        }
    }

    fn note(&self, success: bool, certain: bool) {
        if success {
            if self.failures.swap(0, Ordering::Relaxed) >= FAILURES {
                tracing::info!("Redis answers again");
            }
            self.closed_until.store(0, Ordering::Relaxed);
        } else {
            let failures = if certain { FAILURES } else { 1 };
            let before = self.failures.fetch_add(failures, Ordering::Relaxed);
            if before + failures >= FAILURES {
                let pause = u64::try_from(PAUSE.as_millis()).unwrap_or(u64::MAX);
                self.closed_until.store(self.elapsed() + pause, Ordering::Relaxed);
                if before < FAILURES {
                    tracing::warn!("Redis does not answer; going on without it");
                }
            }
        }
        CACHE_REDIS_UP.set((), if self.is_up() { 1.0 } else { 0.0 });
    }

    fn elapsed(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

/// Makes good the deletions that Redis did not take; ends with the tier.
async fn retry_deletions(l2: std::sync::Weak<L2>) {
    loop {
        tokio::time::sleep(RETRY).await;
        let Some(l2) = l2.upgrade() else { return };
        let keys: Vec<String> =
            l2.doomed.lock().map(|doomed| doomed.iter().take(1000).cloned().collect()).unwrap_or_default();
        if !keys.is_empty() {
            l2.delete(&keys).await;
        }
    }
}
