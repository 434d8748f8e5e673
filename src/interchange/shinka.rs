//! `ShinkaEvolve` databases (read from its version 0.0.7: `shinka/database/dbase.py`).

use std::collections::HashSet;
use std::fmt::Write as _;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags, Row};
use serde_json::{Map, Value};

use super::{
    Error, Format, Problem, Program, Run, file_name, generation, keep, note_repairs, python_json, take_text, unix_time,
};
use crate::domain::archive::InspirationKind;

const LOOKED_FOR: &str =
    "an SQLite file with the table programs (id, code, ...), here or as evolution_db.sqlite or programs.sqlite";

/// The columns that are read when they are there. Embeddings are left out: thousands of numbers that the model makes
/// anew; `children_count` too, which the lineage tells.
const COLUMNS: [&str; 19] = [
    "id",
    "code",
    "language",
    "parent_id",
    "archive_inspiration_ids",
    "top_k_inspiration_ids",
    "generation",
    "timestamp",
    "code_diff",
    "combined_score",
    "public_metrics",
    "private_metrics",
    "text_feedback",
    "complexity",
    "correct",
    "metadata",
    "migration_history",
    "island_idx",
    "system_prompt_id",
];

pub(super) fn read(path: &Path) -> Result<Run, Error> {
    let not_a_run = || Error::NotARun { path: path.to_owned(), format: Format::Shinka, looked_for: LOOKED_FOR };
    let file = if path.is_dir() {
        let names = ["evolution_db.sqlite", "programs.sqlite"];
        names.iter().map(|name| path.join(name)).find(|file| file.is_file()).ok_or_else(not_a_run)?
    } else {
        path.to_owned()
    };
    let file = file.canonicalize().map_err(|source| Error::Io { path: file.clone(), source })?;
    let (programs, problems) = settled(&file)
        .map_err(|source| match source.sqlite_error_code() {
            Some(rusqlite::ErrorCode::NotADatabase) => not_a_run(),
            _ => Error::Sqlite { path: file.clone(), source },
        })?
        .ok_or_else(not_a_run)?;
    Ok(Run { name: file_name(file.parent().unwrap_or(&file)), programs, problems })
}

/// Merely reading a database in WAL mode makes `-wal` and `-shm` files of the reader's, which stay, and which another user
/// may not write. When there is no log, nobody has it open and its file is all there is: then it is read as immutable,
/// which makes none and needs no writable folder, unless a log appears meanwhile.
fn settled(file: &Path) -> rusqlite::Result<Option<(Vec<Program>, Vec<Problem>)>> {
    let log = with_suffix(file, "-wal");
    if in_wal_mode(file) && !log.exists() {
        let read = snapshot(file, true);
        if !log.exists() {
            return read;
        }
    }
    snapshot(file, false)
}

/// Bytes 18 and 19 of the header are 2 in WAL mode (<https://www.sqlite.org/fileformat.html>).
fn in_wal_mode(file: &Path) -> bool {
    let mut header = [0; 20];
    File::open(file).and_then(|mut file| file.read_exact(&mut header)).is_ok() && header.ends_with(&[2, 2])
}

fn with_suffix(file: &Path, suffix: &str) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// Reads everything in one transaction, since the evolution may go on meanwhile. Nothing, when it is another database.
fn snapshot(file: &Path, immutable: bool) -> rusqlite::Result<Option<(Vec<Program>, Vec<Problem>)>> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = if immutable {
        Connection::open_with_flags(immutable_uri(file), flags | OpenFlags::SQLITE_OPEN_URI)?
    } else {
        Connection::open_with_flags(file, flags)?
    };
    connection.busy_timeout(Duration::from_secs(5))?;
    let transaction = connection.unchecked_transaction()?;
    let there = names(&transaction, "SELECT name FROM pragma_table_info('programs')")?;
    let columns: Vec<_> = COLUMNS.into_iter().filter(|column| there.contains(*column)).collect();
    if !there.contains("id") || !(there.contains("code") || there.contains("combined_score")) {
        return Ok(None);
    }
    let archived = names(&transaction, "SELECT name FROM pragma_table_info('archive')")?.contains("program_id");
    let archive = if archived { names(&transaction, "SELECT program_id FROM archive")? } else { HashSet::new() };
    let (mut programs, mut problems) = (Vec::new(), Vec::new());
    // The table has rowids; by them the order is that of insertion. A view or a table without them has to do as it is.
    let order = if transaction.prepare("SELECT rowid FROM programs LIMIT 1").is_ok() { " ORDER BY rowid" } else { "" };
    let mut statement = transaction.prepare(&format!("SELECT {} FROM programs{order}", columns.join(", ")))?;
    let mut rows = statement.query([])?;
    loop {
        let row = match rows.next() {
            Ok(Some(row)) => row,
            Ok(None) => break,
            // A damaged file: what stands before the damage is kept.
            Err(error) if !programs.is_empty() => {
                problems
                    .push(Problem::skipped(file.display().to_string(), format!("the rest of the programs: {error}")));
                break;
            }
            Err(error) => return Err(error),
        };
        let fields = fields(row, &columns)?;
        if let Some(program) = program(fields, &archive, &mut problems) {
            programs.push(program);
        }
    }
    Ok(Some((programs, problems)))
}

