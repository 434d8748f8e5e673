//! Load test of the HTTP contract of dgm-service, from outside: see `loadtest/README.md`.

mod cpu;
mod plan;
mod report;
mod scenarios;
mod seed;
mod session;
mod target;

use std::env;
use std::io::{self, Write as _};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context as _, Result, bail, ensure};
use goose::client::GooseClientBuilder;
use goose::config::GooseConfiguration;
use goose::prelude::*;

use crate::cpu::Meter;
use crate::plan::Plan;
use crate::report::Report;

/// Where the JSON document goes, from the working directory.
const REPORT: &str = "target/loadtest/report.json";
/// Archive entries made before the attack, unless `DGM_LOADTEST_ENTRIES` says otherwise.
const ENTRIES: u32 = 10_000;
/// Clients, unless the command line says otherwise.
const USERS: usize = 100;
/// Open files beside the clients' connections: logs, reports, the runtime's own.
const SPARE_FILES: usize = 50;

#[tokio::main]
async fn main() -> ExitCode {
    match run(GooseConfiguration::parse_args_default_or_exit()).await {
        Ok(None) => ExitCode::SUCCESS,
        Ok(Some(fault)) => complain(&fault),
        Err(error) => complain(&format!("{error:#}")),
    }
}

/// A reader that is gone is no reason to fail otherwise than by the exit code.
fn complain(what: &str) -> ExitCode {
    let _ = writeln!(io::stderr(), "dgm-loadtest: {what}");
    ExitCode::FAILURE
}

/// Seeds, attacks and reports; answers why the run did not pass, if it did not.
async fn run(configuration: GooseConfiguration) -> Result<Option<String>> {
    let host = target::target(&configuration)?;
    raise_file_limit(configuration.users.unwrap_or(USERS))?;
    let entries = match env::var("DGM_LOADTEST_ENTRIES") {
        Ok(text) => text.parse().context("DGM_LOADTEST_ENTRIES")?,
        Err(_) => ENTRIES,
    };
    let (plan, tree) = Plan::new(entries)?;
    let plan = Arc::new(plan);
    if !only_tells(&configuration) {
        seed::seed(&host, &tree).await?;
    }
    drop(tree);

    let mut attack = with_defaults(configuration)?;
    for scenario in scenarios::all(&plan)? {
        attack = attack.register_scenario(scenario);
    }
    let meter = Meter::start()?;
    let outcome = Box::pin(attack.execute()).await;
    let used = meter.used();
    let metrics = match outcome {
        Ok(metrics) => metrics,
        Err(GooseError::ThresholdsFailed { metrics, .. }) => *metrics.0,
        // The error's own text leaves out which option it is.
        Err(GooseError::InvalidOption { option, value, detail }) => bail!("{option} {value}: {detail}"),
        Err(error) => return Err(error.into()),
    };
    let report = Report::new(host.as_str(), &plan.run, plan.ids.len(), &metrics, used);
    report.write(Path::new(REPORT))?;
    writeln!(io::stdout(), "{report}")?;
    Ok(report.fault())
}

/// Raises the limit of open files as far as it goes: each client holds a connection, and past the limit connects fail,
/// which would be counted against the service.
fn raise_file_limit(users: usize) -> Result<()> {
    let limit = rlimit::increase_nofile_limit(u64::MAX).context("raising the limit of open files")?;
    let enough = u64::try_from(users + SPARE_FILES)? <= limit;
    ensure!(
        enough,
        "{users} clients need more open files than the {limit} allowed: raise `ulimit -n` or lower --users"
    );
    Ok(())
}

/// Whether the options only ask for something to be printed or rendered.
fn only_tells(asked: &GooseConfiguration) -> bool {
    asked.list || asked.scenarios_list || asked.version || asked.render_report.is_some()
}

/// The attack with this harness's defaults, which the command line overrides. A default is left out where the command
/// line shapes the run in another way, for goose refuses the two together.
fn with_defaults(asked: GooseConfiguration) -> Result<GooseAttack> {
    // The field is goose's own; its serialised form is not.
    let planned = serde_json::to_value(&asked)?.get("test_plan").is_some_and(|plan| !plan.is_null());
    let (ramped, counted) = (asked.increase_time.is_some(), asked.iterations.is_some());
    let verbose = asked.verbose > 0;
    let mut attack = GooseAttack::initialize_with_config(asked)?
        // Built once and shared until each client makes its own.
        .set_client_builder_without_cookies(GooseClientBuilder::new().without_cookies())?
        .set_default(GooseDefault::Host, target::DEFAULT_HOST)?
        .set_default(GooseDefault::NoGzip, true)?
        // The telnet controller could change the host.
        .set_default(GooseDefault::NoTelnet, true)?;
    if !verbose {
        // Else a line for every client that starts or stops.
        attack = attack.set_default(GooseDefault::Quiet, 1)?;
    }
    if !planned {
        attack = attack.set_default(GooseDefault::Users, USERS)?;
    }
    if !planned && !ramped {
        attack = attack.set_default(GooseDefault::IncreaseRate, "1000")?;
    }
    if !planned && !counted {
        // Errors while clients start count too.
        attack = attack.set_default(GooseDefault::RunTime, 30)?.set_default(GooseDefault::NoResetMetrics, true)?;
    }
    Ok(*attack)
}
