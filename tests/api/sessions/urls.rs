use crate::support::run::password;
use crate::support::serve::Serve;
use crate::support::{Database, dgm, stdout};

fn text(output: &std::process::Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned() + &stdout(output)
}

#[test]
fn a_wrong_url_is_refused_at_the_start_by_every_command() {
    let database = Database::migrated();
    let url = database.tcp_url("dgm", "secret");
    let with = |parameter: &str| format!("{url}?{parameter}");
    let cases = [
        (with("sslmod=require"), "\"sslmod\""),
        (with("sslmode=disable&conect_timeout=3"), "\"conect_timeout\""),
        (url.replace("postgres://", "postgre://"), "\"postgre\""),
        (url.replace("127.0.0.1", "::1"), "brackets"),
    ];
    for (url, expected) in &cases {
        for arguments in [&["serve"][..], &["doctor"], &["migrate", "status"], &["token", "list"], &["job", "list"]] {
            let output = dgm(url, arguments);
            let said = text(&output);
            assert!(!output.status.success() && said.contains(expected), "{arguments:?} {url}: {said}");
            assert!(!said.contains("secret"), "{said}");
        }
    }
    let replica = std::process::Command::new(env!("CARGO_BIN_EXE_dgm"))
        .arg("serve")
        .envs([("DATABASE_URL", database.url()), ("DATABASE_REPLICA_URL", "postgres://h/d?sslmod=require".to_owned())])
        .output()
        .unwrap();
    assert!(text(&replica).contains("database.replica_url: it has the parameter \"sslmod\""), "{replica:?}");
    // Nothing listens there: the address is shown.
    let unreachable = dgm("postgres://u:secret@127.0.0.1:1/d", &["migrate", "status"]);
    assert!(text(&unreachable).contains("127.0.0.1:1") && !text(&unreachable).contains("secret"), "{unreachable:?}");
}

#[test]
fn an_ipv6_literal_is_an_address_also_of_the_replica() {
    let database = Database::own("it listens on an IPv6 address, too", &[("listen_addresses", "127.0.0.1,::1")]);
    let url = database.tcp_url("dgm", password()).replace("127.0.0.1", "[::1]");
    assert!(stdout(&dgm(&url, &["migrate", "status"])).contains("applied"));
    let mut serve = Serve::start_with(&database, "", &[("DATABASE_URL", &url), ("DATABASE_REPLICA_URL", &url)]);
    serve.token = database.token("worker");
    serve.call("GET", "/api/v1/archive?service=s", None).expect(200);
    let addresses =
        "SELECT string_agg(DISTINCT host(client_addr), ',') FROM pg_stat_activity WHERE application_name = 'dgm'";
    assert_eq!(database.sql(addresses), "::1");
    // A server that does not answer in front of it, as in a cluster that has lost one.
    let several = url.replace("[::1]", "127.0.0.1:1,[::1]");
    assert!(stdout(&dgm(&several, &["token", "list"])).contains("worker"));
    let none = dgm("postgres://dgm@127.0.0.1:1,[::1]:2/d", &["migrate", "status"]);
    assert!(text(&none).contains("127.0.0.1:1") && text(&none).contains("[::1]:2"), "{}", text(&none));
}

#[test]
fn a_search_path_comes_from_the_url_and_not_from_the_role() {
    let database = Database::empty();
    database.sql("CREATE SCHEMA tools");
    let url = format!("{}?options=-csearch_path%3Dtools", database.url());
    assert!(dgm(&url, &["migrate", "up"]).status.success());
    assert_eq!(
        database.sql("SELECT to_regclass('tools.dgm_archive') IS NOT NULL, to_regclass('public.dgm_archive') IS NULL"),
        "t|t"
    );
    assert!(stdout(&dgm(&url, &["migrate", "status"])).contains("applied"));
    // As it was set up before: by the role. That is refused with what to do, and nothing is created in another schema.
    database.sql(&format!("ALTER ROLE dgm IN DATABASE {} SET search_path = tools", database.name()));
    let refused = database.dgm(&["migrate", "up"]);
    assert!(!refused.status.success() && text(&refused).contains("options=-csearch_path%3Dtools"), "{refused:?}");
    assert_eq!(database.sql("SELECT to_regclass('public.dgm_archive') IS NULL"), "t");
}

#[test]
fn another_encoding_is_refused() {
    let database = Database::empty();
    let name = format!("{}_ascii", database.name());
    database.sql(&format!("CREATE DATABASE {name} ENCODING 'SQL_ASCII' TEMPLATE template0"));
    let url = database.url().replace(database.name(), &name);
    for arguments in [&["migrate", "up"][..], &["serve"], &["doctor"]] {
        let output = dgm(&url, arguments);
        let said = text(&output);
        assert!(
            !output.status.success() && said.contains("SQL_ASCII") && said.contains("UTF8"),
            "{arguments:?}: {said}"
        );
    }
    assert!(stdout(&Database::ready().dgm(&["doctor"])).contains("encoding     ok    UTF8"));
}
