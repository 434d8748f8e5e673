//! Parameters of a session. A role, a database or the server's configuration may set each of them otherwise
//! (`ALTER ROLE .. SET`), so every connection sets all that the service relies on.
//!
//! They are set by a statement, not in the startup message: poolers refuse or drop `options` there.

use std::fmt::Write as _;
use std::time::Duration;

use super::connect::Kind;

/// What results and durability depend on.
const MEANING: &[(&str, &str)] = &[
    ("default_transaction_isolation", "read committed"),
    ("default_transaction_read_only", "off"),
    ("default_transaction_deferrable", "off"),
    ("TimeZone", "UTC"),
    ("DateStyle", "ISO, MDY"),
    ("IntervalStyle", "postgres"),
    ("client_encoding", "UTF8"),
    ("bytea_output", "hex"),
    ("extra_float_digits", "1"),
    ("standard_conforming_strings", "on"),
    ("transform_null_equals", "off"),
    ("array_nulls", "on"),
    ("quote_all_identifiers", "off"),
    ("row_security", "on"),
    ("check_function_bodies", "on"),
    ("client_min_messages", "warning"),
];

/// How long a session may live and wait. A kind of connection sets some of them otherwise.
const TIMES: &[(&str, &str)] = &[
    ("statement_timeout", "0"),
    ("lock_timeout", "5s"),
    ("idle_session_timeout", "0"),
    ("idle_in_transaction_session_timeout", "30s"),
    ("transaction_timeout", "0"),
    // The statements of a process that was killed end soon after it.
    ("client_connection_check_interval", "5s"),
];

/// What plans depend on.
const PLANNING: &[(&str, &str)] = &[
    ("plan_cache_mode", "auto"),
    // Compiling takes a second where the plan takes a hundredth of that.
    ("jit", "off"),
    // With the default of 4, which suits a spinning disk, the planner walks a large index in order instead of looking up a
    // small part of another one.
    ("random_page_cost", "1.1"),
    ("seq_page_cost", "1"),
    ("from_collapse_limit", "8"),
    ("join_collapse_limit", "8"),
    ("constraint_exclusion", "partition"),
    ("enable_async_append", "on"),
    ("enable_bitmapscan", "on"),
    ("enable_distinct_reordering", "on"),
    ("enable_gathermerge", "on"),
    ("enable_group_by_reordering", "on"),
    ("enable_hashagg", "on"),
    ("enable_hashjoin", "on"),
    ("enable_incremental_sort", "on"),
    ("enable_indexonlyscan", "on"),
    ("enable_indexscan", "on"),
    ("enable_material", "on"),
    ("enable_memoize", "on"),
    ("enable_mergejoin", "on"),
    ("enable_nestloop", "on"),
    ("enable_parallel_append", "on"),
    ("enable_parallel_hash", "on"),
    ("enable_partition_pruning", "on"),
    ("enable_partitionwise_aggregate", "off"),
    ("enable_partitionwise_join", "off"),
    ("enable_presorted_aggregate", "on"),
    ("enable_self_join_elimination", "on"),
    ("enable_seqscan", "on"),
    ("enable_sort", "on"),
    ("enable_tidscan", "on"),
];

/// PostgreSQL's own default. The search path of a role or a database is not inherited: names would resolve to other tables.
/// `options` of the URL may name another one.
const SEARCH_PATH: (&str, &str) = ("search_path", "\"$user\", public");

/// Of these the server's setting stays unless it is below what the service needs: an acknowledged write survives a crash, and
/// small sorts need no files.
const DURABLE: &str = "
    ('synchronous_commit', CASE pg_catalog.current_setting('synchronous_commit') WHEN 'off' THEN 'on'
        ELSE pg_catalog.current_setting('synchronous_commit') END)";
const AT_LEAST: &str = "
    ('work_mem', CASE WHEN pg_catalog.pg_size_bytes(pg_catalog.current_setting('work_mem')) < 4194304 THEN '4MB'
        ELSE pg_catalog.current_setting('work_mem') END)";

/// The name by which the server's own statistics show the statement.
const NAME: &str = "/* dgm:session */ ";
/// Statements in a transaction that does not depend on the parameters of the session: a standby refuses to run serializable ones.
pub(super) fn independent(statements: &str) -> String {
    format!("BEGIN ISOLATION LEVEL READ COMMITTED; {statements}; COMMIT")
}

