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
        // redis+cluster://a,b,c is no URL by the standard; then only the scheme is shown.
        let Ok(mut url) = Url::parse(&self.0) else {
            return format!("{}://***", self.0.split("://").next().filter(|s| *s != self.0).unwrap_or("url"));
        };
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
