//! Redis by TLS, with an authority of the installation's own.

use std::path::PathBuf;
use std::process::Command;

use serde_json::json;
use tempfile::TempDir;

use crate::support::redis::Redis;
use crate::support::serve::Serve;
use crate::support::{Database, stdout, until};

const UP: &str = "dgm_cache_redis_up";
const HITS: &str = "dgm_cache_requests_total{class=\"entry\",tier=\"l2\",result=\"hit\"}";

/// An authority, and a certificate for this machine that it signed.
struct Authority(TempDir);

impl Authority {
    fn new() -> Self {
        let it = Self(tempfile::tempdir().unwrap());
        let key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
        it.openssl(&[
            &[
                "req",
                "-x509",
                "-days",
                "1",
                "-subj",
                "/CN=authority",
                "-keyout",
                "authority.key",
                "-out",
                "authority.crt",
            ],
            &key[..],
        ]);
        it.openssl(&[&["req", "-new", "-subj", "/CN=server", "-keyout", "server.key", "-out", "server.csr"], &key[..]]);
        std::fs::write(it.0.path().join("names"), "subjectAltName=DNS:localhost,IP:127.0.0.1\n").unwrap();
        it.openssl(&[
            &["x509", "-req", "-days", "1", "-in", "server.csr", "-out", "server.crt", "-extfile", "names"],
            &["-CA", "authority.crt", "-CAkey", "authority.key", "-CAcreateserial"],
        ]);
        it
    }

    fn openssl(&self, arguments: &[&[&str]]) {
        let output = Command::new("openssl").args(arguments.concat()).current_dir(self.0.path()).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {output:?}");
    }

    fn certificate(&self) -> PathBuf {
        self.0.path().join("authority.crt")
    }
}

#[test]
fn redis_is_reached_by_tls_if_its_certificate_is_good() {
    let (ours, foreign) = (Authority::new(), Authority::new());
    let database = Database::migrated();
    let token = database.token("operator");
    let serve = |redis: &str, authority: &Authority| {
        let authority = authority.certificate();
        // No room in process, so that every read asks Redis.
        let settings = [("DGM__CACHE__REDIS_CA_FILE", authority.to_str().unwrap()), ("DGM__CACHE__MAX_BYTES", "1")];
        let mut serve = Serve::start_with(&database, redis, &settings);
        serve.token.clone_from(&token);
        serve
    };
    let entry = json!({"archive_entry_id": "e", "service_name": "s", "problem_statement": "p", "accuracy_score": 0.5,
        "constitutional_compliance_score": 1});
    // The library says of a cluster only that it has no connection.
    let cases = [
        (Redis::start_tls(ours.0.path()), "invalid peer certificate"),
        (Redis::start_tls_cluster(ours.0.path()), "No connections found"),
    ];
    for (redis, why) in cases {
        let known = serve(&redis.tls_url(), &ours);
        known.call("POST", "/api/v1/archive", Some(&entry));
        until("Redis gives what it was given", || {
            known.call("GET", "/api/v1/archive/e", None).expect(200);
            known.count(HITS) > 0
        });
        assert_eq!(known.metric(UP), Some(1.0));

        let stranger = serve(&redis.tls_url(), &foreign);
        until("that nobody is to be trusted is known", || stranger.metric(UP) == Some(0.0));
        stranger.call("GET", "/api/v1/archive/e", None).expect(200);
        assert_eq!(stranger.count(HITS), 0);
        // On a slow machine the timeout of the check ends before the handshake does.
        until("doctor reports the certificate", || {
            let doctor = Command::new(env!("CARGO_BIN_EXE_dgm"))
                .arg("doctor")
                .envs([("DATABASE_URL", database.url()), ("REDIS_URL", redis.tls_url())])
                .env("DGM__CACHE__REDIS_CA_FILE", foreign.certificate())
                .output()
                .unwrap();
            let report = stdout(&doctor);
            let line = report.lines().find(|line| line.starts_with("cache ")).unwrap();
            assert!(!doctor.status.success() && line.contains("FAIL"), "{line}");
            line.contains(why)
        });
    }
}
