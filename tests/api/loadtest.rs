//! The load test against a real service: what passes, what is called by its name when it does not, and where it refuses to
//! go. How fast the service is, is not asked here.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::redis::Logical;
use crate::support::serve::Serve;
use crate::support::slow_flush::SlowFlush;
use crate::support::{Database, dev, setting};

/// The other program of the workspace: `cargo test --workspace` builds it for the tests of its command line.
fn program() -> Command {
    let path = Path::new(env!("CARGO_BIN_EXE_dgm")).with_file_name("dgm-loadtest");
    assert!(path.exists(), "{} is not built: cargo build -p dgm-loadtest", path.display());
    Command::new(path)
}

/// The load test waits for figures of the database before and after each run, by default up to 15 s each.
const HEALTH: (&str, &str) = ("DGM__JOBS__SCHEDULES", "collect-health=* * * * * *");

/// A run of the smoke profile against a service.
fn smoke(service: &Serve, token: &str, folder: &Path) -> Command {
    let mut command = program();
    command
        .args(["--profile", "smoke", "--keep"])
        .args(["--host", &format!("http://{}", service.api), "--operations", &format!("http://{}", service.ops)])
        .arg("--output")
        .arg(folder)
        .env("DGM_TOKEN", token)
        .env("DGM_SERVER_PID", service.pid().to_string());
    command
}

/// What a run came to: its exit code, and its report.
struct Run {
    output: Output,
    folder: PathBuf,
    report: Value,
}

impl Run {
    fn of(service: &Serve, token: &str, folder: &Path) -> Self {
        // A machine that stalls answers some 100 requests a second: the cache must be warm after few.
        let seconds = setting("DGM_TEST_LOAD_SECONDS", 5).to_string();
        let output =
            smoke(service, token, folder).args(["--seconds", &seconds, "--population", "50"]).output().unwrap();
        let text = std::fs::read(folder.join("report.json")).unwrap_or_else(|error| panic!("{error}: {output:?}"));
        let report = serde_json::from_slice(&text).unwrap();
        Self { output, folder: folder.to_owned(), report }
    }

    fn outcome(&self, target: &str) -> &str {
        let targets = self.report["verdict"].as_array().unwrap();
        let found = targets.iter().find(|found| found["name"] == target);
        found.unwrap_or_else(|| panic!("no target {target}: {}", self.said()))["outcome"].as_str().unwrap()
    }

    fn said(&self) -> String {
        String::from_utf8_lossy(&self.output.stdout).into_owned()
    }
}

#[test]
fn a_sound_service_passes_the_smoke_test() {
    let (database, redis) = (Database::migrated(), Logical::new());
    let (service, token) = (Serve::start_with(&database, &redis.url(), &[HEALTH]), database.token("worker"));
    let folder = tempfile::tempdir().unwrap();
    let run = Run::of(&service, &token, folder.path());
    eprintln!("{}", run.said());
    assert!(run.output.status.success(), "{}", run.said());
    assert!(run.said().contains("PASSED"), "{}", run.said());
    for target in ["errors", "cache hit rate", "index usage"] {
        assert_eq!(run.outcome(target), "met", "{target}");
    }
    for target in ["throughput", "latency p95", "open loop: latency p95"] {
        assert_eq!(run.outcome(target), "not_judged", "{target}: this machine may be busy");
    }
    // All four roles were at work, and the service counted what they sent.
    let operations = run.report["operations"].as_array().unwrap();
    let succeeded = |name: &str| {
        let found = operations.iter().find(|operation| operation["name"] == name);
        found.map_or(0, |operation| operation["succeeded"].as_u64().unwrap())
    };
    for operation in ["GET /api/v1/archive/{id}", "POST /api/v1/metrics", "POST /api/v1/improvements/{id}/complete"] {
        assert!(succeeded(operation) > 0, "{operation}: {}", run.said());
    }
    let looked = ["GET /api/v1/metrics/{service}/current", "GET /api/v1/archive", "GET /api/v1/archive/{id}/lineage"];
    assert!(looked.into_iter().map(succeeded).sum::<u64>() > 0, "{}", run.said());
    let all: u64 = operations.iter().map(|operation| operation["succeeded"].as_u64().unwrap()).sum();
    assert_eq!(run.report["all"]["succeeded"], all);
    let counted = service.count("dgm_http_requests_total{route=\"/api/v1/metrics\",method=\"POST\",status=\"2xx\"}");
    assert!(counted > succeeded("POST /api/v1/metrics"), "those of the open loop, too: {counted}");
    assert!(run.report["server"]["connections"].as_f64().unwrap() >= 10.0, "{}", run.report["server"]);
    assert!(run.report["all"]["raw"]["p95_ms"].as_f64().unwrap() > 0.0);
    for name in ["report.md", "report.html"] {
        let text = std::fs::read_to_string(run.folder.join(name)).unwrap();
        assert!(text.contains("cache hit rate"), "{name}");
    }
}