/// The path as an URI (RFC 3986), every other byte escaped.
fn immutable_uri(file: &Path) -> String {
    let mut uri = "file:".to_owned();
    for &byte in file.as_os_str().as_encoded_bytes() {
        if byte.is_ascii_alphanumeric() || b"/-_.~".contains(&byte) {
            uri.push(byte.into());
        } else {
            // Writing to a String cannot fail.
            let _ = write!(uri, "%{byte:02X}");
        }
    }
    uri + "?immutable=1"
}

fn names(connection: &Connection, query: &str) -> rusqlite::Result<HashSet<String>> {
    let mut statement = connection.prepare(query)?;
    let mut rows = statement.query([])?;
    let mut names = HashSet::new();
    while let Some(row) = rows.next()? {
        if let Value::String(name) = value(row.get_ref(0)?) {
            names.insert(name);
        }
    }
    Ok(names)
}

fn fields(row: &Row<'_>, columns: &[&str]) -> rusqlite::Result<Map<String, Value>> {
    columns.iter().enumerate().map(|(index, name)| Ok(((*name).to_owned(), value(row.get_ref(index)?)))).collect()
}

/// A cell. Python's driver binds numpy's integers and flags as blobs of their bytes, and NaN as null.
fn value(cell: ValueRef<'_>) -> Value {
    match cell {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(number) => number.into(),
        ValueRef::Real(number) if number.is_finite() => number.into(),
        ValueRef::Real(number) => number.to_string().into(),
        ValueRef::Text(text) => String::from_utf8_lossy(text).into(),
        ValueRef::Blob(blob) => match *blob {
            [flag] => i64::from(flag).into(),
            _ => match (blob.try_into().map(f32::from_le_bytes), blob.try_into().map(i64::from_le_bytes)) {
                (Ok(number), _) => number.into(),
                (_, Ok(number)) => number.into(),
                _ => String::from_utf8_lossy(blob).into(),
            },
        },
    }
}

fn program(mut row: Map<String, Value>, archive: &HashSet<String>, problems: &mut Vec<Problem>) -> Option<Program> {
    let Some(id) = take_text(&mut row, "id") else {
        problems.push(Problem::skipped("programs", "a row without an id"));
        return None;
    };
    let mut program = Program::new(id.clone());
    program.parent_id = take_text(&mut row, "parent_id");
    program.generation = generation(row.remove("generation").as_ref(), &id, problems);
    program.created_at = unix_time(row.remove("timestamp").as_ref());
    let code = take_text(&mut row, "code");
    program.patch = take_text(&mut row, "code_diff").or(code);
    let kinds =
        [("archive_inspiration_ids", InspirationKind::Archive), ("top_k_inspiration_ids", InspirationKind::TopK)];
    for (column, kind) in kinds {
        if let Some(Value::Array(ids)) = json_cell(&mut row, column, &id, problems) {
            program.inspirations.extend(ids.into_iter().filter_map(|id| Some((id.as_str()?.to_owned(), kind))));
        }
    }
    score(&mut program, row.remove("combined_score").as_ref(), problems);
    for column in ["public_metrics", "private_metrics"] {
        let metrics = json_cell(&mut row, column, &id, problems);
        keep(&mut program.metrics, column, metrics);
    }
    program.correct = match row.remove("correct") {
        Some(Value::Number(flag)) => Some(flag.as_f64() != Some(0.0)),
        _ => None,
    };
    if program.correct == Some(false) {
        program.failure = Some("ShinkaEvolve holds the program to be incorrect".to_owned());
    }
    for column in ["metadata", "migration_history"] {
        let cell =
            json_cell(&mut row, column, &id, problems).filter(|v| v.as_array().is_none_or(|list| !list.is_empty()));
        keep(&mut program.extra, column, cell);
    }
    for (column, cell) in row {
        keep(&mut program.extra, &column, Some(cell).filter(|v| v.as_str() != Some("")));
    }
    if archive.contains(&id) {
        program.extra.insert("in_archive".to_owned(), Value::Bool(true));
    }
    Some(program)
}

/// The fitness is `combined_score`. An infinity comes as a text from [`value`]; a NaN was null already.
fn score(program: &mut Program, cell: Option<&Value>, problems: &mut Vec<Problem>) {
    program.fitness = match cell {
        Some(Value::Number(number)) => number.as_f64(),
        Some(Value::String(text)) => text.parse().ok(),
        _ => None,
    };
    let finite = program.fitness.filter(|score| score.is_finite());
    if let (None, Some(Value::String(text))) = (finite, cell) {
        problems.push(Problem::note(&program.id, format!("combined_score: {text} stored as null")));
    }
    if cell.is_some() {
        program.metrics.insert("combined_score".to_owned(), finite.map_or(Value::Null, Value::from));
    }
}

/// A column that holds JSON; what is none stays as text.
fn json_cell(row: &mut Map<String, Value>, column: &str, id: &str, problems: &mut Vec<Problem>) -> Option<Value> {
    let text = match row.remove(column)? {
        Value::String(text) if !text.is_empty() => text,
        _ => return None,
    };
    match python_json::parse(text.as_bytes()) {
        Ok(document) => {
            note_repairs(&document.repairs, id, &format!("/{column}"), problems);
            Some(document.value).filter(|value| !value.is_null())
        }
        Err(error) => {
            problems.push(Problem::note(id, format!("{column} is no JSON ({error}); kept as text")));
            Some(Value::String(text))
        }
    }
}
