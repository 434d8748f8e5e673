//! PostgreSQL, Redis and the servers that are measured, all private and all gone with the driver.

use std::env;
use std::fs::{self, Permissions};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use dgm_service::postgres::Server;
use serde_json::Value;
use tempfile::TempDir;

use crate::bare::Answer;
use crate::client::Caller;
use crate::cpu::Meter;
use crate::process::{Process, command, output};
use crate::requests::Request;

/// PostgreSQL's own defaults where it comes to durability, said aloud; the sizes are those of a small server.
const POSTGRES: [(&str, &str); 5] = [
    ("fsync", "on"),
    ("synchronous_commit", "on"),
    ("full_page_writes", "on"),
    ("shared_buffers", "512MB"),
    ("max_wal_size", "4GB"),
];

/// Which server is measured, and what it has to go without.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Setup {
    /// No service: the bare handler.
    Bare,
    /// `dgm serve` with its defaults and Redis.
    Whole,
    /// The same, asking nobody for a token.
    Open,
    /// An in-process cache in which nothing has room.
    WithoutL1,
    /// The same without Redis.
    WithoutCaches,
}

/// The order of measurement: what writes comes late, for it fills the tables that the others read.
pub(crate) const ORDER: [Setup; 5] = [Setup::Bare, Setup::WithoutL1, Setup::WithoutCaches, Setup::Whole, Setup::Open];

impl Setup {
    /// Whether the service asks for a token; `None` where there is none to ask.
    pub(crate) const fn authenticates(self) -> Option<bool> {
        match self {
            Self::Bare => None,
            Self::Open => Some(false),
            Self::Whole | Self::WithoutL1 | Self::WithoutCaches => Some(true),
        }
    }

    const fn environment(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Bare | Self::Whole => &[],
            Self::Open => &[("DGM__AUTH__REQUIRED", "false")],
            Self::WithoutL1 | Self::WithoutCaches => &[("DGM__CACHE__MAX_BYTES", "1")],
        }
    }
}

/// SQL that fills the database before anything is served.
#[derive(Debug)]
pub(crate) struct Fill {
    pub(crate) file: PathBuf,
    pub(crate) scale: u64,
}

/// What stands behind the service. Dropped in this order.
#[derive(Debug)]
pub(crate) struct Stack {
    dgm: PathBuf,
    token: String,
    redis: Process,
    redis_url: String,
    postgres: Server,
    directory: TempDir,
}

/// A server under measurement.
#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) process: Process,
    pub(crate) caller: Caller,
}

impl Stack {
    /// Starts PostgreSQL and Redis, and makes schema, partitions and a token.
    ///
    /// # Errors
    /// When something is missing or does not start.
    pub(crate) async fn start(dgm: PathBuf, under: &Path, fill: Option<&Fill>) -> Result<Self> {
        let dgm = fs::canonicalize(&dgm).with_context(|| format!("--dgm {}", dgm.display()))?;
        fs::create_dir_all(under)?;
        let directory = tempfile::Builder::new().prefix("ceiling-").tempdir_in(under)?;
        // As root the database runs under another account, which must get through.
        fs::set_permissions(directory.path(), Permissions::from_mode(0o755))?;
        let postgres = Server::start(directory.path(), &POSTGRES)?;
        let (redis, redis_url) = start_redis(directory.path()).await?;
        let mut stack = Self { dgm, token: String::new(), redis, redis_url, postgres, directory };
        stack.run(&["migrate", "up"]).await?;
        stack.run(&["partition", "ensure"]).await?;
        if let Some(Fill { file, scale }) = fill {
            let mut psql = stack.psql_command();
            psql.args(["-v", &format!("scale={scale}"), "-f"]).arg(file);
            output(&mut psql).await.context("--fill")?;
        }
        stack.token = stack.run(&["token", "create", "--name", "ceiling", "--role", "worker"]).await?;
        Ok(stack)
    }

    /// Where the files of the run are.
    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    fn dgm(&self) -> tokio::process::Command {
        let mut dgm = command(&self.dgm);
        // Settings of the user's own would be measured instead.
        dgm.env_clear().envs(env::var_os("PATH").map(|path| ("PATH", path))).current_dir(self.directory());
        dgm.env("DATABASE_URL", self.postgres.url("postgres"));
        dgm
    }

