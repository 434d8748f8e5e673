//! Redis servers of one test, to be paused, killed and brought back: a single one, and a cluster.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::dev::free_port;
use super::{signal, stdout};

/// A single server; killed when dropped.
pub(crate) struct Redis {
    child: Child,
    port: u16,
    directory: TempDir,
}

impl Redis {
    pub(crate) fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let port = free_port();
        Self { child: spawn(port, directory.path(), &[]), port, directory }
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Connections stay open and nothing is answered.
    pub(crate) fn pause(&self) {
        signal(self.child.id(), "-STOP");
    }

    pub(crate) fn resume(&self) {
        signal(self.child.id(), "-CONT");
    }

    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// After a kill: nothing in it, the same port.
    pub(crate) fn restart_empty(&mut self) {
        self.restart_with(&[]);
    }

    /// What is in it now, as the bytes of an RDB file.
    pub(crate) fn snapshot(&self) -> Vec<u8> {
        assert_eq!(cli(self.port, &["SAVE"]).trim(), "OK");
        std::fs::read(self.directory.path().join("dump.rdb")).unwrap()
    }

    /// After a kill: the content of that moment, the same port.
    pub(crate) fn restart_with(&mut self, snapshot: &[u8]) {
        let file = self.directory.path().join("dump.rdb");
        if snapshot.is_empty() {
            let _ = std::fs::remove_file(file);
        } else {
            std::fs::write(file, snapshot).unwrap();
        }
        self.child = spawn(self.port, self.directory.path(), &[]);
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        // SIGKILL reaches a stopped process too.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const PRIMARIES: usize = 3;
const SLOTS: usize = 16_384;

/// Three primaries, each with a replica; killed when dropped.
pub(crate) struct RedisCluster {
    nodes: Vec<Redis>,
}

impl RedisCluster {
    /// Answers when every node says that the cluster is whole and every replica has its primary's data.
    pub(crate) fn start() -> Self {
        let nodes: Vec<Redis> = (0..2 * PRIMARIES)
            .map(|_| {
                let directory = tempfile::tempdir().unwrap();
                // The bus is by default 10000 above, where there may be no port.
                let (port, bus) = (free_port(), free_port().to_string());
                let options = ["--cluster-enabled", "yes", "--cluster-node-timeout", "1000", "--cluster-port", &bus];
                Redis { child: spawn(port, directory.path(), &options), port, directory }
            })
            .collect();
        for (index, node) in nodes.iter().enumerate() {
            let first = nodes[0].port;
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
        let cluster = Self { nodes };
        cluster.wait("all know each other", |port| {
            info(port, &["CLUSTER", "NODES"]).lines().filter(|line| !line.contains("handshake")).count()
                == 2 * PRIMARIES
        });
        for index in 0..PRIMARIES {
            let id = cli(cluster.nodes[index].port, &["CLUSTER", "MYID"]);
            let replica = cluster.nodes[PRIMARIES + index].port;
            assert_eq!(cli(replica, &["CLUSTER", "REPLICATE", id.trim()]).trim(), "OK");
        }
        cluster.wait("cluster_state is ok", |port| info(port, &["CLUSTER", "INFO"]).contains("cluster_state:ok"));
        cluster.wait("replicas are linked", |port| {
            let replication = info(port, &["INFO", "replication"]);
            replication.contains("master_link_status:up") || replication.contains("state=online")
        });
        cluster
    }

    pub(crate) fn url(&self) -> String {
        let nodes: Vec<String> = self.nodes.iter().map(|node| format!("127.0.0.1:{}", node.port)).collect();
        format!("redis+cluster://{}", nodes.join(","))
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
        let deadline = Instant::now() + Duration::from_secs(30);
        while !self.nodes.iter().all(|node| reached(node.port)) {
            assert!(Instant::now() < deadline, "Redis Cluster: not {what}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

fn holds(range: &str, slot: usize) -> bool {
    let (from, to) = range.split_once('-').unwrap_or((range, range));
    from.parse().is_ok_and(|from: usize| from <= slot) && to.parse().is_ok_and(|to: usize| slot <= to)
}

fn spawn(port: u16, directory: &Path, options: &[&str]) -> Child {
    let mut child = Command::new("redis-server")
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir"])
        .arg(directory)
        .args(options)
        .stdout(Stdio::null())
        .spawn()
        .expect("redis-server; `make setup` installs it");
    let deadline = Instant::now() + Duration::from_secs(10);
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
    let output = Command::new("redis-cli").args(["-p", &port.to_string()]).args(command).output().unwrap();
    assert!(output.status.success(), "{command:?}: {output:?}");
    stdout(&output)
}

/// What a command answers; nothing when there is nobody.
fn info(port: u16, command: &[&str]) -> String {
    let output = Command::new("redis-cli").args(["-p", &port.to_string()]).args(command).output().unwrap();
    stdout(&output)
}
