//! URLs of PostgreSQL servers. sqlx knows one host, cannot connect to an IPv6 literal, and ignores parameters that it does not
//! know, so that a mistyped `sslmode` would connect without TLS.

use percent_encoding::percent_decode_str;
use sqlx::postgres::PgConnectOptions;
use url::{Url, form_urlencoded};

use super::servers::Wanted;

/// What is wrong with a URL. It names no password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidUrl(pub(super) String);

/// Parameters that sqlx takes as they are.
const PASSED: &[&str] = &[
    "sslmode",
    "ssl-mode",
    "sslrootcert",
    "ssl-root-cert",
    "ssl-ca",
    "sslcert",
    "ssl-cert",
    "sslkey",
    "ssl-key",
    "statement-cache-capacity",
    "dbname",
    "user",
    "password",
    "application_name",
];
/// Parameters that are handled here.
const HANDLED: &[&str] = &["host", "hostaddr", "port", "options", "target_session_attrs"];
const DEFAULT_PORT: u16 = 5432;
/// Similarity (Jaro-Winkler) from which on a name is suggested.
const SIMILAR: f64 = 0.75;

/// The servers of a URL.
#[derive(Debug)]
pub(super) struct Parsed {
    /// Name (`host:port`) and options of each.
    pub(super) servers: Vec<(String, PgConnectOptions)>,
    /// The session parameters of `options`.
    pub(super) parameters: Vec<(String, String)>,
}

pub(super) fn parse(text: &str, wanted: Wanted) -> Result<Parsed, InvalidUrl> {
    let (scheme, rest) =
        text.split_once("://").ok_or_else(|| invalid("it is not a URL: postgres://user:password@host:port/name"))?;
    if !["postgres", "postgresql"].contains(&scheme) {
        return Err(invalid(format!("its scheme is {scheme:?}; use postgres:// or postgresql://")));
    }
    if text.contains('#') {
        return Err(invalid("it contains #; write %23 for it"));
    }
    let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (authority, path) = place.find('/').map_or((place, ""), |at| place.split_at(at));
    if path.contains('@') {
        return Err(invalid(
            "there is an @ after the host; write %2F for / and %40 for @ in a user's name or password",
        ));
    }
    let (user, hosts) = authority.rsplit_once('@').map_or(("", authority), |(user, hosts)| (user, hosts));

    let (mut passed, mut parameters) = (Vec::new(), Vec::new());
    let (mut host_list, mut port_list) = (None, None);
    for (name, value) in form_urlencoded::parse(query.as_bytes()).into_owned() {
        match name.as_str() {
            // An address is preferred, as libpq does; the name would serve to check certificates only.
            "hostaddr" => host_list = Some(value),
            "host" => host_list = host_list.or(Some(value)),
            "port" => port_list = Some(value),
            "options" => parameters.extend(options(&value)?),
            "target_session_attrs" => check_target(&value, wanted)?,
            known if PASSED.contains(&known) => passed.push((name, value)),
            other => match other.strip_prefix("options[").and_then(|rest| rest.strip_suffix(']')) {
                Some(parameter) => parameters.push((parameter.to_owned(), value)),
                None => return Err(unknown(other)),
            },
        }
    }
    let servers = match host_list {
        Some(list) => with_ports(&list, port_list.as_deref())?,
        None if hosts.is_empty() && user.is_empty() => vec![None],
        None => hosts
            .split(',')
            .map(|host| host_and_port(host, port_list.as_deref()).map(Some))
            .collect::<Result<_, _>>()?,
    };
    let base = if user.is_empty() {
        format!("postgres:///{}", path.trim_start_matches('/'))
    } else {
        format!("postgres://{user}@localhost{path}")
    };
    let base = Url::parse(&base).map_err(|error| invalid(format!("its user, password or database: {error}")))?;
    let servers = servers.into_iter().map(|server| {
        let mut url = base.clone();
        url.query_pairs_mut().clear().extend_pairs(&passed);
        let name = match server {
            None => "the default host".to_owned(),
            Some((host, port)) => {
                url.query_pairs_mut().append_pair("host", &host).append_pair("port", &port.to_string());
                named(&host, port)
            }
        };
        let options: PgConnectOptions = url.as_str().parse().map_err(|error: sqlx::Error| match error {
            sqlx::Error::Configuration(reason) => invalid(reason.to_string()),
            other => invalid(other.to_string()),
        })?;
        // It is set as all parameters of the session are, which poolers let pass.
        Ok((name, options.extra_float_digits(None)))
    });
    Ok(Parsed { servers: servers.collect::<Result<_, _>>()?, parameters })
}

