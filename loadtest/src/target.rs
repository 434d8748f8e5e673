//! Where the load may go: to this machine, nowhere else.

use anyhow::{Context as _, Result, bail, ensure};
use goose::config::GooseConfiguration;
use reqwest::Url;

/// The service's own default address.
pub(crate) const DEFAULT_HOST: &str = "http://127.0.0.1:8007";

/// The base address of the service under load.
///
/// # Errors
/// When it is not plain HTTP to a loopback address, or an option would let somebody change it while the load runs.
pub(crate) fn target(configuration: &GooseConfiguration) -> Result<Url> {
    ensure!(
        !configuration.websocket && !configuration.dashboard_control && !configuration.no_autostart,
        "a controller could point the load at another host: no --websocket, --dashboard-control or --no-autostart"
    );
    loopback(configuration.host.as_deref().unwrap_or(DEFAULT_HOST))
}

fn loopback(host: &str) -> Result<Url> {
    let url = Url::parse(host).with_context(|| format!("--host {host}"))?;
    ensure!(url.scheme() == "http", "--host {host}: only http:// is spoken here");
    // The URL standard has normalised the name: 0x7f.1 and 2130706433 have become 127.0.0.1.
    let name = url.host_str().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    let local = match name.parse::<std::net::IpAddr>() {
        Ok(address) => address.to_canonical().is_loopback(),
        // RFC 6761, section 6.3: names that always mean loopback.
        Err(_) => name == "localhost",
    };
    if !local {
        bail!("--host {host} is not a loopback address: load is aimed at this machine only");
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_passes() {
        for host in
            [DEFAULT_HOST, "http://localhost:1", "http://127.9.9.9/", "http://[::1]:8007", "http://[::ffff:127.0.0.1]"]
        {
            assert!(loopback(host).is_ok(), "{host}");
        }
    }

    #[test]
    fn elsewhere_is_refused() {
        for host in [
            "http://10.0.0.1:8007",
            "http://0.0.0.0:8007",
            "http://example.com",
            "http://localhost.example.com",
            "http://127.0.0.1@example.com",
            "http://127.0.0.1.example.com",
            "http://[2001:db8::1]",
            "http://[::ffff:10.0.0.1]",
            "https://127.0.0.1",
            "127.0.0.1:8007",
        ] {
            assert!(loopback(host).is_err(), "{host}");
        }
    }

    #[test]
    fn controllers_are_refused() {
        let target = |args: &[&str]| target(&GooseConfiguration::parse_args_default(args).unwrap());
        assert_eq!(target(&[]).unwrap().as_str(), "http://127.0.0.1:8007/");
        assert!(target(&["--websocket"]).is_err());
    }
}
