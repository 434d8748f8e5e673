//! What each job does, and what it answers in words.

use crate::service::artifacts::Collected;
use crate::service::improvements::Rescued;
use crate::service::logs::Pruned;
use crate::service::retention::Retention;
use crate::service::{Error, Service};

/// What was done, or why not.
type Done = Result<String, String>;

fn done<T>(result: Result<T, Error>, words: impl FnOnce(T) -> String) -> Done {
    result.map(words).map_err(|error| error.to_string())
}

pub(super) async fn rescue_leases(service: &Service) -> Done {
    done(service.rescue_leases().await, |Rescued { requeued, failed }| format!("{requeued} requeued, {failed} failed"))
}

pub(super) async fn ensure_partitions(service: &Service) -> Done {
    done(service.ensure_partitions().await, |made| format!("{made} made"))
}

pub(super) async fn enforce_retention(service: &Service) -> Done {
    match service.enforce_retention().await {
        Ok(Retention { failed: Some((name, reason)), .. }) => Err(format!("{name}: {reason}")),
        result => done(result, |retention| format!("{} dropped", retention.dropped.len())),
    }
}

pub(super) async fn prune_changes(service: &Service) -> Done {
    done(service.prune_changes().await, |forgotten| format!("{forgotten} forgotten"))
}

pub(super) async fn warm_cache(service: &Service) -> Done {
    done(service.warm_cache().await, |fetched| format!("{fetched} fetched"))
}

pub(super) async fn flush_access_counts(service: &Service) -> Done {
    done(service.flush_reads().await, |entries| format!("{entries} entries"))
}

pub(super) async fn collect_health(service: &Service) -> Done {
    service.observe_volumes().await;
    done(service.observe_database().await, |()| "measured".to_owned())
}

pub(super) async fn collect_artifacts(service: &Service) -> Done {
    done(service.collect_artifacts().await, |collected| {
        collected.map_or_else(
            || "none are kept: artifacts.url is empty".to_owned(),
            |Collected { unreferenced, stray, unfinished }| {
                format!("{unreferenced} unreferenced, {stray} stray, {unfinished} unfinished removed")
            },
        )
    })
}

pub(super) async fn prune_logs(service: &Service) -> Done {
    match service.prune_logs().await {
        Ok(Some(Pruned { files, bytes })) => Ok(format!("{files} files with {bytes} bytes deleted")),
        Ok(None) => Ok("no log files are written: telemetry.log_dir is empty".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}
