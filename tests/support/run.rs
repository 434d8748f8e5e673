//! What the tests of one process share: a folder, a PostgreSQL and a Redis. All three go with the process, however it ends.

use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Command, Stdio};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use dgm_service::postgres::Server;
use rustix::fs::StatVfsMountFlags;
use tempfile::TempDir;

use super::hostile::{is_hostile_run, make_hostile};
use super::pgbouncer::PgBouncer;
use super::redis::Node;
use super::{dgm, make_traversable};

/// Databases of the templates, on every server that is made from [`Postgres::pristine`].
pub(crate) const MIGRATED: &str = "migrated";
/// The same, with the partitions that a service makes when it starts.
pub(crate) const READY: &str = "ready";
/// Connections of the shared PostgreSQL: a service opens up to 40, and few tests run at a time.
const CONNECTIONS: &str = "600";
/// Logical databases of the shared Redis: more than there are tests.
const LOGICAL_DATABASES: usize = 512;

/// Ends what the run has started and removes the folder of the run, when the pipe closes: the kernel closes it with the
/// process, also when that is killed. It works on every process whose working directory is in the folder, which is how
/// servers and services are started here. PostgreSQL is told to stop at once; SIGKILL would leave its shared memory behind.
const GUARDIAN: &str = r#"
    trap '' HUP INT TERM
    cat > /dev/null
    started() { find /proc -maxdepth 2 -name cwd \( -lname "$1" -o -lname "$1/*" \) 2> /dev/null | cut -d / -f 3; }
    for process in $(started "$1"); do
        case $(cat "/proc/$process/comm" 2> /dev/null) in
            postgres) kill -QUIT "$process"; kill -CONT "$process" ;;
            ?*) kill -KILL "$process" ;;
        esac
    done 2> /dev/null
    for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
        [ -n "$(started "$1")" ] || break
        sleep 0.1
    done
    for process in $(started "$1"); do kill -KILL "$process" 2> /dev/null; done
    rm -rf "$1"
"#;

/// More than twice what the suites api and deploy have together at the end.
const ROOM: u64 = 8 << 30;

/// Where runs have their folders. Each database consists of some hundred files, and creating files takes a disk's file system longer
/// than PostgreSQL takes for a test: they are in memory where there is room and TMPDIR names no other place.
fn parent() -> PathBuf {
    let memory = Path::new("/dev/shm");
    let mounted = rustix::fs::statvfs(memory);
    let has_room =
        mounted.is_ok_and(|at| at.f_bavail * at.f_frsize > ROOM && !at.f_flag.contains(StatVfsMountFlags::NOEXEC));
    if has_room && available() > ROOM && std::env::var_os("TMPDIR").is_none() {
        memory.to_owned()
    } else {
        std::env::temp_dir()
    }
}

/// Bytes of memory that programs can have without swapping.
fn available() -> u64 {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok()).unwrap_or(0) << 10
}

/// A folder and its guardian; see [`GUARDIAN`].
pub(crate) struct Guarded {
    folder: PathBuf,
    _pipe: ChildStdin,
}

impl Guarded {
    pub(crate) fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("dgm-test-").tempdir_in(parent()).unwrap().keep();
        // Servers may run under another account, which must be able to reach its folder.
        make_traversable(&folder);
        let mut guardian = Command::new("sh");
        guardian.args(["-c", GUARDIAN, "guardian"]).arg(&folder).current_dir("/");
        guardian.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        // Ctrl-C at the terminal is for the run; this one has to outlive it.
        std::os::unix::process::CommandExt::process_group(&mut guardian, 0);
        let pipe = guardian.spawn().unwrap().stdin.take().unwrap();
        Self { folder, _pipe: pipe }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.folder
    }
}

static RUN: LazyLock<Guarded> = LazyLock::new(Guarded::new);

/// The folder of the run: the working directory of whatever is started.
pub(crate) fn folder() -> &'static Path {
    RUN.path()
}

/// A folder of one test, which other accounts can reach.
pub(crate) fn subfolder() -> TempDir {
    let folder = tempfile::tempdir_in(folder()).unwrap();
    make_traversable(folder.path());
    folder
}

/// The PostgreSQL of the run.
pub(crate) struct Postgres {
    server: Server,
    pristine: PathBuf,
    databases: AtomicUsize,
}

/// A server that waits for no disk: nothing outlives the run. Kills by tests are survived all the same, because the
/// operating system keeps what was written.
pub(crate) const WITHOUT_DISK: (&str, &str) = ("fsync", "off");

/// The password of the role `dgm` for connections by TCP, on every server that is made from [`Postgres::pristine`].
static PASSWORD: LazyLock<String> = LazyLock::new(|| format!("{:032x}", rand::random::<u128>()));

