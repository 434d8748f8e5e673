//! How far a run is, for whoever waits at a terminal.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::Result;
use indicatif::{ProgressBar, ProgressStyle};
use tokio::task::AbortHandle;

use crate::record::Recorder;

/// A bar that moves until this is dropped; invisible where standard error is no terminal.
#[derive(Debug)]
pub(crate) struct Progress {
    bar: ProgressBar,
    task: AbortHandle,
}

impl Progress {
    /// Shows seconds, and what a recorder has counted in the last of them.
    ///
    /// # Errors
    /// When the bar cannot be drawn.
    pub(crate) fn of(recorder: &Arc<Recorder>, seconds: u64) -> Result<Self> {
        let style = ProgressStyle::with_template("{wide_bar} {pos}/{len} s, {msg}")?;
        let bar = ProgressBar::new(seconds).with_style(style);
        let (recorder, moving) = (Arc::clone(recorder), bar.clone());
        let task = tokio::spawn(async move {
            let mut ticks = tokio::time::interval(Duration::from_secs(1));
            let mut before = 0;
            loop {
                ticks.tick().await;
                let succeeded = recorder.succeeded.load(Ordering::Relaxed);
                moving.set_position(recorder.began().elapsed().as_secs());
                let failed = recorder.failed.load(Ordering::Relaxed);
                moving.set_message(format!("{} requests/s, {failed} failed", succeeded - before));
                before = succeeded;
            }
        });
        Ok(Self { bar, task: task.abort_handle() })
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.task.abort();
        self.bar.finish_and_clear();
    }
}
