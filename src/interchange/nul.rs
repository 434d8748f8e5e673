//! `PostgreSQL` stores no NUL, neither in text nor in jsonb: U+FFFD takes its place.

use serde_json::{Map, Value};

use super::mapping::Entry;

/// Clears every field of an entry that holds the peer's text; answers the names of those that had a NUL.
pub(super) fn clear_entry(entry: &mut Entry) -> Vec<&'static str> {
    let mut cleared = Vec::new();
    if clear_text(&mut entry.problem_statement) {
        cleared.push("problem_statement");
    }
    if entry.solution_patch.as_mut().is_some_and(clear_text) {
        cleared.push("solution_patch");
    }
    if clear_members(&mut entry.performance_metrics) {
        cleared.push("performance_metrics");
    }
    if clear_members(&mut entry.evaluation_results) {
        cleared.push("evaluation_results");
    }
    cleared
}

/// Replaces in place and tells whether there was any.
fn clear_text(text: &mut String) -> bool {
    let found = text.contains('\0');
    if found {
        *text = text.replace('\0', "\u{fffd}");
    }
    found
}

/// Recursion is safe: values nest no deeper than `serde_json` parses.
fn clear(value: &mut Value) -> bool {
    match value {
        Value::String(text) => clear_text(text),
        Value::Array(items) => items.iter_mut().fold(false, |found, item| clear(item) | found),
        Value::Object(members) => clear_members(members),
        _ => false,
    }
}

fn clear_members(members: &mut Map<String, Value>) -> bool {
    let mut found = members.values_mut().fold(false, |found, member| clear(member) | found);
    let named: Vec<_> = members.keys().filter(|key| key.contains('\0')).cloned().collect();
    for key in named {
        found = true;
        if let Some(member) = members.remove(&key) {
            members.insert(key.replace('\0', "\u{fffd}"), member);
        }
    }
    found
}
