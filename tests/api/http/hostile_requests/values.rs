//! Values that callers should not send, and unusual ones that they may.

use rand::prelude::*;
use rand_chacha::ChaCha8Rng;
use serde_json::{Map, Value, json};

/// Texts for ids, names, enumerations, times and numbers alike.
const TEXTS: &[&str] = &[
    "",
    " ",
    "\0",
    "a\0b",
    "\u{feff}",
    "\u{feff}a",
    "\u{202e}gnp.exe",
    "é",
    "e\u{301}",
    "💥",
    "\u{10ffff}",
    "\u{fffd}",
    "\r\nx-injected: 1",
    "\n",
    "\t",
    "\u{7f}",
    "\u{85}",
    "' OR 1=1 --",
    "\"",
    "\\",
    "%",
    "%00",
    "$1",
    "{}",
    "[]",
    "null",
    "true",
    "NaN",
    "-Infinity",
    "0",
    "-0",
    "-1",
    "01",
    "+1",
    "1.5",
    "1e400",
    "0x10",
    "1_000",
    "２",
    "9223372036854775807",
    "9223372036854775808",
    "-9223372036854775809",
    "18446744073709551616",
    "2147483648",
    "340282366920938463463374607431768211456",
    "..",
    ".",
    "../../etc/passwd",
    "a/b",
    "a:b",
    "current",
    "stats",
    "\u{1}\u{2}\u{3}",
    "{\"a\":1}",
    "[1]",
    "00000000-0000-0000-0000-000000000000",
    "ffffffff-ffff-ffff-ffff-ffffffffffff",
    "{00000000-0000-4000-8000-000000000000}",
    "urn:uuid:00000000-0000-4000-8000-000000000000",
    "00000000000040008000000000000000",
];

const TIMES: &[&str] = &[
    "-262143-01-01T00:00:00Z",
    "+262142-12-31T23:59:59Z",
    "+999999-01-01T00:00:00Z",
    "0000-01-01T00:00:00Z",
    "0001-01-01T00:00:00+23:59",
    "-0001-12-31T00:00:00Z",
    "-4713-01-01T00:00:00Z",
    "294276-12-31T23:59:59Z",
    "9999-12-31T23:59:59.999999999Z",
    "9999-12-31T23:59:59-23:59",
    "1969-12-31T23:59:59Z",
    "2026-02-29T00:00:00Z",
    "2024-02-29T00:00:00Z",
    "2016-12-31T23:59:60Z",
    "2026-11-27T24:00:00Z",
    "2026-11-27T10:00:00",
    "2026-11-27",
    "2026-11-27T10:00:00z",
    "2026-11-27t10:00:00Z",
    "2026-11-27 10:00:00Z",
    "2026-11-27T10:00:00+14:00",
    "2026-11-27T10:00:00-25:00",
    "2026-11-27T10:00:00.123456789123Z",
    "1795773600",
    "1970-01-01T00:00:00Z",
    "2026-W48-5",
    "now",
    "infinity",
    "-infinity",
    "epoch",
];

/// Numbers as JSON has them, which `serde_json` does not write.
const NUMBERS: &[&str] = &[
    "0",
    "-0",
    "-0.0",
    "1e-400",
    "1e308",
    "-1e308",
    "1e309",
    "1e999",
    "0.1e1",
    "1E+2",
    "5e-324",
    "0.30000000000000004",
    "1.0000000000000000000000000000000000000000001",
    "2147483647",
    "2147483648",
    "-2147483649",
    "9223372036854775807",
    "9223372036854775808",
    "-9223372036854775808",
    "18446744073709551615",
    "18446744073709551616",
    "123456789012345678901234567890",
    "01",
    "+1",
    ".5",
    "1.",
    "0x1",
    "NaN",
    "Infinity",
    "-Infinity",
];

/// Texts in JSON that `serde_json` does not write.
const ESCAPES: &[&str] = &[
    r#""\ud800""#,
    r#""\udc00""#,
    r#""\udc00\ud800""#,
    r#""\ud83d\ude00""#,
    r#""\u0000""#,
    r#""\u00""#,
    r#""\x41""#,
    r#""\uFEFF""#,
    r#""\/""#,
    "\"\n\"",
    "\"\t\"",
    "'a'",
    "undefined",
    "None",
    "True",
];

