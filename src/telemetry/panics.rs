//! Panics: each is counted and logged as an event, with the request that it happened in.

use std::backtrace::Backtrace;

use super::catalogue::process::PANICS;

/// Replaces the text on standard error, which is not part of the logs.
pub(super) fn report() {
    std::panic::set_hook(Box::new(|panic| {
        PANICS.increment(());
        let location = panic.location().map(ToString::to_string).unwrap_or_default();
        let backtrace = Backtrace::capture();
        tracing::error!(%backtrace, "panicked at {location}: {}", panic.payload_as_str().unwrap_or("no message"));
    }));
}
