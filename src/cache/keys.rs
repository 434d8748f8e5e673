//! Every kind of cached thing, once: its key, its class (the label of its metrics), and who owns it.

use std::fmt::Write as _;

use crate::telemetry::catalogue::labels::Class;

/// The key of a cached thing. The braces are Redis Cluster's hash tags: what belongs to one entity shares a slot.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Key {
    /// An entry as JSON, or that there is none; written and dropped by `service::archive`. 1, 2 or 4 h by quality.
    Entry {
        /// The entry's id.
        id: String,
    },
    /// Statistics of the archive; `service::archive`. 10 s.
    Stats {
        /// Of one service, or of all.
        service: Option<String>,
    },
    /// The newest samples; `service::samples`, dropped at every ingest. 5 min.
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
    /// Who is behind a token; `service::identity`. 10 s.
    Token {
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
            Self::Token { .. } => Class::Token,
        }
    }

    /// The key's text.
    #[must_use]
    pub fn text(&self) -> String {
        match self {
            Self::Entry { id } => format!("dgm:{{a:{}}}:entry", plain(id)),
            Self::Stats { service: None } => "dgm:{all}:stats".to_owned(),
            Self::Stats { service: Some(service) } => format!("dgm:{{s:{}}}:stats", plain(service)),
            Self::MetricsCurrent { service } => format!("dgm:{{s:{}}}:current", plain(service)),
            Self::MetricsTrend { service } => format!("dgm:{{s:{}}}:trend", plain(service)),
            Self::Session { digest } => format!("dgm:{{x:{}}}:session", hex(digest)),
            Self::Token { digest } => format!("dgm:{{x:{}}}:token", hex(digest)),
        }
    }
}

/// A brace in an id would move the hash tag; `%` escapes it and itself, so that no two ids share a key.
fn plain(id: &str) -> String {
    id.replace('%', "%25").replace('{', "%7B").replace('}', "%7D")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
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
        let all = Key::Stats { service: None }.text();
        assert_ne!(all, Key::Stats { service: Some("all".into()) }.text());
    }
}
