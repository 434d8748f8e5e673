//! Artifacts and the storage that their bytes lie in.

use super::LATENCY;
use super::labels::{Target, label};

label! {
    /// Which way an artifact went.
    Transfer "direction" { In "in", Out "out", }
}
label! {
    /// What the artifact storage was asked for.
    StorageCall "call" { Write "write", Read "read", Look "look", Remove "remove", }
}
label! {
    /// What was removed from the artifact storage; unreferenced: no entry has it any more; stray: no row tells of it;
    /// unfinished: the rest of an upload that broke off.
    Garbage "garbage" { Unreferenced "unreferenced", Stray "stray", Unfinished "unfinished", }
}

super::metrics! {
    /// Bytes of artifacts that callers sent and fetched.
    Counter ARTIFACT_BYTES<(Transfer,)> = "dgm_artifact_bytes_total", "bytes";
    /// Time of a call to the artifact storage; of a write the whole upload, at its sender's pace, of a read until the first byte.
    Histogram ARTIFACT_STORAGE_DURATION<(StorageCall,)> = "dgm_artifact_storage_duration_seconds", "seconds", LATENCY;
    /// Calls to the artifact storage that failed.
    Counter ARTIFACT_STORAGE_ERRORS<(StorageCall,)> = "dgm_artifact_storage_errors_total", "calls";
    /// Files removed from the artifact storage since nobody needs them.
    Counter ARTIFACTS_COLLECTED<(Garbage,)> = "dgm_artifacts_collected_total", "files";
    /// 1 while the place that a setting names is the target that was initialised for it; 0 while it is not mounted, is not initialised or
    /// does not answer. Absent for a setting that is empty.
    Gauge TARGET_READY<(Target,)> = "dgm_storage_target_ready", "1 or 0";
    /// Artifacts that were asked for and whose bytes are gone from the storage.
    Counter ARTIFACTS_LOST<()> = "dgm_artifacts_lost_total", "artifacts";
}
