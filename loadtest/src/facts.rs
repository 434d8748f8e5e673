//! What the figures depend on beside the service.

use std::env;
use std::fs;

use crate::database;
use crate::watch::Exposition;

/// The fact that says how many cores the machine has that makes the load.
pub(crate) const CORES: &str = "Cores of the load test's machine";

/// Names and values, in the order of the table; what cannot be found is called unknown.
pub(crate) fn gather(exposition: &Exposition) -> Vec<(String, String)> {
    let build = |label| exposition.values_of("dgm_build_info", label).join(", ");
    let cores = std::thread::available_parallelism().map_or_else(|_| unknown(), |cores| cores.to_string());
    let memory = value("/proc/meminfo", "MemTotal").and_then(|text| text.split(' ').next()?.parse::<u64>().ok());
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let redis = match exposition.sum("dgm_cache_redis_up", &[]) {
        Some(up) if up >= 1.0 => "in use",
        Some(_) => "none, or it does not answer",
        None => "unknown",
    };
    let token = env::var("DGM_TOKEN").is_ok_and(|token| !token.is_empty());
    let facts = [
        ("Service", format!("{} ({}), {}", build("version"), build("revision"), build("rustc"))),
        ("Load test", concat!(env!("CARGO_PKG_VERSION"), ", goose 0.19").to_owned()),
        (CORES, cores),
        ("Processor", value("/proc/cpuinfo", "model name").unwrap_or_else(unknown)),
        ("Memory", memory.map_or_else(unknown, |kib| format!("{} MiB", kib / 1024))),
        ("Kernel", kernel.trim().to_owned()),
        ("PostgreSQL", database::ask(database::SETTINGS).unwrap_or_else(unknown)),
        ("Redis", redis.to_owned()),
        ("Callers show a token", if token { "yes" } else { "no" }.to_owned()),
    ];
    facts.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

fn unknown() -> String {
    "unknown".to_owned()
}

/// The value behind a name, as the files of /proc have them.
fn value(file: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(file).ok()?;
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}
