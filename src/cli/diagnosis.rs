//! Why a command failed: what the database answered, with the database's name, where it is the reason. Callers of the API get
//! less.

use std::time::Duration;

use super::settings::Common;
use crate::config::Config;
use crate::db::{self, Source, Wanted};
use crate::domain::clock::ClockError;
use crate::service::error::Error;
use crate::store::facts::Examination;
use crate::store::migrate::Inspection;

/// How long a server has to say why it cannot be used.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The database that a command works on, for messages.
pub(super) fn database(config: &Config) -> String {
    let source = config.database_url().ok().and_then(|url| Source::parse(url, Wanted::Primary, TIMEOUT).ok());
    source.map_or_else(|| "no database".to_owned(), |source| source.describe())
}

/// An error in one line; `common` of a command that works on the configured database.
pub(super) async fn explain(common: Option<&Common>, error: &anyhow::Error) -> String {
    let Some(failure) = error.chain().find_map(of_database) else { return once(error) };
    let config = common.and_then(|common| common.load_with_database().ok());
    let Some(url) = config.as_ref().and_then(|config| config.database_url().ok()) else { return failure.reason() };
    // A pool tries until its time is over, and does not keep the reason.
    let examination = match Examination::open(url, Wanted::Primary, TIMEOUT).await {
        Ok(examination) => examination,
        Err(unreachable) => return unreachable.to_string(),
    };
    if failure.is_about_schema()
        && let Ok(mut inspection) = Inspection::open(url).await
        && let Ok(Some(obstacle)) = inspection.schema().await.map(|schema| schema.obstacle())
    {
        return format!("{}: {obstacle}", examination.database);
    }
    failure.reason_of(&examination.database)
}

fn of_database<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a db::Error> {
    match error.downcast_ref() {
        Some(Error::Database(failure)) => Some(failure),
        Some(Error::Clock(ClockError::Unreadable(cause))) => cause.downcast_ref(),
        _ => error.downcast_ref(),
    }
}

/// An error and its sources, without those that it quotes itself.
fn once(error: &anyhow::Error) -> String {
    let mut text = error.to_string();
    for source in error.chain().skip(1).map(ToString::to_string) {
        if !text.contains(&source) {
            text = format!("{text}: {source}");
        }
    }
    text
}
