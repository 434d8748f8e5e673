use figment::Jail;

use super::*;

/// Runs in a scratch directory with an environment of its own.
#[allow(clippy::result_large_err, reason = "figment's own error type, in a test")]
fn jailed(environment: &[(&str, &str)], file: Option<&str>) -> Result<Config, Error> {
    let mut outcome = None;
    Jail::expect_with(|jail| {
        jail.clear_env();
        for (key, value) in environment {
            jail.set_env(key, value);
        }
        let path = file.map(|text| jail.create_file("dgm.toml", text).map(|_| Path::new("dgm.toml"))).transpose()?;
        outcome = Some(Config::load(path, &[]));
        Ok(())
    });
    outcome.unwrap()
}

#[test]
fn the_environment_wins_over_the_file_and_the_file_over_the_defaults() {
    let file = "[http]\nmax_body_bytes = 7\ndrain_seconds = 8\n";
    let environment = [
        ("DGM__HTTP__DRAIN_SECONDS", "9"),
        ("DATABASE_URL", "postgres://u:p@h/d"),
        ("REDIS_URL", ""),
        ("SERVICE_NAME", "night"),
    ];
    let config = jailed(&environment, Some(file)).unwrap();
    assert_eq!((config.http.max_body_bytes, config.http.drain_seconds), (7, 9));
    assert_eq!(config.http.header_timeout_seconds, 75);
    assert_eq!(config.database_url().unwrap(), "postgres://u:p@h/d");
    assert_eq!((config.cache.redis_url.expose(), config.service.name.as_str()), ("", "night"));
}

#[test]
fn a_slip_of_the_pen_is_named_with_its_source_and_the_nearest_key() {
    let from_file = jailed(&[], Some("[http]\nmax_body_byte = 7\n")).unwrap_err().to_string();
    assert!(from_file.contains(r#""http.max_body_byte""#) && from_file.contains("dgm.toml"), "{from_file}");
    assert!(from_file.contains(r#"did you mean "http.max_body_bytes"?"#), "{from_file}");
    let from_environment = jailed(&[("DGM__CACHE__MAXBYTES", "7")], None).unwrap_err().to_string();
    assert!(from_environment.contains(r#"did you mean "cache.max_bytes"?"#), "{from_environment}");
}

#[test]
fn wrong_types_and_senseless_values_name_the_setting() {
    let wrong = jailed(&[("DGM__HTTP__DRAIN_SECONDS", "soon")], None).unwrap_err().to_string();
    assert!(wrong.to_lowercase().contains("drain_seconds"), "{wrong}");
    let senseless = jailed(&[("DGM__SAMPLES__RETENTION_MONTHS", "0")], None).unwrap_err().to_string();
    assert!(senseless.contains("samples.retention_months must be 1 or more"), "{senseless}");
    let none = jailed(&[("DGM__DATABASE__WRITE_CONNECTIONS", "0")], None).unwrap_err().to_string();
    assert!(none.contains("database.write_connections must be 1 or more"), "{none}");
    let never = jailed(&[("DGM__DATABASE__ACQUIRE_TIMEOUT_SECONDS", "0")], None).unwrap_err().to_string();
    assert!(never.contains("database.acquire_timeout_seconds must be 1 or more"), "{never}");
    let missing = jailed(&[], Some("[http]\nbind = 5\n")).unwrap_err().to_string();
    assert!(missing.contains("bind"), "{missing}");
}

#[test]
fn passwords_are_never_shown() {
    let environment = [
        ("DATABASE_URL", "postgres://u:hunter2@h/d?sslpassword=hunter2"),
        ("REDIS_URL", "redis+cluster://:hunter2@a,b,c"),
    ];
    let config = jailed(&environment, None).unwrap();
    let shown = format!("{config:?}{}", toml::to_string(&config).unwrap());
    assert!(!shown.contains("hunter2"), "{shown}");
    assert!(shown.contains("postgres://u:***@h/d?***"), "{shown}");
}

#[test]
fn hosts_are_shown_and_what_may_be_a_password_is_not() {
    let cases = [
        ("postgres://u:hunter2@h1:1,h2:2/d?sslmode=require", "postgres://u:***@h1:1,h2:2/d?***"),
        ("postgres://u:hunter2@[::1]:5432/d", "postgres://u:***@[::1]:5432/d"),
        ("postgres://h1,h2:2/d", "postgres://h1,h2:2/d"),
        ("redis+cluster://:hunter2@a:1,b:2,c", "redis+cluster://:***@a:1,b:2,c"),
        ("redis+cluster://a:1,b:2", "redis+cluster://a:1,b:2"),
        ("postgres://u:hunter2/x@h1:1,h2:2/d", "postgres://***"),
        ("postgres://u:12/hunter2@h/d", "postgres://***"),
        ("postgres://u:hunter2#x@h1:1,h2/d", "postgres://***"),
        ("hunter2", "url://***"),
    ];
    for (url, expected) in cases {
        let config = jailed(&[("DATABASE_URL", url)], None).unwrap();
        assert_eq!(config.database.url.redacted(), expected, "{url}");
    }
}

#[test]
fn every_default_is_described() {
    let described = DEFAULTS.lines().collect::<Vec<_>>();
    for (index, line) in described.iter().enumerate().filter(|(_, line)| line.contains(" = ")) {
        assert!(described[index - 1].starts_with("# "), "{line}: no description above it");
    }
}
