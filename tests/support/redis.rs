//! Redis: a logical database of the run's server, and servers of one test, to be paused, killed and brought back.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use ::redis::{Client, RedisResult, Value};
use rustix::process::Signal;
use tempfile::TempDir;

use super::port::Port;
use super::run::{folder, redis};
use super::{PATIENCE, assert_listed, signal};

/// A logical database of the server of the run.
pub(crate) struct Logical {
    port: u16,
    number: usize,
}

/// The setting of a service whose timeout of Redis is longer than any pause of a busy machine, so that Redis answers every call.
pub(crate) const LONG_TIMEOUT: (&str, &str) = ("DGM__CACHE__REDIS_TIMEOUT_MILLISECONDS", "10000");

impl Logical {
    pub(crate) fn new() -> Self {
        let (port, number) = redis();
        Self { port, number }
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/{}", self.port, self.number)
    }

    /// What it says to a command.
    pub(crate) fn command(&self, command: &[&str]) -> String {
        answer(query(self.port, self.number, command)).trim().to_owned()
    }
}

/// A server of its own, or a cluster of six; killed when dropped.
pub(crate) struct Redis {
    nodes: Vec<Node>,
}

pub(super) struct Node {
    child: Child,
    pub(super) port: u16,
    directory: TempDir,
    /// What it is always started with.
    options: Vec<String>,
    _claims: Vec<Port>,
}

const PRIMARIES: usize = 3;
const SLOTS: usize = 16_384;
const TLS_PORT: &str = "--tls-port";

impl Redis {
    /// One of this test alone. tests/README.md has the reason.
    #[track_caller]
    pub(crate) fn own(reason: &str) -> Self {
        Self::own_with(reason, &[])
    }

    /// One with further settings.
    #[track_caller]
    pub(crate) fn own_with(reason: &str, settings: &[&str]) -> Self {
        assert_listed(reason, std::panic::Location::caller().file());
        Self { nodes: vec![Node::start(settings.iter().map(|&word| word.to_owned()).collect())] }
    }

    /// One that is reached by TLS, too, with the certificate in this folder.
    pub(crate) fn start_tls(folder: &Path) -> Self {
        let (options, claims) = tls(folder);
        Self { nodes: vec![Node::start_with(options, claims)] }
    }

    /// What the first node says to a command.
    pub(crate) fn command(&self, command: &[&str]) -> String {
        info(self.nodes[0].port, command).trim().to_owned()
    }

    /// Runs commands at each node; the first three of a cluster are its primaries.
    pub(crate) fn each_node(&self, each: impl Fn(usize, &dyn Fn(&[&str]))) {
        for (index, node) in self.nodes.iter().enumerate() {
            each(index, &|command| drop(cli(node.port, command)));
        }
    }

    /// Three primaries, each with a replica. Answers when every node says that the cluster is whole and every replica has
    /// its primary's data.
    pub(crate) fn start_cluster() -> Self {
        Self::start_cluster_with(|| (Vec::new(), Vec::new()))
    }

    /// One that is reached by TLS, too, with the certificate in this folder.
    pub(crate) fn start_tls_cluster(folder: &Path) -> Self {
        Self::start_cluster_with(|| tls(folder))
    }

    fn start_cluster_with(more: impl Fn() -> (Vec<String>, Vec<Port>)) -> Self {
        let node = |_| {
            // The bus is by default 10000 above, where there may be no port.
            let bus = Port::claim();
            let number = bus.number.to_string();
            let mut options =
                vec!["--cluster-enabled", "yes", "--cluster-node-timeout", "1000", "--cluster-port", &number];
            // By default a primary waits 5 s for further replicas before it sends its data.
            options.extend(["--repl-diskless-sync-delay", "0"]);
            let (further, claims) = more();
            Node::start_with(
                options.into_iter().map(str::to_owned).chain(further).collect(),
                claims.into_iter().chain([bus]).collect(),
            )
        };
        let cluster = Self { nodes: (0..2 * PRIMARIES).map(node).collect() };
        cluster.join();
        cluster
    }