/// Random numbers with a few short cuts.
pub(super) struct Dice(ChaCha8Rng);

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Self(ChaCha8Rng::seed_from_u64(seed))
    }

    /// Once in `n` times.
    pub(super) fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    pub(super) fn below(&mut self, n: usize) -> usize {
        self.0.random_range(0..n)
    }

    pub(super) fn pick<'a, T>(&mut self, values: &'a [T]) -> &'a T {
        &values[self.below(values.len())]
    }

    pub(super) fn text(&mut self) -> String {
        match self.below(8) {
            0 => (*self.pick(TIMES)).to_owned(),
            1 => {
                self.pick(&["x", "é", "%", "\0", "💥"]).repeat(*self.pick(&[2, 99, 100, 101, 254, 255, 256, 300, 5000]))
            }
            2 => (0..self.below(20)).map(|_| self.0.random::<char>()).collect(),
            _ => (*self.pick(TEXTS)).to_owned(),
        }
    }

    /// Any bytes, as no text has them.
    pub(super) fn bytes(&mut self) -> Vec<u8> {
        match self.below(4) {
            0 => b"\xff\xfe{\0}\0".to_vec(),
            1 => b"{\"a\":\"\xc0\xaf\"}".to_vec(),
            2 => b"\xed\xa0\x80".to_vec(),
            _ => (0..self.below(200)).map(|_| self.0.random()).collect(),
        }
    }

    /// JSON text of any value.
    pub(super) fn json(&mut self) -> String {
        match self.below(12) {
            0 | 1 => (*self.pick(NUMBERS)).to_owned(),
            2 => (*self.pick(ESCAPES)).to_owned(),
            3 => (*self.pick(&["null", "true", "false", "{}", "[]", "[null]", "{\"\":null}", "\"\""])).to_owned(),
            4 => {
                let depth = *self.pick(&[2, 100, 126, 127, 128, 129, 200, 5000]);
                let (open, close) = self.pick(&[("[", "]"), ("{\"a\":", "}")]);
                format!("{}{}{}", open.repeat(depth), "1", close.repeat(depth))
            }
            5 => {
                let keys: Vec<String> = (0..self.below(2000)).map(|key| format!("\"{key}\":{key}")).collect();
                format!("{{{}}}", keys.join(","))
            }
            6 => format!("[{}]", vec!["1"; self.below(5000) + 1].join(",")),
            7 => "{\"a\":1,\"a\":2}".to_owned(),
            _ => Value::String(self.text()).to_string(),
        }
    }

    /// A value that a schema of the document admits, at least nearly.
    pub(super) fn fitting(&mut self, document: &Value, schema: &Value, depth: usize) -> Value {
        if let Some(reference) = schema["$ref"].as_str() {
            return self.fitting(document, document.pointer(&reference[1..]).unwrap_or(&Value::Null), depth);
        }
        for several in ["oneOf", "anyOf", "allOf"] {
            if let Some(options) = schema[several].as_array() {
                let option = self.pick(options).clone();
                return self.fitting(document, &option, depth);
            }
        }
        if let Some(values) = schema["enum"].as_array() {
            return self.pick(values).clone();
        }
        let kind = match &schema["type"] {
            Value::Array(kinds) => self.pick(kinds).as_str().unwrap_or("null").to_owned(),
            kind => kind.as_str().unwrap_or("object").to_owned(),
        };
        match kind.as_str() {
            "string" => self.fitting_text(schema),
            "integer" => {
                let (least, most) = (schema["minimum"].as_i64().unwrap_or(0), schema["maximum"].as_i64().unwrap_or(10));
                json!(self.0.random_range(least..=most.max(least).min(least + 1000)))
            }
            "number" => json!(*self.pick(&[0.0, 0.25, 0.5, 1.0])),
            "boolean" => json!(self.one_in(2)),
            "null" => Value::Null,
            "array" if depth == 0 => json!([]),
            "array" => (0..=self.below(2)).map(|_| self.fitting(document, &schema["items"], depth - 1)).collect(),
            _ => {
                let required: Vec<&str> =
                    schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
                let mut object = Map::new();
                for (name, property) in schema["properties"].as_object().into_iter().flatten() {
                    if required.contains(&name.as_str()) || depth > 0 && self.one_in(3) {
                        object.insert(name.clone(), self.fitting(document, property, depth.saturating_sub(1)));
                    }
                }
                Value::Object(object)
            }
        }
    }

    fn fitting_text(&mut self, schema: &Value) -> Value {
        match schema["format"].as_str() {
            Some("date-time") => json!(self.pick(&["2026-11-27T10:00:00Z", "2026-11-27T10:00:00.5+01:00"])),
            Some("uuid") => json!("00000000-0000-4000-8000-000000000000"),
            _ => json!(self.pick(&["s", "entry", "improvement", "x-1", "accuracy"])),
        }
    }
}
