//! Columns as types of the domain: closed sets in columns of text, and JSON as it is. A text that is none of the words is an error that names the column and the words.

use sqlx::encode::IsNull;
use sqlx::error::BoxDynError;
use sqlx::postgres::{PgArgumentBuffer, PgHasArrayType, PgRow, PgTypeInfo, PgValueRef};
use sqlx::{Decode, Encode, Postgres, Row as _, Type};

use crate::domain::json::Json;
use crate::domain::{archive, identity, improvement, job, purge};

macro_rules! stored_as_text {
    ($($set:ty),* $(,)?) => {
        $(impl Type<Postgres> for $set {
            fn type_info() -> PgTypeInfo {
                <&str as Type<Postgres>>::type_info()
            }

            fn compatible(column: &PgTypeInfo) -> bool {
                <&str as Type<Postgres>>::compatible(column)
            }
        }

        impl Decode<'_, Postgres> for $set {
            fn decode(value: PgValueRef<'_>) -> Result<Self, BoxDynError> {
                Ok(<&str as Decode<'_, Postgres>>::decode(value)?.parse()?)
            }
        }

        impl Encode<'_, Postgres> for $set {
            fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
                <&str as Encode<'_, Postgres>>::encode_by_ref(&self.as_str(), buffer)
            }
        }

        impl PgHasArrayType for $set {
            fn array_type_info() -> PgTypeInfo {
                <&str as PgHasArrayType>::array_type_info()
            }

            fn array_compatible(column: &PgTypeInfo) -> bool {
                <&str as PgHasArrayType>::array_compatible(column)
            }
        })*
    };
}

stored_as_text!(
    archive::InspirationKind,
    archive::Status,
    identity::Role,
    improvement::EventKind,
    improvement::Priority,
    improvement::Status,
    job::RunOutcome,
    purge::ReferenceKind,
);

pub(super) fn json(row: &PgRow, column: &str) -> Result<Json, sqlx::Error> {
    Ok(Json(row.try_get::<sqlx::types::Json<_>, _>(column)?.0))
}

pub(super) fn optional_json(row: &PgRow, column: &str) -> Result<Option<Json>, sqlx::Error> {
    Ok(row.try_get::<Option<sqlx::types::Json<_>>, _>(column)?.map(|json| Json(json.0)))
}
