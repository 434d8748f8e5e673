//! Traces out of the process: OTLP over HTTP with protobuf, from a thread of its own.

use std::io;
use std::thread;
use std::time::Duration;

use http::Uri;
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider};
use reqwest::blocking::Client;

use super::init::{Error, Settings};
use super::sending;

/// A collector that needs longer than this is down.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Sends spans to `endpoint`: all that are made. Which are is decided before ([`super::spans`]), so that the sampler must agree:
/// it follows the parent, and a root is there because it was chosen.
pub(super) fn provider(settings: &Settings, endpoint: &str) -> Result<SdkTracerProvider, Error> {
    let traces = traces_url(endpoint)?;
    let client = client(traces.scheme_str() == Some("https"))?;
    let exporter = SpanExporter::builder()
        .with_http()
        .with_http_client(client)
        .with_protocol(Protocol::HttpBinary)
        .with_timeout(TIMEOUT)
        .with_endpoint(traces.to_string())
        .build()
        .map_err(Error::Exporter)?;
    let resource = Resource::builder()
        .with_service_name(settings.service_name.clone())
        .with_attribute(opentelemetry::KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
        .build();
    Ok(SdkTracerProvider::builder()
        .with_span_processor(sending::processor(exporter))
        .with_sampler(Sampler::ParentBased(Box::new(Sampler::AlwaysOn)))
        .with_resource(resource)
        .build())
}

/// `/v1/traces` below the base, as for `OTEL_EXPORTER_OTLP_ENDPOINT`
/// (<https://opentelemetry.io/docs/specs/otel/protocol/exporter/#endpoint-urls-for-otlphttp>).
fn traces_url(base: &str) -> Result<Uri, Error> {
    // What stands before the host, or in parameters, may be a password.
    let shown = base.split(['?', '#']).next().unwrap_or_default();
    let shown = shown.rsplit_once('@').map_or_else(|| shown.to_owned(), |(_, host)| format!("***@{host}"));
    let refuse = |reason: &str| Error::Endpoint { endpoint: shown.clone(), reason: reason.to_owned() };
    let url: Uri = format!("{}/v1/traces", base.trim_end_matches('/'))
        .parse()
        .map_err(|error: http::uri::InvalidUri| refuse(&error.to_string()))?;
    if url.query().is_some() || base.contains('#') {
        return Err(refuse("it must have neither query nor fragment"));
    }
    if url.authority().is_some_and(|authority| authority.as_str().contains('@')) {
        return Err(refuse("credentials belong into OTEL_EXPORTER_OTLP_HEADERS"));
    }
    match (url.scheme_str(), url.host()) {
        (Some("http" | "https"), Some(host)) if !host.is_empty() => Ok(url),
        _ => Err(refuse("it must be a URL with http or https and a host")),
    }
}

/// A blocking client: the thread that sends has no runtime. It brings one along that must not be started inside another,
/// hence the thread here.
fn client(tls: bool) -> Result<Client, Error> {
    crate::tls::use_ring();
    let build = move || {
        let builder = Client::builder().timeout(TIMEOUT);
        // The certificates of the system are looked for only when they are needed: an image may have none.
        if tls { builder.build() } else { builder.tls_certs_only([]).build() }
    };
    let client = thread::Builder::new().spawn(build).map_err(Error::Thread)?.join();
    client.map_err(|_| Error::Thread(io::Error::other("it panicked")))?.map_err(Error::Client)
}

#[cfg(test)]
#[path = "otlp_tests.rs"]
mod tests;
