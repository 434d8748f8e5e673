//! The path of a cache hit, and JSON in and out: `cargo bench --bench cache`.

#![allow(missing_docs, clippy::expect_used, reason = "a bench that cannot be set up must stop")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use bytes::Bytes;
use criterion::{Criterion, criterion_group, criterion_main};
use dgm_service::cache::{Cache, Cached, Key, LoadLost, Loaded, News, Settings};
use dgm_service::domain::archive::NewEntry;
use dgm_service::domain::sample::NewSample;
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution as _, Zipf};
use tokio::runtime::Runtime;

const ENTRIES: u32 = 10_000;
const BODY: usize = 2500;

#[derive(Debug)]
struct Lost;

impl From<LoadLost> for Lost {
    fn from(_: LoadLost) -> Self {
        Self
    }
}

fn key(n: usize) -> Key {
    Key::Entry { id: format!("lt-0f8fad5bd9cb469fa16570867728950e-{n}") }
}

async fn read(cache: &Cache, key: &Key) -> Bytes {
    let load = || async {
        let cached = Cached::new(Bytes::from(vec![b'x'; BODY]), Some("\"v1\"".to_owned()), 1);
        Ok::<_, Lost>(Loaded::Found { cached, ttl: Duration::from_hours(1), as_of: 1 })
    };
    cache.get_or_load(key, load).await.ok().flatten().map(|cached| cached.body).unwrap_or_default()
}

fn tiers(c: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    let cache = runtime.block_on(async {
        let settings = Settings { max_bytes: 256 << 20, redis: None, coherent: true };
        let cache = Cache::new(&settings).expect("a cache");
        cache.learn(&News { asked: Instant::now(), generation: 1, complete_from: 0, changes: Vec::new() });
        cache
    });
    let keys: Vec<Key> = (0..ENTRIES as usize).map(key).collect();
    runtime.block_on(async {
        for key in &keys {
            read(&cache, key).await;
        }
    });
    let zipf = Zipf::new(f64::from(ENTRIES), 0.99).expect("a distribution");
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let mut confirm = 0_u32;
    c.bench_function("hit, popular by Zipf 0.99 over 10,000 entries", |b| {
        b.iter(|| {
            confirm += 1;
            if confirm.is_multiple_of(100_000) {
                // Copies are served only while the feed is confirmed.
                cache.learn(&News { asked: Instant::now(), generation: 1, complete_from: 0, changes: Vec::new() });
            }
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rank")]
            let rank = zipf.sample(&mut rng) as usize - 1;
            runtime.block_on(read(&cache, black_box(&keys[rank])))
        });
    });
    let mut fresh = 0;
    c.bench_function("miss, loaded at once", |b| {
        b.iter(|| {
            fresh += 1;
            runtime.block_on(read(&cache, &key(1_000_000 + fresh)))
        });
    });
}

fn json(c: &mut Criterion) {
    let sample = br#"{"service_name":"agent","metric_type":"latency_seconds","metric_value":0.25,
        "measurement_timestamp":"2026-11-24T12:00:00.123456Z"}"#;
    c.bench_function("decode a sample", |b| b.iter(|| serde_json::from_slice::<NewSample>(black_box(sample)).is_ok()));
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let patch: String = (0..2000).map(|_| char::from(rng.random_range(b'a'..=b'z'))).collect();
    let entry = serde_json::json!({"archive_entry_id": "a", "service_name": "agent", "problem_statement": "p",
        "solution_patch": patch, "performance_metrics": {"latency_ms": 12.5, "tests_passed": 7}, "accuracy_score": 0.5,
        "constitutional_compliance_score": 1.0});
    let text = entry.to_string();
    let decoded: NewEntry = serde_json::from_str(&text).expect("an entry");
    c.bench_function("decode an entry of 2 kB", |b| {
        b.iter(|| serde_json::from_str::<NewEntry>(black_box(&text)).is_ok());
    });
    c.bench_function("encode an entry of 2 kB", |b| b.iter(|| serde_json::to_vec(black_box(&decoded)).is_ok()));
    c.bench_function("digest of an entry of 2 kB", |b| b.iter(|| black_box(&decoded).digest()));
}

criterion_group!(benches, tiers, json);
criterion_main!(benches);
