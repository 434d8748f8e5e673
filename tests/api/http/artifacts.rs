//! Files of entries: where their bytes are, and when they go.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::answer::{Answer, answer};
use crate::support::serve::Serve;
use crate::support::{Database, stdout, until};

const PATCH: &str = "/api/v1/archive/e/artifacts/solution.patch";

struct Installation {
    database: Database,
    serve: Serve,
    storage: TempDir,
    settings: Vec<(String, String)>,
}

impl Installation {
    fn with(settings: &[(&str, &str)]) -> Self {
        let (database, storage) = (Database::migrated(), tempfile::tempdir().unwrap());
        let url = format!("file://{}", storage.path().display());
        // A new installation catches up on what was to be collected last night: here only what is asked for is collected.
        let own = [("DGM__ARTIFACTS__URL", url.as_str()), ("DGM__JOBS__ENABLED", "false")];
        let all: Vec<(&str, &str)> = own.iter().chain(settings).copied().collect();
        let mut serve = Serve::start_with(&database, "", &all);
        serve.token = database.token("operator");
        let settings = all.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
        let it = Self { database, serve, storage, settings };
        it.entry("e");
        it.entry("f");
        it
    }

    fn entry(&self, id: &str) {
        let entry = json!({"archive_entry_id": id, "service_name": "s", "problem_statement": "p", "accuracy_score": 0.5,
            "constitutional_compliance_score": 1});
        self.serve.call("POST", "/api/v1/archive", Some(&entry)).expect(201);
    }

    fn put(&self, path: &str, bytes: impl Into<Vec<u8>>) -> Answer {
        answer(self.serve.request("PUT", path).header("content-type", "text/x-diff").body(bytes.into()))
    }

    /// The head of an upload whose body is to be written.
    fn begin_upload(&self, name: &str, length: &str) -> TcpStream {
        let mut stream = TcpStream::connect(&self.serve.api).unwrap();
        let Serve { api, token, .. } = &self.serve;
        let head = format!(
            "PUT /api/v1/archive/e/artifacts/{name} HTTP/1.1\r\nhost: {api}\r\nauthorization: Bearer {token}\r\n{length}\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).unwrap();
        stream
    }

    fn get(&self, path: &str) -> Answer {
        self.serve.call("GET", path, None)
    }

    fn collect(&self) -> String {
        let ran = self.serve.call("POST", "/api/v1/admin/jobs/collect-artifacts/run", None).expect(200);
        ran["detail"].as_str().unwrap_or_else(|| panic!("{ran}")).to_owned()
    }

    /// `dgm files`: its exit code, and the lines that it says.
    fn files_command(&self, arguments: &[&str]) -> (Option<i32>, Vec<String>) {
        let output = self.command(&[&["files"], arguments].concat());
        (output.status.code(), stdout(&output).lines().map(str::to_owned).collect())
    }

    fn doctor(&self) -> Output {
        self.command(&["doctor"])
    }

    fn command(&self, arguments: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_dgm"))
            .args(arguments)
            .env("DATABASE_URL", self.database.url())
            .envs(self.settings.iter().map(|(name, value)| (name, value)))
            .output()
            .unwrap()
    }

    /// Where the bytes of a file of the first entry lie, and their digest.
    fn place(&self, name: &str) -> (PathBuf, String) {
        let list = self.get("/api/v1/archive/e/artifacts").body;
        let item = list["items"].as_array().unwrap().iter().find(|item| item["name"] == name).unwrap();
        let hex = item["digest"].as_str().unwrap().strip_prefix("sha256:").unwrap().to_owned();
        (self.storage.path().join("sha256").join(&hex[..2]).join(&hex[2..4]).join(&hex), hex)
    }

    /// The files that there are, below the storage, without its marker.
    fn files(&self) -> Vec<PathBuf> {
        fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                let marker = path.file_name().is_some_and(|name| name == "_dgm-target.json");
                if path.is_dir() {
                    walk(&path, found);
                } else if !marker {
                    found.push(path);
                }
            }
        }
        let mut found = Vec::new();
        walk(self.storage.path(), &mut found);
        found.sort();
        found
    }
}

