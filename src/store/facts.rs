//! What `dgm doctor` reads of a server, on a connection of its own: a pool hides why there is none, and may be exhausted.

use std::time::Duration;

use sqlx::PgConnection;

use crate::db::{self, Kind, Source, Wanted, from_row};

/// Settings that everybody may read; the data directory only a role that may see it.
const FACTS: &str = "
    SELECT current_setting('server_version') AS version, current_setting('server_encoding') AS encoding,
        current_user::text AS role, pg_is_in_recovery() AS is_standby, pg_backend_pid() AS backend,
        current_setting('max_connections')::bigint AS max_connections,
        current_setting('superuser_reserved_connections')::bigint
            + coalesce(current_setting('reserved_connections', true)::bigint, 0) AS reserved,
        (SELECT min(most)::bigint FROM (
            SELECT rolconnlimit AS most FROM pg_roles WHERE rolname = current_user
            UNION ALL SELECT datconnlimit FROM pg_database WHERE datname = current_database()) AS limits
            WHERE most >= 0) AS own_limit,
        (SELECT count(*) FROM pg_stat_activity
            WHERE (backend_type = 'client backend' OR backend_type IS NULL AND datname IS NOT NULL)
              AND NOT (datname = current_database() AND application_name LIKE 'dgm%')) AS others,
        (SELECT setting FROM pg_settings WHERE name = 'data_directory') AS data_directory";

/// The tables of the service with the rights that this role lacks, one line a table. The audit of migrations is the
/// migrator's, and partitions are reached by their parent.
const TABLE_RIGHTS: &str = "
    SELECT string_agg(verb, ', ' ORDER BY place) || ' on ' || relname
    FROM (SELECT c.oid, c.relname::text FROM pg_class c
        WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition
          AND c.relname ~ '^(dgm_|users$)' AND c.relname !~ '^dgm_migration_audit|_[0-9]{4}_[0-9]{2}$') AS tables,
        unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']) WITH ORDINALITY AS verbs (verb, place)
    WHERE NOT has_table_privilege(oid, verb) GROUP BY relname ORDER BY relname";

/// What making and dropping a month needs. The owner of the table makes it if this role is a member of it (`PartitionStore`). A function with
/// the rights of its owner needs none but to be called.
const PARTITION_RIGHTS: &str = "
    SELECT r.owns_table, r.owner, concat_ws(' and ',
        CASE WHEN NOT r.may_call THEN 'EXECUTE on create_monthly_partition' END,
        CASE WHEN NOT r.is_definer AND NOT r.owns_table
            THEN 'the rights of ' || r.owner || ', the owner of dgm_performance_metrics' END,
        CASE WHEN NOT r.is_definer AND NOT r.may_create
            THEN 'CREATE on schema ' || current_schema() || CASE WHEN r.owns_table THEN ' for ' || r.owner ELSE '' END END) AS needed
    FROM (SELECT pg_has_role(current_user, t.relowner, 'USAGE') AS owns_table, pg_get_userbyid(t.relowner)::text AS owner,
            p.prosecdef AS is_definer, has_function_privilege(p.oid, 'EXECUTE') AS may_call,
            has_schema_privilege(CASE WHEN pg_has_role(current_user, t.relowner, 'MEMBER') THEN pg_get_userbyid(t.relowner)
                ELSE current_user END, current_schema(), 'CREATE') AS may_create
        FROM pg_class t, pg_proc p
        WHERE t.oid = to_regclass('dgm_performance_metrics') AND p.proname = 'create_monthly_partition'
          AND p.pronamespace = current_schema()::regnamespace) AS r";

