//! Ports of 127.0.0.1 for servers that are told their port, or that start again on the same one.

use std::net::{TcpListener, UdpSocket};
use std::ops::RangeInclusive;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU16, Ordering};

/// A port that no other test gets while the value lives. It lies outside the range from which the kernel assigns ports, or a
/// connection or a listener could take it before the server binds it. It is claimed among the tests of this machine
/// by the UDP socket of the same number, which the kernel closes with the process.
pub(crate) struct Port {
    pub(crate) number: u16,
    _claim: UdpSocket,
}

impl Port {
    pub(crate) fn claim() -> Self {
        static NEXT: AtomicU16 = AtomicU16::new(0);
        static CANDIDATES: LazyLock<Vec<u16>> = LazyLock::new(candidates);
        // Processes begin at different places, so that few claims meet.
        let start = std::process::id() as usize * 97;
        (0..CANDIDATES.len())
            .find_map(|_| {
                let at = start + usize::from(NEXT.fetch_add(1, Ordering::Relaxed));
                let number = CANDIDATES[at % CANDIDATES.len()];
                let claim = UdpSocket::bind(("127.0.0.1", number)).ok()?;
                // A server that no test started may listen there.
                TcpListener::bind(("127.0.0.1", number)).ok()?;
                Some(Self { number, _claim: claim })
            })
            .expect("a free port of 127.0.0.1")
    }

    /// 127.0.0.1 and the port.
    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.number)
    }
}

fn candidates() -> Vec<u16> {
    const ALL: RangeInclusive<u16> = 10_000..=u16::MAX;
    let range = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let bounds: Vec<u16> = range.split_whitespace().filter_map(|bound| bound.parse().ok()).collect();
    let [low, high] = bounds[..] else { return ALL.collect() };
    let outside: Vec<u16> = ALL.filter(|port| !(low..=high).contains(port)).collect();
    // Where the range has been set to nearly all ports, one of it has to do.
    if outside.len() < 1_000 { ALL.collect() } else { outside }
}

#[test]
fn a_port_is_claimed_once_and_never_handed_out_by_the_kernel() {
    let ports: Vec<Port> = (0..200).map(|_| Port::claim()).collect();
    let mut numbers: Vec<u16> = ports.iter().map(|port| port.number).collect();
    numbers.sort_unstable();
    numbers.dedup();
    assert_eq!(numbers.len(), ports.len());
    let listeners: Vec<TcpListener> = (0..200).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    for listener in &listeners {
        let given = listener.local_addr().unwrap().port();
        assert!(!numbers.contains(&given), "{given}");
    }
}
