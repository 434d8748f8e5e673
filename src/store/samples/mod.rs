//! Statements on performance metric samples.

mod insert;
mod read;

use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::partitions::PartitionStore;
use crate::batch::Writer;
use crate::db::{Database, Error};
use crate::domain::sample::{Ingested, NewSample};
use insert::{Context, Insert, insert_alone};

/// A request with more samples than this is a batch of its own.
const MAX_SHARED: usize = 256;

/// Samples; cheap to clone.
#[derive(Debug, Clone)]
pub struct SampleStore {
    database: Database,
    context: Context,
    writer: Arc<Writer<Insert>>,
}

impl SampleStore {
    pub(super) fn new(database: Database, partitions: PartitionStore) -> Self {
        let context = Context { database: database.clone(), partitions };
        let writer = Arc::new(Writer::new(context.clone()));
        Self { database, context, writer }
    }

    /// Stores samples, all or none; durable when this returns. Missing partitions are created. A sample without an id gets
    /// one that rises with time, so that rows of an hour are close together in the primary key.
    ///
    /// # Errors
    /// [`Error::NoPartition`] when a partition was dropped twice during the call, [`Error::Busy`].
    pub async fn store(&self, samples: Vec<NewSample>, now: DateTime<Utc>) -> Result<Ingested, Error> {
        let request = Insert::new(samples, now);
        if request.len() <= MAX_SHARED {
            return self.writer.submit(request).await;
        }
        insert_alone(&self.context, request).await
    }

    /// Writes what is waiting and stops.
    pub(super) async fn close(&self) {
        self.writer.close().await;
    }
}
