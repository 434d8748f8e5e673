//! The parts of the OpenAPI document that do not belong to a route.

use std::collections::BTreeMap;

use axum::http::StatusCode;
use utoipa::openapi::path::{Operation, Parameter};
use utoipa::openapi::schema::{ArrayItems, Schema, SchemaType, Type};
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::openapi::{Components, OpenApi as Document, PathItem, Ref, RefOr, Response};
use utoipa::{Modify, OpenApi, ToSchema};

use crate::domain::improvement::Event;

/// The text on the first page is what an author of a loop reads first.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "dgm-service",
        description = "The archive, the improvement queue and the performance metrics of self-improving agent loops.\n\n\
            Lists page by `cursor`. Errors are `application/problem+json` (RFC 9457) with a stable `type`. A create that \
            is repeated with the same id and body answers 200 in place of 201. Unknown fields are refused.",
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
    ),
    security(("bearer" = [])),
    modifiers(&Bearer),
    components(schemas(Event)),
    tags(
        (name = "archive", description = "Agent variants and their lineage"),
        (name = "improvements", description = "Jobs that workers claim under a lease"),
        (name = "metrics", description = "Performance metric samples"),
        (name = "sessions", description = "Short-lived credentials out of an API token"),
        (name = "admin", description = "For who runs the service"),
        (name = "health", description = "Liveness and readiness"),
    )
)]
struct Base;

struct Bearer;

impl Modify for Bearer {
    fn modify(&self, document: &mut Document) {
        let scheme = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
        document.components.get_or_insert_with(Components::default).add_security_scheme("bearer", scheme);
    }
}

pub(super) fn base() -> Document {
    Base::openapi()
}

/// A body of bytes. utoipa describes `Vec<u8>` as an array of numbers.
#[derive(ToSchema)]
#[schema(value_type = String, format = Binary)]
#[allow(dead_code, reason = "read by utoipa only")]
pub(super) struct Binary(Vec<u8>);

type Schemas = BTreeMap<String, RefOr<Schema>>;

/// Corrects what utoipa's macros generate wrongly: responses without a description are invalid, parameters cannot be null, and generic types
/// repeat the schema of their items.
pub(super) fn complete(document: &mut Document) {
    let Some(components) = &mut document.components else { return };
    let named = components.schemas.clone();
    components.schemas.values_mut().for_each(|schema| refer(schema, &named));
    for operation in document.paths.paths.values_mut().flat_map(operations) {
        operation.parameters.iter_mut().flatten().for_each(never_null);
        for (status, response) in &mut operation.responses.responses {
            if let RefOr::T(response) = response
                && response.description.is_empty()
            {
                response.description = description(status, response, &named);
            }
        }
    }
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    let PathItem { get, put, post, delete, options, head, patch, trace, .. } = item;
    [get, put, post, delete, options, head, patch, trace].into_iter().flatten()
}

/// The description of the body's schema, or the reason phrase of the status.
fn description(status: &str, response: &Response, named: &Schemas) -> String {
    let body = response.content.values().find_map(|content| {
        let RefOr::T(content) = content else { return None };
        match content.schema.as_ref()? {
            RefOr::Ref(reference) => named.get(reference.ref_location.rsplit('/').next()?).and_then(described),
            schema @ RefOr::T(_) => described(schema),
        }
    });
    let phrase = || StatusCode::from_bytes(status.as_bytes()).ok()?.canonical_reason().map(str::to_owned);
    body.or_else(phrase).unwrap_or_else(|| status.to_owned())
}

fn described(schema: &RefOr<Schema>) -> Option<String> {
    let RefOr::T(schema) = schema else { return None };
    match schema {
        Schema::Object(schema) => schema.description.clone(),
        Schema::Array(schema) => schema.description.clone(),
        Schema::OneOf(schema) => schema.description.clone(),
        Schema::AllOf(schema) => schema.description.clone(),
        Schema::AnyOf(schema) => schema.description.clone(),
        _ => None,
    }
}

fn never_null(parameter: &mut RefOr<Parameter>) {
    if let RefOr::T(parameter) = parameter
        && let Some(RefOr::T(Schema::Object(schema))) = &mut parameter.schema
        && let SchemaType::Array(types) = &mut schema.schema_type
    {
        types.retain(|kind| *kind != Type::Null);
        if let [only] = types.as_slice() {
            schema.schema_type = SchemaType::Type(only.clone());
        }
    }
}

/// Replaces the items of lists that repeat a named schema by a reference to it.
fn refer(schema: &mut RefOr<Schema>, named: &Schemas) {
    match schema {
        RefOr::T(Schema::Object(object)) => {
            object.properties.values_mut().for_each(|property| refer(property, named));
        }
        RefOr::T(Schema::Array(array)) => {
            if let ArrayItems::RefOrSchema(items) = &mut array.items {
                match named.iter().find(|(_, schema)| **schema == **items) {
                    Some((name, _)) => **items = RefOr::Ref(Ref::from_schema_name(name)),
                    None => refer(items, named),
                }
            }
        }
        _ => {}
    }
}
