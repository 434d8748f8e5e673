//! `dgm dev` as a newcomer meets it: the real binary, its own PostgreSQL, its two listeners.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output};

use rustix::process::Signal;
use serde_json::Value;

use crate::support::answer::answer;
use crate::support::dev::{Dev, command};
use crate::support::run::subfolder;
use crate::support::stdout;

#[test]
fn it_serves_keeps_its_data_and_refuses_a_second_owner() {
    let directory = subfolder();
    let mut dev = Dev::start(directory.path(), &[]);
    for path in ["/health", "/ready"] {
        dev.get(path).expect(200);
        assert_eq!(dev.ops(path).0, 200, "{path}");
    }
    assert_eq!(dev.get("/nothing").problem(), "not-found");
    assert_eq!(dev.post("/ready", &Value::Null).problem(), "method-not-allowed");
    let docs = dev.get("/docs/");
    assert!(docs.status == 200 && docs.content_type.starts_with("text/html"), "{docs:?}");
    assert_eq!(dev.get("/api/openapi.json").expect(200)["openapi"], "3.1.0");
    assert_eq!(dev.get("/metrics").status, 404, "metrics are for operators only");
    let elsewhere = dev.request("GET", "/ready").header("host", "evil.example:8007");
    assert_eq!(answer(elsewhere).problem(), "misdirected-host");
    let page = dev.request("POST", "/api/v1/improvements/i/cancel").header("origin", "http://evil.example");
    assert_eq!(answer(page).problem(), "misdirected-host", "a page elsewhere makes a browser post here");
    let docs = dev.request("GET", "/ready").header("origin", format!("http://127.0.0.1:{}", dev.api));
    assert_eq!(answer(docs).status, 200);
    let partitions = "SELECT count(*) FROM pg_inherits WHERE inhparent = 'dgm_performance_metrics'::regclass";
    assert_eq!(dev.sql(partitions), "4");
    // PostgreSQL of Debian comes with the library.
    let named = "SELECT count(*) > 0 FROM pg_stat_statements WHERE query LIKE '/* dgm:feed_poll */%'";
    assert_eq!(dev.sql(named), "t");

    let second = command(directory.path()).output().unwrap();
    assert_eq!(second.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&second.stderr).contains("in use by another dgm process"));

    // A schema behind the binary is not ready, and says what to do.
    assert!(dev.dgm(&["migrate", "down", "--to", "9", "--yes"]).status.success());
    let behind = dev.get("/ready");
    assert_eq!((behind.status, behind.problem()), (503, "not-ready"));
    assert!(behind.body["detail"].as_str().unwrap().contains("dgm migrate up"), "{behind:?}");

    dev.sql("INSERT INTO users (subject) VALUES ('kept')");
    assert_eq!(dev.signal(Signal::INT), Some(0));
    let dev = Dev::start(directory.path(), &[]);
    assert_eq!(dev.sql("SELECT subject FROM users"), "kept");
    dev.get("/ready").expect(200);
}

#[test]
fn it_takes_over_the_server_of_a_killed_owner() {
    let directory = subfolder();
    let mut dev = Dev::start(directory.path(), &[]);
    dev.sql("INSERT INTO users (subject) VALUES ('kept')");
    assert_eq!(dev.signal(Signal::KILL), None);
    let mut next = Dev::start(directory.path(), &[]);
    assert_eq!(next.sql("SELECT subject FROM users"), "kept");
    assert_eq!(next.signal(Signal::TERM), Some(0));
}

/// `dgm dev` as a person calls it in a directory: umask 077, no flag for the data.
fn in_directory(directory: &Path) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", "umask 077; exec \"$0\" dev --port 0 --ops-port 0 --auth", env!("CARGO_BIN_EXE_dgm")]);
    command.current_dir(directory);
    command
}