#[test]
fn a_file_is_kept_once_however_many_entries_have_it() {
    let it = Installation::with(&[]);
    let first = it.put(PATCH, "+ a line").expect(201);
    // SHA-256 of these eight bytes, by sha256sum.
    let digest = "sha256:03472351cd85f4a9d4dc12e6e79c9f5adbefb6667e41cd51e7ee4631c2eaa106";
    assert_eq!(first["size_bytes"], 8);
    assert_eq!(first["media_type"], "text/x-diff");
    assert_eq!(first["digest"], digest);
    // A repeated upload changes nothing, not even its time.
    assert_eq!(it.put(PATCH, "+ a line").expect(200), first);
    it.put("/api/v1/archive/f/artifacts/other%20name", "+ a line").expect(201);
    let files = it.files();
    let hex = digest.strip_prefix("sha256:").unwrap();
    let place = it.storage.path().join("sha256").join(&hex[..2]).join(&hex[2..4]).join(hex);
    assert_eq!(files, std::slice::from_ref(&place));

    let read = it.get(PATCH);
    assert_eq!((read.status, read.content_type.as_str(), &read.body), (200, "text/x-diff", &json!("+ a line")));
    assert_eq!(read.etag, Some(format!("\"{digest}\"")));
    let again = answer(it.serve.request("GET", PATCH).header("if-none-match", read.etag.unwrap()));
    assert_eq!((again.status, again.body), (304, Value::Null));
    let head = it.serve.request("HEAD", PATCH).send().unwrap();
    assert_eq!((head.status().as_u16(), head.headers()["content-length"].to_str().unwrap()), (200, "8"));
    let sandboxed = it.serve.request("GET", PATCH).send().unwrap();
    assert_eq!(sandboxed.headers()["content-disposition"], "attachment");

    // Another file takes the place of the first, for this entry only.
    it.put(PATCH, "- a line").expect(200);
    assert_eq!(it.get(PATCH).body, "- a line");
    assert_eq!(it.get("/api/v1/archive/f/artifacts/other%20name").body, "+ a line");
    it.put("/api/v1/archive/e/artifacts/evaluation.log", vec![0xff, 0, 10]).expect(201);
    let list = it.get("/api/v1/archive/e/artifacts");
    assert_eq!(list.ids("name"), ["evaluation.log", "solution.patch"]);
    assert_eq!(it.get("/api/v1/archive/f/artifacts").ids("name"), ["other name"]);

    // Bytes that went astray come back with the next upload of the same.
    std::fs::remove_file(&place).unwrap();
    let gone = it.get("/api/v1/archive/f/artifacts/other%20name");
    assert_eq!((gone.status, gone.problem()), (500, "internal"));
    assert_eq!(it.serve.count("dgm_artifacts_lost_total"), 1);
    it.put("/api/v1/archive/e/artifacts/again", "+ a line").expect(201);
    assert_eq!(it.get("/api/v1/archive/f/artifacts/other%20name").body, "+ a line");
}

#[test]
fn what_no_entry_needs_goes_after_a_while() {
    let it = Installation::with(&[("DGM__ARTIFACTS__GRACE_SECONDS", "3600")]);
    for (path, bytes) in
        [(PATCH, "one"), ("/api/v1/archive/f/artifacts/a", "one"), ("/api/v1/archive/f/artifacts/b", "two")]
    {
        it.put(path, bytes).expect(201);
    }
    let delete = |path: &str| assert_eq!(it.serve.call("DELETE", path, None).status, 204);
    delete(PATCH);
    assert_eq!(it.serve.call("DELETE", PATCH, None).problem(), "not-found");
    delete("/api/v1/archive/f/artifacts/b");
    // The first is the other entry's still; the second is not old enough.
    assert_eq!(it.collect(), "0 unreferenced, 0 stray, 0 unfinished removed");
    it.database.sql("UPDATE dgm_artifacts SET unreferenced_since = unreferenced_since - interval '2 hours'");
    assert_eq!(it.collect(), "1 unreferenced, 0 stray, 0 unfinished removed");
    assert_eq!(it.get("/api/v1/archive/f/artifacts/a").body, "one");
    // The last entry that has it goes, by whatever way.
    it.database.sql("DELETE FROM dgm_archive WHERE archive_entry_id = 'f'");
    it.database.sql("UPDATE dgm_artifacts SET unreferenced_since = unreferenced_since - interval '2 hours'");
    // What somebody has again in the meantime stays.
    it.put("/api/v1/archive/e/artifacts/again", "one").expect(201);
    assert_eq!(it.collect(), "0 unreferenced, 0 stray, 0 unfinished removed");
    delete("/api/v1/archive/e/artifacts/again");
    it.database.sql("UPDATE dgm_artifacts SET unreferenced_since = unreferenced_since - interval '2 hours'");
    assert_eq!(it.collect(), "1 unreferenced, 0 stray, 0 unfinished removed");
    assert!(it.files().is_empty());
    assert_eq!(it.database.sql("SELECT count(*) FROM dgm_artifacts"), "0");
}

