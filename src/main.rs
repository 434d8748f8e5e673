//! The `dgm` binary: arguments in, one library call, an exit code out.

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    dgm_service::cli::run().await
}
