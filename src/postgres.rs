//! A private PostgreSQL server that belongs to one process: found on the machine, initialised in a directory, stopped
//! with its owner. `dgm dev` and the tests use it.
//!
//! Clients connect through a socket in the data directory, which only the account of the server and root can enter (mode 0700):
//! the file system is the authentication. TCP needs a password, and no role has one unless it is given one.

use std::ffi::OsStr;
use std::io;
use std::net::TcpListener;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};
use rustix::process::{Pid, Signal, geteuid, kill_process};

const START_TIMEOUT: Duration = Duration::from_secs(30);
/// Free ports that are tried.
const BIND_ATTEMPTS: u32 = 5;
/// Longest path of a socket (unix(7)), without the terminating zero.
const MAX_SOCKET_PATH: usize = 107;
/// Written at every start, which also replaces the rules of directories that older versions made.
const ACCESS_RULES: &str = "# Written by dgm at every start.
local all         all     trust
local replication all     trust
host  all         all all scram-sha-256
host  replication all all scram-sha-256
";
/// What is not an unreserved character of a URL (RFC 3986).
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// Gives a program the directory that is its standard input as descriptor 9.
const WITH_DIRECTORY: &str = "exec 9<&0 0</dev/null; exec \"$@\"";
/// The same directory by its descriptor, which needs no right to enter the directories above it (proc(5)).
const DIRECTORY: &str = "/proc/self/fd/9";

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
    sockets: Sockets,
    /// Held for the server's life; the kernel frees it however the process ends.
    _lock: std::fs::File,
}

/// The URL of the server that runs on a data directory now, started by whatever process.
#[must_use]
pub fn running(directory: &Path) -> Option<String> {
    // The fourth line is the port, the fifth the folder of the socket, the eighth the state (PostgreSQL, pidfile.h).
    let data = directory.join("pgdata");
    let file = std::fs::read_to_string(data.join("postmaster.pid")).ok()?;
    let lines: Vec<&str> = file.lines().map(str::trim).collect();
    let port: u16 = lines.get(3)?.parse().ok()?;
    let folder = lines.get(4).filter(|folder| folder.starts_with('/')).map_or(data, PathBuf::from);
    (*lines.get(7)? == "ready").then(|| url(&folder, port, "postgres"))
}

/// libpq and its relatives take a socket's folder for the host when it is percent-encoded.
fn url(folder: &Path, port: u16, database: &str) -> String {
    let host = percent_encode(folder.as_os_str().as_bytes(), RESERVED);
    format!("postgres://dgm@{host}:{port}/{database}")
}

impl Server {
    /// Starts a server with its data in `directory`, initialising it when it is new.
    ///
    /// # Errors
    /// [`Error::InUse`] when another process owns the directory, [`Error::NoBinaries`] without a PostgreSQL on the machine,
    /// [`Error::Failed`] with the log's text when the server does not come up within 30 s.
    pub fn start(directory: &Path, settings: &[(&str, &str)]) -> Result<Self, Error> {
        let binaries = find_binaries().ok_or(Error::NoBinaries)?;
        let path = directory.join("pgdata");
        std::fs::create_dir_all(directory).map_err(io_error(format!("creating {}", directory.display())))?;
        let lock = std::fs::File::create(directory.join("lock")).map_err(io_error("creating the lock file"))?;
        if lock.try_lock().is_err() {
            return Err(Error::InUse(directory.to_owned()));
        }
        let owner = unprivileged_owner()?;
        std::fs::create_dir_all(&path).map_err(io_error(format!("creating {}", path.display())))?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700))
            .map_err(io_error("restricting the data directory"))?;
        if let Some((uid, gid)) = owner {
            chown(&path, Some(uid), Some(gid)).map_err(io_error("handing over the data directory"))?;
        }
        let data = Data::new(binaries, owner, path)?;
        if !data.path.join("PG_VERSION").exists() {
            let arguments = ["-U", "dgm", "--auth-local=trust", "--auth-host=scram-sha-256"];
            let output = data.command("initdb")?.args(arguments).args(["-E", "UTF8", "--locale=C", "-N"]).output();
            let output = output.map_err(io_error("running initdb"))?;
            if !output.status.success() {
                let output = String::from_utf8_lossy(&output.stderr).into_owned();
                return Err(Error::Failed { what: "initdb", output });
            }
        }
        if data.path.join("postmaster.pid").exists() {
            // We hold the lock, so this is the server of an owner that was killed, or what is left of it. When nothing runs,
            // pg_ctl says so and fails, and postgres itself removes the file.
            let _ = data.command("pg_ctl")?.args(["stop", "-m", "fast"]).output();
        }
        data.write_access_rules()?;
        let sockets = Sockets::new(&data)?;
        let log_path = directory.join("postgres.log");
        let mut attempt = 1;
        let (child, port) = loop {
            // Another process may take the port between this look and the server's bind.
            let port = free_port().map_err(io_error("finding a free port"))?;
            let child = data.spawn(port, &sockets, settings, &log_path)?;
            match wait_until_ready(child, &data.path, &log_path) {
                Err(Error::Failed { output, .. }) if attempt < BIND_ATTEMPTS && output.contains("could not bind") => {
                    attempt += 1;
                }
                outcome => break (outcome?, port),
            }
        };
        Ok(Self { child, port, sockets, _lock: lock })
    }

    /// The URL of one of the server's databases, for the account that started the server.
    #[must_use]
    pub fn url(&self, database: &str) -> String {
        url(&self.sockets.folder, self.port, database)
    }

    /// The port on 127.0.0.1, for roles that were given a password.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }
}

