//! The commands of the runbooks: each is known, parses, and works as written. What needs servers is part of the live test.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use dgm_service::observability::runbooks;

use super::stack::Monitoring;
use crate::support::run::READY;
use crate::support::serve::Serve;
use crate::support::{Database, sql};

/// Commands that the operator's own machine has.
const TOOLS: &[&str] = &[
    "awk", "cat", "curl", "cut", "date", "echo", "grep", "head", "jq", "openssl", "promtool", "sed", "sort", "tail",
    "uniq", "xargs",
];
/// Of these alerts the cause exists only in Kubernetes.
const OF_KUBERNETES: &[&str] = &["DgmCertificateExpiring", "DgmClaimFull"];
/// Those that reach nothing but the service, its servers and Prometheus, so that a test can run them.
const REACHABLE: &[&str] = &["api", "curl", "dgm", "promql", "redis", "sql"];

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn read(name: &str) -> String {
    std::fs::read_to_string(file(name)).unwrap()
}

fn bash(script: &str) -> Output {
    Command::new("bash").args(["-c", script]).stdin(Stdio::null()).output().unwrap()
}

/// The blocks of a language, each with the runbook that it is in.
fn blocks(language: &str) -> Vec<(&'static str, String)> {
    let mut found = Vec::new();
    for name in runbooks::names() {
        let mut rest = runbooks::of(name).unwrap();
        while let Some((_, after)) = rest.split_once("```") {
            let (block, after) = after.split_once("```").unwrap();
            if let Some(text) = block.strip_prefix(language).and_then(|text| text.strip_prefix('\n')) {
                found.push((name, text.to_owned()));
            }
            rest = after;
        }
    }
    assert!(found.len() > 20, "{language}: {}", found.len());
    found
}

/// The simple commands of a script: pieces between `|`, `;`, `&` and new lines that are not in quotes.
fn commands(script: &str) -> Vec<String> {
    let mut pieces = vec![String::new()];
    let mut quote = None;
    for c in script.chars() {
        match quote {
            Some(mark) if c == mark => quote = None,
            None if c == '\'' || c == '"' => quote = Some(c),
            _ => {}
        }
        if quote.is_none() && ['|', ';', '&', '\n'].contains(&c) {
            pieces.push(String::new());
        } else {
            pieces.last_mut().unwrap().push(c);
        }
    }
    let commands = pieces.into_iter().map(|piece| piece.trim().to_owned());
    commands.filter(|command| !command.is_empty() && !command.starts_with('#')).collect()
}

fn program(command: &str) -> &str {
    command.split_whitespace().find(|word| !word.contains('=') || word.starts_with('"')).unwrap_or_default()
}

/// The functions of oncall.sh that are meant for people.
fn functions() -> BTreeSet<String> {
    let text = read("alerts/runbooks/oncall.sh");
    let names = text.lines().filter_map(|line| line.split_once("() {")).map(|(name, _)| name.to_owned());
    names.filter(|name| !name.starts_with('_')).collect()
}

#[test]
fn every_command_is_one_that_the_operator_has() {
    let functions = functions();
    assert!(functions.len() > 10, "{functions:?}");
    let mut faulty = Vec::new();
    let mut script = String::new();
    for (name, block) in blocks("sh") {
        for command in commands(&block) {
            let program = program(&command);
            let known = functions.contains(program)
                || TOOLS.contains(&program)
                || program == "kubectl" && OF_KUBERNETES.contains(&name);
            if !known {
                faulty.push(format!("{name}: {program:?} is no command of oncall.sh: {command}"));
            }
        }
        let _ = writeln!(script, "{block}");
    }
    let parsed = bash(&format!("set -n\n{script}"));
    if !parsed.status.success() {
        faulty.push(format!("{parsed:?}"));
    }
    for name in runbooks::names() {
        if !runbooks::of(name).unwrap().contains("[oncall.sh](README.md#before-you-start)") {
            faulty.push(format!("{name} does not name its commands"));
        }
    }
    assert!(faulty.is_empty(), "{}", faulty.join("\n"));
}

