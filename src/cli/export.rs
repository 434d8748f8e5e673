//! `dgm export`: the way out.

use std::io::{BufWriter, ErrorKind, Write as _};
use std::ops::ControlFlow;
use std::process::ExitCode;

use clap::{Args, ValueEnum};

use super::settings::Common;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The service (agent) whose entries are written, parents before their children
    #[arg(long, value_name = "NAME")]
    service: String,
    /// The form
    #[arg(long, value_enum, default_value_t = Form::Jsonl)]
    format: Form,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Form {
    /// One JSON object a line, on standard output
    Jsonl,
}

pub(super) async fn run(common: &Common, arguments: Arguments) -> anyhow::Result<ExitCode> {
    let (_, services) = common.services()?;
    let Form::Jsonl = arguments.format;
    let mut out = BufWriter::new(std::io::stdout());
    let mut count = 0_u64;
    let mut failed = None;
    let each = |entry| {
        let written = serde_json::to_writer(&mut out, &entry).map_err(Into::into).and_then(|()| out.write_all(b"\n"));
        count += 1;
        match written {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                failed = Some(error);
                ControlFlow::Break(())
            }
        }
    };
    services.runs.export(&arguments.service, each).await?;
    match failed.map_or_else(|| out.flush(), Err) {
        // Whoever read has seen enough, as in `dgm export | head`.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => return Ok(ExitCode::SUCCESS),
        outcome => outcome?,
    }
    eprintln!("{count} entries of {:?} written", arguments.service);
    Ok(if count == 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}
