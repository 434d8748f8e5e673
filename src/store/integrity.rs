//! Integrity checks of a migrated database (`dgm migrate verify`) and what a downgrade would destroy.

use sqlx::PgConnection;

/// One check: its name, what it found wrong (empty when nothing).
#[derive(Debug, Clone)]
pub struct Finding {
    /// Name of the check.
    pub check: &'static str,
    /// The offending objects, at most ten.
    pub offenders: Vec<String>,
}

/// Each statement answers the names of offending objects.
const CHECKS: &[(&str, &str)] = &[
    (
        "invalid indexes",
        "SELECT c.relname::text FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
         JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE n.nspname = current_schema() AND NOT i.indisvalid ORDER BY 1 LIMIT 10",
    ),
    (
        "unvalidated constraints",
        "SELECT conname::text FROM pg_constraint
         WHERE connamespace = current_schema()::regnamespace AND NOT convalidated ORDER BY 1 LIMIT 10",
    ),
    (
        "orphan parents",
        "SELECT a.archive_entry_id::text FROM dgm_archive a
         LEFT JOIN dgm_archive p ON p.archive_entry_id = a.parent_entry_id
         WHERE a.parent_entry_id IS NOT NULL AND p.archive_entry_id IS NULL ORDER BY 1 LIMIT 10",
    ),
    (
        // Every entry of a forest is reached from a root; what is not reached stands on a cycle or below one.
        "lineage cycles",
        "WITH RECURSIVE reached AS (
             SELECT archive_entry_id FROM dgm_archive WHERE parent_entry_id IS NULL
             UNION ALL
             SELECT c.archive_entry_id FROM dgm_archive c JOIN reached r ON c.parent_entry_id = r.archive_entry_id)
         SELECT a.archive_entry_id::text FROM dgm_archive a
         WHERE a.parent_entry_id IS NOT NULL
           AND NOT EXISTS (SELECT 1 FROM reached r WHERE r.archive_entry_id = a.archive_entry_id)
           AND EXISTS (SELECT 1 FROM dgm_archive p WHERE p.archive_entry_id = a.parent_entry_id) ORDER BY 1 LIMIT 10",
    ),
];

/// Runs every check against a fully migrated database.
///
/// # Errors
/// The server's, when a check cannot be run (an incomplete schema among the reasons).
pub async fn verify(connection: &mut PgConnection) -> Result<Vec<Finding>, sqlx::Error> {
    let mut findings = Vec::with_capacity(CHECKS.len());
    for (check, statement) in CHECKS {
        let offenders = sqlx::query_scalar(*statement).fetch_all(&mut *connection).await?;
        findings.push(Finding { check, offenders });
    }
    Ok(findings)
}

/// Exact row counts of tables; those that do not exist are left out.
///
/// # Errors
/// The server's.
pub async fn row_counts(connection: &mut PgConnection, tables: &[&str]) -> Result<Vec<(String, i64)>, sqlx::Error> {
    sqlx::query_as(
        "SELECT c.relname::text,
                ((xpath('/row/n/text()', query_to_xml(format('SELECT count(*) AS n FROM %I', c.relname), false, true, '')))[1]::text)::bigint
         FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE n.nspname = current_schema() AND c.relkind IN ('r', 'p') AND NOT c.relispartition
           AND c.relname = ANY($1) ORDER BY 1",
    )
    .bind(tables)
    .fetch_all(connection)
    .await
}
