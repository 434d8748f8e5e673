//! For researchers: which lineage wins, how scores move by generation. A service has no series of its own in Prometheus (there
//! may be thousands), so these panels ask PostgreSQL, by a role that may only read.

use crate::observability::dashboard::{Dashboard, Panel};
use crate::telemetry::catalogue::statements::ranked;

pub(super) fn dashboard() -> Dashboard {
    Dashboard {
        uid: "dgm-lineage",
        title: "dgm / Lineage",
        description: "How a service's agents improve: scores by generation, the best entries and their lines, and the work under way.",
        rows: vec![("Scores", scores()), ("Entries", entries()), ("Work", work()), ("All services", all())],
        by_service: true,
    }
}

fn scores() -> Vec<Panel> {
    vec![
        Panel::trend("Accuracy by generation", "percentunit", "Best, median and mean accuracy of the active entries of each generation.").sql(concat!(
            "SELECT generation_number AS generation, max(accuracy_score)::float8 AS best, \
             percentile_cont(0.5) WITHIN GROUP (ORDER BY accuracy_score::float8) AS median, avg(accuracy_score)::float8 AS mean \
             FROM dgm_archive WHERE service_name = '$service' AND ",
            ranked!(),
            " GROUP BY 1 ORDER BY 1 LIMIT 1000",
        )        ),
        Panel::trend("Best so far", "percentunit", "Best accuracy of the active entries of all generations up to each.").sql(concat!(
            "SELECT generation_number AS generation, max(max(accuracy_score)::float8) OVER (ORDER BY generation_number) AS best \
             FROM dgm_archive WHERE service_name = '$service' AND ",
            ranked!(),
            " GROUP BY generation_number ORDER BY 1 LIMIT 1000",
        )        ),
        Panel::trend("Compliance by generation", "percentunit", "Best and least constitutional compliance of the active entries of each generation.").sql(concat!(
            "SELECT generation_number AS generation, max(constitutional_compliance_score)::float8 AS best, \
             min(constitutional_compliance_score)::float8 AS least \
             FROM dgm_archive WHERE service_name = '$service' AND ",
            ranked!(),
            " GROUP BY 1 ORDER BY 1 LIMIT 1000",
        )        ),
        Panel::trend("Entries by generation", "none", "How many entries each generation has, by status.").sql(
            "SELECT generation_number AS generation, count(*) FILTER (WHERE status = 'active') AS active, \
             count(*) FILTER (WHERE status = 'failed') AS failed, count(*) FILTER (WHERE status = 'archived') AS archived \
             FROM dgm_archive WHERE service_name = '$service' GROUP BY 1 ORDER BY 1 LIMIT 1000",
        ),
    ]
}

fn entries() -> Vec<Panel> {
    vec![
        Panel::table("Best entries", "none", "The twenty active ones with the highest accuracy; `GET /api/v1/archive/{id}/lineage` shows where one comes from.").sql(concat!(
            "SELECT archive_entry_id, generation_number, accuracy_score::float8, constitutional_compliance_score::float8, parent_entry_id, created_at \
             FROM dgm_archive WHERE service_name = '$service' AND ",
            ranked!(),
            " ORDER BY accuracy_score DESC, archive_entry_id LIMIT 20",
        )        ),
        Panel::table("Largest steps", "none", "The twenty active children that are most above their parents.").sql(concat!(
            "SELECT c.archive_entry_id, c.parent_entry_id, (c.accuracy_score - p.accuracy_score)::float8 AS gain, c.accuracy_score::float8, c.created_at \
             FROM dgm_archive c JOIN dgm_archive p ON p.archive_entry_id = c.parent_entry_id \
             WHERE c.service_name = '$service' AND c.",
            ranked!(),
            " ORDER BY c.accuracy_score - p.accuracy_score DESC, c.archive_entry_id LIMIT 20",
        )        ),
    ]
}

fn work() -> Vec<Panel> {
    vec![
        Panel::table("Improvements", "none", "How many improvements of the service are in each state, and how long the oldest has been there.").sql(
            "SELECT status, count(*) AS improvements, min(created_at) AS oldest FROM dgm_improvements WHERE service_name = '$service' GROUP BY 1 ORDER BY 1",
        ),
        Panel::lines("All improvements ended", "cps", "Improvements of all services a second that ended, by outcome.")
            .ask("{{outcome}}", "sum by (outcome) (rate(dgm_improvements_finished_total{$sel}[$__rate_interval]))")
            .size(12, 8),
    ]
}

fn all() -> Vec<Panel> {
    vec![
        Panel::table(
            "Services",
            "none",
            "The fifty that grew last: entries, active ones, generations, best accuracy of the active ones.",
        )
        .sql(concat!(
            "SELECT service_name, count(*) AS entries, count(*) FILTER (WHERE ",
            ranked!(),
            ") AS active, max(generation_number) AS generations, max(accuracy_score) FILTER (WHERE ",
            ranked!(),
            ")::float8 AS best, max(created_at) AS newest FROM dgm_archive GROUP BY 1 ORDER BY newest DESC LIMIT 50",
        ))
        .size(24, 8),
    ]
}
