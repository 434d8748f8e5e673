//! Ids of objects that their callers leave unnamed.

use uuid::Uuid;

/// A new id; version 7, so that new rows are close together in the index (RFC 9562).
pub(super) fn new_id() -> String {
    Uuid::now_v7().to_string()
}
