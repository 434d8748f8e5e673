//! The work of each job, which returns a summary in words.

use crate::domain::improvement::Rescued;
use crate::service::Services;
use crate::service::artifacts::Collected;
use crate::service::error::Error;
use crate::service::partitions::Retention;
use crate::telemetry::files::Pruned;

/// A summary of the work, or the reason of the failure.
type Done = Result<String, String>;

fn done<T>(result: Result<T, Error>, words: impl FnOnce(T) -> String) -> Done {
    result.map(words).map_err(|error| error.cause())
}

pub(super) async fn rescue_leases(services: &Services) -> Done {
    done(services.improvements.rescue_leases().await, |Rescued { requeued, failed }| {
        format!("{requeued} requeued, {failed} failed")
    })
}

pub(super) async fn ensure_partitions(services: &Services) -> Done {
    done(services.partitions.ensure().await, |made| format!("{made} made"))
}

pub(super) async fn enforce_retention(services: &Services) -> Done {
    match services.partitions.enforce_retention().await {
        Ok(Retention { failed: Some((name, reason)), .. }) => Err(format!("{name}: {reason}")),
        result => done(result, |Retention { dropped, kept, .. }| match &kept[..] {
            [] => format!("{} dropped", dropped.len()),
            [(name, reason), ..] => format!("{} dropped, {} kept; {name}: {reason}", dropped.len(), kept.len()),
        }),
    }
}

pub(super) async fn prune_changes(services: &Services) -> Done {
    done(services.changes.prune().await, |forgotten| format!("{forgotten} forgotten"))
}

pub(super) async fn warm_cache(services: &Services) -> Done {
    done(services.archive.warm_cache().await, |fetched| format!("{fetched} fetched"))
}

pub(super) async fn flush_access_counts(services: &Services) -> Done {
    done(services.archive.flush_reads().await, |entries| format!("{entries} entries"))
}

pub(super) async fn collect_health(services: &Services) -> Done {
    services.operations.measure_volumes().await;
    done(services.operations.measure().await, |()| "measured".to_owned())
}

pub(super) async fn collect_artifacts(services: &Services) -> Done {
    done(services.artifacts.collect().await, |collected| {
        collected.map_or_else(
            || "none are kept: artifacts.url is empty".to_owned(),
            |Collected { unreferenced, stray, unfinished }| {
                format!("{unreferenced} unreferenced, {stray} stray, {unfinished} unfinished removed")
            },
        )
    })
}

pub(super) async fn prune_logs(services: &Services) -> Done {
    match services.operations.prune_logs().await {
        Ok(Some(Pruned { files, bytes })) => Ok(format!("{files} files with {bytes} bytes deleted")),
        Ok(None) => Ok("no log files are written: telemetry.log_dir is empty".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}