    fn join(&self) {
        for (index, node) in self.nodes.iter().enumerate() {
            let first = self.nodes[0].port;
            let bus = info(first, &["CONFIG", "GET", "cluster-port"]).lines().last().unwrap().to_owned();
            let epoch = (index + 1).to_string();
            assert_eq!(cli(node.port, &["CLUSTER", "SET-CONFIG-EPOCH", &epoch]).trim(), "OK");
            if index > 0 {
                assert_eq!(cli(node.port, &["CLUSTER", "MEET", "127.0.0.1", &first.to_string(), &bus]).trim(), "OK");
            }
            if index < PRIMARIES {
                let (from, to) = (SLOTS * index / PRIMARIES, SLOTS * (index + 1) / PRIMARIES - 1);
                let range = [from.to_string(), to.to_string()];
                assert_eq!(cli(node.port, &["CLUSTER", "ADDSLOTSRANGE", &range[0], &range[1]]).trim(), "OK");
            }
        }
        self.wait("all know each other", |port| {
            info(port, &["CLUSTER", "NODES"]).lines().filter(|line| !line.contains("handshake")).count()
                == 2 * PRIMARIES
        });
        for index in 0..PRIMARIES {
            let id = cli(self.nodes[index].port, &["CLUSTER", "MYID"]);
            let replica = self.nodes[PRIMARIES + index].port;
            assert_eq!(cli(replica, &["CLUSTER", "REPLICATE", id.trim()]).trim(), "OK");
        }
        self.wait_whole();
    }

    fn is_cluster(&self) -> bool {
        self.nodes.len() > 1
    }

    /// Until what was broken is found whole by its own nodes.
    fn wait_whole(&self) {
        if self.is_cluster() {
            self.wait("cluster_state is ok", |port| info(port, &["CLUSTER", "INFO"]).contains("cluster_state:ok"));
            self.wait("replicas are linked", |port| {
                let replication = info(port, &["INFO", "replication"]);
                replication.contains("master_link_status:up") || replication.contains("state=online")
            });
        }
    }

    pub(crate) fn url(&self) -> String {
        let nodes: Vec<String> = self.nodes.iter().map(|node| format!("127.0.0.1:{}", node.port)).collect();
        format!("{}://{}", if self.is_cluster() { "redis+cluster" } else { "redis" }, nodes.join(","))
    }

    /// Of one that was started with a certificate.
    pub(crate) fn tls_url(&self) -> String {
        let nodes: Vec<String> = self.nodes.iter().map(|node| format!("localhost:{}", node.tls_port())).collect();
        format!("{}://{}", if self.is_cluster() { "rediss+cluster" } else { "rediss" }, nodes.join(","))
    }

    /// Connections stay open and nothing is answered.
    pub(crate) fn pause(&self) {
        self.nodes.iter().for_each(|node| signal(node.child.id(), Signal::STOP).unwrap());
    }

    pub(crate) fn resume(&self) {
        self.nodes.iter().for_each(|node| signal(node.child.id(), Signal::CONT).unwrap());
        self.wait_whole();
    }

    pub(crate) fn kill(&mut self) {
        self.nodes.iter_mut().for_each(Node::kill);
    }

    /// After a kill: nothing in it, the same ports.
    pub(crate) fn restart_empty(&mut self) {
        let nothing = vec![Vec::new(); self.nodes.len()];
        self.restart_with(&nothing);
    }

    /// What is in each node now, as the bytes of an RDB file.
    pub(crate) fn snapshot(&self) -> Vec<Vec<u8>> {
        let of = |node: &Node| {
            assert_eq!(cli(node.port, &["SAVE"]).trim(), "OK");
            std::fs::read(node.directory.path().join("dump.rdb")).unwrap()
        };
        self.nodes.iter().map(of).collect()
    }

    /// After a kill: the content of that moment, the same ports.
    pub(crate) fn restart_with(&mut self, snapshot: &[Vec<u8>]) {
        self.nodes.iter_mut().zip(snapshot).for_each(|(node, content)| node.restart_with(content));
        self.wait_whole();
    }

    /// The slot of a key.
    pub(crate) fn slot(&self, key: &str) -> usize {
        cli(self.alive().next().unwrap(), &["CLUSTER", "KEYSLOT", key]).trim().parse().unwrap()
    }

    /// The port of the node that serves a slot now, asked of all that are alive: they may not agree yet.
    pub(crate) fn primary(&self, slot: usize) -> Option<u16> {
        self.alive().find(|port| {
            let nodes = info(*port, &["CLUSTER", "NODES"]);
            let me = nodes.lines().find(|line| line.contains("myself,master"));
            me.is_some_and(|me| me.split(' ').skip(8).any(|range| holds(range, slot)))
        })
    }

    /// Kills the node that serves a slot.
    pub(crate) fn kill_primary(&mut self, slot: usize) {
        let port = self.primary(slot).unwrap();
        self.nodes.iter_mut().find(|node| node.port == port).unwrap().kill();
    }

