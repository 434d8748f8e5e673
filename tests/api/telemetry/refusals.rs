//! Why a service has no connection: the metrics name it, and PostgreSQL, which answers, is not reported as down.

use crate::support::serve::Serve;
use crate::support::{Database, until};

const PASSWORD: &str = "secret";

/// A role with the rights of the service, with a limit or an attribute of its own.
fn role(database: &Database, attribute: &str) -> String {
    let role = format!("{}_{}", database.name(), attribute.to_lowercase().replace(' ', "_"));
    database.sql(&format!("CREATE ROLE {role} LOGIN PASSWORD '{PASSWORD}' IN ROLE dgm"));
    database.sql(&format!("ALTER ROLE {role} {attribute}"));
    role
}

/// Waits until a service with a URL counts a class of errors, and checks that it does not call the server down.
fn refused(database: &Database, url: &str, class: &str) {
    let serve = Serve::start_with(database, "", &[("DATABASE_URL", url), ("DGM__JOBS__ENABLED", "false")]);
    let series = format!("dgm_db_errors_total{{class=\"{class}\"}} ");
    until(&series, || serve.count(&series) > 5);
    assert_eq!(serve.metric("dgm_db_up "), Some(1.0), "{class}");
    assert_eq!(serve.operations("/ready").send().unwrap().status(), 503);
}

#[test]
fn a_server_that_refuses_connections_is_not_down() {
    let database = Database::ready();
    let limited = role(&database, "CONNECTION LIMIT 0");
    refused(&database, &database.tcp_url(&limited, PASSWORD), "too_many_connections");
    let barred = role(&database, "NOLOGIN");
    refused(&database, &database.tcp_url(&barred, PASSWORD), "authorization");
    let wrong = role(&database, "NOCREATEDB");
    refused(&database, &database.tcp_url(&wrong, "other"), "authorization");
    let own = database.tcp_url(&wrong, PASSWORD);
    let (server, _) = own.rsplit_once('/').unwrap();
    refused(&database, &format!("{server}/nowhere"), "database");
}

/// The feed, and so the verdict about the server, loses its connection when others have taken all.
#[test]
fn connections_that_are_exhausted_later_are_named() {
    let database = Database::ready();
    let role = role(&database, "CONNECTION LIMIT 20");
    let url = database.tcp_url(&role, PASSWORD);
    let serve = Serve::start_with(&database, "", &[("DATABASE_URL", &url), ("DGM__JOBS__ENABLED", "false")]);
    until("it is ready", || serve.operations("/ready").send().unwrap().status() == 200);
    database.sql(&format!("ALTER ROLE {role} CONNECTION LIMIT 0"));
    database.sql(&format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{role}'"));
    let series = "dgm_db_errors_total{class=\"too_many_connections\"} ";
    until(series, || serve.count(series) > 5);
    assert_eq!(serve.metric("dgm_db_up "), Some(1.0));
    database.sql(&format!("ALTER ROLE {role} CONNECTION LIMIT 20"));
    until("it is ready again", || serve.operations("/ready").send().unwrap().status() == 200);
}
