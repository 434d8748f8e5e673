//! What faults are made to: servers, replicas of the service, small disks, and programs that keep something broken.

use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use dgm_service::postgres::Server;
use rustix::process::{Pid, Signal, kill_process_group};
use tempfile::{NamedTempFile, TempDir};

use crate::support::crash::Mortal;
use crate::support::redis::Redis;
use crate::support::run::{folder, subfolder};
use crate::support::serve::Serve;
use crate::support::{Database, make_traversable, sql};

/// All that a fault may be made to.
pub(super) struct Stack {
    pub(super) serve: Serve,
    pub(super) other: Option<Serve>,
    pub(super) postgres: Mortal,
    pub(super) standby: Option<Standby>,
    pub(super) redis: Redis,
    pub(super) volume: Option<Volume>,
    /// What it says is added to the clock of the service.
    pub(super) clock: NamedTempFile,
    /// Programs that keep something broken; killed when it is repaired.
    pub(super) vandals: Vec<Child>,
}

impl Stack {
    pub(super) fn sql(&self, statement: &str) -> String {
        self.postgres.database.sql(statement)
    }

    /// The same as another superuser, while the service's role is none.
    pub(super) fn sql_as_keeper(&self, statement: &str) -> String {
        sql(&self.postgres.database.url().replacen("dgm@", "keeper@", 1), statement)
    }

    /// Does something again and again until it is repaired, in a process group of its own.
    pub(super) fn vandal(&mut self, script: &str) {
        let script = format!("while true; do {script}; done");
        let mut command = Command::new("bash");
        command
            .args(["-c", &script])
            .current_dir(folder())
            .process_group(0)
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        self.vandals.push(command.spawn().unwrap());
    }

    pub(super) fn vandal_sql(&mut self, statement: &str) {
        self.vandal(&format!("psql -XAtqc \"{statement}\" '{}'", self.postgres.database.url()));
    }

    /// Takes this many connections and does nothing with them. They end with their clients.
    pub(super) fn occupy(&mut self, connections: usize) {
        let url = self.postgres.database.url();
        self.vandal(&format!(
            "for i in $(seq {connections}); do (sleep 1000 | psql -XAtq '{url}') & done; wait; sleep 1"
        ));
    }

    /// Requests a URL, or a range of them, with a token.
    pub(super) fn vandal_http(&mut self, before: &str, path: &str, after: &str) {
        let (api, token) = (&self.serve.api, &self.serve.token);
        let curl =
            format!("{before} curl -s -o /dev/null -H 'authorization: Bearer {token}' \"http://{api}{path}\" {after}");
        self.vandal(&curl);
    }

    pub(super) fn set_clock(&self, offset: &str) {
        std::fs::write(self.clock.path(), offset).unwrap();
    }

    /// A folder of the volume.
    pub(super) fn on_volume(&self, folder: &str) -> PathBuf {
        self.volume.as_ref().unwrap().path().join(folder)
    }

    /// Fills the volume but for some bytes.
    pub(super) fn fill_volume(&self, but: u64) {
        let mut filler = std::fs::File::create(self.on_volume("filler")).unwrap();
        let free = || rustix::fs::statvfs(self.on_volume("")).map(|system| system.f_bavail * system.f_frsize).unwrap();
        let piece = vec![0; 1 << 16];
        while free() > but && filler.write_all(&piece).is_ok() {}
    }

    pub(super) fn empty_volume(&self) {
        std::fs::remove_file(self.on_volume("filler")).unwrap();
    }

    /// Ends the programs whose connections end with them.
    pub(super) fn free_connections(&mut self) {
        self.vandals.drain(..).for_each(end);
    }

    pub(super) fn no_vandals(&mut self) {
        self.vandals.drain(..).for_each(end);
        self.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'psql' AND pid <> pg_backend_pid()");
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        self.vandals.drain(..).for_each(end);
    }
}

fn end(mut vandal: Child) {
    let group = Pid::from_raw(vandal.id().try_into().unwrap()).unwrap();
    let _ = kill_process_group(group, Signal::KILL);
    let _ = vandal.wait();
}

/// A small file system.
pub(super) struct Volume(TempDir);

impl Volume {
    /// Only root may.
    pub(super) fn mount(megabytes: u32) -> Option<Self> {
        let directory = subfolder();
        let size = format!("size={megabytes}m");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(directory.path()).status();
        mounted.is_ok_and(|status| status.success()).then(|| {
            make_traversable(directory.path());
            Self(directory)
        })
    }

    pub(super) fn path(&self) -> &Path {
        self.0.path()
    }

    /// A new folder of PostgreSQL's account.
    pub(super) fn folder_of_postgres(&self, name: &str) -> PathBuf {
        let folder = self.path().join(name);
        std::fs::create_dir(&folder).unwrap();
        assert!(Command::new("chown").arg("postgres").arg(&folder).status().unwrap().success());
        folder
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(self.path()).status();
    }
}

/// A standby that follows the primary by a slot.
pub(super) struct Standby {
    server: Option<Server>,
    directory: TempDir,
}

impl Standby {
    pub(super) fn follow(primary: &Database) -> Self {
        let directory = subfolder();
        assert!(Command::new("chown").arg("postgres").arg(directory.path()).status().unwrap().success());
        let copied = Command::new("runuser")
            .args(["-u", "postgres", "--", "pg_basebackup", "-R", "-X", "stream", "--checkpoint=fast"])
            .args(["--create-slot", "--slot=standby", "-d", &primary.url(), "-D"])
            .arg(directory.path().join("pgdata"))
            .output()
            .unwrap();
        assert!(copied.status.success(), "{}", String::from_utf8_lossy(&copied.stderr));
        let mut standby = Self { server: None, directory };
        standby.start();
        standby
    }

    pub(super) fn start(&mut self) {
        let settings = [("fsync", "off"), ("shared_buffers", "32MB"), ("max_connections", "40")];
        self.server = Some(Server::start(self.directory.path(), &settings).unwrap());
    }

    pub(super) fn stop(&mut self) {
        self.server = None;
    }
}