pub(crate) fn password() -> &'static str {
    &PASSWORD
}

/// Stores the verifier of RFC 5803 with one iteration in place of 4,096, which are most of the work of each of the thousands of logins.
const SET_PASSWORD: &str = "
    DO $$
    DECLARE
        salt bytea := decode(md5(random()::text), 'hex');
        salted bytea := hmac(salt || '\\x00000001', '{password}', 'sha256');
    BEGIN
        EXECUTE format('ALTER ROLE dgm PASSWORD %L', concat('SCRAM-SHA-256$1:', encode(salt, 'base64'), '$',
            encode(digest(hmac('Client Key', salted, 'sha256'), 'sha256'), 'base64'), ':',
            encode(hmac('Server Key', salted, 'sha256'), 'base64')));
    END $$";

static POSTGRES: LazyLock<Postgres> = LazyLock::new(|| {
    let pristine = folder().join("pristine");
    {
        let server = Server::start(&pristine, &[WITHOUT_DISK]).unwrap();
        let sql = |statement: &str| super::sql(&server.url("postgres"), statement);
        let prepare = |database: &str, arguments: &[&str]| {
            let output = dgm(&server.url(database), arguments);
            assert!(output.status.success(), "{arguments:?}: {output:?}");
        };
        sql("CREATE EXTENSION pgcrypto");
        sql(&SET_PASSWORD.replace("{password}", password()));
        sql("DROP EXTENSION pgcrypto");
        if is_hostile_run() {
            make_hostile(&server.url("postgres"), "ROLE dgm");
        }
        sql(&format!("CREATE DATABASE {MIGRATED}"));
        prepare(MIGRATED, &["migrate", "up"]);
        sql(&format!("CREATE DATABASE {READY} TEMPLATE {MIGRATED}"));
        prepare(READY, &["partition", "ensure"]);
    }
    let settings = [
        WITHOUT_DISK,
        ("full_page_writes", "off"),
        ("max_connections", CONNECTIONS),
        ("shared_buffers", "256MB"),
        ("max_wal_size", "8GB"),
        ("checkpoint_timeout", "1d"),
        // Tests that look at statistics or plans must not be met by it.
        ("autovacuum", "off"),
    ];
    let server = Server::start(&copy(&pristine, &folder().join("shared")), &settings).unwrap();
    Postgres { server, pristine, databases: AtomicUsize::new(0) }
});

pub(crate) fn postgres() -> &'static Postgres {
    &POSTGRES
}

impl Postgres {
    pub(crate) fn server(&self) -> &Server {
        &self.server
    }

    /// The name of a new database.
    pub(crate) fn create(&self, template: Option<&str>) -> String {
        let name = format!("test_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        let template = template.unwrap_or("template1");
        super::sql(&self.server.url("postgres"), &format!("CREATE DATABASE {name} TEMPLATE {template}"));
        name
    }

    /// The URL of a database: behind PgBouncer in session mode when the run asks for that.
    pub(crate) fn url(&self, database: &str) -> String {
        POOLER.as_ref().map_or_else(|| self.server.url(database), |pooler| pooler.url(database))
    }

    /// A data directory as it is before any test: with both templates.
    pub(crate) fn pristine(&self, directory: &Path) {
        copy(&self.pristine, directory);
    }
}

fn copy(from: &Path, to: &Path) -> PathBuf {
    std::fs::create_dir_all(to).unwrap();
    let copied = Command::new("cp").arg("-a").arg(from.join("pgdata")).arg(to).output().unwrap();
    assert!(copied.status.success(), "{copied:?}");
    to.to_owned()
}

/// It gives each session a connection of its own, which ends with it: a database with connections can be no template.
static POOLER: LazyLock<Option<PgBouncer>> = LazyLock::new(|| {
    let settings = "default_pool_size = 500\nserver_lifetime = 0\nignore_startup_parameters = options";
    std::env::var_os("DGM_TEST_POOLER").map(|_| PgBouncer::start(postgres().server.port(), "session", settings))
});

static REDIS: LazyLock<Node> =
    LazyLock::new(|| Node::start(vec!["--databases".to_owned(), LOGICAL_DATABASES.to_string()]));
static LOGICAL: AtomicUsize = AtomicUsize::new(0);

/// The port of the shared Redis, and the number of a logical database that nobody else has.
pub(crate) fn redis() -> (u16, usize) {
    let number = LOGICAL.fetch_add(1, Ordering::Relaxed);
    assert!(number < LOGICAL_DATABASES, "more logical databases are taken than Redis has");
    (REDIS.port, number)
}
