//! Parameters of a role and a database that contradict what the service needs.

use super::sql;

/// Every parameter that the service sets itself (`src/db/session.rs`), set otherwise.
pub(crate) const HOSTILE: &[(&str, &str)] = &[
    ("statement_timeout", "500ms"),
    ("lock_timeout", "1ms"),
    ("idle_session_timeout", "1s"),
    ("idle_in_transaction_session_timeout", "100ms"),
    ("client_connection_check_interval", "0"),
    ("default_transaction_isolation", "serializable"),
    ("default_transaction_read_only", "on"),
    ("default_transaction_deferrable", "on"),
    ("synchronous_commit", "off"),
    ("TimeZone", "Asia/Kathmandu"),
    ("DateStyle", "SQL, DMY"),
    ("IntervalStyle", "sql_standard"),
    ("client_encoding", "LATIN1"),
    ("bytea_output", "escape"),
    ("extra_float_digits", "-15"),
    ("standard_conforming_strings", "off"),
    ("transform_null_equals", "on"),
    ("array_nulls", "off"),
    ("quote_all_identifiers", "on"),
    ("row_security", "off"),
    ("check_function_bodies", "off"),
    ("client_min_messages", "debug1"),
    ("search_path", "pg_catalog"),
    ("work_mem", "64kB"),
    ("plan_cache_mode", "force_custom_plan"),
    ("jit", "on"),
    ("random_page_cost", "100"),
    ("seq_page_cost", "100"),
    ("from_collapse_limit", "1"),
    ("join_collapse_limit", "1"),
    ("constraint_exclusion", "on"),
    ("enable_async_append", "off"),
    ("enable_bitmapscan", "off"),
    ("enable_gathermerge", "off"),
    ("enable_hashagg", "off"),
    ("enable_hashjoin", "off"),
    ("enable_incremental_sort", "off"),
    ("enable_indexonlyscan", "off"),
    ("enable_indexscan", "off"),
    ("enable_material", "off"),
    ("enable_memoize", "off"),
    ("enable_mergejoin", "off"),
    ("enable_nestloop", "off"),
    ("enable_parallel_append", "off"),
    ("enable_parallel_hash", "off"),
    ("enable_partition_pruning", "off"),
    ("enable_partitionwise_aggregate", "on"),
    ("enable_partitionwise_join", "on"),
    ("enable_seqscan", "off"),
    ("enable_sort", "off"),
    ("enable_tidscan", "off"),
];

/// Whether the servers of the run have all of them set on the role.
pub(crate) fn is_hostile_run() -> bool {
    std::env::var_os("DGM_TEST_HOSTILE").is_some()
}

/// PGOPTIONS of a client program of PostgreSQL that a test runs.
pub(crate) fn pgoptions() -> String {
    let options = NEUTRAL.iter().map(|(name, value)| format!("-c {name}={} ", value.replace(' ', "\\ ")));
    options.collect::<Vec<_>>().concat()
}

/// What the tests' own statements need.
pub(crate) const NEUTRAL: &[(&str, &str)] = &[
    ("statement_timeout", "0"),
    ("lock_timeout", "0"),
    ("idle_session_timeout", "0"),
    ("idle_in_transaction_session_timeout", "0"),
    ("default_transaction_isolation", "read committed"),
    ("default_transaction_read_only", "off"),
    ("default_transaction_deferrable", "off"),
    ("client_encoding", "UTF8"),
    ("TimeZone", "UTC"),
    ("DateStyle", "ISO, MDY"),
    ("IntervalStyle", "postgres"),
    ("bytea_output", "hex"),
    ("extra_float_digits", "1"),
    ("standard_conforming_strings", "on"),
    ("quote_all_identifiers", "off"),
    ("search_path", "public"),
    ("client_min_messages", "notice"),
    ("synchronous_commit", "on"),
    ("work_mem", "4MB"),
    ("plan_cache_mode", "auto"),
    ("jit", "off"),
    ("random_page_cost", "4"),
    ("seq_page_cost", "1"),
    ("enable_bitmapscan", "on"),
    ("enable_hashagg", "on"),
    ("enable_hashjoin", "on"),
    ("enable_indexonlyscan", "on"),
    ("enable_indexscan", "on"),
    ("enable_mergejoin", "on"),
    ("enable_nestloop", "on"),
    ("enable_seqscan", "on"),
    ("enable_sort", "on"),
];

/// Sets all of them: `of` is a role, a role in a database, or a database.
pub(crate) fn make_hostile(url: &str, of: &str) {
    let statements: Vec<String> =
        HOSTILE.iter().map(|(name, value)| format!("ALTER {of} SET {name} = '{value}';")).collect();
    sql(url, &statements.concat());
}