/// clap prints the help only after it has understood all that is before `--help`.
#[test]
fn every_command_line_of_dgm_parses() {
    let mut lines: BTreeSet<String> = blocks("sh").iter().flat_map(|(_, block)| commands(block)).collect();
    for name in runbooks::names().chain(["README"]) {
        let spans = runbooks::of(name).unwrap().split('`').skip(1).step_by(2);
        lines.extend(spans.filter(|span| !span.contains('\n')).flat_map(commands));
    }
    let lines: Vec<&String> = lines.iter().filter(|line| program(line) == "dgm" && !line.contains("...")).collect();
    assert!(lines.len() > 20, "{lines:?}");
    for line in lines {
        let script = format!("dgm() {{ '{}' \"$@\"; }}; {line} --help", env!("CARGO_BIN_EXE_dgm"));
        let parsed = bash(&script);
        assert!(parsed.status.success(), "{line}: {}", String::from_utf8_lossy(&parsed.stderr));
    }
}

#[test]
fn the_commands_are_there_in_each_place() {
    let path = file("alerts/runbooks/oncall.sh");
    let mut script = format!("set -e; . '{}'\n", path.display());
    let text = read("alerts/runbooks/oncall.sh");
    for place in ["machine", "compose", "kubernetes"] {
        for function in functions() {
            let delegates = text.contains(&format!("_${{DGM_IN}}_{function}\""));
            if delegates {
                let _ = writeln!(script, "declare -F _{place}_{function} > /dev/null || echo 'no _{place}_{function}'");
            }
        }
        let _ = writeln!(script, "declare -F _{place}_addresses > /dev/null || echo 'no _{place}_addresses'");
    }
    let loaded = bash(&script);
    assert!(loaded.status.success() && loaded.stdout.is_empty() && loaded.stderr.is_empty(), "{loaded:?}");
    // The image of the service has no shell and no other program.
    let of_image = text.lines().filter(|line| line.contains("exec -T dgm ") || line.contains("-c dgm-service -- "));
    for line in of_image.clone() {
        let after = line.split("exec -T dgm ").nth(1).or(line.split("-c dgm-service -- ").nth(1)).unwrap();
        assert!(after.starts_with("dgm "), "{line}");
    }
    assert!(of_image.count() >= 4);
    // What they name, the manifests have.
    let compose = read("compose.yaml");
    for service in ["dgm", "postgres", "redis", "prometheus"] {
        assert!(compose.contains(&format!("\n  {service}:\n")), "compose.yaml has no service {service}");
    }
    let named = [
        ("k8s/base/deployment.yaml", "- name: dgm-service\n"),
        ("k8s/base/deployment.yaml", "app.kubernetes.io/name: dgm-service"),
        ("k8s/base/deployment.yaml", "app.kubernetes.io/component: api"),
        ("k8s/base/deployment.yaml", "name: dgm-postgres-app\n                  key: uri"),
        ("k8s/base/deployment.yaml", "- name: archive\n          persistentVolumeClaim"),
        ("k8s/base/deployment.yaml", "- name: logs\n          persistentVolumeClaim"),
        ("k8s/components/postgres/cluster.yaml", "kind: Cluster\nmetadata:\n  name: dgm-postgres\n"),
        ("k8s/components/postgres/network.yaml", "cnpg.io/cluster: dgm-postgres"),
        ("k8s/components/redis/network.yaml", "redis_setup_type: cluster"),
        ("k8s/components/redis/kustomization.yaml", "name: dgm-redis\n                        key: password"),
    ];
    for (manifest, words) in named {
        assert!(read(manifest).contains(words), "{manifest} lacks {words:?}");
    }
}

/// Every expression is one that Prometheus understands.
pub(super) fn promql(monitoring: &Monitoring) -> Vec<String> {
    let expressions = blocks("promql");
    for (_, expression) in &expressions {
        // It fails where the answer is not a success.
        monitoring.query(expression.trim());
    }
    eprintln!("{} expressions of runbooks are understood", expressions.len());
    Vec::new()
}

/// What a block may be answered where its fault is not there.
const NOT_THERE: &[&str] = &["cannot complete detaching"];

