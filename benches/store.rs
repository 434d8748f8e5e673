//! Round trips of statements, group commit and claims on a private PostgreSQL: `cargo bench --bench store`.

#![allow(missing_docs, clippy::expect_used, reason = "a bench that cannot be set up must stop")]

use std::time::{Duration, Instant};

use chrono::Utc;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use dgm_service::db::{Database, Settings};
use dgm_service::domain::archive::NewEntry;
use dgm_service::domain::improvement::NewImprovement;
use dgm_service::domain::sample::NewSample;
use dgm_service::postgres::Server;
use dgm_service::store::Stores;
use dgm_service::store::migrate::Session;
use serde_json::json;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

fn sample() -> NewSample {
    let value = json!({"service_name": "agent", "metric_type": "latency_seconds", "metric_value": 0.25});
    serde_json::from_value(value).expect("a sample")
}

fn entry(id: &str) -> NewEntry {
    let value = json!({"archive_entry_id": id, "service_name": "agent", "problem_statement": "p",
        "solution_patch": "x".repeat(2000), "accuracy_score": 0.5, "constitutional_compliance_score": 1.0});
    serde_json::from_value(value).expect("an entry")
}

fn improvement() -> NewImprovement {
    serde_json::from_value(json!({"service_name": "agent", "problem_statement": "p"})).expect("an improvement")
}

fn benches(c: &mut Criterion) {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path();
    // As root the server runs under another account.
    std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("permissions");
    let server = Server::start(path, &[("shared_buffers", "256MB")]).expect("a server");
    let runtime = Runtime::new().expect("a runtime");
    let stores = runtime.block_on(async {
        let url = server.url("postgres");
        Session::open(&url, Duration::from_mins(1)).await.expect("a session").up(None).await.expect("migrations");
        let stores = Stores::new(Database::new(&url, &Settings::default()).expect("a database"));
        stores.partitions.ensure(Utc::now(), 1).await.expect("partitions");
        stores.archive.create_one(entry("hot"), None).await.expect("an entry");
        stores
    });

    c.bench_function("get an entry", |b| b.iter(|| runtime.block_on(stores.archive.find("hot")).expect("an entry")));
    c.bench_function("store a sample, one client", |b| {
        b.iter(|| runtime.block_on(stores.samples.store(vec![sample()], Utc::now())).expect("stored"));
    });
    let mut group = c.benchmark_group("group commit");
    for clients in [64_u64, 500] {
        group.throughput(Throughput::Elements(clients));
        group.bench_function(format!("{clients} clients, a sample each"), |b| {
            b.iter(|| {
                runtime.block_on(async {
                    let mut tasks = JoinSet::new();
                    for _ in 0..clients {
                        let samples = stores.samples.clone();
                        tasks.spawn(async move { samples.store(vec![sample()], Utc::now()).await });
                    }
                    while let Some(stored) = tasks.join_next().await {
                        stored.expect("a task").expect("stored");
                    }
                });
            });
        });
    }
    group.finish();
    let mut next = 0_u64;
    c.bench_function("claim one of the queued", |b| {
        b.iter_custom(|iterations| {
            runtime.block_on(async {
                // At once, so that they are committed in groups: the setup must not take longer than what is measured.
                let mut queueing = JoinSet::new();
                for _ in 0..iterations {
                    next += 1;
                    let (improvements, id) = (stores.improvements.clone(), format!("i{next}"));
                    queueing.spawn(async move { improvements.create(&id, improvement(), None).await });
                    if queueing.len() == 64 {
                        queueing.join_next().await.expect("a task").expect("a task").expect("queued");
                    }
                }
                while let Some(queued) = queueing.join_next().await {
                    queued.expect("a task").expect("queued");
                }
                let started = Instant::now();
                for _ in 0..iterations {
                    stores.improvements.lease("w", None, 1, 60).await.expect("claimed");
                }
                started.elapsed()
            })
        });
    });
    runtime.block_on(stores.close());
}

criterion_group! {
    name = all;
    config = Criterion::default().measurement_time(Duration::from_secs(3)).sample_size(20);
    targets = benches
}
criterion_main!(all);