/// The data directory, and how programs are run on it.
struct Data {
    binaries: PathBuf,
    owner: Option<(u32, u32)>,
    path: PathBuf,
    /// Whether the account of the server cannot enter it by its path, as below a home directory of mode 0700.
    hidden: bool,
}

impl Data {
    fn new(binaries: PathBuf, owner: Option<(u32, u32)>, path: PathBuf) -> Result<Self, Error> {
        let hidden = owner.is_some() && cfg!(target_os = "linux") && {
            let mut enter = as_owner("sh", owner);
            enter.args(["-c", "cd -- \"$0\""]).arg(&path).stderr(Stdio::null());
            !enter.status().map_err(io_error("running sh"))?.success()
        };
        Ok(Self { binaries, owner, path, hidden })
    }

    /// One of PostgreSQL's programs on the directory, under the account of the server.
    fn command(&self, program: &str) -> Result<Command, Error> {
        let program = self.binaries.join(program);
        let mut command = self.run(program.as_os_str())?;
        command.arg("-D").arg(self.name());
        Ok(command)
    }

    fn run(&self, program: &OsStr) -> Result<Command, Error> {
        if !self.hidden {
            let mut command = as_owner(program, self.owner);
            command.stdin(Stdio::null());
            return Ok(command);
        }
        let directory = std::fs::File::open(&self.path).map_err(io_error("opening the data directory"))?;
        let mut command = as_owner("sh", self.owner);
        command.args(["-c", WITH_DIRECTORY, "sh"]).arg(program).stdin(directory);
        Ok(command)
    }

    fn name(&self) -> &Path {
        if self.hidden { Path::new(DIRECTORY) } else { &self.path }
    }

    /// By the account of the server, which may have put a link into its directory.
    fn write_access_rules(&self) -> Result<(), Error> {
        let mut write = self.run(OsStr::new("sh"))?;
        write.args(["-c", "printf %s \"$1\" >\"$0/pg_hba.conf\""]).arg(self.name()).arg(ACCESS_RULES);
        let output = write.output().map_err(io_error("running sh"))?;
        if output.status.success() {
            return Ok(());
        }
        Err(Error::Failed { what: "writing pg_hba.conf", output: String::from_utf8_lossy(&output.stderr).into_owned() })
    }

    fn spawn(&self, port: u16, sockets: &Sockets, settings: &[(&str, &str)], log: &Path) -> Result<Child, Error> {
        let log = std::fs::File::create(log).map_err(io_error("creating the server's log"))?;
        let mut server = self.command("postgres")?;
        server.args([
            "-p",
            &port.to_string(),
            "-c",
            "listen_addresses=127.0.0.1",
            "-c",
            "unix_socket_permissions=0700",
        ]);
        let mut folder = std::ffi::OsString::from("unix_socket_directories=");
        folder.push(sockets.argument());
        server.arg("-c").arg(folder);
        for (name, value) in settings {
            server.arg("-c").arg(format!("{name}={value}"));
        }
        server
            // Its own group: Ctrl-C at the terminal reaches the owner, which then stops the server in order.
            .process_group(0)
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .map_err(io_error("starting postgres"))
    }
}

/// The folder of the socket: the data directory, unless its path is too long for a socket.
#[derive(Debug)]
struct Sockets {
    folder: PathBuf,
    temporary: bool,
}

impl Sockets {
    fn new(data: &Data) -> Result<Self, Error> {
        let longest = data.path.join(".s.PGSQL.65535");
        if longest.as_os_str().len() <= MAX_SOCKET_PATH {
            return Ok(Self { folder: data.path.clone(), temporary: false });
        }
        // Creating it fails when another account has made it before.
        for number in 0..100 {
            let folder = std::env::temp_dir().join(format!("dgm-{}-{number}", std::process::id()));
            match std::fs::DirBuilder::new().mode(0o700).create(&folder) {
                Ok(()) => {
                    let sockets = Self { folder, temporary: true };
                    if let Some((uid, gid)) = data.owner {
                        chown(&sockets.folder, Some(uid), Some(gid))
                            .map_err(io_error("handing over the folder of the socket"))?;
                    }
                    return Ok(sockets);
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(io_error(format!("creating {}", folder.display()))(error)),
            }
        }
        Err(Error::Failed {
            what: "creating a folder for the socket",
            output: format!("the path of {} is too long for a socket", data.path.display()),
        })
    }

    /// The server changes into its data directory before it makes the socket.
    fn argument(&self) -> &OsStr {
        if self.temporary { self.folder.as_os_str() } else { OsStr::new(".") }
    }
}

impl Drop for Sockets {
    fn drop(&mut self) {
        if self.temporary {
            let _ = std::fs::remove_dir(&self.folder);
        }
    }
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

/// In a directory that every account can enter: PostgreSQL 15 returns to the one that it was started in.
fn as_owner(program: impl AsRef<OsStr>, owner: Option<(u32, u32)>) -> Command {
    let mut command = Command::new(program);
    if let Some((uid, gid)) = owner {
        command.uid(uid).gid(gid).current_dir("/");
    }
    command.env_remove("PGDATA").env_remove("PGPORT");
    command
}

fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}