/// Another account of the machine, where this one may become it.
fn as_nobody(program: &str) -> Option<Command> {
    let is_root = std::fs::metadata("/proc/self").is_ok_and(|me| std::os::unix::fs::MetadataExt::uid(&me) == 0);
    is_root.then(|| {
        let mut command = Command::new("runuser");
        command.args(["-u", "nobody", "--", program]).current_dir("/");
        command
    })
}

fn psql(command: &mut Command, url: &str) -> Output {
    command.args(["-XAtqwc", "SELECT current_user", url]).output().unwrap()
}

/// That neither the socket nor TCP lets anybody else in.
fn refuses_others(dev: &Dev) {
    let (_, port) = dev.database.rsplit_once('/').unwrap().0.rsplit_once(':').unwrap();
    let tcp = format!("postgres://dgm@127.0.0.1:{port}/postgres");
    let said = |output: Output| {
        assert!(!output.status.success(), "{output:?}");
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    assert!(said(psql(&mut Command::new("psql"), &tcp)).contains("no password supplied"));
    if let Some(mut other) = as_nobody("psql") {
        assert!(said(psql(&mut other, &tcp)).contains("no password supplied"));
    }
    if let Some(mut other) = as_nobody("psql") {
        assert!(said(psql(&mut other, &dev.database)).contains("Permission denied"));
    }
}

#[test]
fn it_starts_where_no_other_account_can_enter_and_lets_nobody_else_in() {
    // Mode 0700, as a home directory has.
    let home = subfolder();
    std::fs::set_permissions(home.path(), std::fs::Permissions::from_mode(0o700)).unwrap();
    let directory = home.path().join("a project");
    std::fs::create_dir(&directory).unwrap();
    let mut dev = Dev::run(in_directory(&directory));
    let asked = psql(&mut Command::new("psql"), &dev.database);
    assert_eq!(stdout(&asked).trim(), "dgm", "{asked:?}");
    // The program finds it without its address.
    let mut token = Command::new(env!("CARGO_BIN_EXE_dgm"));
    token.args(["token", "create", "--name", "t", "--role", "reader"]).current_dir(&directory);
    let token = token.env_remove("DATABASE_URL").output().unwrap();
    assert!(token.status.success(), "{token:?}");
    refuses_others(&dev);
    assert_eq!(dev.signal(Signal::INT), Some(0));

    // A killed one is taken over there, too.
    let mut dev = Dev::run(in_directory(&directory));
    assert_eq!(dev.sql("SELECT name FROM dgm_api_tokens"), "t");
    assert_eq!(dev.signal(Signal::KILL), None);
    let mut dev = Dev::run(in_directory(&directory));
    assert_eq!(dev.sql("SELECT name FROM dgm_api_tokens"), "t");
    assert_eq!(dev.signal(Signal::INT), Some(0));
}

#[test]
fn a_directory_of_an_older_version_is_closed_and_a_long_path_works() {
    let parent = subfolder();
    // The path of a socket has at most 107 bytes.
    let directory = parent.path().join("x".repeat(60)).join("y".repeat(60));
    let mut dev = Dev::start(&directory, &[]);
    dev.sql("INSERT INTO users (subject) VALUES ('kept')");
    assert_eq!(dev.signal(Signal::INT), Some(0));
    let rules = directory.join("pgdata/pg_hba.conf");
    std::fs::write(&rules, "local all all trust\nhost all all 127.0.0.1/32 trust\n").unwrap();
    let mut dev = Dev::start(&directory, &[]);
    assert_eq!(dev.sql("SELECT subject FROM users"), "kept");
    refuses_others(&dev);
    let folder = dev.database.split('@').nth(1).unwrap().split(':').next().unwrap().replace("%2F", "/");
    assert!(folder.len() < 60 && Path::new(&folder).exists(), "{folder}");
    assert_eq!(dev.signal(Signal::INT), Some(0));
    assert!(!Path::new(&folder).exists(), "{folder} is left behind");
}
