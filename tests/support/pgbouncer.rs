//! A PgBouncer in front of a PostgreSQL of the tests.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use super::port::Port;
use super::run::{password, subfolder};
use super::until;

/// The process; ends with the value.
pub(crate) struct PgBouncer {
    child: Child,
    port: Port,
    _folder: TempDir,
}

impl PgBouncer {
    /// In front of a server of the run. `mode` is a pool mode of PgBouncer; `settings` are further lines of its configuration.
    pub(crate) fn start(server: u16, mode: &str, settings: &str) -> Self {
        let (port, folder) = (Port::claim(), subfolder());
        std::fs::write(folder.path().join("users.txt"), format!("\"dgm\" \"{}\"\n", password())).unwrap();
        let configuration = format!(
            "[databases]\n* = host=127.0.0.1 port={server}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {}\n\
             unix_socket_dir =\nauth_type = trust\nauth_file = users.txt\npool_mode = {mode}\nmax_client_conn = 900\n{settings}\n",
            port.number
        );
        let file = folder.path().join("pgbouncer.ini");
        std::fs::write(&file, configuration).unwrap();
        // Debian's folder for daemons is not on the path of ordinary users.
        let debian = "/usr/sbin/pgbouncer";
        let mut command = Command::new(if Path::new(debian).exists() { debian } else { "pgbouncer" });
        if std::fs::metadata("/proc/self").unwrap().uid() == 0 {
            // It does not run as root.
            command.args(["-u", "postgres"]);
        }
        // Its working directory lets the guardian of the run find it.
        command.arg(&file).current_dir(folder.path()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().expect("pgbouncer: see scripts/setup");
        until("PgBouncer listens", || std::net::TcpStream::connect(port.address()).is_ok());
        Self { child, port, _folder: folder }
    }

    /// A database behind it.
    pub(crate) fn url(&self, database: &str) -> String {
        format!("postgres://dgm@{}/{database}", self.port.address())
    }
}

impl Drop for PgBouncer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