/// The parameters of a kind of connection that differ.
fn own(kind: Kind, statement_timeout: Duration) -> Vec<(&'static str, String)> {
    let ordinary = ("statement_timeout", milliseconds(statement_timeout));
    match kind {
        Kind::Query | Kind::ChangeFeed => vec![ordinary],
        // Such statements find their rows by keys. With stale statistics the planner would read a table that has grown as a
        // whole. One plan serves all executions: planning each took as long as running it.
        Kind::GroupCommit | Kind::Hub => {
            vec![ordinary, ("enable_seqscan", "off".to_owned()), ("plan_cache_mode", "force_generic_plan".to_owned())]
        }
        // A notification that a crash loses is of no use after it. Flushing it would hold the lock of NOTIFY meanwhile.
        Kind::Notify => vec![ordinary, ("synchronous_commit", "off".to_owned())],
        Kind::Retention { statement_timeout } => vec![
            ("client_connection_check_interval", "1s".to_owned()),
            ("statement_timeout", milliseconds(statement_timeout)),
            // None of its waits blocks readers or writers; waiting for old transactions counts as waiting for a lock.
            ("lock_timeout", "0".to_owned()),
        ],
        // A migration takes as long as it takes. The migrator sets `lock_timeout` again for each step.
        Kind::Migration => vec![
            ("lock_timeout", "2s".to_owned()),
            ("idle_in_transaction_session_timeout", "0".to_owned()),
            ("client_connection_check_interval", "0".to_owned()),
        ],
    }
}

/// The statement that sets the parameters of a session. What the server's version does not know is left out.
pub(super) fn statement(kind: Kind, statement_timeout: Duration, of_url: &[(String, String)]) -> String {
    let mut all: Vec<(&str, &str)> = [MEANING, TIMES, PLANNING, &[SEARCH_PATH]].concat();
    let own = own(kind, statement_timeout);
    for (name, value) in &own {
        match all.iter_mut().find(|(known, _)| known == name) {
            Some(parameter) => parameter.1 = value,
            None => all.push((name, value)),
        }
    }
    // The URL may name the search path and what the service does not rely on.
    let mut further = String::new();
    for (name, value) in of_url {
        match all.iter_mut().find(|(known, _)| known.eq_ignore_ascii_case(name)) {
            Some(parameter) if parameter.0 == SEARCH_PATH.0 => parameter.1 = value,
            Some(_) => {}
            None => {
                let _ = write!(
                    further,
                    "{NAME}SELECT pg_catalog.set_config({}, {}, false);",
                    literal(name),
                    literal(value)
                );
            }
        }
    }
    let durable = if kind == Kind::Notify { String::new() } else { format!(",{DURABLE}") };
    let values: Vec<String> =
        all.iter().map(|(name, value)| format!("({}, {})", literal(name), literal(value))).collect();
    independent(&format!(
        "{further}{NAME}SELECT count(pg_catalog.set_config(name, value, false)) FROM (VALUES {},{AT_LEAST}{durable}) AS wanted(name, value)
        WHERE pg_catalog.current_setting(name, true) IS NOT NULL",
        values.join(",")
    ))
}

fn literal(text: &str) -> String {
    // `standard_conforming_strings` may be off.
    format!("E'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}

fn milliseconds(duration: Duration) -> String {
    format!("{}ms", duration.as_millis())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_url_names_the_search_path_and_nothing_that_the_service_relies_on() {
        let of_url = [("search_path", "it's"), ("Statement_Timeout", "9h"), ("geqo", "off")];
        let of_url = of_url.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let statement = statement(Kind::Query, Duration::from_secs(30), &of_url);
        assert!(statement.contains("(E'search_path', E'it''s')"), "{statement}");
        assert!(statement.contains("(E'statement_timeout', E'30000ms')") && !statement.contains("9h"), "{statement}");
        assert!(
            statement.contains("; /* dgm:session */ SELECT pg_catalog.set_config(E'geqo', E'off', false);"),
            "{statement}"
        );
    }

    #[test]
    fn each_kind_sets_each_parameter_once() {
        let retention = Kind::Retention { statement_timeout: Duration::from_secs(7) };
        let notify = statement(Kind::Notify, Duration::from_secs(30), &[]);
        assert_eq!(notify.matches("synchronous_commit").count(), 1, "{notify}");
        for kind in [Kind::Query, Kind::GroupCommit, Kind::ChangeFeed, Kind::Hub, retention, Kind::Migration] {
            let statement = statement(kind, Duration::from_secs(30), &[]);
            for (name, _) in [MEANING, TIMES, PLANNING, &[SEARCH_PATH]].concat() {
                assert_eq!(statement.matches(&format!("(E'{name}', ")).count(), 1, "{kind:?} {name}");
            }
        }
    }
}
