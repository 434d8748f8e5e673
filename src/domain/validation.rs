//! What is wrong with an input, field by field.

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

/// Longest id (`archive_entry_id`, `improvement_id`, ...) in characters.
pub const MAX_ID: usize = 255;
/// Longest name (`service_name`, `metric_type`) in characters.
pub const MAX_NAME: usize = 100;

/// Largest problem statement in bytes. Lists return it with every item.
pub const MAX_PROBLEM: usize = 1 << 20;

/// One fault.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Fault {
    /// Where, as a JSON pointer into the body (RFC 6901) or the name of a parameter.
    pub pointer: String,
    /// What is wrong there.
    pub detail: String,
}

/// An input with at least one fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.iter().map(|f| format!("{}: {}", f.pointer, f.detail)).collect::<Vec<_>>().join("; "))]
pub struct Invalid(pub Vec<Fault>);

impl Invalid {
    /// A single fault.
    #[must_use]
    pub fn one(pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        Self(vec![Fault { pointer: pointer.into(), detail: detail.into() }])
    }
}

/// Collects faults, so that a caller learns of all of them at once.
#[derive(Debug, Default)]
pub struct Check {
    prefix: String,
    faults: Vec<Fault>,
}

impl Check {
    /// A check whose pointers start with `prefix` (`/entries/3`).
    #[must_use]
    pub fn within(prefix: impl Into<String>) -> Self {
        Self { prefix: prefix.into(), faults: Vec::new() }
    }

    /// Notes a fault unless `holds`.
    pub fn that(&mut self, holds: bool, field: &str, detail: impl Into<String>) {
        if !holds {
            self.faults.push(Fault { pointer: format!("{}/{field}", self.prefix), detail: detail.into() });
        }
    }

    /// An id: 1 to 255 characters, none of them a control character.
    pub fn id(&mut self, field: &str, value: &str) {
        self.short(field, value, MAX_ID);
    }

    /// A name: 1 to 100 characters, none of them a control character.
    pub fn name(&mut self, field: &str, value: &str) {
        self.short(field, value, MAX_NAME);
    }

    fn short(&mut self, field: &str, value: &str, longest: usize) {
        // Most ids are short in bytes already, and plain.
        let fits = (1..=longest).contains(&value.len())
            || (value.len() > longest && value.chars().take(longest + 1).count() <= longest);
        if !fits {
            self.that(false, field, format!("must have 1 to {longest} characters"));
        }
        if value.chars().any(char::is_control) {
            self.that(false, field, "must not hold control characters");
        }
    }

    /// Free text: anything but the NUL character, which PostgreSQL cannot store.
    pub fn text(&mut self, field: &str, value: &str) {
        self.that(!value.contains('\0'), field, "must not hold the NUL character");
    }

    /// A problem statement: free text of at most [`MAX_PROBLEM`] bytes.
    pub fn problem(&mut self, field: &str, value: &str) {
        self.text(field, value);
        if value.len() > MAX_PROBLEM {
            let length = value.len();
            let detail = format!(
                "must have at most {MAX_PROBLEM} bytes in UTF-8, and has {length}: store long texts as an artifact"
            );
            self.that(false, field, detail);
        }
    }

    /// A score, 0 to 1.
    pub fn score(&mut self, field: &str, value: f64) {
        self.that((0.0..=1.0).contains(&value), field, "must lie in 0..1");
    }

    /// Any JSON value without a NUL character in its strings and names.
    pub fn json(&mut self, field: &str, value: &Value) {
        self.that(!holds_nul(value), field, "must not hold the NUL character");
    }

    /// A JSON object's members, by [`Check::json`].
    pub fn object(&mut self, field: &str, members: &serde_json::Map<String, Value>) {
        let clean = members.iter().all(|(name, value)| !name.contains('\0') && !holds_nul(value));
        self.that(clean, field, "must not hold the NUL character");
    }

    /// Takes over the faults of a nested check.
    pub fn absorb(&mut self, nested: Result<(), Invalid>) {
        if let Err(Invalid(faults)) = nested {
            self.faults.extend(faults);
        }
    }

    /// The verdict.
    ///
    /// # Errors
    /// Every fault that was noted.
    pub fn done(self) -> Result<(), Invalid> {
        if self.faults.is_empty() { Ok(()) } else { Err(Invalid(self.faults)) }
    }
}

/// Recursion is bounded: `serde_json` refuses documents nested deeper than 128.
fn holds_nul(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains('\0'),
        Value::Array(items) => items.iter().any(holds_nul),
        Value::Object(members) => members.iter().any(|(name, value)| name.contains('\0') || holds_nul(value)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_is_told_with_its_place() {
        let mut check = Check::within("/entries/3");
        check.id("archive_entry_id", &"x".repeat(256));
        check.name("service_name", "a\u{7}b");
        check.score("accuracy_score", f64::NAN);
        check.json("performance_metrics", &serde_json::json!({"a": [{"b\u{0}": 1}]}));
        check.text("problem_statement", "fine\nwith lines");
        let Invalid(faults) = check.done().unwrap_err();
        let places: Vec<_> = faults.iter().map(|f| f.pointer.as_str()).collect();
        assert_eq!(
            places,
            [
                "/entries/3/archive_entry_id",
                "/entries/3/service_name",
                "/entries/3/accuracy_score",
                "/entries/3/performance_metrics"
            ]
        );
    }
}
