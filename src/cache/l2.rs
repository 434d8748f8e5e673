//! The Redis tier, one node or a cluster. It never fails a request: whatever goes wrong is a miss, soon.

use std::collections::HashSet;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use bytes::Bytes;
use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::cluster::{ClusterClient, ClusterConfig};
use redis::cluster_async::ClusterConnection;
use redis::io::tcp::TcpSettings;
use redis::{Client, Cmd, ErrorKind, FromRedisValue, InfoDict, IntoConnectionInfo as _, RedisError, TlsCertificates};

use tracing::Instrument as _;
use tracing::field::Empty;

use super::breaker::Breaker;
use super::ttl::milliseconds;
use super::value::{self, Cached, Stamp};
use super::{Redis, info};
use crate::telemetry::catalogue::cache::{CACHE_REDIS_DURATION, CACHE_REDIS_UP};
use crate::telemetry::spans;

/// Longest wait for one answer on the path of a request.
const PATIENCE: Duration = Duration::from_millis(20);
/// How often deletions that failed are tried again, and a Redis that is away is asked whether it is back.
const TEND: Duration = Duration::from_millis(250);
/// How often a Redis that nobody asks is asked whether it is still there.
const ASK: Duration = Duration::from_secs(1);
/// Longest wait for a connection.
const CONNECT: Duration = Duration::from_secs(1);
/// Longest wait of the library for an answer; ours is shorter, and this one frees what waits for a dead peer.
const ANSWER: Duration = Duration::from_millis(250);
/// What stands before the addresses of a cluster's nodes, which commas part, and what before the address of one of them; with
/// an `s` by TLS.
const CLUSTERS: [(&str, &str); 2] = [("redis+cluster://", "redis://"), ("rediss+cluster://", "rediss://")];

/// Every command that this tier uses.
pub(super) const COMMANDS: [&str; 5] = ["SET", "GET", "DEL", "INFO", "PING"];

/// Both are cheap to clone, share their connections, pipeline, and reconnect by themselves.
#[derive(Clone)]
enum Connection {
    Node(ConnectionManager),
    Cluster(ClusterConnection),
}

impl Connection {
    fn new(Redis { url, authorities }: &Redis) -> Result<Self, RedisError> {
        // Off by default there; without it a small answer waits for the acknowledgement of the one before.
        let tcp = TcpSettings::default().set_nodelay(true);
        crate::tls::use_ring();
        let certificates = authorities.clone().map(|pem| TlsCertificates { client_tls: None, root_cert: Some(pem) });
        let nodes = CLUSTERS.iter().find_map(|(prefix, scheme)| Some((scheme, url.strip_prefix(prefix)?)));
        if let Some((scheme, nodes)) = nodes {
            // Credentials stand once, before the first node.
            let (credentials, nodes) =
                nodes.rsplit_once('@').map_or((String::new(), nodes), |(c, n)| (format!("{c}@"), n));
            let nodes = nodes.split(',').filter(|node| !node.is_empty());
            let nodes = nodes.map(|node| format!("{scheme}{credentials}{node}"));
            let mut client = ClusterClient::builder(nodes).tcp_settings(tcp).retries(1);
            if let Some(certificates) = certificates {
                client = client.certs(certificates);
            }
            let config = ClusterConfig::new().set_connection_timeout(CONNECT).set_response_timeout(ANSWER);
            return Ok(Self::Cluster(client.build()?.get_pending_async_connection_with_config(config)));
        }
        let info = url.as_str().into_connection_info()?.set_tcp_settings(tcp);
        let client = match certificates {
            Some(certificates) => Client::build_with_tls(info, certificates)?,
            None => Client::open(info)?,
        };
        let config = ConnectionManagerConfig::new()
            .set_number_of_retries(1)
            .set_max_delay(Duration::from_millis(500))
            .set_connection_timeout(Some(CONNECT))
            .set_response_timeout(Some(ANSWER));
        ConnectionManager::new_lazy_with_config(client, config).map(Self::Node)
    }

    async fn run<T: FromRedisValue>(&mut self, command: &Cmd) -> Result<T, RedisError> {
        match self {
            Self::Node(node) => command.query_async(node).await,
            Self::Cluster(cluster) => command.query_async(cluster).await,
        }
    }
}

