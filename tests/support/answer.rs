//! An answer of the service, taken apart.

use reqwest::blocking::RequestBuilder;
use serde_json::Value;

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) etag: Option<String>,
    pub(crate) content_type: String,
    pub(crate) body: Value,
}

impl Answer {
    /// The last part of a problem's type.
    pub(crate) fn problem(&self) -> &str {
        assert_eq!(self.content_type, "application/problem+json", "{self:?}");
        self.body["type"].as_str().unwrap().strip_prefix("urn:dgm:problem:").unwrap()
    }

    /// The body of an answer that must have this status.
    pub(crate) fn expect(self, status: u16) -> Value {
        assert_eq!(self.status, status, "{self:?}");
        self.body
    }

    /// The ids of a list's items.
    pub(crate) fn ids(&self, field: &str) -> Vec<String> {
        let items = self.body["items"].as_array().unwrap_or_else(|| panic!("{self:?}"));
        items.iter().map(|item| item[field].as_str().unwrap().to_owned()).collect()
    }
}

pub(crate) fn answer(request: RequestBuilder) -> Answer {
    let response = request.send().unwrap();
    let header = |name: &str| response.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
    let (status, etag) = (response.status().as_u16(), header("etag"));
    let content_type = header("content-type").unwrap_or_default();
    let text = response.text().unwrap();
    let body = if text.is_empty() { Value::Null } else { serde_json::from_str(&text).unwrap_or(Value::String(text)) };
    Answer { status, etag, content_type, body }
}
