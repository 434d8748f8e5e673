//! A reader of server-sent events.

use std::io::{BufRead as _, BufReader};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use reqwest::blocking::{RequestBuilder, Response};

use super::PATIENCE;

/// An event.
#[derive(Debug, Clone)]
pub(crate) struct Received {
    pub(crate) id: i64,
    pub(crate) event: String,
    pub(crate) data: String,
    pub(crate) at: Instant,
}

/// An open stream, read by a thread.
pub(crate) struct Stream {
    events: Receiver<Received>,
}

impl Stream {
    pub(crate) fn open(request: RequestBuilder) -> Self {
        let response = request.timeout(2 * PATIENCE).send().unwrap();
        assert_eq!(response.status(), 200);
        Self::of(response)
    }

    pub(crate) fn of(response: Response) -> Self {
        let (sender, events) = channel();
        std::thread::spawn(move || {
            let (mut id, mut event, mut data) = (0, String::new(), String::new());
            // Ends with the stream, or when it is cut off.
            for line in BufReader::new(response).lines().map_while(Result::ok) {
                match line.split_once(": ").unwrap_or((&line, "")) {
                    ("id", text) => id = text.parse().unwrap(),
                    ("event", text) => text.clone_into(&mut event),
                    ("data", text) => text.clone_into(&mut data),
                    ("", "") if line.is_empty() && !event.is_empty() => {
                        let received =
                            Received { id, event: std::mem::take(&mut event), data: data.clone(), at: Instant::now() };
                        if sender.send(received).is_err() {
                            return;
                        }
                    }
                    _ => {}
                }
            }
        });
        Self { events }
    }

    /// The next event.
    pub(crate) fn next(&self) -> Received {
        self.events.recv_timeout(PATIENCE).expect("an event")
    }

    /// The next event, if there is one within this time.
    pub(crate) fn within(&self, time: Duration) -> Option<Received> {
        self.events.recv_timeout(time).ok()
    }

    /// The events up to the end of the stream.
    pub(crate) fn rest(&self) -> Vec<Received> {
        let mut all = Vec::new();
        loop {
            match self.events.recv_timeout(PATIENCE) {
                Ok(event) => all.push(event),
                Err(RecvTimeoutError::Disconnected) => return all,
                Err(RecvTimeoutError::Timeout) => panic!("the stream goes on after {all:?}"),
            }
        }
    }

    /// Whether the stream has ended; its events are dropped.
    pub(crate) fn has_ended(&self) -> bool {
        self.events.try_iter().for_each(drop);
        matches!(self.events.recv_timeout(Duration::from_millis(1)), Err(RecvTimeoutError::Disconnected))
    }
}