pub(super) struct L2 {
    connection: Connection,
    breaker: Breaker,
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
        let connection = Connection::new(redis)?;
        let l2 = Arc::new(Self { connection, breaker: Breaker::new(), doomed: Mutex::default() });
        tokio::spawn(tend(Arc::downgrade(&l2)));
        Ok(l2)
    }

    /// `Err`: Redis could not be asked. Bytes that are not of our form are a miss.
    pub(super) async fn fetch_remote(&self, key: &str) -> Result<Option<(Cached, Stamp)>, ()> {
        if self.is_doomed(key) {
            return Ok(None);
        }
        let found: Option<Bytes> = self.guarded("GET", |get| get.arg(key)).await?;
        Ok(found.and_then(value::decode))
    }

    pub(super) async fn put(&self, key: &str, cached: &Cached, stamp: Stamp, life: Duration) {
        if self.is_doomed(key) {
            return;
        }
        let life = milliseconds(life).max(1);
        let bytes = value::encode(cached, stamp);
        let _: Result<(), ()> = self.guarded("SET", |set| set.arg(key).arg(&bytes[..]).arg("PX").arg(life)).await;
    }

    /// Deletes a key, now or as soon as Redis can be reached.
    pub(super) async fn delete(&self, key: &str) {
        let deleted: Result<(), ()> = self.guarded("DEL", |del| del.arg(key)).await;
        let mut doomed = self.doomed.lock().unwrap_or_else(PoisonError::into_inner);
        if deleted.is_ok() {
            doomed.remove(key);
        } else {
            doomed.insert(key.to_owned());
        }
    }

    /// Asks with more patience than a request has; one failure is enough.
    pub(super) async fn probe(&self) -> Result<(), RedisError> {
        let mut connection = self.connection.clone();
        let answer = within(2 * CONNECT, async { connection.run::<String>(&redis::cmd("PING")).await }).await;
        match &answer {
            Ok(_) => self.breaker.succeeded(),
            Err(error) => self.breaker.failed(true, error),
        }
        answer.map(drop)
    }

    /// Asks with the patience of the library; one failure is none yet.
    async fn ask(&self) {
        let mut connection = self.connection.clone();
        match within(ANSWER, async { connection.run::<String>(&redis::cmd("PING")).await }).await {
            Ok(_) => self.breaker.succeeded(),
            Err(error) => self.breaker.failed(false, &error),
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
            let mut connection = self.connection.clone();
            if let Err(error) = within(2 * CONNECT, connection.run::<redis::Value>(&command)).await {
                refused.push((name, error));
            }
        }
        refused
    }

    /// What each node tells of itself.
    pub(super) async fn info(&self) -> Result<Vec<InfoDict>, RedisError> {
        let mut connection = self.connection.clone();
        info::nodes(within(CONNECT, async { connection.run(&redis::cmd("INFO")).await }).await?)
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
        arguments: impl FnOnce(&mut Cmd) -> &mut Cmd,
    ) -> Result<T, ()> {
        if !self.breaker.admits() {
            return Err(());
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
        let mut connection = self.connection.clone();
        let started = Instant::now();
        let answer = within(PATIENCE, connection.run(&command)).instrument(span.clone()).await;
        CACHE_REDIS_DURATION.observe((), started.elapsed());
        match answer {
            Ok(answer) => {
                self.breaker.succeeded();
                Ok(answer)
            }
            Err(error) => {
                tracing::debug!(%error, "Redis failed");
                spans::failed(&span, &format!("{:?}", error.kind()), &error);
                self.breaker.failed(false, &error);
                Err(())
            }
        }
    }
}

async fn within<T>(longest: Duration, call: impl Future<Output = Result<T, RedisError>>) -> Result<T, RedisError> {
    let late = || RedisError::from((ErrorKind::Io, "no answer in time"));
    tokio::time::timeout(longest, call).await.unwrap_or_else(|_| Err(late()))
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
            told = true;
        } else if l2.breaker.is_doubted() || asked.elapsed() >= ASK {
            l2.ask().await;
            asked = Instant::now();
        }
        let keys: Vec<String> =
            l2.doomed.lock().unwrap_or_else(PoisonError::into_inner).iter().take(1000).cloned().collect();
        for key in keys {
            l2.delete(&key).await;
            if !l2.is_up() {
                break;
            }
        }
        drop(l2);
        tokio::time::sleep(TEND).await;
    }
}
