//! The lines about a PostgreSQL server and the role that is used on it.

use std::path::PathBuf;
use std::time::Duration;

use crate::app::data_directory;
use crate::config::Config;
use crate::db::{self, Database, Wanted};
use crate::store::facts::{Examination, Facts, PartitionRights};

/// How long a server has to answer.
pub(super) const TIMEOUT: Duration = Duration::from_secs(5);
/// Share of a disk that must be free.
const FREE: f64 = 0.05;

/// Whether the pools of a process fit into what the server accepts, next to the sessions that are not the service's.
pub(super) fn connections(facts: &Facts, config: &Config) -> Result<String, String> {
    let needed = i64::from(Database::most_connections(&pools(config)));
    let ordinary = facts.max_connections - facts.reserved;
    let most = facts.own_limit.map_or(ordinary, |own| own.min(ordinary));
    let limit = match facts.own_limit {
        Some(own) if own < ordinary => format!("the role or the database is limited to {own}"),
        _ => format!("the server accepts {most} ({} less {} reserved)", facts.max_connections, facts.reserved),
    };
    let text = format!("a process opens up to {needed}, {limit}, others have {}", facts.others);
    if needed + facts.others <= most {
        return Ok(text);
    }
    Err(format!(
        "{text}: lower database.max_connections ({}) and database.write_connections ({}), or raise max_connections",
        config.database.max_connections, config.database.write_connections
    ))
}

fn pools(config: &Config) -> db::Settings {
    db::Settings {
        max_connections: config.database.max_connections,
        write_connections: config.database.write_connections,
        ..db::Settings::default()
    }
}

/// What this role may not do and will have to, before it is due.
pub(super) async fn privileges(examination: &mut Examination, facts: &Facts) -> Result<String, String> {
    let reason = |error: db::Error| error.reason();
    let mut missing = examination.missing_table_rights().await.map_err(reason)?;
    let rights = examination.partition_rights().await.map_err(reason)?;
    let rights = rights.ok_or("the function create_monthly_partition is missing: run `dgm migrate up`")?;
    missing.extend(partition_duties(&rights));
    if rights.owns_table {
        let owner = &rights.owner;
        let foreign = examination.foreign_partitions().await.map_err(reason)?.into_iter();
        missing.extend(foreign.map(|partition| {
            format!("the rights of {partition}, to drop it when it is no longer kept: ALTER TABLE ... OWNER TO {owner}")
        }));
    }
    if missing.is_empty() {
        return Ok(format!("{} may read and write every table, make months and drop them", facts.role));
    }
    Err(format!("{} lacks {}", facts.role, missing.join("; ")))
}

fn partition_duties(rights: &PartitionRights) -> Vec<String> {
    let PartitionRights { owner, needed, .. } = rights;
    let mut missing = Vec::new();
    if !needed.is_empty() {
        missing.push(format!(
            "{needed} to make the coming months (ensure-partitions): without a month its samples are refused; until then run `dgm \
             partition ensure` as {owner}"
        ));
    }
    if !rights.owns_table {
        missing.push(format!(
            "the rights of {owner} to drop months that are no longer kept (enforce-retention): run `dgm partition drop` as {owner}"
        ));
    }
    missing
}

/// Free space of the server's disk, where a setting says where it is or the server is a process of this machine.
pub(super) fn disk(facts: &Facts, config: &Config) -> Result<String, String> {
    if let Some(folder) = data_directory(config) {
        let measured = rustix::fs::statvfs(&folder);
        return measured.map_or_else(
            |error| Err(format!("database.data_directory: {}: {error}", folder.display())),
            |system| free(&system),
        );
    }
    let process = PathBuf::from(format!("/proc/{}", facts.backend));
    let is_here = std::fs::read_to_string(process.join("comm")).is_ok_and(|name| name.trim_end() == "postgres");
    if !is_here {
        return Ok(
            "not known: the server is on another machine; watch its disk there, or mount its data directory here \
                   and set database.data_directory"
                .to_owned(),
        );
    }
    // The working directory of a server process is its data directory; not every account may look.
    let folders = [Some(process.join("cwd")), facts.data_directory.as_ref().map(PathBuf::from)];
    let measured = folders.into_iter().flatten().find_map(|folder| rustix::fs::statvfs(&folder).ok());
    let Some(system) = measured else {
        return Ok("not known: this account may not look at the data directory of the server".to_owned());
    };
    free(&system)
}

fn free(system: &rustix::fs::StatVfs) -> Result<String, String> {
    let gigabytes = |blocks: u64| figure(blocks.saturating_mul(system.f_frsize)) / 1e9;
    let (free, size) = (gigabytes(system.f_bavail), gigabytes(system.f_blocks));
    let text = format!("{free:.1} of {size:.1} GB free");
    if free >= size * FREE {
        return Ok(text);
    }
    Err(format!("{text}: PostgreSQL stops when it is full; add space, or let retention drop months sooner"))
}

#[allow(clippy::cast_precision_loss, reason = "it is shown with one decimal")]
fn figure(bytes: u64) -> f64 {
    bytes as f64
}

/// Whether reads can go to the replica.
pub(super) async fn replica(config: &Config) -> Result<String, String> {
    let url = &config.database.replica_url;
    if url.expose().is_empty() {
        return Ok("none; DATABASE_REPLICA_URL is not set".to_owned());
    }
    let mut examination =
        Examination::open(url.expose(), Wanted::Standby, TIMEOUT).await.map_err(|error| error.to_string())?;
    let facts = examination.facts().await.map_err(|error| format!("{}: {}", examination.database, error.reason()))?;
    if facts.is_standby {
        return Ok(url.redacted());
    }
    Err(format!("{}: it is no standby, and no read goes to it; set DATABASE_REPLICA_URL to one", examination.database))
}
