//! An exported month comes back with all that it had, and is held.

use std::path::Path;
use std::process::Stdio;

use chrono::TimeDelta;
use dgm_service::domain::sample::Sample;
use dgm_service::interchange::sample_file::SampleFile;
use rustix::process::Signal;

use super::{Installation, exported, initialise, stderr, url};
use crate::support::holder::Holder;
use crate::support::serve::Serve;
use crate::support::{parquet, signal, stdout, until};

/// Exports the month; its file.
fn export(it: &Installation, folder: &Path) -> String {
    initialise(folder, "exports");
    assert_eq!(it.retire(&url(folder)).unwrap(), "enforce-retention: 1 dropped");
    let [file] = exported(folder).try_into().unwrap();
    file.to_str().unwrap().to_owned()
}

#[test]
fn a_month_comes_back_is_held_and_is_exported_again_under_its_name() {
    let it = Installation::new();
    it.fill("generate_series(1, 12345)");
    let rows = it.rows();
    let folder = tempfile::tempdir().unwrap();
    let file = export(&it, folder.path());
    let place = url(folder.path());
    assert_eq!(it.rows(), "0|");

    let import = |arguments: &[&str]| {
        let output = it.dgm(&[&["import", "samples"], arguments].concat(), &place);
        (output.status.code(), stdout(&output), stderr(&output))
    };
    let month = it.month.replace('_', "-");
    let (code, said, error) = import(&[&file]);
    assert_eq!(code, Some(0), "{error}");
    assert!(said.starts_with(&format!("12345 samples of {month} read, 12345 new, 0 known\nheld until ")), "{said}");
    assert_eq!(it.rows(), rows, "every column of every row");
    // By its URL, and again: nothing new, and the hold that lasts longer stays.
    let (_, said, _) = import(&[&format!("{place}/{}", file.rsplit_once('/').unwrap().1), "--keep", "1"]);
    assert!(said.starts_with(&format!("12345 samples of {month} read, 0 new, 12345 known\n")), "{said}");
    assert_eq!(it.rows(), rows);
    let days = "SELECT round(extract(epoch FROM held_until - now()) / 86400) FROM dgm_partition_holds";
    assert_eq!(it.database.sql(days), "30");

    // What is missing comes back, what was changed since stays.
    it.database.sql("DELETE FROM dgm_performance_metrics WHERE metric_value < 100");
    it.database.sql("UPDATE dgm_performance_metrics SET metric_value = 0 WHERE archive_entry_id = 'entry 5000'");
    assert!(import(&[&file]).1.contains(" 299 new, 12046 known"));
    it.database.sql(
        "UPDATE dgm_performance_metrics SET metric_value = 5000 / 3.0::float8 WHERE archive_entry_id = 'entry 5000'",
    );
    assert_eq!(it.rows(), rows);

    // Retention, status, API, metrics and checks know of the hold.
    let held = it.database.sql(
        "SELECT to_char(held_until AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"') FROM dgm_partition_holds",
    );
    assert!(
        it.status().contains(" attached ") && it.status().ends_with(&format!("  held until {held}")),
        "{}",
        it.status()
    );
    assert_eq!(it.retire(&place).unwrap(), "enforce-retention: 0 dropped");
    assert_eq!(it.rows(), rows);
    let verified = it.database.dgm(&["migrate", "verify"]);
    assert!(verified.status.success(), "{}", stdout(&verified));
    let mut serve = Serve::start_with(
        &it.database,
        "",
        &[("DGM__JOBS__SCHEDULES", "collect-health=* * * * * *; enforce-retention=0 0 0 1 1 *")],
    );
    serve.token = it.database.token("operator");
    let listed = serve.call("GET", "/api/v1/admin/partitions", None).expect(200);
    let item = listed["items"].as_array().unwrap().iter().find(|item| item["name"] == it.partition()).unwrap().clone();
    assert_eq!((&item["held"], &item["expired"]), (&true.into(), &false.into()), "{item}");
    assert!(item["held_until"].as_str().unwrap().starts_with(held.trim_end_matches('Z')), "{item}");
    let others =
        listed["items"].as_array().unwrap().iter().filter(|item| item["held_until"].is_null() && item["held"] == false);
    assert_eq!(others.count(), 4);
    let series = |name: &str| serve.metric(&format!("{name}{{table=\"dgm_performance_metrics\"}}"));
    until("it is measured", || series("dgm_partitions").is_some());
    assert_eq!((series("dgm_partitions"), series("dgm_partitions_expired")), (Some(4.0), Some(0.0)));
    let (first, last) = (format!("{month}-01T00:00:00Z"), format!("{month}-02T00:00:00Z"));
    let path = format!("/api/v1/metrics/gr%C3%B6%C3%9Fe%201/latency_seconds?from={first}&to={last}&step=1d");
    assert!(serve.call("GET", &path, None).expect(200)["points"][0]["count"].as_i64().unwrap() > 1000);
    drop(serve);

    // Past the hold it goes, to the file that is there.
    assert_eq!(stdout(&it.dgm(&["partition", "release", &month], &place)).trim(), format!("{month}: no longer held"));
    assert_eq!(stdout(&it.dgm(&["partition", "release", &month], &place)).trim(), format!("{month}: it is not held"));
    assert!(it.status().contains(" expired ") && !it.status().contains("held"), "{}", it.status());
    assert!(it.database.dgm(&["migrate", "verify"]).status.success());
    assert_eq!(it.retire(&place).unwrap(), "enforce-retention: 1 dropped");
    assert_eq!(exported(folder.path()).len(), 1);
    assert_eq!(it.database.sql("SELECT count(*) FROM dgm_partition_holds"), "0");
}

