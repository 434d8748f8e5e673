//! What the handlers share.

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::jobs::{Runner, Schedules};
use crate::observability::status::Status;
use crate::service::Services;

/// How the surface behaves.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Whether callers must show a token.
    pub authenticate: bool,
    /// Whether only names of the loopback interface are answered for.
    pub loopback_hosts_only: bool,
    /// Largest body, in bytes.
    pub max_body_bytes: usize,
    /// Longest time until a request is answered.
    pub request_timeout: Duration,
}

/// What handlers share; one pointer, since every layer and handler of a request takes a clone.
#[derive(Debug, Clone)]
pub struct State(Arc<Shared>);

impl State {
    /// The state of a process that is neither unready nor stopping.
    #[must_use]
    pub fn new(services: Services, schedules: Schedules, options: Options) -> Self {
        let (unready, stopping) = (CancellationToken::new(), CancellationToken::new());
        let runner = Runner::new(services.clone(), schedules, stopping.clone());
        Self(Arc::new(Shared { services, runner, options, status: Status::default(), unready, stopping }))
    }
}

impl Deref for State {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.0
    }
}

/// See [`State`].
#[derive(Debug)]
pub struct Shared {
    /// The use cases.
    pub services: Services,
    /// The scheduled jobs.
    pub runner: Runner,
    /// How the surface behaves.
    pub options: Options,
    /// The status page's samples.
    pub status: Status,
    /// Cancelled when the process is about to stop: readiness turns false first, so that balancers look elsewhere.
    pub unready: CancellationToken,
    /// Cancelled when the listeners close: streams end, so that the drain does not wait for them.
    pub stopping: CancellationToken,
}
