//! Clients that hang up at any moment of a request.

use std::io::Write as _;
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::json;

use crate::support::service::Service;
use crate::support::{Stopper, until};

/// Of the four clients together.
const HANG_UPS: usize = 3_000;
/// By somebody else meanwhile, at least.
const WRITES: usize = 51;

/// Sends a request and is gone after a while.
fn hang_up(address: &str, path: &str, body: &str, after: Duration) {
    let mut stream = TcpStream::connect(address).unwrap();
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(body.as_bytes()).unwrap();
    std::thread::sleep(after);
}

/// A connection that goes back to the pool in the middle of a transaction would swallow the writes of whoever gets it next.
#[test]
fn those_who_hang_up_leave_no_transaction_to_others() {
    let api = Service::open();
    let (stop, hung_up) = (AtomicBool::new(false), AtomicUsize::new(0));
    let kept = std::thread::scope(|scope| {
        for thread in 0..4_u64 {
            let (stop, hung_up, address) = (&stop, &hung_up, api.serve.api.as_str());
            scope.spawn(move || {
                let entries = |n: u64| {
                    json!({"entries": [{"archive_entry_id": format!("{thread}-{n}"), "service_name": "s",
                        "problem_statement": "p", "accuracy_score": 0.5, "constitutional_compliance_score": 1}]})
                };
                for n in 0.. {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    let after = Duration::from_micros(n * 37 % 3000);
                    hang_up(address, "/api/v1/archive:batch", &entries(n).to_string(), after);
                    hung_up.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let stopper = Stopper(&stop);
        let mut kept = Vec::new();
        while hung_up.load(Ordering::Relaxed) < HANG_UPS || kept.len() < WRITES {
            let id = format!("i{}", kept.len());
            let body = json!({"improvement_id": id, "service_name": "s", "problem_statement": "p"});
            let answer = api.post("/api/v1/improvements", &body);
            assert_eq!(answer.status, 201, "{answer:?}");
            kept.push(id);
        }
        drop(stopper);
        kept
    });
    assert_eq!(api.sql("SELECT count(*) FROM dgm_improvements"), kept.len().to_string(), "acknowledged and lost");
    let open = "SELECT count(*) FROM pg_stat_activity WHERE state LIKE 'idle in transaction%' AND datname = current_database()";
    // Those of the last ones who hung up are still being rolled back; one that was left open stays for half a minute.
    until("no connection waits in the middle of a transaction", || api.sql(open) == "0");
}
