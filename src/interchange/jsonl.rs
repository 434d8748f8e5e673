//! The archive's own export: one entry a line, as `dgm export` writes it.

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader};
use std::path::Path;

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};

use super::{Error, Problem, file_name, lineage};
use crate::domain::archive::NewEntry;
use crate::domain::json;

/// What belongs to the archive that the export came from, not to the entry.
const ROW: [&str; 4] = ["id", "version", "updated_at", "created_by"];

/// An export, read.
#[derive(Debug)]
pub struct Export {
    /// Parents before children.
    pub entries: Vec<NewEntry>,
    /// Lines that are no entry, left out.
    pub problems: Vec<Problem>,
    /// Ancestors of the deepest entry, within the file.
    pub deepest: u32,
}

/// Reads an export.
///
/// # Errors
/// When the file cannot be read, or an entry is its own ancestor.
pub fn read(path: &Path, now: DateTime<Utc>) -> Result<Export, Error> {
    let error = |source| Error::Io { path: path.to_owned(), source };
    let file = std::fs::File::open(path).map_err(error)?;
    let (mut entries, mut problems) = (Vec::new(), Vec::new());
    // Not `lines`, which gives the file up at the first byte that is not UTF-8.
    for (number, line) in BufReader::new(file).split(b'\n').enumerate() {
        let line = line.map_err(error)?;
        if line.trim_ascii().is_empty() {
            continue;
        }
        match entry(&line, now) {
            Ok(entry) => entries.push(entry),
            Err(what) => problems.push(Problem::skipped(format!("{}:{}", file_name(path), number + 1), what)),
        }
    }
    let ids = entries.iter().enumerate().filter_map(|(at, e)| Some((e.archive_entry_id.as_deref()?, at)));
    let index: HashMap<&str, usize> = ids.collect();
    let parents: Vec<Option<usize>> =
        entries.iter().map(|e| index.get(e.parent_entry_id.as_deref()?).copied()).collect();
    if let Some(around) = lineage::cycles(&parents).first() {
        let ids: Vec<&str> = around.iter().filter_map(|at| entries.get(*at)?.archive_entry_id.as_deref()).collect();
        return Err(error(std::io::Error::other(format!("entries are their own ancestors: {}", ids.join(", ")))));
    }
    let depths = lineage::depths(&parents);
    let deepest = depths.iter().copied().max().unwrap_or(0);
    let mut ordered: Vec<(u32, NewEntry)> = depths.into_iter().zip(entries).collect();
    // Stable, so that the file's own order stays where parents say nothing about it.
    ordered.sort_by_key(|(depth, _)| *depth);
    Ok(Export { entries: ordered.into_iter().map(|(_, entry)| entry).collect(), problems, deepest })
}

fn entry(line: &[u8], now: DateTime<Utc>) -> Result<NewEntry, String> {
    let mut object: Map<String, Value> = serde_json::from_slice(line).map_err(|error| json::reason(line, &error))?;
    for field in ROW {
        object.remove(field);
    }
    let entry: NewEntry = serde_json::from_value(object.into()).map_err(|error| error.to_string())?;
    if entry.archive_entry_id.is_none() {
        return Err("archive_entry_id is missing".to_owned());
    }
    entry.validate("", now).map_err(|error| error.to_string())?;
    Ok(entry)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(id: &str, parent: Option<&str>) -> String {
        serde_json::json!({
            "id": "00000000-0000-4000-8000-000000000000", "archive_entry_id": id, "parent_entry_id": parent,
            "generation_number": 3, "service_name": "s", "problem_statement": "p", "performance_metrics": {"a": 1.5},
            "accuracy_score": 0.25, "constitutional_compliance_score": 1.0, "status": "archived", "version": 7,
            "created_at": "2026-01-01T00:00:00Z", "updated_at": "2026-01-01T00:00:00Z", "solution_patch": null,
            "evaluation_results": null, "inspirations": [{"archive_entry_id": "r", "kind": "top_k"}], "created_by": null,
        })
        .to_string()
    }

    fn read_lines(lines: &[String]) -> Result<Export, Error> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), lines.join("\n")).unwrap();
        read(file.path(), Utc::now())
    }

    #[test]
    fn parents_come_first_and_what_is_no_entry_is_named_by_line() {
        let lines = [
            line("c", Some("b")),
            "{\"x\": 1}".into(),
            String::new(),
            line("b", Some("r")),
            line("r2", None),
            "no".into(),
        ];
        let export = read_lines(&lines).unwrap();
        let ids: Vec<_> = export.entries.iter().map(|e| e.archive_entry_id.as_deref().unwrap()).collect();
        assert_eq!(ids, ["b", "r2", "c"]);
        assert_eq!(export.deepest, 1);
        let places: Vec<_> = export.problems.iter().map(|p| p.place.rsplit(':').next().unwrap()).collect();
        assert_eq!(places, ["2", "6"]);
    }

    #[test]
    fn what_is_not_json_is_named_by_line_with_what_to_write() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let with = |statement: &str| line("x", None).replace("\"problem_statement\":\"p\"", statement).into_bytes();
        let lines = [
            [b"\xef\xbb\xbf".to_vec(), line("a", None).into_bytes()].concat(),
            with("\"problem_statement\":NaN"),
            with("\"problem_statement\":\"\\ud800\""),
            with("\"problem_statement\":\"?\"")
                .into_iter()
                .map(|byte| if byte == b'?' { 0xe9 } else { byte })
                .collect(),
            line("d", None).replace("2026-01-01T00:00:00Z", "2026-01-01T00:00:00").into_bytes(),
            line("c", None).into_bytes(),
        ];
        std::fs::write(file.path(), lines.join(&b'\n')).unwrap();
        let export = read(file.path(), Utc::now()).unwrap();
        assert_eq!(export.entries.len(), 1);
        let expected =
            ["byte-order mark of UTF-8", "NaN is not", "half of a surrogate pair", "not UTF-8", "append Z for UTC"];
        assert_eq!(export.problems.len(), expected.len(), "{:?}", export.problems);
        for (at, (problem, words)) in export.problems.iter().zip(expected).enumerate() {
            let said = format!("{problem:?}");
            assert!(problem.place.ends_with(&format!(":{}", at + 1)) && said.contains(words), "{said}");
        }
    }

    #[test]
    fn a_cycle_is_refused() {
        let cycle = read_lines(&[line("a", Some("b")), line("b", Some("a"))]).unwrap_err().to_string();
        assert!(cycle.contains("their own ancestors: "), "{cycle}");
    }
}
