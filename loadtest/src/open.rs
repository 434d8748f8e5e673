//! The open loop: requests leave at a constant rate, whether or not those before were answered, and their time runs from
//! the moment at which they were to leave. A stall of the service delays all that were to leave meanwhile, as it would
//! real users; there is no coordinated omission (Tene, "How NOT to Measure Latency", 2013).

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use rand::SeedableRng as _;
use rand::distr::Distribution as _;
use rand::distr::weighted::WeightedIndex;
use rand::rngs::SmallRng;
use reqwest::{Client, Method, RequestBuilder, Url};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::caller::{Answer, Caller, Failure, Identity, broken, client, finish};
use crate::operation::Operation;
use crate::plan::Plan;
use crate::profile::{OpenLoop, Role};
use crate::record::{Record, Recorder};
use crate::steps::Step;

/// Arrivals that may be under way at a time. One that finds no room has waited for one until it leaves, and its time says
/// so; without this bound a service that stands still would be asked ever more.
const UNDER_WAY: usize = 2_000;
/// How long the last arrivals may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Sends, and answers what came of it and when the first request was to leave.
///
/// # Errors
/// When the client cannot be made, or there is nothing to send.
pub(crate) async fn run(host: &Url, open: OpenLoop, mix: &Mix, plan: &Arc<Plan>) -> Result<(Record, Instant)> {
    let recorder = Arc::new(Recorder::default());
    let client = client()?.pool_max_idle_per_host(UNDER_WAY).build()?;
    let room = Arc::new(Semaphore::new(UNDER_WAY));
    let mut rng = SmallRng::seed_from_u64(open.rate.into());
    let choice = WeightedIndex::new(mix.steps.iter().map(|(_, _, weight)| *weight))?;
    let mut callers = JoinSet::new();
    // Those that are at rest; an arrival is somebody's who is not busy.
    let (rest, mut rested) = tokio::sync::mpsc::channel::<Identity>(UNDER_WAY);
    let began = recorder.began();
    let mut due = Duration::ZERO;
    while due < Duration::from_secs(open.seconds) {
        tokio::time::sleep_until((began + due).into()).await;
        let (role, step, _) = mix.steps[choice.sample(&mut rng)];
        let permit = Arc::clone(&room).acquire_owned().await?;
        let identity = rested.try_recv().unwrap_or_else(|_| Identity::enlist(plan));
        let mut arrival = Arrival {
            client: client.clone(),
            host: host.clone(),
            role,
            identity,
            intended: Some(began + due),
            recorder: Arc::clone(&recorder),
        };
        let rest = rest.clone();
        callers.spawn(async move {
            // Recorded already.
            let _ = step.take(&mut arrival).await;
            let _ = rest.try_send(arrival.identity);
            drop(permit);
        });
        while callers.try_join_next().is_some() {}
        // The steps' requests are spread over the time until the next arrival.
        due += Duration::from_secs(1).mul_f64(requests(step) / f64::from(open.rate));
    }
    let _ = tokio::time::timeout(PATIENCE, async { while callers.join_next().await.is_some() {} }).await;
    Ok((recorder.record(), began))
}

#[expect(clippy::cast_precision_loss, reason = "a few")]
fn requests(step: Step) -> f64 {
    step.requests() as f64
}

/// Which steps arrive how often.
#[derive(Debug)]
pub(crate) struct Mix {
    steps: Vec<(Role, Step, f64)>,
}

impl Mix {
    /// The mix of the requests that a closed loop sent: each role has its share of them.
    pub(crate) fn of(record: &Record, roles: &[(Role, usize)]) -> Self {
        let mut steps = Vec::new();
        for &(role, _) in roles {
            let of_role = record.cells.iter().filter(|((whose, _), _)| *whose == role);
            let sent: u64 = of_role.map(|(_, cell)| cell.succeeded()).sum();
            // Of a step with many requests as many fewer arrive.
            let each: f64 = role.steps().iter().map(|(step, weight)| as_f64(*weight) * requests(*step)).sum();
            steps.extend(role.steps().iter().map(|(step, weight)| (role, *step, as_f64(*weight) / each * count(sent))));
        }
        Self { steps }
    }
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
fn count(count: u64) -> f64 {
    count as f64
}

#[expect(clippy::cast_precision_loss, reason = "a percentage")]
fn as_f64(weight: usize) -> f64 {
    weight as f64
}

struct Arrival {
    client: Client,
    host: Url,
    role: Role,
    identity: Identity,
    /// When the first request was to leave; those that follow leave when the one before is answered.
    intended: Option<Instant>,
    recorder: Arc<Recorder>,
}

impl Caller for Arrival {
    fn identity(&mut self) -> Result<&mut Identity, Failure> {
        Ok(&mut self.identity)
    }

    fn request(&self, method: Method, path: &str) -> Result<RequestBuilder, Failure> {
        let url = self.host.join(path).map_err(|error| Failure::Senseless(error.to_string()))?;
        Ok(self.client.request(method, url))
    }

    async fn send(&mut self, operation: Operation, request: RequestBuilder) -> Result<Answer, Failure> {
        let intended = self.intended.take().unwrap_or_else(Instant::now);
        let answer = match request.send().await {
            Ok(response) => finish(operation, response).await,
            Err(error) => Err(broken(&error)),
        };
        self.recorder.note((self.identity.number, self.role), operation, intended, answer)
    }
}
