//! URLs that may hold a password.

use std::fmt;

use serde::{Deserialize, Serialize, Serializer};
use url::Url;

/// A URL whose password is never printed, logged or serialised.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct SecretUrl(String);

impl SecretUrl {
    /// The URL with its password; for connecting only.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// The URL with `***` for its password. Parameters may hold secrets too (`?password=`), so they go as well.
    #[must_use]
    pub fn redacted(&self) -> String {
        if self.0.is_empty() {
            return String::new();
        }
        // The standard knows one host; postgres:// and redis+cluster:// may have several.
        let Ok(mut url) = Url::parse(&self.0) else { return redact_hosts(&self.0) };
        if url.path().contains('@') {
            // The host ended where a password has a slash.
            return format!("{}://***", url.scheme());
        }
        if url.password().is_some() && url.set_password(Some("***")).is_err() {
            return "***".to_owned();
        }
        if url.query().is_some() {
            url.set_query(Some("***"));
        }
        url.to_string()
    }
}

impl fmt::Debug for SecretUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.redacted())
    }
}

impl Serialize for SecretUrl {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.redacted())
    }
}

/// A URL with several hosts. Where a host may be part of a password, only the scheme is shown.
fn redact_hosts(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else { return "url://***".to_owned() };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, rest) = rest.split_at(end);
    let (path, query) = rest.split_once('?').map_or((rest, ""), |(path, _)| (path, "?***"));
    if rest.contains(['@', '#']) {
        return format!("{scheme}://***");
    }
    let (user, hosts) = match authority.rsplit_once('@') {
        None => (String::new(), authority),
        Some((user, hosts)) => {
            (user.split_once(':').map_or(format!("{user}@"), |(user, _)| format!("{user}:***@")), hosts)
        }
    };
    format!("{scheme}://{user}{hosts}{path}{query}")
}
