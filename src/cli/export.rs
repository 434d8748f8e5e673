//! `dgm export`: the way out.

use std::io::{BufWriter, Write as _};
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
    let (_, service) = common.service()?;
    let Form::Jsonl = arguments.format;
    let mut out = BufWriter::new(std::io::stdout());
    let mut last = None;
    let mut count = 0_u64;
    loop {
        let page = service.export(&arguments.service, last.as_ref()).await?;
        let Some(newest) = page.last() else { break };
        for entry in &page {
            serde_json::to_writer(&mut out, entry)?;
            out.write_all(b"\n")?;
        }
        count += page.len() as u64;
        last = Some(newest.clone());
    }
    out.flush()?;
    eprintln!("{count} entries of {:?} written", arguments.service);
    Ok(if count == 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}
