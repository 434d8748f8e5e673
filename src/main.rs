//! The `dgm` binary: arguments in, one library call, an exit code out.

use std::process::ExitCode;

use mimalloc::MiMalloc;

/// A request makes some dozens of small allocations, many of which another thread frees.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

#[tokio::main]
async fn main() -> ExitCode {
    dgm_service::cli::run().await
}
