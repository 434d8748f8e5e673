//! Nothing is written to a place that was not initialised for it: its disk may not be mounted.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::{Installation, exported, initialise, stderr, url};
use crate::support::holder::Holder;
use crate::support::serve::Serve;
use crate::support::{Database, stdout, until};

fn exports_of(serve: &Serve) -> Value {
    serve.call("GET", "/ready", None).expect(200)["exports"].clone()
}

/// What is there, how it comes there, and the reason of the refusal.
type Case<'a> = (&'a str, Box<dyn Fn() + 'a>, &'a str);

#[test]
fn a_month_is_kept_while_the_place_for_its_export_is_not_there() {
    let it = Installation::new();
    it.fill("generate_series(1, 1000)");
    let before = it.rows();
    let work = tempfile::tempdir().unwrap();
    let folder = work.path().join("exports");
    let marker = folder.join("_dgm-target.json");
    let place = url(&folder);

    let create = || std::fs::create_dir_all(&folder).unwrap();
    let cases: [Case<'_>; 7] = [
        ("no folder", Box::new(|| ()), "there is no such folder"),
        ("not mounted", Box::new(create), "_dgm-target.json is missing"),
        (
            "another file is there",
            Box::new(|| std::fs::write(folder.join("dgm_performance_metrics_2020_01-00.parquet"), "").unwrap()),
            "_dgm-target.json is missing",
        ),
        ("a backup", Box::new(|| initialise(&folder, "backup")), "is the target for backup, not for exports"),
        (
            "artifacts",
            Box::new(|| {
                std::fs::remove_file(&marker).unwrap();
                initialise(&folder, "artifacts");
            }),
            "is the target for artifacts, not for exports",
        ),
        (
            "a newer program's",
            Box::new(|| {
                let newer = "{\"format\": 2, \"purpose\": \"exports\", \"written_by\": \"dgm 9.0.0\"}";
                std::fs::write(&marker, newer).unwrap();
            }),
            "has format 2, written by dgm 9.0.0; this program knows 1",
        ),
        ("half a marker", Box::new(|| std::fs::write(&marker, "{\"format\": 1,").unwrap()), "cannot be read"),
    ];
    for (what, prepare, reason) in cases {
        prepare();
        let refused = it.retire(&place).unwrap_err();
        assert!(refused.contains(&it.partition()) && refused.contains("its export: "), "{what}: {refused}");
        assert!(refused.contains(reason) && refused.contains(&place), "{what}: {refused}");
        assert_eq!(it.rows(), before, "{what}: the month can be read");
        assert!(it.status().contains(" expired "), "{what}: {}", it.status());
        let doctor = it.dgm(&["doctor"], &place);
        let said = stdout(&doctor);
        let line = said.lines().find(|line| line.starts_with("exports")).unwrap();
        assert!(!doctor.status.success() && line.contains("FAIL") && line.contains(reason), "{what}: {said}");
    }
    assert!(exported(&folder).len() == 1, "only what was there before: {:?}", exported(&folder));
    let failed = "SELECT count(*) FROM dgm_job_runs WHERE job_name = 'enforce-retention' AND outcome = 'failure'
        AND detail LIKE '%its export: file://%'";
    assert_eq!(it.database.sql(failed), "7");

    // The service serves all the same, and says so.
    let settings = [("DGM__SAMPLES__EXPORT_URL", place.as_str()), ("DGM__JOBS__ENABLED", "false")];
    let serve = Serve::start_with(&it.database, "", &settings);
    until("it has looked", || exports_of(&serve) == "unavailable");
    drop(serve);
    let without = Serve::start_with(&it.database, "", &[("DGM__JOBS__ENABLED", "false")]);
    assert_eq!(exports_of(&without), "disabled");
    drop(without);

    std::fs::remove_file(&marker).unwrap();
    // The purpose is that of the setting with this URL.
    let made = it.dgm(&["files", "init", &place], &place);
    assert_eq!(stdout(&made).trim(), format!("{place}: initialised as the target for exports, by _dgm-target.json"));
    let again = it.dgm(&["files", "init", &format!("{place}/")], &place);
    assert_eq!(stdout(&again).trim(), format!("{place}/: it was the target for exports already"));
    let doctor = stdout(&it.dgm(&["doctor"], &place));
    assert!(doctor.lines().any(|line| line.starts_with("exports") && line.contains("ok") && line.contains(&place)));
    let serve = Serve::start_with(&it.database, "", &settings);
    until("it has looked", || exports_of(&serve) == "ready");
    assert_eq!(it.retire(&place).unwrap(), "enforce-retention: 1 dropped");
    assert_eq!(exported(&folder).len(), 2);
}

