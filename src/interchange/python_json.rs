//! The JSON that Python's `json` writes, which is not quite JSON (RFC 8259): `NaN`, `Infinity` and `-Infinity` stand for
//! floats, integers have no bound, and a string may hold half of a surrogate pair. Also several objects in one file.
//!
//! pydantic's `jiter` (0.19) reads `NaN` and `Infinity` too, with bit-equal doubles, last-wins keys after conversion and the
//! same error positions. It is not used, because it loses data that this parser keeps:
//! - half a surrogate pair, which Python writes for undecodable bytes of a file name, is an error for the whole document;
//! - a number beyond a double becomes infinite or a big integer, and its text, which a [`Repair`] reports, is gone;
//! - `-0` loses its sign; nesting is allowed up to 200 levels, which `serde_json` cannot read back.
//!
//! Lone surrogates would still need the scanner below, and the conversion from `jiter`'s values to `serde_json`'s, with JSON
//! pointers, is as long as the rest. A line in an error counts in the text with its repairs, which change no line.

use serde_json::Value;

/// A document and what was changed to make it JSON.
#[derive(Debug, Clone, PartialEq)]
pub struct Document {
    /// The value.
    pub value: Value,
    /// The changes.
    pub repairs: Vec<Repair>,
}

/// One change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repair {
    /// Where: a JSON pointer (RFC 6901).
    pub pointer: String,
    /// What stood there: `NaN`, `Infinity`, `-Infinity`, a number beyond a double, or an escape such as `\ud800`.
    pub found: String,
}

impl Repair {
    /// What stands there now.
    #[must_use]
    pub fn stored(&self) -> &'static str {
        if self.found.starts_with('\\') { "U+FFFD" } else { "null" }
    }
}

/// Parses one value.
///
/// # Errors
/// `serde_json`'s, also for nesting deeper than 128.
pub fn parse(text: &[u8]) -> Result<Document, serde_json::Error> {
    // Editors of other systems write one, and it is no part of the document.
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    // Most documents are plain JSON: those are read once.
    let error = match serde_json::from_slice(text) {
        Ok(value) => return Ok(Document { value, repairs: Vec::new() }),
        Err(error) => error,
    };
    let Ok(text) = std::str::from_utf8(text) else { return Err(error) };
    let (repaired, repairs) = Scanner::new(text).repair();
    if repairs.is_empty() {
        return Err(error);
    }
    Ok(Document { value: serde_json::from_str(&repaired)?, repairs })
}

/// Parses objects that follow one another without a comma, as appended by `json.dumps(x, indent=2) + "\n"`. A broken one
/// (a writer that was killed) is given up, and reading goes on at the next line that starts with `{`.
///
/// Answers the line (from 1) at which each starts, with the object or why it is none.
#[must_use]
pub fn concatenated(text: &str) -> Vec<(usize, Result<Document, String>)> {
    let mut documents = Vec::new();
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let (mut at, mut line, mut counted) = (0, 1, 0);
    while let Some(start) = text[at..].find(|c: char| !c.is_ascii_whitespace()).map(|skip| at + skip) {
        line += text[counted..start].matches('\n').count();
        counted = start;
        let end = value_end(&text[start..]).map(|length| start + length);
        let document = match end {
            Some(end) => parse(&text.as_bytes()[start..end]).map_err(|e| e.to_string()),
            None => Err("cut short".to_owned()),
        };
        at = match (&document, end) {
            (Ok(_), Some(end)) => end,
            _ => text[start..].find("\n{").map_or(text.len(), |next| start + next + 1),
        };
        documents.push((line, document));
    }
    documents
}

/// The length of the object or array at the start of a text.
fn value_end(text: &str) -> Option<usize> {
    if !text.starts_with(['{', '[']) {
        return None;
    }
    let bytes = text.as_bytes();
    let (mut at, mut depth) = (0, 0_usize);
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b'"' => {
                at = string_end(bytes, at)?;
                continue;
            }
            b'{' | b'[' => depth += 1,
            b'}' | b']' => {
                depth = depth.checked_sub(1)?;
                if depth == 0 {
                    return Some(at + 1);
                }
            }
            _ => {}
        }
        at += 1;
    }
    None
}

/// The index after the closing quote of the string at `start`; none when it does not end on its line (a line break
/// within a string is always escaped).
fn string_end(bytes: &[u8], start: usize) -> Option<usize> {
    let mut at = start + 1;
    loop {
        match bytes.get(at)? {
            b'"' => return Some(at + 1),
            b'\\' => at += 2,
            b'\n' => return None,
            _ => at += 1,
        }
    }
}