fn invalid(reason: impl Into<String>) -> InvalidUrl {
    InvalidUrl(reason.into())
}

fn unknown(name: &str) -> InvalidUrl {
    let known = PASSED.iter().chain(HANDLED);
    let nearest = known
        .map(|known| (strsim::jaro_winkler(known, name), known))
        .filter(|(similarity, _)| *similarity >= SIMILAR)
        .max_by(|a, b| a.0.total_cmp(&b.0));
    let hint = nearest.map_or_else(String::new, |(_, known)| format!("; did you mean {known:?}?"));
    invalid(format!("it has the parameter {name:?}, which does not exist or is not supported{hint}"))
}

/// What the chooser of hosts does anyway.
fn check_target(value: &str, wanted: Wanted) -> Result<(), InvalidUrl> {
    let allowed: &[&str] = match wanted {
        Wanted::Primary => &["read-write", "primary"],
        Wanted::Standby => &["standby", "prefer-standby", "read-only"],
    };
    if allowed.contains(&value) {
        return Ok(());
    }
    Err(invalid(format!("target_session_attrs is {value:?}; here it is one of {}", allowed.join(", "))))
}

/// `host`, `host:port`, `[address]` or `[address]:port`; a socket's folder has its slashes as %2F.
fn host_and_port(text: &str, default: Option<&str>) -> Result<(String, u16), InvalidUrl> {
    let (host, port) = match text.strip_prefix('[').map(|rest| rest.split_once(']')) {
        Some(Some((address, rest))) => (address, rest.strip_prefix(':').or(rest.is_empty().then_some(""))),
        Some(None) => return Err(invalid(format!("the host {text:?} lacks its closing bracket"))),
        None if text.matches(':').count() > 1 => {
            return Err(invalid(format!("the host {text:?}: write an IPv6 address in brackets")));
        }
        None => text.split_once(':').map_or((text, Some("")), |(host, port)| (host, Some(port))),
    };
    let port = port.ok_or_else(|| invalid(format!("the host {text:?}: after the bracket only a port may follow")))?;
    if text.starts_with('[') && host.parse::<std::net::Ipv6Addr>().is_err() {
        return Err(invalid(format!("the host {text:?} is no IPv6 address")));
    }
    if host.is_empty() {
        return Err(invalid("a host is empty"));
    }
    let port = if port.is_empty() { default.unwrap_or("") } else { port };
    let decoded =
        percent_decode_str(host).decode_utf8().map_err(|_| invalid(format!("the host {text:?} is not UTF-8")))?;
    Ok((decoded.into_owned(), port_number(host, port)?))
}

/// The lists of the parameters `host` and `port`; one port serves all hosts.
fn with_ports(hosts: &str, ports: Option<&str>) -> Result<Vec<Option<(String, u16)>>, InvalidUrl> {
    let ports: Vec<&str> = ports.map_or_else(Vec::new, |ports| ports.split(',').collect());
    let hosts: Vec<&str> = hosts.split(',').collect();
    if ports.len() > 1 && ports.len() != hosts.len() {
        return Err(invalid(format!("it has {} hosts and {} ports", hosts.len(), ports.len())));
    }
    let each = hosts.iter().enumerate().map(|(index, host)| {
        if host.is_empty() {
            return Err(invalid("a host is empty"));
        }
        let port = ports.get(index).or(ports.first()).copied().unwrap_or("");
        Ok(Some(((*host).to_owned(), port_number(host, port)?)))
    });
    each.collect()
}

fn port_number(host: &str, port: &str) -> Result<u16, InvalidUrl> {
    if port.is_empty() {
        return Ok(DEFAULT_PORT);
    }
    port.parse()
        .ok()
        .filter(|port| *port > 0)
        .ok_or_else(|| invalid(format!("the port {port:?} of {host} is no port number")))
}

