//! Integrity checks of a migrated database (`dgm migrate verify`) and what a downgrade would destroy.

use sqlx::{Connection as _, PgConnection};

use crate::db::Error;

/// One check: its name and what it found wrong.
#[derive(Debug)]
pub struct Finding {
    /// Name of the check.
    pub check: &'static str,
    /// The offending objects, at most ten; or why the check could not be run.
    pub offenders: Result<Vec<String>, Error>,
}

/// What the migrations make, a line each; written by `make generate` from a migrated database.
const EXPECTED: &str = include_str!("objects.txt");

/// The objects of the schema by kind and name, columns with their types and functions with a digest of their text. Partitions
/// and the migrator's own tables are left out; what operators added does no harm.
pub const OBJECTS: &str = "
    WITH tables AS (
        SELECT c.oid, c.relname FROM pg_class c
        WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition
          AND c.relname NOT LIKE '\\_sqlx%' AND c.relname !~ '_[0-9]{4}_[0-9]{2}$')
    SELECT object FROM (
        SELECT 'table ' || relname AS object FROM tables
        UNION ALL
        SELECT format('column %s.%s %s%s', t.relname, a.attname, format_type(a.atttypid, a.atttypmod),
            CASE WHEN a.attnotnull THEN ' not null' ELSE '' END)
        FROM tables t JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum > 0 AND NOT a.attisdropped
        UNION ALL
        SELECT format('constraint %s.%s', t.relname, k.conname) FROM tables t JOIN pg_constraint k ON k.conrelid = t.oid
        WHERE k.contype IN ('c', 'f', 'p', 'u')
        UNION ALL
        SELECT format('index %s.%s', t.relname, c.relname) FROM tables t JOIN pg_index i ON i.indrelid = t.oid
        JOIN pg_class c ON c.oid = i.indexrelid
        UNION ALL
        SELECT format('trigger %s.%s', t.relname, g.tgname) FROM tables t JOIN pg_trigger g ON g.tgrelid = t.oid
        WHERE NOT g.tgisinternal
        UNION ALL
        SELECT format('function %s %s', p.proname, md5(p.prosrc)) FROM pg_proc p
        WHERE p.pronamespace = current_schema()::regnamespace AND p.prokind = 'f'
    ) o ORDER BY object COLLATE \"C\"";

