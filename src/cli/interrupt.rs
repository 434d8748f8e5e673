//! Ctrl-C for commands that work in batches.

use tokio_util::sync::CancellationToken;

/// What a shell reports of a command that was interrupted.
pub(super) const INTERRUPTED: u8 = 130;

/// Cancelled by Ctrl-C, so that the batch in progress is finished and what was done is reported; a second one ends the process at
/// once, and the server rolls that batch back.
pub(super) fn interrupted() -> CancellationToken {
    let stop = CancellationToken::new();
    let told = stop.clone();
    tokio::spawn(async move {
        while tokio::signal::ctrl_c().await.is_ok() {
            if told.is_cancelled() {
                std::process::exit(INTERRUPTED.into());
            }
            told.cancel();
        }
    });
    stop
}