#[test]
fn what_the_storage_has_lost_is_named() {
    let it = Installation::with(&[]);
    for (path, bytes) in
        [("e/artifacts/a", "one"), ("f/artifacts/b", "one"), ("e/artifacts/c", "two"), ("e/artifacts/d", "three")]
    {
        it.put(&format!("/api/v1/archive/{path}"), bytes).expect(201);
    }
    let (code, said) = it.files_command(&["verify", "--read"]);
    assert_eq!(code, Some(0), "{said:?}");
    assert!(said[0].starts_with("3 files with 11 B read in file://") && said[0].ends_with(": all there"), "{said:?}");

    let ((one, digest), (two, other), (three, _)) = (it.place("a"), it.place("c"), it.place("d"));
    std::fs::remove_file(one).unwrap();
    std::fs::write(&two, "owt").unwrap();
    std::fs::write(&three, "thr").unwrap();
    let gone = ["a of e", "b of f"].map(|which| format!("{which}: sha256:{digest} is gone"));
    let (code, said) = it.files_command(&["verify"]);
    assert_eq!((code, said.len()), (Some(1), 4), "{said:?}");
    assert!(gone.iter().all(|line| said.contains(line)), "{said:?}");
    assert!(
        said.iter().any(|line| line.starts_with("d of e: ") && line.ends_with("has 3 bytes in place of 5")),
        "{said:?}"
    );
    assert!(said[3].ends_with(": 2 not whole"), "{said:?}");
    // Bytes that are others, as many as before, are found by reading.
    let (code, said) = it.files_command(&["verify", "--read"]);
    let changed = format!("c of e: sha256:{other} holds other bytes, those of sha256:");
    assert_eq!((code, said.iter().filter(|line| line.starts_with(&changed)).count()), (Some(1), 1), "{said:?}");

    // What no entry has need not be there.
    for path in ["e/artifacts/a", "f/artifacts/b", "e/artifacts/c", "e/artifacts/d"] {
        assert_eq!(it.serve.call("DELETE", &format!("/api/v1/archive/{path}"), None).status, 204);
    }
    assert_eq!(it.files_command(&["verify"]).0, Some(0));
}

#[test]
fn a_copy_takes_what_it_lacks_and_gives_back_what_was_lost() {
    let (exports, copy) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let url = |folder: &TempDir| format!("file://{}", folder.path().display());
    let it = Installation::with(&[("DGM__SAMPLES__EXPORT_URL", &url(&exports))]);
    for (path, bytes) in [("e/artifacts/a", "one"), ("f/artifacts/b", "one"), ("e/artifacts/c", "two")] {
        it.put(&format!("/api/v1/archive/{path}"), bytes).expect(201);
    }
    let month = exports.path().join("dgm_performance_metrics_2024_01-0123456789abcdef.parquet");
    std::fs::write(&month, "month").unwrap();
    std::fs::write(exports.path().join("README"), "not ours").unwrap();
    for (folder, purpose) in [(&copy, "backup"), (&exports, "exports")] {
        assert_eq!(it.files_command(&["init", "--purpose", purpose, &url(folder)]).0, Some(0));
    }
    let command = |what: &str| {
        let (code, mut said) = it.files_command(&[what, &url(&copy)]);
        (code, said.pop().unwrap_or_default(), said)
    };
    let well = |said: &str| (Some(0), said.to_owned(), Vec::new());
    assert_eq!(command("backup"), well("3 files with 11 B brought, 0 there already"));
    assert_eq!(command("backup"), well("0 files with 0 B brought, 3 there already"));
    let told = "SELECT count(*), min(outcome) FROM dgm_job_runs WHERE job_name = 'backup-files'";
    assert_eq!(it.database.sql(told), "2|success");
    assert_eq!(it.files_command(&["verify", "--read", "--copy", &url(&copy)]).0, Some(0));

    let (one, _) = it.place("a");
    std::fs::remove_file(&one).unwrap();
    std::fs::remove_file(&month).unwrap();
    assert_eq!(command("restore"), well("2 files with 8 B brought, 1 there already"));
    assert_eq!(it.get("/api/v1/archive/f/artifacts/b").body, "one");
    assert_eq!(std::fs::read(&month).unwrap(), b"month");

    // What is damaged stays out of the copy, and is told of.
    it.put("/api/v1/archive/f/artifacts/d", "three").expect(201);
    let three = it.files().into_iter().find(|file| std::fs::read(file).unwrap() == b"three").unwrap();
    std::fs::write(&three, "eerht").unwrap();
    let (code, said, named) = command("backup");
    assert_eq!(
        (code, said.as_str()),
        (Some(1), "0 files with 0 B brought, 3 there already, 1 not whole where they should come from")
    );
    assert!(
        named.len() == 1 && named[0].starts_with("d of f: sha256:") && named[0].contains("holds other bytes"),
        "{named:?}"
    );
    assert_eq!(
        it.database.sql("SELECT count(*) FROM dgm_job_runs WHERE job_name = 'backup-files' AND outcome = 'failure'"),
        "1"
    );
    let (code, said) = it.files_command(&["verify", "--copy", &url(&copy)]);
    assert!(code == Some(1) && said[0].ends_with(" is gone"), "{said:?}");
    // So does a file of the copy that is damaged.
    let kept = copy.path().join("artifacts").join(one.strip_prefix(it.storage.path()).unwrap());
    std::fs::write(&kept, "eno").unwrap();
    std::fs::remove_file(&one).unwrap();
    let (code, _, named) = command("restore");
    assert!(code == Some(1) && named.iter().any(|line| line.starts_with("a of e: ")), "{named:?}");
    assert!(!one.exists());
    // Nothing of what is not ours was taken.
    assert!(!copy.path().join("exports/README").exists());
}