const SESSIONS: &str = "SELECT count(*) FROM pg_stat_activity
     WHERE datname = current_database() AND application_name LIKE 'dgm%'";

#[test]
fn an_import_that_is_interrupted_goes_on_where_it_was() {
    let it = Installation::new();
    it.fill("generate_series(1, 60000)");
    let rows = it.rows();
    let folder = tempfile::tempdir().unwrap();
    let file = export(&it, folder.path());
    let stored = || -> u64 { it.database.sql("SELECT count(*) FROM dgm_performance_metrics").parse().unwrap() };
    // Each batch takes a while, so that the signal comes between two.
    it.database.sql(
        "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(0.3); RETURN NULL; END $$;
         CREATE TRIGGER slow BEFORE INSERT ON dgm_performance_metrics FOR EACH STATEMENT EXECUTE FUNCTION slow()",
    );
    for (with, code) in [(Signal::KILL, None), (Signal::INT, Some(130))] {
        let before = stored();
        let mut import = it.command(&["import", "samples", &file, "--keep", "3"], "");
        let import = import.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        until("something new is stored", || stored() > before);
        signal(import.id(), with).unwrap();
        let output = import.wait_with_output().unwrap();
        assert_eq!(output.status.code(), code, "{output:?}");
        // PostgreSQL ends the batch of a client that is gone.
        until("its session has ended", || it.database.sql(SESSIONS) == "0");
        let now = stored();
        assert!(before < now && now < 60_000, "{now}");
        assert!(it.status().contains("held until"), "it is held from before its first row");
        if with == Signal::INT {
            let told = stderr(&output);
            assert!(told.contains("of 60000 samples; the same command continues"), "{told}");
        }
        // The import that was killed filled months 0 to `now`; the next one begins there again.
        it.database.sql(&format!(
            "DELETE FROM dgm_performance_metrics WHERE tableoid = '{}'::regclass AND metric_value > 10000",
            it.partition()
        ));
    }
    it.database.sql("DROP TRIGGER slow ON dgm_performance_metrics");
    assert!(it.dgm(&["import", "samples", &file], "").status.success());
    assert_eq!(it.rows(), rows);
}

#[test]
fn a_file_that_is_not_a_whole_export_is_refused_before_anything_is_stored() {
    let it = Installation::new();
    it.fill("generate_series(1, 5000)");
    let folder = tempfile::tempdir().unwrap();
    let file = export(&it, folder.path());
    let whole = std::fs::read(&file).unwrap();
    let import = |place: &str| it.dgm(&["import", "samples", place], "");
    let refused = |what: &str, place: &str, reason: &str| {
        let output = import(place);
        let said = stderr(&output);
        assert!(output.status.code() == Some(1) && said.contains(reason), "{what}: {said}");
        assert_eq!(it.rows(), "0|", "{what}");
        assert_eq!(it.database.sql("SELECT count(*) FROM dgm_partition_holds"), "0", "{what}");
    };
    let damaged = folder.path().join("damaged.parquet");
    let mut changed = whole.clone();
    let middle = whole.len() / 2;
    changed[middle] ^= 0x55;
    for (what, bytes, reason) in [
        ("cut off", &whole[..whole.len() - 1000], "nothing was imported"),
        ("one byte is another", changed.as_slice(), "nothing was imported"),
        ("empty", b"", "nothing was imported"),
        ("something else", b"id,service_name\n1,s\n", "nothing was imported"),
    ] {
        std::fs::write(&damaged, bytes).unwrap();
        refused(what, damaged.to_str().unwrap(), reason);
    }
    refused("no file", &format!("{file}x"), "there is no such file");
    refused("no file in a bucket of that kind", "ftp://host/file", "is neither file nor s3");
    refused("a folder", &format!("{}/", url(folder.path())), "names no file");
    for keep in ["0", "3651", "-1", "soon"] {
        let output = it.dgm(&["import", "samples", &file, "--keep", keep], "");
        assert_eq!(output.status.code(), Some(2), "{keep}: {output:?}");
    }
    assert_eq!(it.dgm(&["import", "samples", &file, "--service", "s"], "").status.code(), Some(1));
    assert_eq!(it.rows(), "0|");
}