/// Each statement answers the names of offending objects.
const CHECKS: &[(&str, &str)] = &[
    (
        "disabled triggers",
        "SELECT tgrelid::regclass || '.' || tgname FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
         WHERE c.relnamespace = current_schema()::regnamespace AND tgenabled <> 'O' ORDER BY 1 LIMIT 10",
    ),
    (
        // From the oldest month to the next one; a schema that was just made has none at all. An imported month may be much older.
        "months without a partition",
        "WITH there AS (
             SELECT to_date(right(c.relname, 7), 'YYYY_MM') AS month FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
             WHERE i.inhparent = 'dgm_performance_metrics'::regclass),
         this AS (SELECT date_trunc('month', now() AT TIME ZONE 'UTC') AS month)
         SELECT to_char(wanted, 'YYYY-MM') FROM this, generate_series(
             least(this.month, (SELECT min(month) FROM there WHERE month NOT IN (SELECT h.month FROM dgm_partition_holds h))), this.month + interval '1 month', interval '1 month') AS wanted
         WHERE EXISTS (SELECT FROM there) AND wanted::date NOT IN (SELECT month FROM there) ORDER BY 1 LIMIT 10",
    ),
    (
        // By the month of the name, in UTC.
        "partitions with wrong bounds",
        "SELECT name FROM (
             SELECT c.relname::text AS name, to_date(right(c.relname, 7), 'YYYY_MM')::timestamp AS month,
                 regexp_match(pg_get_expr(c.relpartbound, c.oid), $$FROM \\('([^']+)'\\) TO \\('([^']+)'\\)$$) AS bounds
             FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
             WHERE i.inhparent = 'dgm_performance_metrics'::regclass) p
         WHERE bounds IS NULL OR bounds[1]::timestamptz <> month AT TIME ZONE 'UTC'
            OR bounds[2]::timestamptz <> (month + interval '1 month') AT TIME ZONE 'UTC' ORDER BY 1 LIMIT 10",
    ),
    (
        "partitions that are detached, or half",
        "SELECT c.relname::text FROM pg_class c
         LEFT JOIN pg_inherits i ON i.inhrelid = c.oid AND i.inhparent = 'dgm_performance_metrics'::regclass
         WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind = 'r'
           AND c.relname ~ '^dgm_performance_metrics_[0-9]{4}_[0-9]{2}$' AND i.inhdetachpending IS DISTINCT FROM false
         ORDER BY 1 LIMIT 10",
    ),
    (
        // Whatever was done while the triggers of the constraints were off.
        "broken references",
        "SELECT child || '.' || column_name || ' (' || broken || ')' FROM (
             SELECT k.conrelid::regclass::text AS child, a.attname::text AS column_name,
                 ((xpath('/row/n/text()', query_to_xml(format(
                     'SELECT count(*) AS n FROM %s c WHERE c.%I IS NOT NULL AND NOT EXISTS (SELECT FROM %s p WHERE p.%I = c.%I)',
                     k.conrelid::regclass, a.attname, k.confrelid::regclass, p.attname, a.attname), false, true, '')))[1]::text)::bigint
                     AS broken
             FROM pg_constraint k
             JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = k.conkey[1]
             JOIN pg_attribute p ON p.attrelid = k.confrelid AND p.attnum = k.confkey[1]
             WHERE k.contype = 'f' AND k.connamespace = current_schema()::regnamespace AND cardinality(k.conkey) = 1) c
         WHERE broken > 0 ORDER BY 1 LIMIT 10",
    ),
    (
        "the feed's row",
        "SELECT count(*) || ' rows' FROM dgm_archive_feed HAVING count(*) <> 1",
    ),
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

/// Runs every check against a fully migrated database, each in a transaction that cannot write. A check that cannot be run is a
/// finding, and the others are run all the same.
pub async fn verify(connection: &mut PgConnection) -> Vec<Finding> {
    let objects = ask(connection, OBJECTS).await.map(|there| {
        let missing = EXPECTED.lines().filter(|object| !there.iter().any(|there| there == object));
        missing.map(str::to_owned).take(10).collect()
    });
    let mut findings = vec![Finding { check: "missing or changed objects", offenders: objects }];
    for (check, statement) in CHECKS {
        findings.push(Finding { check, offenders: ask(connection, statement).await });
    }
    findings
}

async fn ask(connection: &mut PgConnection, statement: &'static str) -> Result<Vec<String>, Error> {
    let mut transaction = connection.begin_with("BEGIN READ ONLY").await?;
    let names = sqlx::query_scalar(statement).fetch_all(&mut *transaction).await?;
    transaction.commit().await?;
    Ok(names)
}

/// Exact row counts of tables, of all but the migrator's own when `None`; those that do not exist are left out.
///
/// # Errors
/// The server's.
pub async fn row_counts(
    connection: &mut PgConnection,
    tables: Option<&[&str]>,
) -> Result<Vec<(String, i64)>, sqlx::Error> {
    sqlx::query_as(
        "SELECT c.relname::text,
                ((xpath('/row/n/text()', query_to_xml(format('SELECT count(*) AS n FROM %I', c.relname), false, true, '')))[1]::text)::bigint
         FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE n.nspname = current_schema() AND c.relkind IN ('r', 'p') AND NOT c.relispartition
           AND CASE WHEN $1::text[] IS NULL THEN c.relname !~ '^(_sqlx|dgm_migration|dgm_performance_metrics_)'
                    ELSE c.relname = ANY($1) END ORDER BY 1",
    )
    .bind(tables)
    .fetch_all(connection)
    .await
}
