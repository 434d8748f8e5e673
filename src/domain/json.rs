//! JSON: documents that pass through, and why a text is none and what to send instead.

use serde::Serialize;
use serde_json::Error;
use serde_json::value::RawValue;

/// A JSON document as PostgreSQL writes it. As a [`serde_json::Value`] it would need up to thirty times the memory.
#[derive(Debug, Clone, Serialize)]
#[serde(transparent)]
pub struct Json(pub Box<RawValue>);

impl PartialEq for Json {
    fn eq(&self, other: &Self) -> bool {
        self.0.get() == other.0.get()
    }
}

/// Byte-order marks, with the encodings that they announce.
const MARKS: [(&[u8], &str); 3] = [(b"\xef\xbb\xbf", "UTF-8"), (b"\xff\xfe", "UTF-16"), (b"\xfe\xff", "UTF-16")];

/// The parser's reason, or a better one for what encoders of other languages write, with the place in the text.
#[must_use]
pub fn reason(text: &[u8], error: &Error) -> String {
    let said = error.to_string();
    let (what, place) = said.split_once(" at line ").unwrap_or((&said, ""));
    advice(text, error, what).map_or_else(|| said.clone(), |advice| format!("{advice} (line {place})"))
}

fn advice(text: &[u8], error: &Error, what: &str) -> Option<String> {
    if let Some((_, encoding)) = MARKS.iter().find(|(mark, _)| text.starts_with(mark)) {
        return Some(format!("the text begins with a byte-order mark of {encoding}: send UTF-8 without one"));
    }
    let word = word(text, error);
    let advice = match what {
        "number out of range" => format!("{word} is beyond the range of a double: send a number within 1.7e308 of 0"),
        "invalid unicode code point" => "the text is not UTF-8: encode it as UTF-8".to_owned(),
        "lone leading surrogate in hex escape" | "unexpected end of hex escape" => {
            "a \\u escape is half of a surrogate pair, which is not a character: send both halves, or \\ufffd"
                .to_owned()
        }
        _ => match word.trim_start_matches(['-', '+']).to_ascii_lowercase().as_str() {
            "nan" | "inf" | "infinity" => {
                format!(
                    "{word} is not a number of JSON: send a finite number, or leave the field out if it is optional"
                )
            }
            _ => return None,
        },
    };
    Some(advice)
}

/// The word or number at the place of an error.
fn word(text: &[u8], error: &Error) -> String {
    let line = text.split(|byte| *byte == b'\n').nth(error.line().saturating_sub(1)).unwrap_or_default();
    let (before, after) = line.split_at(error.column().saturating_sub(1).min(line.len()));
    let part = |byte: &&u8| byte.is_ascii_alphanumeric() || b"+-.".contains(byte);
    let start = before.len() - before.iter().rev().take_while(part).count();
    let end = before.len() + after.iter().take_while(part).count();
    String::from_utf8_lossy(&line[start..end]).chars().take(40).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_encoders_of_other_languages_write_is_explained() {
        let cases: [(&[u8], &str); 18] = [
            (b"{\"a\":NaN}", "NaN is not a number of JSON: send a finite number"),
            (b"[\n 1,\n -Infinity]", "-Infinity is not a number of JSON"),
            (b"[Infinity]", "Infinity is not a number of JSON"),
            (b"[nan]", "nan is not a number of JSON"),
            (b"[inf, 1]", "inf is not a number of JSON"),
            (b"[+Inf]", "+Inf is not a number of JSON"),
            (b"[-nan]", "-nan is not a number of JSON"),
            (b"-Infinity", "-Infinity is not a number of JSON"),
            (b"[1e999]", "1e999 is beyond the range of a double"),
            (b"[-1e999]", "-1e999 is beyond the range of a double"),
            (b"\xef\xbb\xbf{}", "a byte-order mark of UTF-8: send UTF-8 without one"),
            (b"\xff\xfe{\0}\0", "a byte-order mark of UTF-16: send UTF-8 without one"),
            (b"\xfe\xff\0{\0}", "a byte-order mark of UTF-16: send UTF-8 without one"),
            (b"[\"\\ud800\"]", "half of a surrogate pair"),
            (b"[\"\\udc00\"]", "half of a surrogate pair"),
            (b"[\"\\ud83d\\u0041\"]", "half of a surrogate pair"),
            (b"[\"caf\xe9\"]", "the text is not UTF-8: encode it as UTF-8 (line 1 column"),
            (b"[None]", "expected value at line 1 column 2"),
        ];
        for (text, words) in cases {
            let error = serde_json::from_slice::<serde_json::Value>(text).unwrap_err();
            let said = reason(text, &error);
            assert!(said.contains(words), "{}: {said}, {error}", String::from_utf8_lossy(text));
        }
    }
}
