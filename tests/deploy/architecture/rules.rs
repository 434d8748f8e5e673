//! The rules as data. A path in a list of what is allowed stands for itself and all below it.

use super::flows::Flow;

/// Allows everything.
pub(super) const ANYTHING: &str = "everything";

/// Layer, and what of the other layers it may name.
pub(super) type Layer = (&'static str, &'static [&'static str]);

pub(super) const LAYERS: &[Layer] = &[
    ("main", &["cli"]),
    ("cli", &[ANYTHING]),
    (
        "app",
        &[
            "batch",
            "cache",
            "config",
            "db",
            "domain",
            "http",
            "interchange",
            "jobs",
            "objects",
            "observability",
            "postgres",
            "service",
            "store",
            "telemetry",
            "tls",
        ],
    ),
    ("http", &["jobs", "service", "observability", "domain", "telemetry"]),
    ("jobs", &["service", "domain", "telemetry"]),
    ("service", &["cache", "store", "objects", "db::error", "interchange", "domain", "telemetry"]),
    ("interchange", &["domain"]),
    ("cache", &["domain", "telemetry", "tls"]),
    ("store", &["batch", "db", "domain", "telemetry"]),
    ("batch", &["db", "telemetry"]),
    ("db", &["telemetry", "tls"]),
    ("objects", &["tls", "domain"]),
    ("observability", &["telemetry"]),
    ("config", &[]),
    ("domain", &[]),
    ("telemetry", &["tls"]),
    ("postgres", &[]),
    ("tls", &[]),
];

/// Libraries, and the paths of this crate that may name them.
pub(super) type Home = (&'static [&'static str], &'static [&'static str]);

pub(super) const HOMES: &[Home] = &[
    (&["sqlx"], &["db", "store"]),
    (&["redis", "moka"], &["cache"]),
    (&["rusqlite", "parquet"], &["interchange"]),
    (&["object_store"], &["objects"]),
    (&["rustls"], &["tls"]),
    (&["clap"], &["cli"]),
    (&["axum", "hyper"], &["http"]),
    (&["utoipa"], &["domain", "http", "jobs", "service"]),
    (&["metrics_exporter_prometheus", "opentelemetry"], &["telemetry"]),
    (&["tokio_cron_scheduler"], &["jobs"]),
    (&["figment"], &["config", "cli"]),
];

/// A part of the tree whose children are modules with boundaries of their own.
pub(super) struct Group {
    pub(super) parent: &'static str,
    /// Where the rows of `modules` decide: what is named elsewhere is the layers' business.
    pub(super) watched: &'static [&'static str],
    /// Child, and what it may name. `mod` is what `mod.rs` itself holds: it composes.
    pub(super) modules: &'static [(&'static str, &'static [&'static str])],
}

pub(super) const GROUPS: &[Group] = &[
    Group {
        parent: "store",
        watched: &["store"],
        modules: &[
            ("mod", &[ANYTHING]),
            ("archive", &[]),
            ("improvements", &["store::archive"]),
            ("samples", &["store::partitions"]),
            ("artifacts", &[]),
            ("identity", &[]),
            ("jobs", &[]),
            ("partitions", &[]),
            ("maintenance", &[]),
            ("purge", &[]),
            ("changes", &[]),
            ("migrate", &[]),
            ("integrity", &[]),
        ],
    },
    Group {
        parent: "service",
        watched: &["service", "store"],
        modules: &[
            ("mod", &[ANYTHING]),
            ("error", &[]),
            ("settings", &[]),
            ("archive", &["service::error", "store::archive"]),
            ("parents", &["service::error", "store::archive"]),
            ("runs", &["service::error", "service::archive", "store::archive"]),
            ("changes", &["service::error", "store::changes"]),
            ("improvements", &["service::error", "service::archive", "store::improvements"]),
            ("samples", &["service::error", "store::samples"]),
            ("partitions", &["service::error", "store::partitions"]),
            ("artifacts", &["service::error", "service::archive", "store::artifacts"]),
            ("identity", &["service::error", "store::identity"]),
            ("purge", &["service::error", "store::purge"]),
            ("jobs", &["service::error", "store::jobs"]),
            ("operations", &["service::error", "store::maintenance", "store::partitions"]),
        ],
    },
    Group {
        parent: "http::v1",
        watched: &["http::v1", "service"],
        modules: &[
            ("mod", &["service::archive"]),
            ("admin", &["service::operations", "service::jobs", "service::partitions", "service::identity"]),
            ("archive", &["service::archive", "service::parents", "http::v1"]),
            ("artifacts", &["service::artifacts", "http::v1"]),
            ("improvements", &["service::improvements"]),
            ("metrics", &["service::samples"]),
            ("operations", &["service::operations", "service::jobs", "service::partitions"]),
            ("sessions", &["service::identity"]),
        ],
    },
];

/// Module, and what it must not reach by any way of names. The `mod.rs` of the groups are no way: they compose.
pub(super) const UNREACHABLE: &[(&str, &[&str])] = &[
    ("service::identity", &["service::improvements", "store::improvements"]),
    ("store::identity", &["service::improvements", "store::improvements"]),
];

/// Layers that may define types of the wire: derives of serde and utoipa.
pub(super) const WIRE_TYPES: &[&str] = &["config", "domain", "http", "interchange", "jobs", "observability"];

/// Lines of a file, of any layer.
pub(super) const MAX_LINES: usize = 400;

/// Methods of a type in these layers that other modules can call.
pub(super) const MAX_METHODS: usize = 25;
pub(super) const COUNTED_LAYERS: &[&str] = &["service", "store"];

/// The ways of the most frequent requests.
pub(super) const FLOWS: &[Flow] = &[];
