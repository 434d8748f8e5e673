//! A private PostgreSQL server that belongs to one process: found on the machine, initialised in a directory, stopped
//! with its owner. `dgm dev` and the tests use it.

use std::io;
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, geteuid, kill_process};

const START_TIMEOUT: Duration = Duration::from_secs(30);
/// Free ports that are tried.
const BIND_ATTEMPTS: u32 = 5;

/// Why no server runs.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No `initdb` beside a `postgres` was found.
    #[error("no PostgreSQL server binaries found; install them (Debian: apt-get install postgresql-15)")]
    NoBinaries,
    /// Reading, writing or starting something failed.
    #[error("{what}: {source}")]
    Io {
        /// What was being done.
        what: String,
        /// The operating system's answer.
        source: io::Error,
    },
    /// Another process runs the server of this directory.
    #[error("{0} is in use by another dgm process; stop it first, or choose another --data-dir")]
    InUse(PathBuf),
    /// A tool or the server stopped with an error; its own words follow.
    #[error("{what} failed: {output}")]
    Failed {
        /// Which one.
        what: &'static str,
        /// What it wrote.
        output: String,
    },
}

fn io_error(what: impl Into<String>) -> impl FnOnce(io::Error) -> Error {
    let what = what.into();
    move |source| Error::Io { what, source }
}

/// A running server; dropping it stops it (fast shutdown: clients are disconnected, data is kept).
#[derive(Debug)]
pub struct Server {
    child: Child,
    port: u16,
    /// Held for the server's life; the kernel frees it however the process ends.
    _lock: std::fs::File,
}

/// The URL of the server that runs on a data directory now, started by whatever process.
#[must_use]
pub fn running(directory: &Path) -> Option<String> {
    // The fourth line is the port, the eighth the server's word for its state (PostgreSQL, pidfile.h).
    let file = std::fs::read_to_string(directory.join("pgdata").join("postmaster.pid")).ok()?;
    let lines: Vec<&str> = file.lines().map(str::trim).collect();
    let port: u16 = lines.get(3)?.parse().ok()?;
    (*lines.get(7)? == "ready").then(|| url(port, "postgres"))
}

fn url(port: u16, database: &str) -> String {
    format!("postgres://dgm@127.0.0.1:{port}/{database}")
}

impl Server {
    /// Starts a server on a free loopback port with its data in `directory`, initialising it when it is new.
    ///
    /// # Errors
    /// [`Error::InUse`] when another process owns the directory, [`Error::NoBinaries`] without a PostgreSQL on the machine, [`Error::Failed`] with the log's text when the server
    /// does not come up within 30 s.
    pub fn start(directory: &Path, settings: &[(&str, &str)]) -> Result<Self, Error> {
        let binaries = find_binaries().ok_or(Error::NoBinaries)?;
        let data = directory.join("pgdata");
        std::fs::create_dir_all(directory).map_err(io_error(format!("creating {}", directory.display())))?;
        let lock = std::fs::File::create(directory.join("lock")).map_err(io_error("creating the lock file"))?;
        if lock.try_lock().is_err() {
            return Err(Error::InUse(directory.to_owned()));
        }
        let owner = unprivileged_owner()?;
        std::fs::create_dir_all(&data).map_err(io_error(format!("creating {}", data.display())))?;
        std::fs::set_permissions(&data, std::fs::Permissions::from_mode(0o700))
            .map_err(io_error("restricting the data directory"))?;
        if let Some((uid, gid)) = owner {
            chown(&data, Some(uid), Some(gid)).map_err(io_error("handing over the data directory"))?;
        }
        if !data.join("PG_VERSION").exists() {
            let output = command(&binaries.join("initdb"), owner)
                .args(["-U", "dgm", "-A", "trust", "-E", "UTF8", "--locale=C", "-N", "-D"])
                .arg(&data)
                .output()
                .map_err(io_error("running initdb"))?;
            if !output.status.success() {
                let output = String::from_utf8_lossy(&output.stderr).into_owned();
                return Err(Error::Failed { what: "initdb", output });
            }
        }
        if data.join("postmaster.pid").exists() {
            // We hold the lock, so this is the server of an owner that was killed, or its mere traces. When nothing
            // runs, pg_ctl says so and fails, and postgres itself clears the traces.
            let _ = command(&binaries.join("pg_ctl"), owner).args(["stop", "-m", "fast", "-D"]).arg(&data).output();
        }
        let log_path = directory.join("postgres.log");
        let mut attempt = 1;
        let (child, port) = loop {
            // Another process may take the port between our look and the server's bind.
            let port = free_port().map_err(io_error("finding a free port"))?;
            let child = spawn(&binaries, owner, &data, port, settings, &log_path)?;
            match wait_until_ready(child, &data, &log_path) {
                Err(Error::Failed { output, .. }) if attempt < BIND_ATTEMPTS && output.contains("could not bind") => {
                    attempt += 1;
                }
                outcome => break (outcome?, port),
            }
        };
        Ok(Self { child, port, _lock: lock })
    }

