//! The name of an exported month states its contents.

use std::collections::BTreeSet;

use super::{ID, Installation, exported, initialise, url};

#[test]
fn different_contents_have_different_names_and_equal_contents_equal_names() {
    let it = Installation::new();
    let folder = tempfile::tempdir().unwrap();
    initialise(folder.path(), "exports");
    let place = url(folder.path());
    let names = || -> BTreeSet<String> {
        let files = exported(folder.path()).into_iter();
        files.map(|file| file.file_name().unwrap().to_str().unwrap().to_owned()).collect()
    };
    let export = |numbers: &str, change: &str| {
        it.fill(numbers);
        if !change.is_empty() {
            it.database.sql(&format!(
                "UPDATE dgm_performance_metrics SET {change} WHERE id = (SELECT {ID} FROM (SELECT 8 AS n) one)"
            ));
        }
        let before = names();
        assert_eq!(it.retire(&place).unwrap(), "enforce-retention: 1 dropped");
        let after = names();
        assert!(after.is_superset(&before));
        after.len() - before.len()
    };
    assert_eq!(export("generate_series(1, 64)", ""), 1);
    let first = names().into_iter().next().unwrap();
    let digest = first.strip_prefix(&format!("{}-", it.partition())).unwrap().strip_suffix(".parquet").unwrap();
    assert_eq!(digest.len(), 32, "{first}");
    assert!(
        digest.bytes().all(|digit| digit.is_ascii_hexdigit()) && digest.bytes().any(|digit| digit != b'0'),
        "{first}"
    );
    // The same rows, stored in another order, by other statements.
    assert_eq!(export("generate_series(64, 1, -1)", ""), 0);
    assert_eq!(export("(SELECT n FROM generate_series(1, 64) n ORDER BY md5(n::text))", ""), 0);
    // One row less, one more, and each column of one row. Pairs of ids whose exclusive or is the same.
    assert_eq!(export("generate_series(1, 63)", ""), 1);
    assert_eq!(export("generate_series(1, 65)", ""), 1);
    assert_eq!(export("unnest(ARRAY[1, 2, 4, 7])", ""), 1);
    assert_eq!(export("unnest(ARRAY[3, 5, 8, 14])", ""), 1);
    for change in [
        "service_name = 'other'",
        "metric_type = 'other'",
        "metric_value = -metric_value",
        "metric_value = metric_value + 1e-9",
        "measurement_timestamp = measurement_timestamp + interval '1 microsecond'",
        "created_at = created_at + interval '1 microsecond'",
        "archive_entry_id = NULL",
        "archive_entry_id = ''",
        "service_name = service_name || 'l', metric_type = 'atency_seconds'",
    ] {
        assert_eq!(export("generate_series(1, 64)", change), 1, "{change}");
    }
    assert_eq!(names().len(), 14);
}