#[test]
fn a_disk_that_goes_away_after_the_first_look_costs_nothing() {
    let it = Installation::new();
    it.fill("generate_series(1, 1000)");
    let folder = tempfile::tempdir().unwrap();
    initialise(folder.path(), "exports");
    let marker = folder.path().join("_dgm-target.json");
    // Retention waits for a reader after it has looked at the target, and before it exports.
    let reader = Holder::reader(&it.database, 600);
    let retention = std::thread::scope(|scope| {
        let retention = scope.spawn(|| it.retire(&url(folder.path())));
        until("it waits for the reader", || {
            let waits =
                "datname = current_database() AND query LIKE '%dgm:partition_drop%' AND wait_event_type = 'Lock'";
            it.database.sql(&format!("SELECT count(*) FROM pg_stat_activity WHERE {waits} AND pid <> pg_backend_pid()"))
                == "1"
        });
        std::fs::remove_file(&marker).unwrap();
        drop(reader);
        retention.join().unwrap()
    });
    let refused = retention.unwrap_err();
    assert!(refused.contains("_dgm-target.json is missing"), "{refused}");
    assert!(it.status().contains(" detached "), "{}", it.status());
    assert_eq!(it.database.sql(&format!("SELECT count(*) FROM {}", it.partition())), "1000");

    // What was written below the disk stays there. On the disk the month is exported once more.
    let below = exported(folder.path());
    let bytes = std::fs::read(&below[0]).unwrap();
    std::fs::remove_file(&below[0]).unwrap();
    initialise(folder.path(), "exports");
    assert_eq!(it.retire(&url(folder.path())).unwrap(), "enforce-retention: 1 dropped");
    assert_eq!(exported(folder.path()), below, "equal contents have equal names");
    assert_eq!(std::fs::read(&below[0]).unwrap(), bytes);
}

fn backup(database: &Database, settings: &[(&str, &str)], arguments: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dgm"));
    command.arg("files").args(arguments).env("DATABASE_URL", database.url()).envs(settings.iter().copied());
    let output = command.output().unwrap();
    (output.status.code(), stdout(&output) + &stderr(&output))
}

#[test]
fn a_backup_goes_to_an_initialised_place_from_initialised_places() {
    let database = Database::ready();
    let work = tempfile::tempdir().unwrap();
    let (exports, copy) = (work.path().join("exports"), work.path().join("disk/copy"));
    let place = url(&copy);
    let of_exports = url(&exports);
    let settings = [("DGM__SAMPLES__EXPORT_URL", of_exports.as_str())];
    let run = |arguments: &[&str]| backup(&database, &settings, arguments);
    let refused = |arguments: &[&str], reason: &str| {
        let (code, said) = run(arguments);
        assert!(code == Some(1) && said.contains(reason), "{arguments:?}: {said}");
    };
    initialise(&exports, "exports");
    std::fs::write(exports.join("dgm_performance_metrics_2024_01-0123456789abcdef.parquet"), "month").unwrap();

    // The disk is not mounted, with and without a folder for it.
    refused(&["backup", &place], "there is no such folder");
    assert!(!copy.exists() && !copy.parent().unwrap().exists(), "nothing is created");
    refused(&["init", &place], "disk does not exist");
    std::fs::create_dir_all(&copy).unwrap();
    for command in [&["backup", &place][..], &["restore", &place], &["verify", "--copy", &place]] {
        refused(command, "_dgm-target.json is missing");
    }
    refused(&["backup", &of_exports], "is the target for exports, not for backup");
    assert_eq!(std::fs::read_dir(&copy).unwrap().count(), 0);
    let told = "SELECT count(*) FROM dgm_job_runs WHERE job_name = 'backup-files' AND outcome = 'failure'
        AND detail LIKE '%_dgm-target.json%'";
    assert_eq!(database.sql(told), "2", "the alert for missing backups learns of it");

    assert_eq!(run(&["init", &place]).0, Some(0));
    refused(&["init", "--purpose", "exports", &place], "is the target for backup, not for exports");
    assert_eq!(run(&["backup", &place]), (Some(0), "1 file with 5 B brought, 0 there already\n".to_owned()));
    assert!(!copy.join("exports/_dgm-target.json").exists(), "a copy is no target for exports");
    // Where the exports should come from is not mounted: that there are none is no backup.
    let aside = work.path().join("aside");
    std::fs::rename(&exports, &aside).unwrap();
    refused(&["backup", &place], "there is no such folder");
    std::fs::create_dir(&exports).unwrap();
    refused(&["backup", &place], "_dgm-target.json is missing");
    // A new disk for the exports gets back what was on the old one.
    refused(&["restore", &place], "_dgm-target.json is missing");
    assert_eq!(run(&["init", &of_exports]).0, Some(0));
    assert_eq!(run(&["restore", &place]), (Some(0), "1 file with 5 B brought, 0 there already\n".to_owned()));
    for wrong in ["exports", "ftp://host/folder"] {
        assert_eq!(run(&["init", wrong]).0, Some(1), "{wrong}");
    }
    assert_eq!(run(&["init", "--purpose", "pictures", &place]).0, Some(2));
}

#[test]
fn a_new_place_on_the_root_file_system_is_pointed_out() {
    let folder = tempfile::tempdir().unwrap();
    let device = |path: &Path| std::fs::metadata(path).unwrap().dev();
    let made = crate::support::dgm("", &["files", "init", &url(folder.path())]);
    let noted = stderr(&made).contains("is on the file system of /");
    assert!(made.status.success(), "{made:?}");
    assert_eq!(noted, device(folder.path()) == device(Path::new("/")), "{made:?}");
}
