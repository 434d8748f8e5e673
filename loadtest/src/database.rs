//! The database itself, where it is at hand: `DATABASE_URL` and psql.

use std::env;
use std::process::Command;

/// Settings of PostgreSQL that say what its speed is worth.
pub(crate) const SETTINGS: &str = "SELECT string_agg(name || ' ' || setting || coalesce(unit, ''), ', ' ORDER BY name) FROM pg_settings \
    WHERE name IN ('fsync', 'full_page_writes', 'max_wal_size', 'server_version', 'shared_buffers', 'synchronous_commit')";

/// What autovacuum does within a minute of such a load as the run begins with: until then the planner knows nothing of the
/// tables. Of those alone that were filled: an empty one that was looked at would pass for one that stays so.
pub(crate) const ANALYZE: &str = "ANALYZE dgm_archive, dgm_archive_changes";

/// What the server answers; `None` where it cannot be asked.
pub(crate) fn ask(statement: &str) -> Option<String> {
    let url = env::var("DATABASE_URL").ok().filter(|url| !url.is_empty())?;
    let output = Command::new("psql").args(["-XAtq", "-v", "ON_ERROR_STOP=1", "-c", statement, &url]).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}