#[test]
fn a_run_slower_than_its_baseline_fails() {
    let database = Database::migrated();
    let service = Serve::start_with(&database, "", &[HEALTH]);
    let folder = tempfile::tempdir().unwrap();
    let run = |baseline: &Path| {
        smoke(&service, &database.token("worker"), folder.path())
            .args(["--seconds", "2", "--open-rate", "0", "--entries", "1000", "--baseline"])
            .arg(baseline)
            .output()
            .unwrap()
    };
    // A report of an earlier commit at a hundred times its speed, which no machine reaches.
    let stored = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/api/loadtest-baseline.json");
    let mut baseline: Value = serde_json::from_slice(&std::fs::read(stored).unwrap()).unwrap();
    baseline["requests_per_second"] = (baseline["requests_per_second"].as_f64().unwrap() * 100.0).into();
    let fast = folder.path().join("baseline.json");
    std::fs::write(&fast, serde_json::to_vec(&baseline).unwrap()).unwrap();
    let output = run(&fast);
    let said = String::from_utf8_lossy(&output.stdout);
    let failed = said.lines().last().unwrap();
    assert!(!output.status.success() && failed.contains("throughput beside the baseline's"), "{said}");
}

#[test]
fn what_is_wrong_is_called_by_its_name() {
    let database = Database::migrated();
    // No room in the process, and no Redis.
    let service = Serve::start_with(&database, "", &[HEALTH, ("DGM__CACHE__MAX_BYTES", "1")]);
    database.sql("DROP INDEX idx_dgm_archive_parent");
    let folder = tempfile::tempdir().unwrap();
    let run = Run::of(&service, &database.token("worker"), folder.path());
    eprintln!("{}", run.said());
    assert_eq!(run.output.status.code(), Some(1));
    assert_eq!(run.outcome("errors"), "met", "{}", run.said());
    for target in ["cache hit rate", "index usage"] {
        assert_eq!(run.outcome(target), "missed", "{target}: {}", run.said());
    }
    assert!(run.said().ends_with("FAILED: cache hit rate; index usage\n"), "{}", run.said());
}

#[test]
fn delayed_flushes_are_pauses_of_the_disk_and_a_locked_table_is_none() {
    const TIMES: u32 = 3;
    const PAUSE: Duration = Duration::from_millis(600);
    let (slow, folder) = (SlowFlush::build(), crate::support::run::subfolder());
    let mut command = dev::command(&folder.path().join("data"));
    slow.preload(&mut command);
    command.env(HEALTH.0, HEALTH.1);
    let service = dev::Dev::run(command);
    let output = folder.path().join("report");
    let mut load = program();
    load.args(["--profile", "smoke", "--keep", "--seconds", "6", "--entries", "500", "--population", "300"])
        .args(["--open-rate", "0", "--data-directory"])
        .arg(folder.path().join("data/pgdata"))
        .args(["--host", &format!("http://127.0.0.1:{}", service.api)])
        .args(["--operations", &format!("http://127.0.0.1:{}", service.ops), "--output"])
        .arg(&output)
        .env("DATABASE_URL", &service.database)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut load = load.spawn().unwrap();
    let mut told = BufReader::new(load.stderr.take().unwrap()).lines().map_while(Result::ok);
    assert!(told.any(|line| line.contains("Smoke: up to 20 users")));
    let began = Instant::now();
    let rest = std::thread::spawn(move || told.collect::<Vec<String>>());
    std::thread::sleep(Duration::from_secs(1));
    slow.pause(1000, u32::try_from(PAUSE.as_millis()).unwrap());
    std::thread::sleep(Duration::from_secs(1) * TIMES);
    slow.stop();
    let stopped = began.elapsed();
    for _ in 0..TIMES {
        service.sql(
            "BEGIN; LOCK TABLE dgm_archive, dgm_improvements IN ACCESS EXCLUSIVE MODE; SELECT pg_sleep(0.3); COMMIT",
        );
        std::thread::sleep(Duration::from_millis(200));
    }
    let said = load.wait_with_output().unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&said.stdout), rest.join().unwrap().join("\n"));
    let report: Value = serde_json::from_slice(&std::fs::read(output.join("report.json")).unwrap()).unwrap();
    let disk = &report["disk"];
    assert!(disk["probe"]["number"].as_u64().unwrap() > 20, "{disk}");
    // A pause that the probe or the device saw is one of this machine, which others may slow down.
    let pauses = disk["pauses"].as_array().unwrap().iter();
    let (injected, later): (Vec<_>, Vec<_>) = pauses
        .filter(|pause| pause["probe_ms"].is_null() && pause["device"].is_null())
        .partition(|pause| pause["from"].as_f64().unwrap() < stopped.as_secs_f64());
    // The sampler may miss one. When this thread is late, further ones begin: one each second, from the first second on.
    let most = usize::try_from((stopped + PAUSE).as_secs()).unwrap();
    assert!((2..=most).contains(&injected.len()), "{TIMES} to {most} pauses until {stopped:?}: {disk}");
    // One may be the machine's.
    assert!(later.len() <= 1, "{TIMES} locks, and no pause, after {stopped:?}: {disk}");
    for pause in injected {
        assert!(pause["wal"]["waits"].as_str().unwrap().contains("IO:WALSync"), "{pause}");
    }
    assert!(said.contains("the disk paused ") && said.contains("only its flushes: the probe's returned"), "{said}");
    let waited = disk["waits"].as_array().unwrap().iter().any(|wait| wait["event"] == "Lock:relation");
    assert!(waited, "statements waited for the lock: {disk}");
}
