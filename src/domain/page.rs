//! Pages of a list: keyset cursors, opaque to the caller.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::validation::Invalid;

/// Items of a page unless the caller says otherwise.
pub const DEFAULT_LIMIT: u32 = 50;
/// Most items of a page.
pub const MAX_LIMIT: u32 = 1000;

/// Most bytes of a page's rows, as they are stored. A single item that is larger is a page of its own.
pub const MAX_BYTES: usize = 8 << 20;

/// Rows of a page.
#[derive(Debug)]
pub struct Rows<T> {
    /// The items.
    pub items: Vec<T>,
    /// What they have in bytes.
    pub bytes: usize,
    /// Whether they were cut off at [`MAX_BYTES`]. There may be none after them.
    pub cut: bool,
}

/// One page.
#[derive(Debug, Serialize, ToSchema)]
pub struct Page<T> {
    /// The items, in the order that was asked for.
    pub items: Vec<T>,
    /// Give this as `cursor` for the next page; `null` on the last. A page whose items have 8 MiB ends there, and the last one may be
    /// empty then.
    pub next_cursor: Option<String>,
    /// About how many bytes the items have.
    #[serde(skip)]
    #[schema(ignore)]
    pub bytes: usize,
}

impl<T> Page<T> {
    /// A page out of `limit + 1` rows: the one too many says that there is a next page.
    pub fn cut(rows: Rows<T>, limit: u32, position: impl Fn(&T) -> Position) -> Self {
        let Rows { mut items, bytes, cut } = rows;
        let limit = limit as usize;
        let more = cut || items.len() > limit;
        items.truncate(limit);
        let next_cursor = if more { items.last().map(|item| position(item).encode()) } else { None };
        Self { items, next_cursor, bytes }
    }
}

/// The sort key of a page's last item. Rows that come and go between two pages neither shift nor repeat the others.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Position {
    /// The order that it belongs to.
    #[serde(rename = "o")]
    pub order: String,
    /// Score, for orders by score.
    #[serde(rename = "s", skip_serializing_if = "Option::is_none")]
    pub score: Option<f64>,
    /// Time; in orders by score, that which parts equal scores.
    #[serde(rename = "t", skip_serializing_if = "Option::is_none")]
    #[serde(default, deserialize_with = "super::time::optional")]
    pub time: Option<DateTime<Utc>>,
    /// The id, which makes the order total.
    #[serde(rename = "i")]
    pub id: String,
}

impl Position {
    /// The cursor's text.
    #[must_use]
    pub fn encode(&self) -> String {
        // A struct of strings, numbers and times always serialises.
        URL_SAFE_NO_PAD.encode(serde_json::to_vec(self).unwrap_or_default())
    }

    /// Reads a cursor of the given order.
    ///
    /// # Errors
    /// [`Invalid`] when it is not one that this service made for this order.
    pub fn decode(cursor: &str, order: &str) -> Result<Self, Invalid> {
        let position: Option<Self> =
            URL_SAFE_NO_PAD.decode(cursor).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
        position
            .filter(|p| p.order == order && !p.id.contains('\0') && p.score.is_none_or(f64::is_finite))
            .ok_or_else(|| Invalid::one("cursor", "is not a cursor of this list and order"))
    }
}

/// The limit to use.
///
/// # Errors
/// [`Invalid`] when it is 0 or above [`MAX_LIMIT`].
pub fn limit(asked: Option<u32>) -> Result<u32, Invalid> {
    match asked.unwrap_or(DEFAULT_LIMIT) {
        limit @ 1..=MAX_LIMIT => Ok(limit),
        _ => Err(Invalid::one("limit", format!("must lie in 1..{MAX_LIMIT}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_round_trip_and_belong_to_their_order() {
        let position =
            Position { order: "created".into(), score: None, time: Some(DateTime::UNIX_EPOCH), id: "x".into() };
        let cursor = position.encode();
        assert_eq!(Position::decode(&cursor, "created"), Ok(position));
        assert!(Position::decode(&cursor, "accuracy").is_err());
        assert!(Position::decode("%%%", "created").is_err());
    }

    #[test]
    fn only_a_full_page_has_a_next_one() {
        let at = |n: &u32| Position { order: "n".into(), score: None, time: None, id: n.to_string() };
        let rows = |items: Vec<u32>, cut| Rows { items, bytes: 0, cut };
        assert!(Page::cut(rows(vec![1, 2], false), 2, at).next_cursor.is_none());
        assert!(Page::cut(rows(vec![1], true), 2, at).next_cursor.is_some());
        let page = Page::cut(rows(vec![1, 2, 3], false), 2, at);
        assert_eq!(page.items, [1, 2]);
        assert_eq!(Position::decode(&page.next_cursor.unwrap(), "n").unwrap().id, "2");
    }
}
