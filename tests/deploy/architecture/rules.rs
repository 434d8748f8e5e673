//! The rules as data. An allowed path includes everything below it.

use super::flows::{By, Flow, step};

/// Allows everything.
pub(super) const ANYTHING: &str = "everything";

/// A layer, and the paths in other layers that it may name.
pub(super) type Layer = (&'static str, &'static [&'static str]);

pub(super) const LAYERS: &[Layer] = &[
    ("main", &["cli"]),
    ("cli", &[ANYTHING]),
    (
        "app",
        &[
            "batch",
            "cache",
            "closed",
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
    ("http", &["jobs", "service", "observability", "closed", "domain", "telemetry"]),
    ("jobs", &["service", "closed", "domain", "telemetry"]),
    ("service", &["cache", "store", "objects", "db::error", "interchange", "closed", "domain", "telemetry"]),
    ("interchange", &["closed", "domain"]),
    ("cache", &["closed", "domain", "telemetry", "tls"]),
    ("store", &["batch", "db", "closed", "domain", "telemetry"]),
    ("batch", &["db", "closed", "telemetry"]),
    ("db", &["closed", "domain::clock", "telemetry", "tls"]),
    ("objects", &["closed", "domain", "tls"]),
    ("observability", &["closed", "telemetry"]),
    ("config", &["closed"]),
    ("domain", &["closed"]),
    ("telemetry", &["closed", "tls"]),
    ("closed", &[]),
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
    (&["axum", "hyper", "tower", "tower_http"], &["http"]),
    (&["utoipa"], &["closed", "domain", "http", "jobs"]),
    (&["metrics_exporter_prometheus", "opentelemetry"], &["telemetry"]),
    (&["tokio_cron_scheduler"], &["jobs"]),
    (&["figment"], &["config", "cli"]),
];

/// The modules that may ask this machine's clock, and why.
pub(super) const LOCAL_CLOCKS: &[super::clocks::Allowed] = &[
    ("domain::clock", "defines `local`, the time before the first reading of the database's clock"),
    ("db::clock", "compares it with the database's, and answers with it before the first reading"),
    (
        "cache::value",
        "the end of a copy's life in Redis, whose own expiry bounds it; a wrong clock makes copies misses or ends them in \
     process when their shorter time there is over",
    ),
    (
        "telemetry::files",
        "names the log file of the hour, also when there is no database; age counts only while the clocks agree",
    ),
    ("telemetry::process", "the start of the process, which Prometheus compares with its own time"),
];

/// A part of the tree whose children are modules with rules of their own.
pub(super) struct Group {
    pub(super) parent: &'static str,
    /// The parts of the tree to which `modules` applies. References to other parts follow the layers only.
    pub(super) watched: &'static [&'static str],
    /// A child, and the paths that it may name. `mod` is the code in `mod.rs` itself.
    pub(super) modules: &'static [(&'static str, &'static [&'static str])],
}

pub(super) const GROUPS: &[Group] = &[
    Group {
        parent: "store",
        watched: &["store"],
        modules: &[
            ("mod", &[ANYTHING]),
            ("archive", &["store::page", "store::text"]),
            ("artifacts", &[]),
            ("changes", &[]),
            ("events", &[]),
            ("facts", &[]),
            ("identity", &[]),
            // A completion writes the entry in the same transaction.
            ("improvements", &["store::archive", "store::page", "store::text"]),
            ("integrity", &[]),
            ("jobs", &[]),
            // What /ready reports is the history that the migrator reads.
            ("maintenance", &["store::migrate::history"]),
            ("migrate", &[]),
            ("page", &[]),
            ("partitions", &[]),
            ("purge", &[]),
            ("text", &[]),
            ("samples", &["store::partitions"]),
        ],
    },
    Group {
        parent: "service",
        watched: &["service", "store"],
        modules: &[
            ("mod", &[ANYTHING]),
            ("error", &[]),
            ("ids", &[]),
            ("labels", &[]),
            ("render", &["service::error"]),
            ("settings", &["service::artifacts::Storage"]),
            ("archive", &["service::error", "service::ids", "service::render", "store::archive"]),
            ("artifacts", &["service::error", "store::artifacts"]),
            (
                "changes",
                &[
                    "service::error",
                    "service::identity::feed::TokenFeed",
                    "store::NO_SNAPSHOT",
                    "store::changes",
                    "store::maintenance",
                ],
            ),
            ("hub", &["service::error", "store::NO_SNAPSHOT", "store::events"]),
            ("identity", &["service::error", "service::render", "store::identity"]),
            (
                "improvements",
                &[
                    "service::error",
                    "service::hub",
                    "service::ids",
                    "service::labels",
                    "store::archive::write::Created",
                    "store::improvements",
                ],
            ),
            ("jobs", &["service::error", "service::labels", "store::jobs"]),
            (
                "operations",
                &[
                    "service::error",
                    "service::jobs",
                    "service::partitions",
                    "store::improvements",
                    "store::maintenance",
                ],
            ),
            ("parents", &["service::error", "store::archive"]),
            ("partitions", &["service::error", "service::settings", "store::partitions"]),
            ("purge", &["service::error", "store::partitions", "store::purge"]),
            ("runs", &["service::error", "store::archive"]),
            ("samples", &["service::error", "service::render", "service::settings", "store::samples"]),
        ],
    },
    Group {
        parent: "http::v1",
        watched: &["http::v1", "service"],
        modules: &[
            ("mod", &[]),
            ("admin", &["service::identity"]),
            (
                "archive",
                &[
                    "http::v1::Known",
                    "http::v1::list",
                    "http::v1::page",
                    "http::v1::respond",
                    "service::archive",
                    "service::parents",
                ],
            ),
            ("artifacts", &["http::v1::Known", "service::artifacts"]),
            ("improvements", &["http::v1::page", "service::hub", "service::improvements"]),
            ("metrics", &["http::v1::Known", "http::v1::respond", "service::samples"]),
            ("operations", &["service::jobs", "service::partitions"]),
            ("sessions", &["service::identity"]),
        ],
    },
];

