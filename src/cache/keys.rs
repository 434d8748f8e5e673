//! Every kind of cached thing, once: its key, its class (the label of its metrics), who owns it, where it may lie.

use std::fmt::Write as _;

use crate::telemetry::catalogue::labels::Class;

/// The key of a cached thing. The braces are Redis Cluster's hash tags: what belongs to one entity shares a slot.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Key {
    /// An entry as JSON, or that there is none; `service::archive`. 1, 2 or 4 h by quality; judged by changes.
    Entry {
        /// The entry's id.
        id: String,
    },
    /// Statistics of the archive; `service::archive`. 10 s.
    Stats {
        /// Of one service, or of all.
        service: Option<String>,
    },
    /// The newest samples; `service::samples`, dropped at every ingest. 1 s, in process only.
    MetricsCurrent {
        /// The service.
        service: String,
    },
    /// The last 24 hours; `service::samples`. 1 min.
    MetricsTrend {
        /// The service.
        service: String,
    },
    /// A session; `service::identity`. As long as the session.
    Session {
        /// SHA-256 of the secret.
        digest: [u8; 32],
    },
}

impl Key {
    /// The label of its metrics.
    #[must_use]
    pub const fn class(&self) -> Class {
        match self {
            Self::Entry { .. } => Class::Entry,
            Self::Stats { .. } => Class::Stats,
            Self::MetricsCurrent { .. } => Class::MetricsCurrent,
            Self::MetricsTrend { .. } => Class::MetricsTrend,
            Self::Session { .. } => Class::Session,
        }
    }

    /// The key's text.
    #[must_use]
    pub fn text(&self) -> String {
        match self {
            Self::Entry { id } => tagged("dgm:{a:", &plain(id), "}:entry"),
            Self::Stats { service: None } => "dgm:{all}:stats".to_owned(),
            Self::Stats { service: Some(service) } => tagged("dgm:{s:", &plain(service), "}:stats"),
            Self::MetricsCurrent { service } => tagged("dgm:{s:", &plain(service), "}:current"),
            Self::MetricsTrend { service } => tagged("dgm:{s:", &plain(service), "}:trend"),
            Self::Session { digest } => tagged("dgm:{x:", &hex(digest), "}:session"),
        }
    }
}

/// The id of the entry that a key's text is of.
pub(super) fn entry_id(text: &str) -> Option<String> {
    let escaped = text.strip_prefix("dgm:{a:")?.strip_suffix("}:entry")?;
    Some(escaped.replace("%7B", "{").replace("%7D", "}").replace("%25", "%"))
}

/// How copies of a class are handled.
pub(super) trait Policy {
    /// Copies are served only while the ledger is confirmed, and none that it knows to be old.
    fn is_judged(&self) -> bool;
    /// Copies are in Redis, too. The newest samples are not: by the time they came back from there they would not be the newest.
    fn is_shared(&self) -> bool;
    /// Not to be pushed out by entries: a session that is lost cannot be loaded again.
    fn is_identity(&self) -> bool;
}

impl Policy for Class {
    fn is_judged(&self) -> bool {
        matches!(self, Self::Entry)
    }

    fn is_shared(&self) -> bool {
        !matches!(self, Self::MetricsCurrent)
    }

    fn is_identity(&self) -> bool {
        matches!(self, Self::Session)
    }
}

fn tagged(before: &str, tag: &str, after: &str) -> String {
    [before, tag, after].concat()
}

/// A brace in an id would move the hash tag; `%` escapes it and itself, so that no two ids share a key.
fn plain(id: &str) -> std::borrow::Cow<'_, str> {
    if id.bytes().any(|byte| matches!(byte, b'%' | b'{' | b'}')) {
        return id.replace('%', "%25").replace('{', "%7B").replace('}', "%7D").into();
    }
    id.into()
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2);
    for word in bytes.chunks(8) {
        let number = word.iter().fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
        let _ = write!(text, "{number:0width$x}", width = word.len() * 2);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_keys_share_a_text() {
        let entry = |id: &str| Key::Entry { id: id.to_owned() }.text();
        assert_eq!(entry("x"), "dgm:{a:x}:entry");
        assert_eq!(entry("a}b"), "dgm:{a:a%7Db}:entry");
        assert_ne!(entry("a}b"), entry("a%7Db"));
        for id in ["x", "a}b", "a%7Db", "%25{", ""] {
            assert_eq!(entry_id(&entry(id)).as_deref(), Some(id));
        }
        assert_eq!(entry_id("dgm:{all}:stats"), None);
        let all = Key::Stats { service: None }.text();
        assert_ne!(all, Key::Stats { service: Some("all".into()) }.text());
        let digest = std::array::from_fn(|n| u8::try_from(n).unwrap());
        let text = "dgm:{x:000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f}:session";
        assert_eq!(Key::Session { digest }.text(), text);
    }
}
