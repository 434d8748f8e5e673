//! Processes that end with the driver.

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};

/// How long a process may take to start or to stop.
const PATIENCE: Duration = Duration::from_secs(30);

/// A server. Dropping it kills it; [`Process::stop`] asks first.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    pub(crate) pid: i32,
}

/// A command that is killed when its future or process is dropped. In a group of its own, since Ctrl-C at the terminal
/// is for the driver, which then ends the others in order.
pub(crate) fn command(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new(program);
    command.stdin(Stdio::null()).process_group(0).kill_on_drop(true);
    command
}

/// What a command writes.
///
/// # Errors
/// When it cannot be run, or fails; then with its own words.
pub(crate) async fn output(command: &mut Command) -> Result<String> {
    let name = command.as_std().get_program().to_string_lossy().into_owned();
    let output = command.output().await.with_context(|| format!("running {name}"))?;
    let complaint = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{name}: {} {}", output.status, complaint.trim());
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

impl Process {
    /// Starts a server; what it writes goes to `log`.
    ///
    /// # Errors
    /// When it cannot be started.
    pub(crate) fn start(mut command: Command, log: &Path) -> Result<Self> {
        let file = std::fs::File::create(log).with_context(|| format!("creating {}", log.display()))?;
        command.stdout(file.try_clone()?).stderr(file);
        let child =
            command.spawn().with_context(|| format!("starting {}", command.as_std().get_program().display()))?;
        let pid = child.id().context("the process is gone already")?;
        Ok(Self { child, pid: pid.try_into()? })
    }

    /// What `look` finds in the log, asked for until it finds something. `None` when the process ended before.
    ///
    /// # Errors
    /// When nothing is found for 30 s.
    pub(crate) async fn says<T>(&mut self, log: &Path, look: impl Fn(&str) -> Option<T>) -> Result<Option<T>> {
        let started = Instant::now();
        loop {
            let ended = self.child.try_wait()?.is_some();
            let text = std::fs::read_to_string(log)?;
            if let Some(found) = look(&text) {
                return Ok(Some(found));
            }
            if ended {
                return Ok(None);
            }
            ensure!(started.elapsed() < PATIENCE, "not up after {PATIENCE:?}: {text}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Asks it to stop, and kills it when it does not.
    ///
    /// # Errors
    /// The operating system's.
    pub(crate) async fn stop(mut self) -> Result<()> {
        kill_process(Pid::from_raw(self.pid).context("a pid is positive")?, Signal::TERM)?;
        if tokio::time::timeout(PATIENCE, self.child.wait()).await.is_err() {
            self.child.kill().await?;
        }
        Ok(())
    }
}