    fn alive(&self) -> impl Iterator<Item = u16> {
        self.nodes
            .iter()
            .map(|node| node.port)
            .filter(|port| std::net::TcpStream::connect(("127.0.0.1", *port)).is_ok())
    }

    fn wait(&self, what: &str, reached: impl Fn(u16) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !self.nodes.iter().all(|node| reached(node.port)) {
            assert!(Instant::now() < deadline, "Redis Cluster: not {what}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Node {
    pub(super) fn start(options: Vec<String>) -> Self {
        Self::start_with(options, Vec::new())
    }

    /// With the ports that are among the options.
    fn start_with(options: Vec<String>, mut claims: Vec<Port>) -> Self {
        let (directory, claim) = (tempfile::tempdir_in(folder()).unwrap(), Port::claim());
        let port = claim.number;
        claims.push(claim);
        Self { child: spawn(port, directory.path(), &options), port, directory, options, _claims: claims }
    }

    fn tls_port(&self) -> &str {
        let at = self.options.iter().position(|option| option == TLS_PORT).unwrap();
        &self.options[at + 1]
    }

    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    fn restart_with(&mut self, content: &[u8]) {
        let file = self.directory.path().join("dump.rdb");
        if content.is_empty() {
            let _ = std::fs::remove_file(file);
        } else {
            std::fs::write(file, content).unwrap();
        }
        self.child = spawn(self.port, self.directory.path(), &self.options);
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // SIGKILL reaches a stopped process too.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The options of a node with a port for TLS beside its other one.
fn tls(folder: &Path) -> (Vec<String>, Vec<Port>) {
    let file = |name| folder.join(name).display().to_string();
    let (certificate, key, authority) = (file("server.crt"), file("server.key"), file("authority.crt"));
    let claim = Port::claim();
    let port = claim.number.to_string();
    let options = [
        [TLS_PORT, &port],
        ["--tls-cert-file", &certificate],
        ["--tls-key-file", &key],
        ["--tls-ca-cert-file", &authority],
        ["--tls-auth-clients", "no"],
        // Or nodes would tell callers by TLS of each other's other ports.
        ["--tls-cluster", "yes"],
        ["--tls-replication", "yes"],
    ];
    (options.as_flattened().iter().map(|&word| word.to_owned()).collect(), vec![claim])
}

fn holds(range: &str, slot: usize) -> bool {
    let (from, to) = range.split_once('-').unwrap_or((range, range));
    from.parse().is_ok_and(|from: usize| from <= slot) && to.parse().is_ok_and(|to: usize| slot <= to)
}

fn spawn(port: u16, directory: &Path, options: &[String]) -> Child {
    let mut child = Command::new("redis-server")
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir"])
        .arg(directory)
        .args(options)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("redis-server; `make setup` installs it");
    let deadline = Instant::now() + PATIENCE;
    // A port that answers may be another's; this one is ours when it says so.
    while !info(port, &["INFO", "server"]).contains(&format!("process_id:{}\r", child.id())) {
        if Instant::now() > deadline {
            let _ = child.kill();
            panic!("redis-server did not start");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    child
}

/// What a command answers; it must be answered.
fn cli(port: u16, command: &[&str]) -> String {
    query(port, 0, command).unwrap_or_else(|error| panic!("{command:?}: {error}"))
}

/// What a command answers, or its error; nothing when no server answers.
fn info(port: u16, command: &[&str]) -> String {
    answer(query(port, 0, command))
}

/// A connection for each command, since a test may kill the server or the connections. A redis-cli for each would cost more.
fn query(port: u16, database: usize, command: &[&str]) -> RedisResult<String> {
    let client = Client::open(format!("redis://127.0.0.1:{port}/{database}"))?;
    let (name, arguments) = command.split_first().unwrap();
    ::redis::cmd(name).arg(arguments).query::<Value>(&mut client.get_connection()?).map(|value| text(&value))
}

fn answer(result: RedisResult<String>) -> String {
    result.unwrap_or_else(|error| if error.is_io_error() { String::new() } else { error.to_string() })
}

/// As redis-cli prints it to a pipe: a value each line.
fn text(value: &Value) -> String {
    match value {
        Value::Int(number) => number.to_string(),
        Value::BulkString(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        Value::Array(values) => values.iter().map(text).collect::<Vec<_>>().join("\n"),
        Value::SimpleString(text) => text.clone(),
        Value::Okay => "OK".to_owned(),
        Value::Nil => String::new(),
        other => panic!("Redis answers with {other:?}"),
    }
}