#[test]
fn a_hold_is_placed_before_a_drop_or_waits_for_it() {
    let it = Installation::new();
    it.fill("generate_series(1, 3000)");
    let rows = it.rows();
    let folder = tempfile::tempdir().unwrap();
    let file = export(&it, folder.path());
    assert!(it.dgm(&["import", "samples", &file], "").status.success());
    it.database.sql("UPDATE dgm_partition_holds SET held_until = now() - interval '1 s'");
    // Retention has found the month expired and waits for a reader, when it is imported once more.
    let reader = Holder::reader(&it.database, 600);
    let place = url(folder.path());
    let refused = std::thread::scope(|scope| {
        let retention = scope.spawn(|| it.retire(&place));
        until("it waits for the reader", || it.status().contains(" detaching "));
        it.database.sql("UPDATE dgm_partition_holds SET held_until = now() + interval '1 day'");
        drop(reader);
        retention.join().unwrap()
    });
    assert!(refused.unwrap_err().contains("its month is held"));
    assert!(it.status().contains(" detached ") && it.status().contains("held until"), "{}", it.status());
    // The import takes it back.
    assert!(it.dgm(&["import", "samples", &file], "").status.success());
    assert_eq!(it.rows(), rows);
    assert!(it.status().contains(" attached "), "{}", it.status());
}

#[test]
fn a_month_that_was_left_half_detached_is_attached_by_its_import() {
    let it = Installation::new();
    it.fill("generate_series(1, 3000)");
    let rows = it.rows();
    let folder = tempfile::tempdir().unwrap();
    let file = export(&it, folder.path());
    it.fill("generate_series(1, 100)");
    let reader = Holder::reader(&it.database, 600);
    let mut retention = it.command(&["job", "run", "enforce-retention"], &url(folder.path()));
    let mut retention = retention.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    until("it waits for the reader", || it.status().contains(" detaching "));
    retention.kill().unwrap();
    retention.wait().unwrap();
    drop(reader);
    let imported = it.dgm(&["import", "samples", &file], "");
    assert!(stdout(&imported).contains(" 2900 new, 100 known"), "{imported:?}");
    assert!(it.status().contains(" attached ") && it.status().contains("held until"), "{}", it.status());
    assert_eq!(it.rows(), rows);
}

#[test]
fn a_file_without_a_digest_is_imported_and_one_with_other_samples_is_not() {
    let it = Installation::new();
    it.fill("generate_series(1, 200)");
    let rows = it.rows();
    let folder = tempfile::tempdir().unwrap();
    let samples = parquet::samples(Path::new(&export(&it, folder.path())));
    let write = |name: &str, notes: &[(&str, String)], samples: &[Sample]| {
        let mut file = SampleFile::new(notes).unwrap();
        // Of several row groups.
        let mut bytes: Vec<u8> = samples.chunks(60).flat_map(|group| file.push(group).unwrap()).collect();
        bytes.extend(file.finish().unwrap());
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let changed = |change: fn(&mut Sample)| {
        let mut changed = samples.clone();
        change(&mut changed[100]);
        changed
    };
    let digest = [("dgm.sha256", "0".repeat(64))];
    let cases = [
        ("another digest", write("a", &digest, &samples), "their digest should be 0000"),
        (
            "two months",
            write("b", &[], &changed(|s| s.measurement_timestamp += TimeDelta::days(31))),
            "more than one month",
        ),
        ("no number", write("c", &[], &changed(|s| s.metric_value = f64::NAN)), "metric_value: must lie in"),
        ("a long name", write("d", &[], &changed(|s| s.service_name = "x".repeat(101))), "service_name: "),
        (
            "a control character",
            write("e", &[], &changed(|s| s.archive_entry_id = Some("\n".to_owned()))),
            "archive_entry_id: ",
        ),
        ("nothing", write("f", &[], &[]), "it holds no samples"),
    ];
    for (what, file, reason) in cases {
        let refused = it.dgm(&["import", "samples", &file], "");
        let said = stderr(&refused);
        assert!(refused.status.code() == Some(1) && said.contains(reason), "{what}: {said}");
        assert_eq!(it.rows(), "0|", "{what}");
    }
    // As exports were before their names were digests.
    let before = format!("{}-0000000000000000.parquet", it.partition());
    let file = write(&before, &[("dgm.ids", "0".repeat(32))], &samples);
    assert!(it.dgm(&["import", "samples", &file], "").status.success());
    assert_eq!(it.rows(), rows);
}
