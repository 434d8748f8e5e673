//! The process.

use super::labels::{Revision, Rustc, Version};

super::metrics! {
    /// 1, labelled with what was built.
    Gauge BUILD_INFO<(Version, Revision, Rustc)> = "dgm_build_info", "1";
}