/// Owners of partitions, with one of them, whose rights this role lacks although it may have those of the owner of the table.
const FOREIGN_PARTITIONS: &str = "
    SELECT pg_get_userbyid(c.relowner) || ', the owner of ' || min(c.relname)
        || CASE WHEN count(*) > 1 THEN ' and ' || count(*) - 1 || ' more' ELSE '' END
    FROM pg_class c
    WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind = 'r'
      AND c.relname ~ '^dgm_performance_metrics_[0-9]{4}_[0-9]{2}$' AND NOT pg_has_role(current_user, c.relowner, 'USAGE')
    GROUP BY c.relowner ORDER BY 1";

/// Of a server and of the role that asks.
#[derive(Debug, Clone)]
pub struct Facts {
    /// Version of PostgreSQL.
    pub version: String,
    /// Encoding of the database.
    pub encoding: String,
    /// The role.
    pub role: String,
    /// Whether it is a standby.
    pub is_standby: bool,
    /// Process of this session, on the server's machine.
    pub backend: i32,
    /// Connections that the server accepts.
    pub max_connections: i64,
    /// Those of them that are not for ordinary roles.
    pub reserved: i64,
    /// The lower limit of the role and of the database, if either has one.
    pub own_limit: Option<i64>,
    /// Sessions of other programs and other databases.
    pub others: i64,
    /// Where the server's data is, if this role may see it.
    pub data_directory: Option<String>,
}

from_row!(Facts {
    version,
    encoding,
    role,
    is_standby,
    backend,
    max_connections,
    reserved,
    own_limit,
    others,
    data_directory
});

/// What this role may do with partitions.
#[derive(Debug, Clone)]
pub struct PartitionRights {
    /// Whether it has the rights of the owner of the partitioned table.
    pub owns_table: bool,
    /// That owner.
    pub owner: String,
    /// What it lacks to make one, in words; empty when it lacks nothing.
    pub needed: String,
}

from_row!(PartitionRights { owns_table, owner, needed });

/// Why a server cannot be asked, in words.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Unreachable(String);

/// A connection that asks one thing after another.
#[derive(Debug)]
pub struct Examination {
    connection: PgConnection,
    /// Which database, on which server.
    pub database: String,
}

impl Examination {
    /// Connects, and waits at most `timeout` for it.
    ///
    /// # Errors
    /// [`Unreachable`].
    pub async fn open(url: &str, wanted: Wanted, timeout: Duration) -> Result<Self, Unreachable> {
        let source = Source::parse(url, wanted, timeout)
            .map_err(|error| Unreachable(format!("the URL of the database: {error}")))?;
        let database = source.describe();
        let connected = tokio::time::timeout(timeout, source.connect(Kind::Query)).await;
        match connected {
            Ok(Ok(connection)) => Ok(Self { connection, database }),
            Ok(Err(error)) => Err(Unreachable(error.reason_of(&database))),
            Err(_) => Err(Unreachable(format!("{database}: no answer within {timeout:?}"))),
        }
    }

    /// The facts.
    ///
    /// # Errors
    /// The server's.
    pub async fn facts(&mut self) -> Result<Facts, db::Error> {
        Ok(sqlx::query_as(FACTS).fetch_one(&mut self.connection).await?)
    }

    /// Rights on tables that this role lacks.
    ///
    /// # Errors
    /// The server's.
    pub async fn missing_table_rights(&mut self) -> Result<Vec<String>, db::Error> {
        Ok(sqlx::query_scalar(TABLE_RIGHTS).fetch_all(&mut self.connection).await?)
    }

    /// What this role may do with partitions; `None` without the schema.
    ///
    /// # Errors
    /// The server's.
    pub async fn partition_rights(&mut self) -> Result<Option<PartitionRights>, db::Error> {
        Ok(sqlx::query_as(PARTITION_RIGHTS).fetch_optional(&mut self.connection).await?)
    }

    /// Owners of partitions that this role has not the rights of.
    ///
    /// # Errors
    /// The server's.
    pub async fn foreign_partitions(&mut self) -> Result<Vec<String>, db::Error> {
        Ok(sqlx::query_scalar(FOREIGN_PARTITIONS).fetch_all(&mut self.connection).await?)
    }
}
