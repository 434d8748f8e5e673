//! `dgm healthcheck`: does the service on this machine answer?

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;

use super::settings::Common;

/// Asks `/health` of the API on this machine; for a container's HEALTHCHECK, where there is no curl.
pub(super) fn run(common: &Common) -> anyhow::Result<ExitCode> {
    const PATIENCE: Duration = Duration::from_secs(5);
    let bind = common.load(&[])?.http.bind;
    let target = if bind.ip().is_unspecified() { SocketAddr::from(([127, 0, 0, 1], bind.port())) } else { bind };
    let mut stream = TcpStream::connect_timeout(&target, PATIENCE).with_context(|| target.to_string())?;
    stream.set_read_timeout(Some(PATIENCE))?;
    write!(stream, "GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut head = [0; 12];
    stream.read_exact(&mut head).with_context(|| target.to_string())?;
    anyhow::ensure!(head.ends_with(b"200"), "{target} answered {:?}", String::from_utf8_lossy(&head));
    Ok(ExitCode::SUCCESS)
}
