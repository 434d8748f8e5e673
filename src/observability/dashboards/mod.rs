//! Every dashboard, one for each audience.

mod api;
mod cache;
mod database;
mod jobs;
mod lineage;
mod overview;
mod runtime;

use super::dashboard::Dashboard;

/// The dashboards.
#[must_use]
pub fn all() -> Vec<Dashboard> {
    vec![
        overview::dashboard(),
        api::dashboard(),
        database::dashboard(),
        cache::dashboard(),
        jobs::dashboard(),
        runtime::dashboard(),
        lineage::dashboard(),
    ]
}
