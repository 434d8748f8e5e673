//! What becomes of spans, counted: [`Counted`] stands around the exporter, [`Bounded`] around the processor that batches for
//! it. The library drops what its queue has no room for and tells nobody in numbers; here nothing is given to it that it
//! would have to drop.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use opentelemetry::Context;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{BatchConfigBuilder, BatchSpanProcessor, Span, SpanData, SpanExporter, SpanProcessor};

use super::catalogue::labels::SpanOutcome;
use super::catalogue::telemetry::TRACE_SPANS;

/// Spans that may wait for the collector, those on their way to it included.
const WAITING: usize = 4096;

/// Batches spans for an exporter; the delay and the size of a batch are the library's, `OTEL_BSP_*` changes them.
pub(super) fn processor<E: SpanExporter + 'static>(exporter: E) -> Bounded<BatchSpanProcessor> {
    let waiting = Arc::new(AtomicUsize::new(0));
    let exporter = Counted { inner: exporter, waiting: Arc::clone(&waiting) };
    let config = BatchConfigBuilder::default().with_max_queue_size(WAITING).build();
    Bounded { inner: BatchSpanProcessor::builder(exporter).with_batch_config(config).build(), waiting, most: WAITING }
}

/// Drops spans when too many wait.
#[derive(Debug)]
pub(super) struct Bounded<P> {
    inner: P,
    waiting: Arc<AtomicUsize>,
    most: usize,
}

impl<P: SpanProcessor> SpanProcessor for Bounded<P> {
    fn on_start(&self, span: &mut Span, context: &Context) {
        self.inner.on_start(span, context);
    }

    fn on_end(&self, span: SpanData) {
        let room = |waiting: usize| (waiting < self.most).then_some(waiting + 1);
        if self.waiting.fetch_update(Ordering::Relaxed, Ordering::Relaxed, room).is_ok() {
            self.inner.on_end(span);
        } else {
            TRACE_SPANS.increment((SpanOutcome::Dropped,));
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.inner.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}

/// Counts what was sent and what was not.
#[derive(Debug)]
struct Counted<E> {
    inner: E,
    waiting: Arc<AtomicUsize>,
}

impl<E: SpanExporter> SpanExporter for Counted<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = batch.len();
        let result = self.inner.export(batch).await;
        self.waiting.fetch_sub(spans, Ordering::Relaxed);
        let outcome = if result.is_ok() { SpanOutcome::Sent } else { SpanOutcome::Failed };
        TRACE_SPANS.add((outcome,), spans as u64);
        result
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.inner.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use opentelemetry::trace::{Span as _, Tracer as _, TracerProvider as _};
    use opentelemetry_sdk::trace::SdkTracerProvider;

    use super::*;

    /// Takes spans and never says that they are gone.
    #[derive(Debug, Default, Clone)]
    struct Stuck(Arc<Mutex<usize>>);

    impl SpanProcessor for Stuck {
        fn on_start(&self, _: &mut Span, _: &Context) {}

        fn on_end(&self, _: SpanData) {
            *self.0.lock().unwrap() += 1;
        }

        fn force_flush(&self) -> OTelSdkResult {
            Ok(())
        }

        fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
            Ok(())
        }
    }

    #[test]
    fn no_more_than_fit_are_given_on() {
        let (stuck, waiting) = (Stuck::default(), Arc::new(AtomicUsize::new(0)));
        let bounded = Bounded { inner: stuck.clone(), waiting: Arc::clone(&waiting), most: 3 };
        let provider = SdkTracerProvider::builder().with_span_processor(bounded).build();
        let end = |spans| (0..spans).for_each(|_| provider.tracer("test").start("span").end());
        end(5);
        assert_eq!(*stuck.0.lock().unwrap(), 3);
        waiting.fetch_sub(2, Ordering::Relaxed);
        end(5);
        assert_eq!(*stuck.0.lock().unwrap(), 5, "there is room for two again");
    }
}