/// Other parts of the tree whose children are modules in the graph.
pub(super) const DIVIDED: &[&str] = &["http"];

/// Fields and variables that hold the struct that composes a group: `services.archive` refers to `service::archive`.
pub(super) const COMPOSED: &[(&str, &str)] = &[("services", "service"), ("stores", "store")];

/// A module, and the modules that it must not reach, directly or through others.
pub(super) const UNREACHABLE: &[(&str, &[&str])] = &[
    ("service::identity", &["service::improvements", "store::improvements"]),
    ("store::identity", &["service::improvements", "store::improvements"]),
];

/// Layers that may define wire types: public types with derives of serde or utoipa.
pub(super) const WIRE_TYPES: &[&str] = &["config", "domain", "http", "interchange", "jobs", "observability"];

/// Lines of a file.
pub(super) const MAX_LINES: usize = 400;

/// Methods of a type in these layers that other modules can call.
pub(super) const MAX_METHODS: usize = 25;
pub(super) const COUNTED_LAYERS: &[&str] = &["service", "store"];

/// The flows of the most frequent requests: the principal functions, in the order in which they start.
pub(super) const FLOWS: &[Flow] = &[
    (
        "POST /metrics",
        &[
            step(By::Call, "http/v1/metrics.rs", "ingest"),
            step(By::Call, "service/samples.rs", "accept"),
            step(By::Call, "store/samples/mod.rs", "store"),
            step(By::Call, "batch/mod.rs", "submit"),
            step(By::Handover, "batch/worker.rs", "run"),
            step(By::Call, "batch/worker.rs", "commit"),
            step(By::Call, "batch/worker.rs", "resolve"),
            step(By::Call, "store/samples/insert.rs", "write"),
            step(By::Call, "store/samples/insert.rs", "insert_rows"),
            step(By::Call, "db/pool.rs", "acquire"),
            step(By::Call, "db/statement.rs", "timed_rows"),
            step(By::Call, "db/statement.rs", "timed"),
            step(By::Call, "cache/mod.rs", "drop_local"),
        ],
    ),
    (
        "POST /improvements:claim",
        &[
            step(By::Call, "http/v1/improvements.rs", "claim"),
            step(By::Call, "service/improvements.rs", "assign"),
            step(By::Call, "store/improvements/mod.rs", "lease"),
            step(By::Call, "batch/mod.rs", "submit"),
            step(By::Handover, "batch/worker.rs", "run"),
            step(By::Call, "batch/worker.rs", "commit"),
            step(By::Call, "batch/worker.rs", "resolve"),
            step(By::Call, "store/improvements/claim.rs", "write"),
            step(By::Call, "store/improvements/claim.rs", "answer_groups"),
            step(By::Call, "store/improvements/claim.rs", "claim_groups"),
            step(By::Call, "db/pool.rs", "acquire"),
            step(By::Call, "db/statement.rs", "timed_rows"),
            step(By::Call, "db/statement.rs", "timed"),
        ],
    ),
    (
        "GET /archive/{id}",
        &[
            step(By::Call, "http/v1/archive.rs", "get"),
            step(By::Call, "service/archive/mod.rs", "fetch"),
            step(By::Call, "cache/mod.rs", "get_or_load"),
            step(By::Call, "cache/l1.rs", "peek"),
            step(By::Call, "cache/flight.rs", "join"),
            step(By::Call, "cache/tiers.rs", "fly"),
            step(By::Call, "cache/tiers.rs", "redis_lookup"),
            step(By::Call, "cache/l2.rs", "fetch_remote"),
            step(By::Callback, "service/archive/mod.rs", "fetch"),
            step(By::Call, "store/archive/read.rs", "find"),
            step(By::Call, "db/pool.rs", "read"),
            step(By::Call, "db/pool.rs", "acquire"),
            step(By::Call, "db/statement.rs", "timed"),
            step(By::Call, "service/archive/prefetch.rs", "request"),
            step(By::Call, "service/render.rs", "render_entry"),
            step(By::Call, "http/v1/mod.rs", "respond"),
        ],
    ),
];

/// Every path that the rules name.
pub(super) fn paths() -> Vec<String> {
    let rows = GROUPS.iter().flat_map(|group| {
        let children = group.modules.iter().filter(|(name, _)| *name != "mod");
        let children = children.map(|(name, _)| format!("{}::{name}", group.parent));
        let allowed = group.modules.iter().flat_map(|(_, allowed)| *allowed);
        children.chain(allowed.chain(group.watched).map(|path| (*path).to_owned()))
    });
    let lists = LAYERS.iter().chain(UNREACHABLE);
    let lists = lists.flat_map(|(path, others)| std::iter::once(path).chain(*others));
    let homes = HOMES.iter().flat_map(|(_, homes)| *homes);
    let others = WIRE_TYPES.iter().chain(COUNTED_LAYERS).chain(DIVIDED).chain(COMPOSED.iter().map(|(_, group)| group));
    rows.chain(lists.chain(homes).chain(others).map(|path| (*path).to_owned())).collect()
}
