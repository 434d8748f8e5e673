//! Every alert, by what it is about. Names, thresholds and waits are proposals that operators may change: they are data.
//! Models: kubernetes-mixin (rules with runbooks), the SRE Workbook (burn rates).

mod backups;
mod cache;
mod cluster;
mod database;
mod partitions;
mod server;
mod service;
mod work;

use super::rule::Alert;
use super::slo;
pub use service::WATCHDOG;
pub use work::EACH;

/// The alerts by group.
#[must_use]
pub fn groups() -> Vec<(&'static str, Vec<Alert>)> {
    vec![
        ("dgm-slo", slo::alerts()),
        ("dgm-service", service::alerts()),
        ("dgm-database", database::alerts()),
        ("dgm-server", server::alerts()),
        ("dgm-backups", backups::alerts()),
        ("dgm-partitions", partitions::alerts()),
        ("dgm-cache", cache::alerts()),
        ("dgm-work", work::alerts()),
        ("dgm-cluster", cluster::alerts()),
    ]
}