    async fn run(&self, arguments: &[&str]) -> Result<String> {
        output(self.dgm().args(arguments)).await.with_context(|| format!("dgm {}", arguments.join(" ")))
    }

    fn psql_command(&self) -> tokio::process::Command {
        let mut psql = command("psql");
        psql.args(["-XAtq", "-v", "ON_ERROR_STOP=1", "-d", &self.postgres.url("postgres")]);
        psql
    }

    /// What psql answers.
    ///
    /// # Errors
    /// When it fails.
    pub(crate) async fn psql(&self, statement: &str) -> Result<String> {
        output(self.psql_command().args(["-c", statement])).await
    }

    /// Does what the database has put off, so that it falls into no row.
    ///
    /// # Errors
    /// When PostgreSQL is gone.
    pub(crate) async fn settle(&self) -> Result<()> {
        self.psql("VACUUM ANALYZE").await?;
        self.psql("CHECKPOINT").await?;
        Ok(())
    }

    /// Starts the server of a setup; `None` when the program does not know a setting that it needs.
    ///
    /// # Errors
    /// When it does not start.
    pub(crate) async fn serve(&self, setup: Setup, answer: Option<&Answer>) -> Result<Option<Target>> {
        let log = self.directory().join("server.log");
        if setup == Setup::Bare {
            let file = self.directory().join("answer.json");
            fs::write(&file, serde_json::to_vec(&answer.context("the bare handler has nothing to say")?)?)?;
            let mut bare = command(env::current_exe()?);
            bare.arg("--bare").arg(file);
            let mut process = Process::start(bare, &log)?;
            let address = process.says(&log, |text| text.strip_suffix('\n').map(str::to_owned)).await?;
            let address = address.context("the bare handler ended")?;
            return Ok(Some(Target { process, caller: Caller::new(format!("http://{address}"), None)? }));
        }
        let mut dgm = self.dgm();
        dgm.arg("serve").env("DGM__HTTP__BIND", "127.0.0.1:0").env("DGM__HTTP__OPS_BIND", "127.0.0.1:0");
        dgm.envs(setup.environment().iter().copied());
        if setup != Setup::WithoutCaches {
            dgm.env("REDIS_URL", &self.redis_url);
        }
        let mut process = Process::start(dgm, &log)?;
        let Some((api, operations)) = process.says(&log, addresses).await? else {
            let text = fs::read_to_string(&log)?;
            if setup == Setup::Open && text.contains("unknown setting") {
                return Ok(None);
            }
            bail!("dgm serve ended: {text}");
        };
        Caller::new(operations, None)?.send(&Request::get("/ready"), 200).await?;
        let token = (setup != Setup::Open).then_some(self.token.as_str());
        Ok(Some(Target { process, caller: Caller::new(api, token)? }))
    }

    /// Reads the time and memory of a target and of what stands behind it.
    ///
    /// # Errors
    /// When PostgreSQL is gone.
    pub(crate) fn meter(&self, target: &Target) -> Result<Meter> {
        let file = fs::read_to_string(self.directory().join("pgdata/postmaster.pid"))?;
        let postgres = file.lines().next().and_then(|line| line.trim().parse().ok()).context("postmaster.pid")?;
        Ok(Meter { service: target.process.pid, postgres, redis: self.redis.pid })
    }
}

/// Both addresses, from the line of the log that tells them.
fn addresses(log: &str) -> Option<(String, String)> {
    let serving = |line: &str| {
        let line: Value = serde_json::from_str(line).ok()?;
        let address = |name: &str| line["fields"][name].as_str().map(|address| format!("http://{address}"));
        Some((address("api")?, address("operations")?))
    };
    log.lines().find_map(serving)
}

async fn start_redis(directory: &Path) -> Result<(Process, String)> {
    // Another process may take the port before Redis does; then Redis ends, and says why.
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
    let log = directory.join("redis.log");
    let mut redis = command("redis-server");
    redis.current_dir(directory).args(["--bind", "127.0.0.1", "--port", &port.to_string()]);
    redis.args(["--save", "", "--appendonly", "no"]);
    let mut process = Process::start(redis, &log).context("Debian: apt-get install redis-server")?;
    let ready = |text: &str| text.contains("Ready to accept connections").then_some(());
    if process.says(&log, ready).await?.is_none() {
        bail!("redis-server ended: {}", fs::read_to_string(&log)?);
    }
    Ok((process, format!("redis://127.0.0.1:{port}")))
}