fn named(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

/// `-c name=value`, `-cname=value` and `--name=value`, separated by spaces; a backslash makes the next character ordinary.
fn options(text: &str) -> Result<Vec<(String, String)>, InvalidUrl> {
    let mut words = vec![String::new()];
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match (character, words.last_mut()) {
            ('\\', Some(word)) => word.extend(characters.next()),
            (' ', _) => words.push(String::new()),
            (other, Some(word)) => word.push(other),
            (_, None) => {}
        }
    }
    let mut words = words.into_iter().filter(|word| !word.is_empty());
    let mut found = Vec::new();
    while let Some(word) = words.next() {
        let setting = if word == "-c" {
            words.next()
        } else {
            word.strip_prefix("-c").or(word.strip_prefix("--")).map(str::to_owned)
        };
        match setting.as_deref().and_then(|setting| setting.split_once('=')) {
            Some((name, value)) => found.push((name.replace('-', "_"), value.to_owned())),
            None => return Err(invalid("its options are not of the form -c name=value")),
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn servers(url: &str) -> Vec<String> {
        parse(url, Wanted::Primary).unwrap().servers.into_iter().map(|(name, _)| name).collect()
    }

    fn refused(url: &str) -> String {
        parse(url, Wanted::Primary).unwrap_err().to_string()
    }

    #[test]
    fn hosts_are_names_addresses_and_lists() {
        assert_eq!(servers("postgres://u:p@db/d"), ["db:5432"]);
        assert_eq!(servers("postgresql://u:p@db:6000/d?sslmode=require"), ["db:6000"]);
        assert_eq!(servers("postgres://u:p@h1:5433,h2/d"), ["h1:5433", "h2:5432"]);
        assert_eq!(
            servers("postgres://u:p@[::1]:5433,[fe80::1],10.0.0.1/d"),
            ["[::1]:5433", "[fe80::1]:5432", "10.0.0.1:5432"]
        );
        assert_eq!(servers("postgres://u:p@%2Fa%20b%2Fc:7/d"), ["/a b/c:7"]);
        assert_eq!(servers("postgres://u:p@%2Frun%2Fpostgresql/d"), ["/run/postgresql:5432"]);
        assert_eq!(servers("postgres:///d?host=h1,h2&port=1,2"), ["h1:1", "h2:2"]);
        assert_eq!(servers("postgres://u@x/d?host=::1&port=7"), ["[::1]:7"]);
        assert_eq!(servers("postgres://u@h/d?target_session_attrs=read-write"), ["h:5432"]);
    }

    #[test]
    fn each_host_gets_the_rest_of_the_url() {
        let parsed =
            parse("postgres://us%2Fer:p%40ss@[::1]:5433,h2/d%20b?sslmode=verify-full", Wanted::Primary).unwrap();
        for (_, options) in &parsed.servers {
            assert_eq!((options.get_username(), options.get_database()), ("us/er", Some("d b")));
            assert!(matches!(options.get_ssl_mode(), sqlx::postgres::PgSslMode::VerifyFull));
        }
        assert_eq!((parsed.servers[0].1.get_host(), parsed.servers[0].1.get_port()), ("::1", 5433));
        assert_eq!((parsed.servers[1].1.get_host(), parsed.servers[1].1.get_port()), ("h2", 5432));
    }

    #[test]
    fn parameters_of_the_session_are_read_from_options() {
        let parsed = parse(
            "postgres://h/d?options=-c%20search_path%3Da,b%20--work-mem%3D8MB%20-cx.y%3D1&options[jit]=on",
            Wanted::Primary,
        );
        let found = parsed.unwrap().parameters;
        let expected = [("search_path", "a,b"), ("work_mem", "8MB"), ("x.y", "1"), ("jit", "on")];
        assert_eq!(found, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
        assert!(refused("postgres://h/d?options=-W").contains("-c name=value"));
    }

    #[test]
    fn what_is_wrong_is_named_without_the_password() {
        let cases = [
            ("postgre://u:secret@h/d", "\"postgre\""),
            ("mysql://u:secret@h/d", "\"mysql\""),
            ("host=h password=secret", "not a URL"),
            (
                "postgres://u:secret@h/d?sslmod=require",
                "\"sslmod\", which does not exist or is not supported; did you mean \"sslmode\"?",
            ),
            ("postgres://u:secret@h/d?channel_binding=require", "\"channel_binding\""),
            ("postgres://u:secret@h/d?sslmode=requires", "requires"),
            ("postgres://u:secret@h:54x2/d", "\"54x2\" of h"),
            ("postgres://u:secret@h:0/d", "\"0\" of h"),
            ("postgres://u:secret@h1,,h2/d", "a host is empty"),
            ("postgres://u:secret@/d", "a host is empty"),
            ("postgres://u:secret@::1/d", "in brackets"),
            ("postgres://u:secret@[::1/d", "closing bracket"),
            ("postgres://u:secret@[h]/d", "no IPv6 address"),
            ("postgres://u:sec/ret@h/d", "%2F"),
            ("postgres://u:sec#ret@h/d", "%23"),
            ("postgres://u:secret@h/d?host=a,b&port=1,2,3", "2 hosts and 3 ports"),
            ("postgres://u:secret@h/d?target_session_attrs=any", "\"any\""),
        ];
        for (url, expected) in cases {
            let said = refused(url);
            assert!(said.contains(expected) && !said.contains("secret"), "{url}: {said}");
        }
        assert!(parse("postgres://h/d?target_session_attrs=standby", Wanted::Standby).is_ok());
    }
}
