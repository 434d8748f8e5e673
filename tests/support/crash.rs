//! A PostgreSQL that can be killed and comes back with its port and its data.

use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::{Database, PATIENCE, signal};

/// The server; stopped when dropped.
pub(crate) struct Mortal {
    // Started after a kill, by the command line of the one before.
    successor: Option<Child>,
    command: Vec<String>,
    pub(crate) database: Database,
}

impl Mortal {
    /// See [`Database::own`].
    #[track_caller]
    pub(crate) fn own(reason: &str, settings: &[(&str, &str)]) -> Self {
        Self::of(Database::own(reason, settings))
    }

    /// The same on the disk of a folder.
    #[track_caller]
    pub(crate) fn own_in(reason: &str, settings: &[(&str, &str)], folder: &Path) -> Self {
        Self::of(Database::own_in(reason, settings, folder))
    }

    fn of(database: Database) -> Self {
        let mut mortal = Self { successor: None, command: Vec::new(), database };
        let command = std::fs::read_to_string(format!("/proc/{}/cmdline", mortal.postmaster())).unwrap();
        mortal.command = command.split_terminator('\0').map(str::to_owned).collect();
        mortal
    }

    /// SIGKILL to the server and every process of it: nothing is flushed, nobody is told.
    pub(crate) fn kill(&mut self) {
        let all = self.stop();
        for process in &all {
            // A backend may have ended by itself meanwhile.
            let _ = signal(*process, Signal::KILL);
        }
        if let Some(mut successor) = self.successor.take() {
            successor.wait().unwrap();
        }
        let deadline = Instant::now() + PATIENCE;
        while all.iter().any(|process| runs(*process)) {
            assert!(Instant::now() < deadline, "PostgreSQL survives SIGKILL");
            std::thread::sleep(Duration::from_millis(5));
        }
        // The first server is a zombie until its owner waits for it, and a zombie's pid looks to PostgreSQL like a
        // server that runs. The socket's lock file has the pid, too.
        std::fs::remove_file(self.pid_file()).unwrap();
        for file in std::fs::read_dir(self.data()).unwrap().map(|file| file.unwrap().path()) {
            if file.extension().is_some_and(|extension| extension == "lock") {
                std::fs::remove_file(file).unwrap();
            }
        }
    }

    /// Connections stay open and nothing is answered.
    pub(crate) fn pause(&self) {
        for process in self.stop() {
            let _ = signal(process, Signal::STOP);
        }
    }

    pub(crate) fn resume(&self) {
        for process in self.stop() {
            let _ = signal(process, Signal::CONT);
        }
    }

    /// Stops the server, so that it makes no further process, and answers it and its processes, itself last.
    fn stop(&self) -> Vec<u32> {
        let postmaster = self.postmaster();
        signal(postmaster, Signal::STOP).unwrap();
        let children = std::fs::read_to_string(format!("/proc/{postmaster}/task/{postmaster}/children")).unwrap();
        children.split_whitespace().map(|child| child.parse().unwrap()).chain([postmaster]).collect()
    }

    /// After a kill: recovers, and answers when it is ready.
    pub(crate) fn restart(&mut self) {
        let owner = std::fs::metadata(self.data()).unwrap();
        let mut command = Command::new(&self.command[0]);
        command.args(&self.command[1..]).process_group(0).stdout(Stdio::null()).stderr(Stdio::null());
        if std::fs::metadata("/proc/self").unwrap().uid() != owner.uid() {
            command.uid(owner.uid()).gid(owner.gid());
        }
        let child = self.successor.insert(command.spawn().unwrap()).id().to_string();
        let deadline = Instant::now() + PATIENCE;
        loop {
            let file = std::fs::read_to_string(self.pid_file()).unwrap_or_default();
            let lines: Vec<&str> = file.lines().map(str::trim).collect();
            if lines.first() == Some(&child.as_str()) && lines.get(7) == Some(&"ready") {
                return;
            }
            assert!(Instant::now() < deadline, "PostgreSQL did not come back");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn data(&self) -> PathBuf {
        self.database.directory().join("pgdata")
    }

    fn pid_file(&self) -> PathBuf {
        self.data().join("postmaster.pid")
    }

    fn postmaster(&self) -> u32 {
        let file = std::fs::read_to_string(self.pid_file()).unwrap();
        file.lines().next().unwrap().trim().parse().unwrap()
    }
}

/// Whether there is such a process that is not a zombie.
fn runs(process: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

impl Drop for Mortal {
    fn drop(&mut self) {
        if let Some(successor) = &mut self.successor {
            // PostgreSQL's fast shutdown; the directory is removed after it.
            let _ = signal(successor.id(), Signal::INT);
            let _ = successor.wait();
        }
    }
}