    /// The URL of one of the server's databases.
    #[must_use]
    pub fn url(&self, database: &str) -> String {
        url(self.port, database)
    }

    /// The port on 127.0.0.1.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }
}

fn spawn(
    binaries: &Path,
    owner: Option<(u32, u32)>,
    data: &Path,
    port: u16,
    settings: &[(&str, &str)],
    log: &Path,
) -> Result<Child, Error> {
    let log = std::fs::File::create(log).map_err(io_error("creating the server's log"))?;
    let mut server = command(&binaries.join("postgres"), owner);
    server.arg("-D").arg(data).args(["-p", &port.to_string()]);
    server.args(["-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories="]);
    for (name, value) in settings {
        server.arg("-c").arg(format!("{name}={value}"));
    }
    server
        // Its own group: Ctrl-C at the terminal reaches the owner, which then stops the server in order.
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .map_err(io_error("starting postgres"))
}

fn wait_until_ready(mut child: Child, data: &Path, log: &Path) -> Result<Child, Error> {
    let started = Instant::now();
    loop {
        let exited = child.try_wait().map_err(io_error("watching postgres"))?.is_some();
        // The eighth line of postmaster.pid is the server's own word for its state; the first is its pid, which tells our
        // server's file from one that a crash left behind.
        let file = std::fs::read_to_string(data.join("postmaster.pid")).unwrap_or_default();
        let line = |number: usize| file.lines().nth(number).map(str::trim);
        if !exited && line(0) == Some(child.id().to_string().as_str()) && line(7) == Some("ready") {
            return Ok(child);
        }
        if exited || started.elapsed() > START_TIMEOUT {
            stop(&mut child);
            let output = std::fs::read_to_string(log).unwrap_or_default();
            return Err(Error::Failed { what: "postgres", output });
        }
        std::thread::sleep(Duration::from_millis(25));
    }
}

/// SIGINT is PostgreSQL's fast shutdown.
fn stop(child: &mut Child) {
    if child.try_wait().is_ok_and(|exited| exited.is_some()) {
        return;
    }
    if kill_process(Pid::from_child(child), Signal::INT).is_err() {
        let _ = child.kill();
    }
    let _ = child.wait();
}

impl Drop for Server {
    fn drop(&mut self) {
        stop(&mut self.child);
    }
}

/// Where the server's binaries are: the newest of Debian's version folders, else those on the PATH.
fn find_binaries() -> Option<PathBuf> {
    let mut versions: Vec<(u32, PathBuf)> = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .filter_map(|entry| {
            let entry = entry.ok()?;
            Some((entry.file_name().to_str()?.parse().ok()?, entry.path().join("bin")))
        })
        .collect();
    versions.sort();
    let on_path = std::env::var_os("PATH").map(|path| std::env::split_paths(&path).collect::<Vec<_>>());
    versions
        .into_iter()
        .rev()
        .map(|(_, path)| path)
        .chain(on_path.into_iter().flatten())
        .find(|path| path.join("initdb").exists() && path.join("postgres").exists())
}

/// Whether the server has a library that can be preloaded: where `pg_config` beside it says, or where it lies by custom.
#[must_use]
pub fn has_library(name: &str) -> bool {
    let Some(binaries) = find_binaries() else { return false };
    let told = Command::new(binaries.join("pg_config")).arg("--pkglibdir").output().ok();
    let told = told.and_then(|output| Some(PathBuf::from(String::from_utf8(output.stdout).ok()?.trim_end())));
    let custom = ["../lib", "../lib/postgresql", "../lib64/pgsql"].map(|folder| binaries.join(folder));
    let folders = told.into_iter().chain(custom);
    folders.into_iter().any(|folder| ["so", "dylib"].iter().any(|kind| folder.join(format!("{name}.{kind}")).is_file()))
}

/// PostgreSQL refuses to run as root: then the account `postgres`, else `nobody`, runs it.
fn unprivileged_owner() -> Result<Option<(u32, u32)>, Error> {
    if !geteuid().is_root() {
        return Ok(None);
    }
    let accounts = std::fs::read_to_string("/etc/passwd").map_err(io_error("reading /etc/passwd"))?;
    let find = |name: &str| {
        let line = accounts.lines().find(|line| line.split(':').next() == Some(name))?;
        let mut fields = line.split(':').skip(2);
        Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
    };
    Ok(find("postgres").or_else(|| find("nobody")))
}

fn command(program: &Path, owner: Option<(u32, u32)>) -> Command {
    let mut command = Command::new(program);
    if let Some((uid, gid)) = owner {
        command.uid(uid).gid(gid);
    }
    command.env_remove("PGDATA").env_remove("PGPORT");
    command
}

fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}