#[test]
fn a_storage_that_is_not_mounted_is_neither_written_nor_believed() {
    let it = Installation::with(&[("DGM__ARTIFACTS__GRACE_SECONDS", "0")]);
    let marker = it.storage.path().join("_dgm-target.json");
    // A new installation needs no command: the first upload marks the storage.
    assert!(!marker.exists());
    assert_eq!(it.collect(), "0 unreferenced, 0 stray, 0 unfinished removed");
    assert_eq!(it.files_command(&["verify"]).0, Some(0));
    it.put(PATCH, "kept").expect(201);
    let text: Value = serde_json::from_str(&std::fs::read_to_string(&marker).unwrap()).unwrap();
    assert_eq!((&text["purpose"], &text["format"]), (&json!("artifacts"), &json!(1)));

    // The disk goes away: an empty folder is there.
    let mounted = it.storage.path().with_extension("mounted");
    std::fs::rename(it.storage.path(), &mounted).unwrap();
    std::fs::create_dir(it.storage.path()).unwrap();
    let empty = || std::fs::read_dir(it.storage.path()).unwrap().count() == 0;
    let put = it.put("/api/v1/archive/e/artifacts/second", "second");
    assert_eq!((put.status, put.problem()), (503, "unavailable"));
    let read = it.get(PATCH);
    assert_eq!((read.status, read.problem()), (503, "unavailable"), "it is not lost");
    assert_eq!(it.serve.count("dgm_artifacts_lost_total"), 0);
    it.serve.call("DELETE", PATCH, None);
    let collected = it.serve.call("POST", "/api/v1/admin/jobs/collect-artifacts/run", None).expect(200);
    assert_eq!(collected["outcome"], "failure", "{collected}");
    assert_eq!(it.database.sql("SELECT count(*) FROM dgm_artifacts"), "1");
    let copy = tempfile::tempdir().unwrap();
    let place = format!("file://{}", copy.path().display());
    assert_eq!(it.files_command(&["init", &place]).0, Some(0));
    for command in [&["verify"][..], &["backup", &place], &["restore", &place]] {
        assert_eq!(it.files_command(command).0, Some(1), "{command:?}");
    }
    assert!(
        stdout(&it.doctor()).lines().any(|line| line.starts_with("artifacts    FAIL") && line.contains("is missing"))
    );
    assert!(empty(), "nothing is written beneath");

    // It comes back, and all is as before.
    std::fs::remove_dir(it.storage.path()).unwrap();
    std::fs::rename(&mounted, it.storage.path()).unwrap();
    it.put(PATCH, "kept").expect(201);
    assert_eq!(it.get(PATCH).body, "kept");
    assert!(it.files_command(&["backup", &place]).1[0].starts_with("1 file with 4 B brought"));
    // A storage that is given up for a new disk gets everything back from the copy, once an operator initialises it.
    std::fs::remove_dir_all(it.storage.path()).unwrap();
    std::fs::create_dir(it.storage.path()).unwrap();
    assert_eq!(it.files_command(&["restore", &place]).0, Some(1));
    let url = format!("file://{}", it.storage.path().display());
    assert_eq!(
        it.files_command(&["init", &url]).1,
        [format!("{url}: initialised as the target for artifacts, by _dgm-target.json")]
    );
    assert_eq!(it.files_command(&["restore", &place]).0, Some(0));
    assert_eq!(it.get(PATCH).body, "kept");
}

