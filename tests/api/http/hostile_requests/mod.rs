//! Generated requests that no client should send. The service answers each, says what is wrong with those that it refuses, and serves the
//! next request. `DGM_TEST_HOSTILE_REQUESTS=20000` sends more of them, `DGM_TEST_SEED` others.

mod generate;
mod values;

use std::collections::BTreeMap;
use std::io;
use std::sync::Mutex;
use std::thread;

use procfs::process::Process;
use serde_json::{Value, json};

use self::generate::{Generated, Operation, operations, operators, request};
use self::values::Dice;
use crate::support::raw::{Raw, Reply};
use crate::support::serve::Serve;
use crate::support::service::Service;
use crate::support::setting;

const THREADS: usize = 4;
/// Of resident memory, above that of an idle process.
const MAX_GROWTH: u64 = 256 << 20;

/// What came of the requests: how many of each status, and those whose answers are wrong.
#[derive(Default)]
struct Outcome {
    statuses: BTreeMap<u16, usize>,
    wrong: Vec<String>,
}

/// A connection that is used until an answer announces its end.
struct Caller<'a> {
    address: &'a str,
    connection: Option<Raw>,
}

impl Caller<'_> {
    /// Sends one request and what must be served after it.
    fn ask(&mut self, generated: &Generated) -> io::Result<Reply> {
        let connection = self.connection.get_or_insert_with(|| Raw::connect(self.address));
        let sent = connection.send(&generated.bytes);
        let mut reply = connection.reply(generated.is_head)?;
        while reply.status == 100 {
            reply = connection.reply(generated.is_head)?;
        }
        if reply.header("content-type") == "text/event-stream" {
            // It goes on for as long as its improvement.
            self.connection = None;
            return Ok(reply);
        }
        if reply.closes() {
            let rest = connection.rest()?;
            self.connection = None;
            // A head that cannot be read is refused with a body: its method is not known.
            let is_body = generated.is_head && reply.header("content-length") == rest.len().to_string();
            let is_whole = rest.is_empty() || is_body;
            return if is_whole { Ok(reply) } else { Err(io::Error::other("more after the last response")) };
        }
        sent?;
        connection.send(b"GET /health HTTP/1.1\r\nhost: localhost\r\nx-request-id: probe\r\n\r\n")?;
        let next = connection.reply(false)?;
        if (next.status, next.header("x-request-id")) != (200, "probe") {
            return Err(io::Error::other(format!("the next request got {next:?}")));
        }
        Ok(reply)
    }
}

fn fault(reply: &Reply, is_head: bool) -> Option<String> {
    match reply.status {
        200..400 => None,
        400..500 => reply.flaw(is_head),
        _ => Some(format!("{} {}", reply.status, String::from_utf8_lossy(&reply.body))),
    }
}

fn run(
    serve: &Serve,
    document: &Value,
    all: &[(bool, Operation)],
    token: &str,
    indices: impl Iterator<Item = usize>,
    seed: usize,
) -> Outcome {
    let mut outcome = Outcome::default();
    let caller = |address| Caller { address, connection: None };
    let (mut api, mut operator) = (caller(&serve.api), caller(&serve.ops));
    for index in indices {
        let mut dice = Dice::new(u64::try_from(seed + index).unwrap());
        let (is_api, operation) = &all[index % all.len()];
        let caller = if *is_api { &mut api } else { &mut operator };
        let generated = request(document, operation, &serve.api, token, &mut dice);
        let wrong = match caller.ask(&generated) {
            Ok(reply) => {
                *outcome.statuses.entry(reply.status).or_default() += 1;
                fault(&reply, generated.is_head)
            }
            Err(error) => {
                caller.connection = None;
                Some(error.to_string())
            }
        };
        if let Some(wrong) = wrong {
            let sent = String::from_utf8_lossy(&generated.bytes[..generated.bytes.len().min(2000)]).into_owned();
            outcome.wrong.push(format!("{index}: {wrong}\n{sent:?}"));
        }
    }
    outcome
}

fn resident(serve: &Serve) -> u64 {
    let process = Process::new(serve.pid().try_into().unwrap()).unwrap();
    process.status().unwrap().vmrss.unwrap() << 10
}

#[test]
fn hostile_requests_are_answered_and_the_next_one_is_served() {
    let it = Service::closed();
    let token = it.database.token("admin");
    let post = |path: &str, body: Value| {
        let answer = it.serve.request_as(&token, "POST", path).json(&body).send().unwrap();
        assert!(answer.status().is_success(), "{path}: {answer:?}");
    };
    post(
        "/api/v1/archive",
        json!({"archive_entry_id": "entry", "service_name": "s", "problem_statement": "p", "accuracy_score": 0.5,
            "constitutional_compliance_score": 0.5}),
    );
    post(
        "/api/v1/improvements",
        json!({"improvement_id": "improvement", "service_name": "s", "problem_statement": "p"}),
    );
    post("/api/v1/metrics", json!({"service_name": "s", "metric_type": "accuracy", "metric_value": 1}));

    let document: Value = serde_json::to_value(dgm_service::http::document()).unwrap();
    let api = operations(&document).into_iter().map(|operation| (true, operation));
    let all: Vec<_> = api.chain(operators().into_iter().map(|operation| (false, operation))).collect();
    let (count, seed) = (setting("DGM_TEST_HOSTILE_REQUESTS", 1500), setting("DGM_TEST_SEED", 0));
    let (first, before) = (setting("DGM_TEST_FIRST", 0), resident(&it.serve));
    let outcomes = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let (serve, document, all, token, outcomes) = (&it.serve, &document, &all, &token, &outcomes);
            scope.spawn(move || {
                let indices = (first + thread..first + count).step_by(THREADS);
                let outcome = run(serve, document, all, token, indices, seed);
                outcomes.lock().unwrap().push(outcome);
            });
        }
    });
    let (mut statuses, mut wrong) = (BTreeMap::<u16, usize>::new(), Vec::new());
    for outcome in outcomes.into_inner().unwrap() {
        outcome.statuses.into_iter().for_each(|(status, number)| *statuses.entry(status).or_default() += number);
        wrong.extend(outcome.wrong);
    }
    let growth = resident(&it.serve).saturating_sub(before);
    eprintln!(
        "{count} hostile requests: {statuses:?}, {} wrong, resident memory grew by {} MB",
        wrong.len(),
        growth >> 20
    );
    assert!(wrong.is_empty(), "{} of {count}, among them:\n{}", wrong.len(), wrong[..wrong.len().min(20)].join("\n\n"));
    assert_eq!(it.serve.count("dgm_panics_total "), 0);
    assert!(growth < MAX_GROWTH, "{growth}");
    // The generator reaches behind the first checks.
    if count >= 1000 {
        for status in [200, 201, 400, 401, 404, 415, 422] {
            assert!(statuses.contains_key(&status), "{statuses:?}");
        }
    }
}
