use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use bytes::Bytes;
use tokio::sync::Notify;

use super::*;

#[derive(Debug)]
struct Broken;

impl From<LoadLost> for Broken {
    fn from(_: LoadLost) -> Self {
        Self
    }
}

fn cache(max_bytes: u64) -> Cache {
    let cache = Cache::new(&Settings { max_bytes, redis: None, coherent: true }).unwrap();
    cache.learn(&news(&[]));
    cache
}

fn key(id: &str) -> Key {
    Key::Entry { id: id.to_owned() }
}

fn news(changes: &[(&str, i64)]) -> News {
    let changes =
        changes.iter().map(|(id, version)| Change { key: key(id).text(), version: *version, transaction: 10 });
    News { asked: Instant::now(), generation: 1, complete_from: 1, changes: changes.collect() }
}

fn found(body: &str) -> Loaded {
    version(body, 1)
}

fn version(body: &str, version: i64) -> Loaded {
    let cached = Cached::new(Bytes::from(body.to_owned()), None, version);
    Loaded::Found { cached, ttl: Duration::from_mins(1), as_of: 5 }
}

async fn read(cache: &Cache, id: &str, body: &'static str) -> Option<Bytes> {
    let loaded = cache.get_or_load(&key(id), move || async move { Ok::<_, Broken>(found(body)) }).await;
    loaded.unwrap().map(|cached| cached.body)
}

