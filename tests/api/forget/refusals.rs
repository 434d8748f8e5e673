//! What is not forgotten, and what is said then.

use super::{counts, errors, orphans};
use crate::support::{Database, stdout};

/// An entry, by SQL.
fn entry(id: &str, service: &str, parent: Option<&str>) -> String {
    let parent = parent.map_or("NULL".to_owned(), |parent| format!("'{parent}'"));
    format!(
        "INSERT INTO dgm_archive (archive_entry_id, service_name, parent_entry_id, problem_statement, performance_metrics,
             accuracy_score, constitutional_compliance_score) VALUES ('{id}', '{service}', {parent}, 'p', '{{}}', 0.5, 1);"
    )
}

fn refused(database: &Database, arguments: &[&str], reason: &str) {
    for yes in [&[][..], &["--yes"]] {
        let output = database.dgm(&[&["forget"], arguments, yes].concat());
        let said = errors(&output);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {output:?}");
        assert_eq!(said.trim_end(), format!("dgm: nothing was removed: {reason}"));
    }
}

#[test]
fn what_others_refer_to_stays_and_they_are_named() {
    let database = Database::migrated();
    database.sql(&[entry("a1", "alpha", None), entry("a2", "alpha", Some("a1"))].concat());
    database
        .sql(&[entry("b1", "beta", Some("a2")), entry("b2", "beta", Some("a2")), entry("c1", "gamma", None)].concat());
    let child = r#"2 entries of "beta" with a parent in "alpha", as "b1": name "beta" too"#;
    refused(&database, &["alpha"], child);
    database.sql("INSERT INTO dgm_archive_inspirations VALUES ('c1', 'a1', 'inspiration')");
    database.sql("INSERT INTO dgm_improvements (improvement_id, service_name, problem_statement, parent_entry_id, archive_entry_id)
         VALUES ('d1', 'delta', 'p', 'a1', 'a2')");
    let inspired = r#"1 entry of "gamma" inspired by entries of "alpha", as "c1": name "gamma" too"#;
    let improves = r#"1 improvement of "delta" with a parent in "alpha", as "d1": name "delta" too"#;
    let made = r#"1 improvement of "delta" that made entries of "alpha", as "d1": name "delta" too"#;
    refused(&database, &["alpha"], &[child, improves, inspired, made].join("; "));
    refused(&database, &["alpha", "beta", "gamma"], &[improves, made].join("; "));
    assert_eq!(["alpha", "beta", "gamma", "delta"].map(|s| counts(&database, s)), ["2|0|0", "2|0|0", "1|0|0", "0|1|0"]);

    // Children may go without their parents.
    let done = database.dgm(&["forget", "beta", "--yes"]);
    assert!(stdout(&done).starts_with("removed 2 entries, 0 improvements"), "{done:?}");
    let done = database.dgm(&["forget", "alpha", "gamma", "delta", "--yes"]);
    assert!(stdout(&done).starts_with("removed 3 entries, 1 improvements with 1 events, 0 samples"), "{done:?}");
    assert_eq!(orphans(&database), "");
}

#[test]
fn what_a_worker_holds_stays_until_its_lease_ends() {
    let database = Database::migrated();
    database.sql(&entry("a1", "alpha", None));
    database.sql(
        "INSERT INTO dgm_improvements (improvement_id, service_name, problem_statement, status, lease_token, lease_expires_at)
         VALUES ('i1', 'alpha', 'p', 'running', gen_random_uuid(), '2099-01-02T03:04:05Z'),
                ('i2', 'alpha', 'p', 'running', gen_random_uuid(), now() - interval '1 second'),
                ('i3', 'alpha', 'p', 'queued', NULL, NULL),
                ('i4', 'beta', 'p', 'running', gen_random_uuid(), now() + interval '1 hour')",
    );
    let reason = |what: &str| {
        format!(
            "{what} held by workers, as \"i1\" of \"alpha\" (the last lease ends at 2099-01-02T03:04:05Z): cancel, or wait \
             for that"
        )
    };
    refused(&database, &["alpha"], &reason("1 improvement"));
    refused(&database, &["alpha", "beta"], &reason("2 improvements in 2 services"));
    database.sql("UPDATE dgm_improvements SET lease_expires_at = now() WHERE improvement_id = 'i4'");
    assert_eq!(counts(&database, "alpha"), "1|3|0");
    database.sql("UPDATE dgm_improvements SET lease_expires_at = now() WHERE improvement_id = 'i1'");
    let done = database.dgm(&["forget", "alpha", "--yes"]);
    assert!(stdout(&done).starts_with("removed 1 entries, 3 improvements with 3 events"), "{done:?}");
}

#[test]
fn names_that_say_too_little_are_refused() {
    let database = Database::migrated();
    database.sql(&[entry("a1", "alpha", None), entry("l1", "loadtest", None)].concat());
    for few in ["*", "a*", "loadtes*"] {
        let output = database.dgm(&["forget", few, "--yes"]);
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        assert!(errors(&output).contains("at least 8 characters must stand before the *"), "{output:?}");
    }
    assert_eq!(database.dgm(&["forget", "--yes"]).status.code(), Some(2));
    assert_eq!(counts(&database, "alpha"), "1|0|0");
    // A prefix is a prefix, not a pattern.
    let none = database.dgm(&["forget", "loadtes_", "_oadtest*", "--yes"]);
    assert!(none.status.success() && stdout(&none).starts_with("nothing to remove"), "{none:?}");
    let done = database.dgm(&["forget", "loadtest*", "--yes"]);
    assert!(stdout(&done).starts_with("removed 1 entries"), "{done:?}");
}
