use std::collections::BTreeSet;

use tempfile::TempDir;

use super::*;

fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

fn folder(files: &[(&str, usize)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, size) in files {
        fs::write(folder.path().join(name), vec![b'x'; *size]).unwrap();
    }
    folder
}

fn names(folder: &TempDir) -> BTreeSet<String> {
    let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.collect()
}

fn retention(folder: &TempDir, days: u32, max_bytes: u64) -> Retention {
    Retention { folder: folder.path().into(), days, max_bytes }
}

/// What is not ours, however near its name.
const OTHERS: [&str; 6] = [
    "dgm.2026-01-01-00.log.gz",
    "dgm.2026-01-01.log",
    "dgm.2026-1-1-0.log",
    "dgm.2026-13-01-00.log",
    "other.2026-01-01-00.log",
    "dgm.2026-01-01-00.log ",
];

#[test]
fn what_is_too_old_goes_and_nothing_else() {
    let ours = [("dgm.2026-10-25-11.log", 7), ("dgm.2026-10-25-12.log", 9), ("dgm.2026-11-24-12.log", 9)];
    let others = OTHERS.map(|name| (name, 100));
    let folder = folder(&[&ours[..], &others[..]].concat());
    fs::create_dir(folder.path().join("dgm.2026-01-01-01.log")).unwrap();
    // 30 days before, the first had just ended and the second was being written.
    let pruned = retention(&folder, 30, 1000).prune(Some(at("2026-11-24T12:30:00Z"))).unwrap();
    assert_eq!(pruned, Pruned { files: 1, bytes: 7 });
    let mut left = BTreeSet::from(OTHERS.map(str::to_owned));
    left.extend([ours[1].0, ours[2].0, "dgm.2026-01-01-01.log"].map(str::to_owned));
    assert_eq!(names(&folder), left);
    assert_eq!(retention(&folder, 30, 1000).prune(Some(at("2026-11-24T12:59:00Z"))).unwrap(), Pruned::default());
}

#[test]
fn the_oldest_beyond_the_size_go() {
    let folder = folder(&[
        ("dgm.2026-11-25-02.log", 40),
        ("dgm.2026-11-25-10.log", 30),
        ("dgm.2026-11-25-03.log", 50),
        ("other.log", 1000),
    ]);
    let now = at("2026-11-25T10:00:00Z");
    assert_eq!(retention(&folder, 30, 120).prune(Some(now)).unwrap(), Pruned::default());
    assert_eq!(retention(&folder, 30, 119).prune(Some(now)).unwrap(), Pruned { files: 1, bytes: 40 });
    assert!(!names(&folder).contains("dgm.2026-11-25-02.log"));
}

#[test]
fn the_newest_stays_whatever_the_limits_say() {
    let folder = folder(&[("dgm.2026-01-01-00.log", 40), ("dgm.2026-01-01-01.log", 40)]);
    let pruned = retention(&folder, 0, 0).prune(Some(at("2026-11-25T10:00:00Z"))).unwrap();
    assert_eq!(pruned, Pruned { files: 1, bytes: 40 });
    assert_eq!(names(&folder), BTreeSet::from(["dgm.2026-01-01-01.log".to_owned()]));
}

#[test]
fn each_hour_has_its_file() {
    let folder = folder(&[("dgm.2026-11-25-05.log", 3)]);
    let mut hourly = Hourly { folder: folder.path().to_owned(), name: String::new(), file: None };
    for (now, line) in [("2026-11-25T05:59:59Z", "a"), ("2026-11-25T06:00:00Z", "b"), ("2026-11-25T06:10:00Z", "c")] {
        hourly.turn(at(now)).unwrap();
        hourly.file.as_mut().unwrap().write_all(line.as_bytes()).unwrap();
    }
    let read = |name| fs::read_to_string(folder.path().join(name)).unwrap();
    assert_eq!(read("dgm.2026-11-25-05.log"), "xxxa", "what was there stays");
    assert_eq!(read("dgm.2026-11-25-06.log"), "bc");
}

#[test]
fn an_hour_that_cannot_be_opened_is_written_to_the_file_before() {
    let folder = folder(&[]);
    let mut hourly = Hourly { folder: folder.path().to_owned(), name: String::new(), file: None };
    hourly.turn(at("2026-11-25T05:00:00Z")).unwrap();
    // A folder where the file should be; root may write everywhere, so permissions would prove nothing.
    fs::create_dir(folder.path().join("dgm.2026-11-25-06.log")).unwrap();
    hourly.turn(at("2026-11-25T06:00:00Z")).unwrap_err();
    assert_eq!(hourly.name, "dgm.2026-11-25-05.log");
    fs::remove_dir(folder.path().join("dgm.2026-11-25-06.log")).unwrap();
    hourly.turn(at("2026-11-25T06:00:01Z")).unwrap();
    assert_eq!(hourly.name, "dgm.2026-11-25-06.log");
}

#[test]
fn a_folder_that_cannot_be_made_is_refused_at_once() {
    let folder = folder(&[("file", 1)]);
    assert!(open(&folder.path().join("file/logs")).is_err());
}