#[tokio::test]
async fn a_hundred_callers_make_one_load() {
    let (cache, loads) = (cache(1 << 20), Arc::new(AtomicU32::new(0)));
    let gate = Arc::new(Notify::new());
    let mut callers = tokio::task::JoinSet::new();
    for _ in 0..100 {
        let (cache, loads, gate) = (cache.clone(), loads.clone(), gate.clone());
        callers.spawn(async move {
            let load = move || async move {
                loads.fetch_add(1, Ordering::SeqCst);
                gate.notified().await;
                Ok::<_, Broken>(found("x"))
            };
            cache.get_or_load(&key("a"), load).await.unwrap().unwrap().body
        });
    }
    while loads.load(Ordering::SeqCst) == 0 {
        tokio::task::yield_now().await;
    }
    gate.notify_waiters();
    while let Some(body) = callers.join_next().await {
        assert_eq!(body.unwrap(), "x");
    }
    assert_eq!(loads.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_load_goes_on_when_its_caller_goes_away() {
    let cache = cache(1 << 20);
    let (started, gate) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let leader = {
        let (cache, started, gate) = (cache.clone(), started.clone(), gate.clone());
        tokio::spawn(async move {
            let load = move || async move {
                started.notify_one();
                gate.notified().await;
                Ok::<_, Broken>(found("first"))
            };
            cache.get_or_load(&key("a"), load).await
        })
    };
    started.notified().await;
    leader.abort();
    let follower = tokio::spawn({
        let cache = cache.clone();
        async move { read(&cache, "a", "second").await }
    });
    tokio::task::yield_now().await;
    gate.notify_one();
    assert_eq!(follower.await.unwrap().unwrap(), "first");
}

#[tokio::test]
async fn a_load_from_before_an_invalidation_is_neither_kept_nor_joined() {
    let cache = cache(1 << 20);
    let (started, gate) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let early = {
        let (cache, started, gate) = (cache.clone(), started.clone(), gate.clone());
        tokio::spawn(async move {
            let load = move || async move {
                started.notify_one();
                gate.notified().await;
                Ok::<_, Broken>(found("old"))
            };
            cache.get_or_load(&key("a"), load).await.unwrap().unwrap().body
        })
    };
    started.notified().await;
    cache.wrote(&key("a"), 2, 7).await;
    assert_eq!(read(&cache, "a", "new").await.unwrap(), "new");
    gate.notify_one();
    assert_eq!(early.await.unwrap(), "old", "who asked before the write may get what was there before it");
    assert_eq!(read(&cache, "a", "newest").await.unwrap(), "new", "and it is not kept");
}

#[tokio::test]
async fn errors_are_told_and_not_kept_and_absence_is_kept() {
    let cache = cache(1 << 20);
    assert!(cache.get_or_load(&key("a"), || async { Err::<Loaded, _>(Broken) }).await.is_err());
    assert_eq!(read(&cache, "a", "x").await.unwrap(), "x");
    let absent = cache.get_or_load(&key("b"), || async { Ok::<_, Broken>(Loaded::Absent) }).await.unwrap();
    assert!(absent.is_none());
    assert!(read(&cache, "b", "x").await.is_none());
    cache.drop_local(&key("b"));
    assert_eq!(read(&cache, "b", "x").await.unwrap(), "x");
}

#[tokio::test]
async fn the_tier_is_bounded_in_bytes() {
    let cache = cache(100_000);
    let body: &'static str = "x".repeat(1000).leak();
    for n in 0..1000 {
        read(&cache, &n.to_string(), body).await;
    }
    let (entries, bytes) = cache.0.copies.size();
    assert!(entries > 50 && bytes <= 100_000, "{entries} {bytes}");
}

#[tokio::test]
async fn news_drop_older_copies_and_outdate_loads_and_silence_bypasses_the_cache() {
    let cache = cache(1 << 20);
    let load = |body: &'static str, v| move || async move { Ok::<_, Broken>(version(body, v)) };
    cache.get_or_load(&key("a"), load("a1", 1)).await.unwrap();
    cache.get_or_load(&key("b"), load("b3", 3)).await.unwrap();
    let (started, gate) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let slow = tokio::spawn({
        let (cache, started, gate) = (cache.clone(), started.clone(), gate.clone());
        async move {
            let load = move || async move {
                started.notify_one();
                gate.notified().await;
                Ok::<_, Broken>(version("c1", 1))
            };
            cache.get_or_load(&key("c"), load).await.unwrap().unwrap().body
        }
    });
    started.notified().await;
    cache.learn(&news(&[("a", 2), ("b", 2), ("c", 2)]));
    gate.notify_one();
    assert_eq!(slow.await.unwrap(), "c1", "who asked before the news may get what was there before");
    let read = async |id: &str, body, v| cache.get_or_load(&key(id), load(body, v)).await.unwrap().unwrap().body;
    assert_eq!(read("a", "a2", 2).await, "a2");
    assert_eq!(read("b", "b4", 4).await, "b3", "a copy that is new enough stays");
    assert_eq!(read("c", "c2", 2).await, "c2", "what was loaded before the news is not kept");
    cache.learn(&News { generation: 2, ..news(&[]) });
    assert_eq!(read("b", "b5", 5).await, "b5", "copies of another database are dropped");

    let silent = Cache::new(&Settings { max_bytes: 1 << 20, redis: None, coherent: true }).unwrap();
    for body in ["1", "2"] {
        assert_eq!(super::tests::read(&silent, "a", body).await.unwrap(), body, "nothing is served unconfirmed");
    }
}

#[tokio::test]
async fn sums_of_another_database_are_refused_and_sessions_are_of_none() {
    let cache = cache(1 << 20);
    let (copy, life) = (Cached::new(Bytes::from_static(b"x"), None, 0), Duration::from_mins(1));
    let verdict = |class, generation| cache.0.verdict(class, "key", &copy, Stamp::new(generation, 0, life));
    for class in [Class::Stats, Class::MetricsTrend] {
        assert_eq!((verdict(class, 1), verdict(class, 2)), (Verdict::Current, Verdict::Unknown));
    }
    assert_eq!(verdict(Class::Session, 0), Verdict::Current);
    // Restored: the same copies are of the database of before.
    cache.learn(&News { generation: 2, ..news(&[]) });
    assert_eq!((verdict(Class::Stats, 1), verdict(Class::Stats, 2)), (Verdict::Unknown, Verdict::Current));
}
