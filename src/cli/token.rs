//! `dgm token`: API tokens.

use std::process::ExitCode;

use chrono::TimeDelta;
use clap::{Args, Subcommand};

use super::settings::Common;
use crate::domain::identity::{NewToken, Role};
use crate::domain::time::plus;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a token and print it, this once
    Create {
        /// Its name, unique
        #[arg(long)]
        name: String,
        /// reader (looks), worker (runs the loop), operator (runs the service) or admin (manages tokens)
        #[arg(long)]
        role: Role,
        /// When it ends, as in 30d or 12h; never when absent
        #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
        expires_in: Option<std::time::Duration>,
    },
    /// List the tokens; their secrets are not kept anywhere
    List,
    /// Revoke a token, and with it its sessions
    Revoke {
        /// Its name
        name: String,
    },
}

pub(super) async fn run(common: &Common, arguments: Arguments) -> anyhow::Result<ExitCode> {
    let (_, services) = common.services()?;
    match arguments.command {
        Command::Create { name, role, expires_in } => {
            let life = expires_in.map(TimeDelta::from_std).transpose()?;
            let expires_at = life.map(|life| plus(services.clock.timestamp(), life));
            let created = services.identity.create_token(&NewToken { name, role, expires_at }).await?;
            say!("{}", created.token);
        }
        Command::List => {
            let tokens = services.identity.tokens().await?;
            say!("{:<24} {:<9} {:<20} {:<20} state", "name", "role", "created", "expires");
            for token in tokens {
                let time = |at: chrono::DateTime<chrono::Utc>| at.format("%Y-%m-%dT%H:%M:%SZ").to_string();
                let expires = token.expires_at.map_or_else(|| "never".to_owned(), time);
                let state = match (token.revoked_at, token.expires_at) {
                    (Some(_), _) => "revoked",
                    (None, Some(ends)) if ends <= services.clock.timestamp() => "expired",
                    _ => "valid",
                };
                say!("{:<24} {:<9} {:<20} {expires:<20} {state}", token.name, token.role, time(token.created_at));
            }
        }
        Command::Revoke { name } => {
            services.identity.revoke_token(&name).await?;
            say!(
                "revoked {name:?}; running replicas refuse it within {} s",
                crate::service::identity::REVOCATION.as_secs()
            );
        }
    }
    Ok(ExitCode::SUCCESS)
}