enum Level<'a> {
    Object { key: &'a str, expects_key: bool },
    Array(usize),
}

/// One pass over a text that keeps where it is. It need not understand broken JSON: the result is parsed after it.
struct Scanner<'a> {
    text: &'a str,
    levels: Vec<Level<'a>>,
    out: String,
    copied: usize,
    repairs: Vec<Repair>,
}

impl<'a> Scanner<'a> {
    fn new(text: &'a str) -> Self {
        Self { text, levels: Vec::new(), out: String::with_capacity(text.len()), copied: 0, repairs: Vec::new() }
    }

    fn repair(mut self) -> (String, Vec<Repair>) {
        let bytes = self.text.as_bytes();
        let mut at = 0;
        while let Some(&byte) = bytes.get(at) {
            at = match byte {
                b'"' => self.string(at),
                b'N' | b'I' | b'-' | b'0'..=b'9' => self.number(at),
                _ => {
                    self.structure(byte);
                    at + 1
                }
            };
        }
        self.out.push_str(&self.text[self.copied..]);
        (self.out, self.repairs)
    }

    fn structure(&mut self, byte: u8) {
        match (byte, self.levels.last_mut()) {
            (b'{', _) => self.levels.push(Level::Object { key: "", expects_key: true }),
            (b'[', _) => self.levels.push(Level::Array(0)),
            (b'}' | b']', _) => {
                self.levels.pop();
            }
            (b',', Some(Level::Array(index))) => *index += 1,
            (b',', Some(Level::Object { expects_key, .. })) => *expects_key = true,
            _ => {}
        }
    }

    fn string(&mut self, start: usize) -> usize {
        let end = string_end(self.text.as_bytes(), start).unwrap_or(self.text.len()).min(self.text.len());
        let raw = &self.text[start..end];
        if let Some(Level::Object { key, expects_key: expects_key @ true }) = self.levels.last_mut() {
            *key = raw;
            *expects_key = false;
        }
        for (from, to) in lone_surrogates(raw) {
            self.replace(start + from, start + to, "\\ufffd");
        }
        end
    }

    fn number(&mut self, start: usize) -> usize {
        let rest = &self.text[start..];
        let length =
            rest.find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'))).unwrap_or(rest.len());
        let token = &rest[..length];
        // `parse` would take "nan" and "inf" too, which Python does not write: those stay, and fail as they should.
        let number = token.trim_start_matches('-').starts_with(|c: char| c.is_ascii_digit());
        if matches!(token, "NaN" | "Infinity" | "-Infinity")
            || number && token.parse::<f64>().is_ok_and(f64::is_infinite)
        {
            self.replace(start, start + length, "null");
        }
        start + length
    }

    fn replace(&mut self, from: usize, to: usize, by: &str) {
        self.out.push_str(&self.text[self.copied..from]);
        self.out.push_str(by);
        self.copied = to;
        let found: String = self.text[from..to].chars().take(40).collect();
        self.repairs.push(Repair { pointer: self.pointer(), found });
    }

    fn pointer(&self) -> String {
        let mut pointer = String::new();
        for level in &self.levels {
            pointer.push('/');
            match level {
                Level::Object { key, .. } => {
                    let name = serde_json::from_str(key).unwrap_or_else(|_| (*key).to_owned());
                    pointer.push_str(&name.replace('~', "~0").replace('/', "~1"));
                }
                Level::Array(index) => pointer.push_str(&index.to_string()),
            }
        }
        pointer
    }
}

/// The places in a raw string of `\uXXXX` escapes that are half of a surrogate pair.
fn lone_surrogates(raw: &str) -> Vec<(usize, usize)> {
    let unit = |at: usize| {
        let hex = raw.get(at..at + 6)?.strip_prefix("\\u")?;
        u16::from_str_radix(hex, 16).ok()
    };
    let mut lone = Vec::new();
    let mut at = 0;
    while let Some(found) = raw.get(at..).and_then(|rest| rest.find('\\')).map(|skip| at + skip) {
        at = found
            + match unit(found) {
                Some(0xD800..=0xDBFF) if matches!(unit(found + 6), Some(0xDC00..=0xDFFF)) => 12,
                Some(0xD800..=0xDFFF) => {
                    lone.push((found, found + 6));
                    6
                }
                _ => 2,
            };
    }
    lone
}
