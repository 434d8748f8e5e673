//! Clients at work: samples with ids and without, archive entries, and the queue from end to end.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread::{Scope, ScopedJoinHandle};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use uuid::Uuid;

use super::ledger::Ledger;
use crate::support::Stopper;
use crate::support::serve::Serve;
use crate::support::wire::{Reply, Wire};

/// Longest time for a killed server to be back and a request to be acknowledged.
const PATIENCE: Duration = Duration::from_mins(1);
/// Between two tries.
const PAUSE: Duration = Duration::from_millis(20);

/// What the clients share.
pub(super) struct Load {
    address: String,
    token: String,
    stop: AtomicBool,
    acknowledged: AtomicUsize,
    kills: AtomicUsize,
    /// Makes ids, and the values by which samples are told apart.
    next: AtomicU64,
}

impl Load {
    pub(super) fn new(serve: &Serve) -> Self {
        let (stop, acknowledged, kills) = (AtomicBool::new(false), AtomicUsize::new(0), AtomicUsize::new(0));
        let next = AtomicU64::new(1);
        Self { address: serve.api.clone(), token: serve.token.clone(), stop, acknowledged, kills, next }
    }

    pub(super) fn start<'scope>(
        &'scope self,
        scope: &'scope Scope<'scope, '_>,
    ) -> Vec<ScopedJoinHandle<'scope, Ledger>> {
        let kinds = [Client::known_samples, Client::unknown_samples, Client::entries, Client::queue];
        let twice = kinds.into_iter().chain(kinds);
        twice.map(|work| scope.spawn(move || Client::new(self).work(work))).collect()
    }

    /// Ends the load when dropped.
    pub(super) fn stopper(&self) -> Stopper<'_> {
        Stopper(&self.stop)
    }

    /// A server is about to be killed.
    pub(super) fn kill_begins(&self) {
        self.kills.fetch_add(1, Ordering::SeqCst);
    }

    /// Until so many more requests were acknowledged.
    pub(super) fn wait_for(&self, more: usize) {
        let (enough, deadline) = (self.acknowledged.load(Ordering::Relaxed) + more, Instant::now() + PATIENCE);
        while self.acknowledged.load(Ordering::Relaxed) < enough {
            assert!(Instant::now() < deadline, "nothing is acknowledged");
            std::thread::sleep(PAUSE);
        }
    }
}

struct Client<'a> {
    load: &'a Load,
    wire: Option<Wire>,
    ledger: Ledger,
}

impl<'a> Client<'a> {
    fn new(load: &'a Load) -> Self {
        Self { load, wire: None, ledger: Ledger::default() }
    }

    fn work(mut self, work: impl Fn(&mut Self)) -> Ledger {
        while !self.load.stop.load(Ordering::Relaxed) {
            work(&mut self);
        }
        self.ledger
    }

    fn next(&self) -> u64 {
        self.load.next.fetch_add(1, Ordering::Relaxed)
    }

    /// What the service says to a request; nothing when it says nothing, or to try again.
    fn attempt(&mut self, path: &str, body: &Value) -> Option<Reply> {
        let before = self.load.kills.load(Ordering::SeqCst);
        let reply = self.send(path, body);
        self.ledger.interrupted += usize::from(self.load.kills.load(Ordering::SeqCst) != before);
        reply
    }

    fn send(&mut self, path: &str, body: &Value) -> Option<Reply> {
        let mut wire = match self.wire.take() {
            Some(wire) => wire,
            None => Wire::connect(&self.load.address, &self.load.token).ok()?,
        };
        let reply = wire.call("POST", path, body).ok()?;
        self.wire = Some(wire);
        (reply.status != 503).then_some(reply)
    }

    /// The same request until the service says something.
    fn insist(&mut self, path: &str, body: &Value) -> Reply {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(reply) = self.attempt(path, body) {
                return reply;
            }
            assert!(Instant::now() < deadline, "{path} {body}: never answered");
            self.ledger.repeated += 1;
            std::thread::sleep(PAUSE);
        }
    }

    /// Whether that was an acknowledgement. Nothing else is right here, and none of it goes unnoticed.
    fn acknowledged(&mut self, path: &str, reply: &Reply) -> bool {
        let done = matches!(reply.status, 200 | 201);
        if done {
            self.load.acknowledged.fetch_add(1, Ordering::Relaxed);
        } else {
            let said = String::from_utf8_lossy(&reply.body);
            self.ledger.refused.push(format!("{path} is answered {}: {said}", reply.status));
        }
        done
    }

    fn insist_on(&mut self, path: &str, body: &Value) -> bool {
        let reply = self.insist(path, body);
        self.acknowledged(path, &reply)
    }

    /// One to four samples, whose values are `values`.
    fn samples(&self, with_ids: bool) -> (Vec<u64>, Value) {
        let first = self.next();
        let values: Vec<u64> = (0..=first % 4).map(|n| if n == 0 { first } else { self.next() }).collect();
        let now = chrono::Utc::now().to_rfc3339();
        let sample = |value: &u64| {
            let mut sample = json!({"service_name": "agent", "metric_type": "x", "metric_value": value});
            if with_ids {
                sample["id"] = json!(Uuid::new_v4());
                sample["measurement_timestamp"] = json!(now);
            }
            sample
        };
        let body = values.iter().map(sample).collect();
        (values, body)
    }

    fn known_samples(&mut self) {
        let (values, body) = self.samples(true);
        if self.insist_on("/api/v1/metrics", &body) {
            self.ledger.samples.extend(values);
        }
    }

    fn unknown_samples(&mut self) {
        let (values, body) = self.samples(false);
        let path = "/api/v1/metrics";
        if self.attempt(path, &body).is_some_and(|reply| self.acknowledged(path, &reply)) {
            self.ledger.samples.extend(values);
        } else {
            self.ledger.doubtful.extend(values);
            std::thread::sleep(PAUSE);
        }
    }

    fn entries(&mut self) {
        let id = format!("e{}", self.next());
        let entry = json!({"archive_entry_id": id, "service_name": "agent", "problem_statement": "p",
            "accuracy_score": 0.5, "constitutional_compliance_score": 1.0});
        if self.insist_on("/api/v1/archive", &entry) {
            self.ledger.entries.push(id);
        }
    }

    /// A claim whose answer is lost leaves its improvement running until the lease ends, after the test.
    fn queue(&mut self) {
        let id = format!("i{}", self.next());
        let wish = json!({"improvement_id": id, "service_name": "agent", "problem_statement": "p"});
        if self.insist_on("/api/v1/improvements", &wish) {
            self.ledger.improvements.push(id);
        }
        let (path, claim) = ("/api/v1/improvements:claim", json!({"worker": "w", "lease_seconds": 3600}));
        let Some(claimed) = self.attempt(path, &claim) else { return };
        if !self.acknowledged(path, &claimed) {
            return;
        }
        let claimed = claimed.json();
        let Some(item) = claimed["items"].get(0) else { return };
        let improvement = item["improvement_id"].as_str().unwrap();
        let result = format!("result of {improvement}");
        let done = json!({"lease_token": item["lease_token"], "archive_entry": {"archive_entry_id": result,
            "accuracy_score": 0.5, "constitutional_compliance_score": 1.0}});
        if self.insist_on(&format!("/api/v1/improvements/{improvement}/complete"), &done) {
            self.ledger.completions.push((improvement.to_owned(), result));
        }
    }
}
