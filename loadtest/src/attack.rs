//! The closed loop: goose's users take the steps of their roles, each sending its next request when the last is answered.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use goose::client::GooseClientBuilder;
use goose::config::GooseConfiguration;
use goose::goose::GooseMethod;
use goose::prelude::*;
use reqwest::{Method, RequestBuilder, Url};

use crate::caller::{Answer, Caller, Failure, Identity, broken, client, finish};
use crate::operation::Operation;
use crate::plan::Plan;
use crate::profile::{Phase, Role};
use crate::record::Recorder;
use crate::steps::Step;

/// Pause of a user that got no answer: to a server that is gone, failures would come by the hundred thousand.
const RETRY_PAUSE: Duration = Duration::from_millis(100);
/// Longest that a user waits because it was told to come back later.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// What goose is to do.
#[derive(Debug)]
pub(crate) struct Attack<'a> {
    pub(crate) host: &'a Url,
    pub(crate) phases: &'a [Phase],
    pub(crate) roles: &'a [(Role, usize)],
    /// Most requests a second of all users together.
    pub(crate) rate: Option<u32>,
    /// Options of goose's own.
    pub(crate) options: &'a [String],
}

impl Attack<'_> {
    /// Attacks; answers when the last user has stopped.
    ///
    /// # Errors
    /// When goose refuses an option.
    pub(crate) async fn run(&self, plan: &Arc<Plan>, recorder: &Arc<Recorder>) -> Result<()> {
        let mut attack = GooseAttack::initialize_with_config(self.configuration()?)?
            // Built once and shared until each user makes its own.
            .set_client_builder_without_cookies(GooseClientBuilder::new().without_cookies())?;
        for &(role, weight) in self.roles {
            attack = attack.register_scenario(scenario(role, weight, plan, recorder)?);
        }
        match Box::pin(attack.execute()).await {
            Ok(_) | Err(GooseError::ThresholdsFailed { .. }) => Ok(()),
            // The error's own text leaves out which option it is.
            Err(GooseError::InvalidOption { option, value, detail }) => bail!("{option} {value}: {detail}"),
            Err(error) => Err(error.into()),
        }
    }

    fn configuration(&self) -> Result<GooseConfiguration> {
        let plan: Vec<String> = self.phases.iter().map(|phase| format!("{},{}s", phase.users, phase.seconds)).collect();
        let mut options = vec![
            "--host".to_owned(),
            self.host.to_string(),
            "--test-plan".to_owned(),
            // No users at the end, at once.
            format!("{};0,0s", plan.join(";")),
            "--no-gzip".to_owned(),
            // Through it somebody could point the load elsewhere.
            "--no-telnet".to_owned(),
            // Else a line for every user that starts or stops, and goose's own tables beside ours.
            "--quiet".to_owned(),
            "--no-print-metrics".to_owned(),
        ];
        if let Some(rate) = self.rate {
            options.extend(["--throttle-requests".to_owned(), rate.to_string()]);
        }
        options.extend(self.options.iter().cloned());
        let options: Vec<&str> = options.iter().map(String::as_str).collect();
        GooseConfiguration::parse_args_default(&options).map_err(|error| anyhow::anyhow!("goose: {error}"))
    }
}

/// What a user has with it.
#[derive(Debug, Clone)]
struct User {
    identity: Identity,
    role: Role,
    recorder: Arc<Recorder>,
}

/// The steps of a role, as goose takes them.
fn scenario(role: Role, weight: usize, plan: &Arc<Plan>, recorder: &Arc<Recorder>) -> Result<Scenario, GooseError> {
    let (plan, recorder) = (Arc::clone(plan), Arc::clone(recorder));
    let start: TransactionFunction = Arc::new(move |user| {
        let user_data = User { identity: Identity::enlist(&plan), role, recorder: Arc::clone(&recorder) };
        Box::pin(async move {
            user.set_client_builder(client().map_err(|error| format!("{error:#}"))?).await?;
            user.set_session_data(user_data);
            Ok(())
        })
    });
    let mut scenario = Scenario::new(role.name()).set_weight(weight)?;
    if let Some((least, most)) = role.pause() {
        scenario = scenario.set_wait_time(least, most)?;
    }
    scenario = scenario.register_transaction(Transaction::new(start).set_name("start").set_on_start());
    for &(step, weight) in role.steps() {
        let function: TransactionFunction = Arc::new(move |user| Box::pin(take(step, user)));
        scenario = scenario.register_transaction(Transaction::new(function).set_name(step.name()).set_weight(weight)?);
    }
    Ok(scenario)
}

async fn take(step: Step, user: &mut GooseUser) -> TransactionResult {
    match step.take(&mut Goose(user)).await {
        Ok(()) => Ok(()),
        Err(failure) => {
            match &failure {
                Failure::Shed(pause) => tokio::time::sleep((*pause).min(LONGEST_PAUSE)).await,
                Failure::Broken(_) => tokio::time::sleep(RETRY_PAUSE).await,
                Failure::Status(_) | Failure::Senseless(_) => {}
            }
            Err(failure.kind().into())
        }
    }
}

/// A user of goose as a caller.
struct Goose<'a>(&'a mut GooseUser);

impl Goose<'_> {
    fn user(&mut self) -> Result<&mut User, Failure> {
        let user = self.0.get_session_data_mut::<User>();
        user.ok_or_else(|| Failure::Senseless("the user was never started".to_owned()))
    }
}

impl Caller for Goose<'_> {
    fn identity(&mut self) -> Result<&mut Identity, Failure> {
        Ok(&mut self.user()?.identity)
    }

    fn request(&self, method: Method, path: &str) -> Result<RequestBuilder, Failure> {
        let method = if method == Method::POST { GooseMethod::Post } else { GooseMethod::Get };
        self.0.get_request_builder(&method, path).map_err(|error| Failure::Senseless(error.to_string()))
    }

    async fn send(&mut self, operation: Operation, request: RequestBuilder) -> Result<Answer, Failure> {
        let user = self.user()?;
        let (who, recorder) = ((user.identity.number, user.role), Arc::clone(&user.recorder));
        recorder.began();
        let builder = GooseRequest::builder().name(operation.name()).set_request_builder(request);
        let builder = if operation.is_conditional() { builder.expect_status_code(304) } else { builder };
        // Goose may wait for its throttle first; that is no latency, so that the clock is goose's own, turned back.
        let response = self.0.request(builder.build()).await;
        let mut response = match response {
            Ok(response) => response,
            // Goose stops its users, of whom some wait for the throttle: nothing was sent.
            Err(error) => return Err(Failure::Broken(error.to_string())),
        };
        let head = Instant::now();
        let fraction = Duration::from_micros(response.request.response_time_fraction_us.into());
        let took = Duration::from_millis(response.request.response_time) + fraction;
        let sent = head.checked_sub(took).unwrap_or(head);
        let answer = match response.response {
            Ok(answer) => finish(operation, answer).await,
            Err(error) => Err(broken(&error)),
        };
        if answer.is_ok() && !response.request.success {
            let _ = self.0.set_success(&mut response.request);
        }
        recorder.note(who, operation, sent, answer)
    }
}