#[test]
fn what_a_killed_process_left_is_found() {
    let mut it = Installation::with(&[("DGM__ARTIFACTS__GRACE_SECONDS", "0")]);
    it.put(PATCH, "kept").expect(201);
    // An upload of which more than is kept in memory has come, when the process is killed.
    let mut stream = it.begin_upload("large", "content-length: 100000000");
    stream.write_all(&vec![b'x'; 30_000_000]).unwrap();
    until("something of it is on the disk", || it.files().len() == 2);
    it.serve.kill();
    // Renamed, and not committed.
    let stray = it.storage.path().join("sha256/ab/cd").join(format!("abcd{}", "0".repeat(60)));
    std::fs::create_dir_all(stray.parent().unwrap()).unwrap();
    std::fs::write(&stray, "stray").unwrap();
    // Not ours.
    let foreign = it.storage.path().join("sha256/README");
    std::fs::write(&foreign, "not a digest").unwrap();
    assert_eq!(it.files().len(), 4);
    it.serve.restart();
    assert_eq!(it.collect(), "0 unreferenced, 1 stray, 1 unfinished removed");
    assert_eq!(it.files().len(), 2);
    assert!(foreign.exists());
    assert_eq!(it.get(PATCH).body, "kept");
    assert_eq!(it.collect(), "0 unreferenced, 0 stray, 0 unfinished removed");
}

#[test]
fn what_cannot_be_taken_is_refused_and_leaves_nothing() {
    let it = Installation::with(&[("DGM__ARTIFACTS__MAX_BYTES", "1000")]);
    let refused = |path: &str, bytes: usize| {
        let answer = it.put(path, vec![b'x'; bytes]);
        (answer.status, answer.problem().to_owned())
    };
    it.put("/api/v1/archive/e/artifacts/most", vec![b'x'; 1000]).expect(201);
    assert_eq!(refused("/api/v1/archive/e/artifacts/more", 1001), (413, "body-too-large".to_owned()));
    assert_eq!(refused("/api/v1/archive/nobody/artifacts/a", 3), (404, "not-found".to_owned()));
    for name in ["a%2Fb", "..%2f", "a%0Ab", &"x".repeat(256)] {
        assert_eq!(
            refused(&format!("/api/v1/archive/e/artifacts/{name}"), 3),
            (400, "invalid-parameter".to_owned()),
            "{name}"
        );
    }
    // One that does not say beforehand how large it is, and is not done when it is told.
    let mut stream = it.begin_upload("more", "transfer-encoding: chunked");
    stream.write_all(format!("7d0\r\n{}\r\n", "x".repeat(2000)).as_bytes()).unwrap();
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).unwrap();
    assert!(line.starts_with("HTTP/1.1 413 "), "{line}");
    // One that goes on writing and reads only then: what it writes must not cost it the answer.
    let mut stream = it.begin_upload("more", "content-length: 4000000");
    for _ in 0..400 {
        stream.write_all(&[b'x'; 10_000]).unwrap();
        std::thread::sleep(Duration::from_micros(500));
    }
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).unwrap();
    assert!(line.starts_with("HTTP/1.1 413 "), "{line}");
    assert_eq!(it.files().len(), 1, "only what was taken: {:?}", it.files());
    assert_eq!(it.get("/api/v1/archive/nobody/artifacts").problem(), "not-found");
    assert_eq!(it.get("/api/v1/archive/e/artifacts/none").problem(), "not-found");

    // A storage that takes nothing: a file is where its folder should be.
    std::fs::remove_dir_all(it.storage.path().join("incoming")).unwrap();
    std::fs::write(it.storage.path().join("incoming"), "in the way").unwrap();
    assert_eq!(refused("/api/v1/archive/e/artifacts/a", 3), (503, "unavailable".to_owned()));
    assert_eq!(it.get("/api/v1/archive/e/artifacts").ids("name"), ["most"]);

    let mut without = Serve::start_with(&it.database, "", &[]);
    without.token.clone_from(&it.serve.token);
    let put = answer(without.request("PUT", PATCH).body("x"));
    assert_eq!((put.status, put.problem()), (501, "not-configured"));
}
