//! What the OpenAPI document says beside the routes.

use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::openapi::{Components, OpenApi as Document};
use utoipa::{Modify, OpenApi};

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
