//! Clients that hang up at any moment of a request.

use std::io::Write as _;
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::dev::Dev;
use crate::support::{Stopper, until};

/// Sends a request and is gone after a while.
fn hang_up(port: u16, path: &str, body: &str, after: Duration) {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
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
    let dev = Dev::new();
    let stop = AtomicBool::new(false);
    let kept = std::thread::scope(|scope| {
        for thread in 0..4_u64 {
            let (stop, port) = (&stop, dev.api);
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
                    hang_up(port, "/api/v1/archive:batch", &entries(n).to_string(), after);
                }
            });
        }
        let stopper = Stopper(&stop);
        let (started, mut kept) = (Instant::now(), Vec::new());
        while started.elapsed() < Duration::from_secs(8) {
            let id = format!("i{}", kept.len());
            let body = json!({"improvement_id": id, "service_name": "s", "problem_statement": "p"});
            let answer = dev.post("/api/v1/improvements", &body);
            assert_eq!(answer.status, 201, "{answer:?}");
            kept.push(id);
        }
        drop(stopper);
        kept
    });
    assert!(kept.len() > 50, "{} writes", kept.len());
    assert_eq!(dev.sql("SELECT count(*) FROM dgm_improvements"), kept.len().to_string(), "acknowledged and lost");
    let open =
        "SELECT count(*) FROM pg_stat_activity WHERE state LIKE 'idle in transaction%' AND application_name = 'dgm'";
    // Those of the last ones who hung up are still being rolled back; one that was left open stays for half a minute.
    until("no connection waits in the middle of a transaction", Duration::from_secs(5), || dev.sql(open) == "0");
}
