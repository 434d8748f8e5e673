//! What holds while something breaks: coherence, durability, lost servers and replicas.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod clock;
mod cluster;
mod coherence;
mod durability;
mod jobs;
mod redis;
mod redis_refusals;
mod replica;
mod run;
mod sessions;
mod streams;
#[path = "../support/mod.rs"]
mod support;
mod tokens;
mod up;
mod zipf;
