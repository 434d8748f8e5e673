//! The rows of the table.

use crate::archive::Archive;
use crate::requests::{self, BATCH, Request};
use crate::stack::Setup;
use crate::wrk::Script;

/// What is measured at each number of connections.
#[derive(Debug)]
pub(crate) struct Row {
    /// What `--rows` calls it.
    pub(crate) name: &'static str,
    /// What the table calls it.
    pub(crate) title: &'static str,
    pub(crate) setup: Setup,
    pub(crate) script: Script,
    /// The requests of a run, whose new ids begin with the given word.
    pub(crate) requests: fn(&Archive, &str) -> Vec<Request>,
    /// The status of the first one's answer.
    pub(crate) status: u16,
    /// The bare handler that the row is held against.
    pub(crate) against: &'static str,
    pub(crate) proof: Option<Proof>,
}

/// How the database shows that acknowledged writes were made.
#[derive(Debug)]
pub(crate) struct Proof {
    /// Counts rows.
    pub(crate) sql: &'static str,
    /// By how much a request raises the count.
    pub(crate) each: f64,
}

const GET: &str = "bare-get";
const POST: &str = "bare-post";

const fn read(
    name: &'static str,
    title: &'static str,
    setup: Setup,
    requests: fn(&Archive, &str) -> Vec<Request>,
) -> Row {
    Row { name, title, setup, script: Script::Cycle, requests, status: 200, against: GET, proof: None }
}

const fn write(
    name: &'static str,
    title: &'static str,
    script: Script,
    requests: fn(&Archive, &str) -> Vec<Request>,
    (sql, each): (&'static str, f64),
) -> Row {
    let proof = Some(Proof { sql, each });
    Row { name, title, setup: Setup::Whole, script, requests, status: 201, against: POST, proof }
}

const SAMPLES: &str = "SELECT count(*) FROM dgm_performance_metrics";
const ENTRIES: &str = "SELECT count(*) FROM dgm_archive";
const QUEUED: &str = "SELECT count(*) FROM dgm_improvements";
const COMPLETED: &str = "SELECT count(*) FROM dgm_improvements WHERE status = 'completed'";
#[expect(clippy::cast_precision_loss, reason = "small")]
const BATCHED: f64 = BATCH as f64;

/// All of them, in the order of the table; those of a setup are measured in this order.
pub(crate) const ROWS: &[Row] = &[
    read(GET, "bare axum handler, GET", Setup::Bare, requests::bare_get),
    Row {
        status: 201,
        against: POST,
        ..read(POST, "bare axum handler, POST of a sample", Setup::Bare, requests::bare_post)
    },
    read("hot", "hot read, one entry", Setup::Whole, requests::hot),
    read("popular", "hot read, 100 entries by Zipf", Setup::Whole, requests::popular),
    Row { status: 304, ..read("conditional", "conditional read, 304", Setup::Whole, requests::hot) },
    read("l2", "read from Redis, all entries", Setup::WithoutL1, requests::uniform),
    read("miss", "read from PostgreSQL, all entries", Setup::WithoutCaches, requests::uniform),
    read("list", "list: a service by accuracy, 50", Setup::Whole, requests::list),
    read("lineage", "lineage", Setup::Whole, requests::lineage),
    Row { against: POST, ..read("select", "select-parents, 2", Setup::Whole, requests::select) },
    write("ingest", "ingest, one sample", Script::Cycle, requests::ingest, (SAMPLES, 1.0)),
    write("batch", "ingest, 100 samples", Script::Cycle, requests::batches, (SAMPLES, BATCHED)),
    write("create", "archive create", Script::Fresh, requests::create, (ENTRIES, 1.0)),
    write("queue", "improvement create", Script::Fresh, requests::queue, (QUEUED, 1.0)),
    Row {
        status: 200,
        ..write("claim", "claim and complete in turn", Script::Claim, requests::claim, (COMPLETED, 0.5))
    },
    read("hot-open", "hot read, one entry", Setup::Open, requests::hot),
    Row {
        setup: Setup::Open,
        ..write("ingest-open", "ingest, one sample", Script::Cycle, requests::ingest, (SAMPLES, 1.0))
    },
];

/// The row of this name.
pub(crate) fn parse(name: &str) -> Result<&'static Row, String> {
    let names = || ROWS.iter().map(|row| row.name).collect::<Vec<_>>().join(", ");
    ROWS.iter().find(|row| row.name == name).ok_or_else(|| format!("there are {}", names()))
}
