//! Artifacts: files that belong to an entry and are no part of its row.

use std::fmt;

use chrono::{DateTime, Utc};
use serde::{Serialize, Serializer};
use utoipa::ToSchema;
use uuid::Uuid;

use super::validation::{Check, Invalid};

/// SHA-256 of an artifact's bytes (FIPS 180-4), by which they are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// Sixty-four hexadecimal digits.
    #[must_use]
    pub fn hex(&self) -> String {
        use fmt::Write as _;
        self.0.iter().fold(String::with_capacity(64), |mut hex, byte| {
            // Writing to a string does not fail.
            let _ = write!(hex, "{byte:02x}");
            hex
        })
    }

    /// What [`Digest::hex`] wrote; `None` for anything else.
    #[must_use]
    pub fn from_hex(hex: &str) -> Option<Self> {
        let digits = hex.as_bytes();
        let lower = digits.iter().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'));
        if digits.len() != 64 || !lower {
            return None;
        }
        let mut bytes = [0; 32];
        for (byte, at) in bytes.iter_mut().zip((0..64).step_by(2)) {
            *byte = u8::from_str_radix(hex.get(at..at + 2)?, 16).ok()?;
        }
        Some(Self(bytes))
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", self.hex())
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A file of an entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Artifact {
    /// Its name, unique within the entry.
    pub name: String,
    /// SHA-256 of its bytes.
    #[schema(value_type = String, example = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")]
    pub digest: Digest,
    /// How many bytes it has.
    pub size_bytes: i64,
    /// What it is, as its uploader says.
    pub media_type: String,
    /// When it came to the entry.
    pub created_at: DateTime<Utc>,
    /// Who brought it.
    pub created_by: Option<Uuid>,
}

/// Checks what an upload says of itself: a name is an id without slashes.
///
/// # Errors
/// Every fault found.
pub fn validate(name: &str, media_type: &str) -> Result<(), Invalid> {
    let mut check = Check::default();
    check.id("name", name);
    check.that(!name.contains(['/', '\\']) && ![".", ".."].contains(&name), "name", "must be the name of a file");
    let plain = media_type.bytes().all(|byte| (b' '..=b'~').contains(&byte));
    check.that((1..=255).contains(&media_type.len()) && plain, "content-type", "must have 1 to 255 plain characters");
    check.done()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_written_and_read() {
        let digest = Digest(std::array::from_fn(|at| u8::try_from(at * 7 % 256).unwrap()));
        assert_eq!(Digest::from_hex(&digest.hex()), Some(digest));
        assert_eq!(digest.to_string(), format!("sha256:{}", digest.hex()));
        for wrong in ["", "00", &digest.hex().to_uppercase(), &format!("{}0", digest.hex()), &"g".repeat(64)] {
            assert_eq!(Digest::from_hex(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn names_are_those_of_files() {
        for (name, holds) in [
            ("patch.diff", true),
            ("ä ö", true),
            ("", false),
            ("..", false),
            ("a/b", false),
            ("a\\b", false),
            ("a\n", false),
        ] {
            assert_eq!(validate(name, "text/plain").is_ok(), holds, "{name:?}");
        }
        assert!(validate("a", "text/plain; charset=utf-8").is_ok());
        assert!(validate("a", "te\u{e4}xt").is_err());
    }
}
