//! The rows of a run are removed where the operator's tool and the database are at hand.

use std::env;
use std::ffi::OsString;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use tokio::process::Command;

/// How long workers that were stopped in the middle may hold their leases: a lease of theirs, and some more.
const PATIENCE: Duration = Duration::from_secs(90);

/// Whether rows can be removed from here.
fn tool() -> Option<OsString> {
    let set = |name| env::var_os(name).filter(|value| !value.is_empty());
    set("DATABASE_URL").and_then(|_| set("DGM"))
}

/// Removes the services of a run; answers what is left to do where that cannot be done from here.
///
/// # Errors
/// When `dgm forget` fails, and goes on to.
pub(crate) async fn remove(run: &str) -> Result<Option<String>> {
    let services = format!("loadtest-{run}-*");
    let Some(dgm) = tool() else {
        return Ok(Some(format!("its rows are left: dgm forget '{services}' --yes, where the database is")));
    };
    let began = Instant::now();
    loop {
        let output = Command::new(&dgm).args(["forget", &services, "--yes"]).output().await?;
        if output.status.success() {
            return Ok(None);
        }
        if began.elapsed() > PATIENCE {
            bail!("dgm forget '{services}' --yes: {}", String::from_utf8_lossy(&output.stderr).trim());
        }
        tokio::time::sleep(Duration::from_secs(5)).await;
    }
}
