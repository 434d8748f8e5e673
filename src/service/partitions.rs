//! Partitions of the samples, as jobs and operators see them.

use super::{Error, Service};
pub use crate::store::partitions::Partition;

impl Service {
    /// Makes the partitions of this month and of `ahead` more; answers how many were new.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn ensure_partitions(&self, ahead: u32) -> Result<usize, Error> {
        Ok(self.store.ensure_partitions(self.now(), ahead).await?)
    }

    /// Every partition, oldest first.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn partitions(&self) -> Result<Vec<Partition>, Error> {
        Ok(self.store.partitions().await?)
    }
}
