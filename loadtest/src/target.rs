//! Where the load may go: to this machine, and to hosts that the command line names.

use anyhow::{Context as _, Result, bail, ensure};
use reqwest::Url;

/// The base address of what is to be loaded.
///
/// # Errors
/// When it is not plain HTTP, or neither a loopback address nor one of the hosts that are allowed.
pub(crate) fn target(option: &str, address: &str, allowed: &[String]) -> Result<Url> {
    let url = Url::parse(address).with_context(|| format!("{option} {address}"))?;
    ensure!(url.scheme() == "http", "{option} {address}: only http:// is spoken here");
    // The URL standard has normalised the name: 0x7f.1 and 2130706433 have become 127.0.0.1.
    let name = url.host_str().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    let local = match name.parse::<std::net::IpAddr>() {
        Ok(address) => address.to_canonical().is_loopback(),
        // RFC 6761, section 6.3: names that always mean loopback.
        Err(_) => name == "localhost",
    };
    if !local && !allowed.iter().any(|host| host == name) {
        bail!(
            "{option} {address} is not a loopback address: load is aimed at this machine only, unless you name the host \
             with --allow-host {name}"
        );
    }
    Ok(url)
}

/// Goose's own options that would take the load elsewhere, or leave it waiting for somebody.
///
/// # Errors
/// When there is one among them.
pub(crate) fn check_options(options: &[String]) -> Result<()> {
    const REFUSED: [&str; 6] = ["--host", "-H", "--websocket", "--dashboard-control", "--no-autostart", "--test-plan"];
    for option in options {
        let name = option.split('=').next().unwrap_or(option);
        ensure!(!REFUSED.contains(&name), "{name} is not for goose: it would change where the load goes, or when");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loopback(host: &str) -> Result<Url> {
        target("--host", host, &[])
    }

    #[test]
    fn loopback_passes() {
        for host in [
            "http://127.0.0.1:8007",
            "http://localhost:1",
            "http://127.9.9.9/",
            "http://[::1]:8007",
            "http://[::ffff:127.0.0.1]",
        ] {
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
    fn a_host_that_is_named_is_allowed_and_no_other() {
        let allowed = ["dgm.dgm.svc".to_owned()];
        assert!(target("--host", "http://dgm.dgm.svc:8007", &allowed).is_ok());
        assert!(target("--host", "http://dgm.dgm.svc.example.com:8007", &allowed).is_err());
        assert!(target("--host", "https://dgm.dgm.svc", &allowed).is_err());
    }

    #[test]
    fn goose_is_not_told_where_to_go() {
        let check = |option: &str| check_options(&[option.to_owned()]);
        assert!(check("--websocket").is_err());
        assert!(check("--host=http://example.com").is_err());
        assert!(check("--scenarios").is_ok());
    }
}