/// Every statement, as the role that serves: it owns the tables and has `pg_monitor`, and is no superuser.
pub(super) fn statements(database: &Database) -> Vec<String> {
    // The other template: what the load uses stays as it is.
    let ready = database.url().replacen(database.name(), READY, 1);
    sql(
        &ready,
        "CREATE EXTENSION IF NOT EXISTS pg_stat_statements; DROP ROLE IF EXISTS serving;
        CREATE ROLE serving LOGIN IN ROLE dgm, pg_monitor, pg_signal_backend",
    );
    let months = sql(
        &ready,
        "SELECT to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM'), to_char(now() AT TIME ZONE 'UTC' + interval '1 month', 'YYYY-MM')",
    );
    let (this, next) = months.split_once('|').unwrap();
    let mut script = String::new();
    let blocks = blocks("sql");
    for (name, block) in &blocks {
        let block = ["2026-11", "2026-12"].iter().zip([this, next]).fold(block.clone(), |block, (example, month)| {
            block.replace(example, month).replace(&example.replace('-', "_"), &month.replace('-', "_"))
        });
        let _ = writeln!(script, "\\warn == {name}\n{block};");
    }
    let mut psql = Command::new("psql")
        .args(["-Xq", "-o", "/dev/null", &ready.replacen("dgm@", "serving@", 1)])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    psql.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
    let output = psql.wait_with_output().unwrap();
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    let seen = words.lines().filter(|line| line.starts_with("== ")).count();
    let mut name = "";
    let mut faulty = Vec::new();
    for line in words.lines() {
        name = line.strip_prefix("== ").unwrap_or(name);
        let failed = ["ERROR:", "FATAL:", "invalid command"].iter().any(|word| line.contains(word));
        if failed && !NOT_THERE.iter().any(|allowed| line.contains(allowed)) {
            faulty.push(format!("{name}: {line}"));
        }
    }
    if seen != blocks.len() {
        faulty.push(format!("{seen} of {} blocks of SQL ran", blocks.len()));
    }
    eprintln!("{seen} blocks of SQL ran as the role that serves");
    faulty
}

/// The commands on a machine, and those blocks that reach nothing but the service, its servers and Prometheus.
pub(super) fn on_a_machine(serve: &Serve, database: &Database, redis: &str, monitoring: &Monitoring) -> Vec<String> {
    let environment = tempfile::NamedTempFile::new().unwrap();
    let variables = format!("DATABASE_URL='{}'\nREDIS_URL='{redis}'\n", database.url());
    std::fs::write(environment.path(), variables).unwrap();
    let dgm = Path::new(env!("CARGO_BIN_EXE_dgm"));
    let mut script = format!(
        "export PATH='{}':$PATH DGM_ENVIRONMENT='{}' API=http://{} OPS=http://{} PROMETHEUS={}\n. <(command dgm runbook oncall.sh)\noncall machine\n",
        dgm.parent().unwrap().display(),
        environment.path().display(),
        serve.api,
        serve.ops,
        monitoring.url
    );
    script.push_str(
        "[ \"$(sql -Atc 'SELECT 7')\" = 7 ] || echo 'error: sql' >&2\n\
         [ \"$(redis PING)\" = PONG ] || echo 'error: redis' >&2\n\
         dgm job list | grep -q rescue-leases || echo 'error: dgm' >&2\n\
         api GET /api/v1/admin/jobs | jq -e .items > /dev/null || echo 'error: api' >&2\n\
         promql 'up{job=\"dgm\"}' | grep -q '\"instance\".*1$' || echo 'error: promql' >&2\n",
    );
    let mut ran = 0;
    for (name, block) in blocks("sh") {
        let commands = commands(&block);
        let reaches = |command: &String| {
            let program = program(command);
            (REACHABLE.contains(&program) || TOOLS.contains(&program)) && program != "openssl" && program != "promtool"
        };
        // Those that delete, and those with a placeholder, are not for a test.
        let harmless = !["--yes", "--bigkeys", "--latency", "HOST", "<improvement_id>", "files verify", "OTEL"]
            .iter()
            .any(|word| block.contains(word));
        if commands.iter().all(reaches) && harmless {
            ran += 1;
            let _ = writeln!(script, "echo '== {name}' >&2\n{{\n{block}\n}} > /dev/null");
        }
    }
    let output = Command::new("timeout").args(["60", "bash", "-c", &script]).stdin(Stdio::null()).output().unwrap();
    let words = String::from_utf8_lossy(&output.stderr);
    eprintln!("{ran} blocks of commands ran as on a machine");
    let mut name = "oncall";
    let mut faulty = Vec::new();
    for line in words.lines() {
        name = line.strip_prefix("== ").unwrap_or(name);
        if line.contains("not found") || line.contains("error:") {
            faulty.push(format!("{name}: {line}"));
        }
    }
    if ran < 20 || output.status.code() == Some(124) {
        faulty.push(format!("{ran} blocks of commands: {output:?}"));
    }
    faulty
}
