//! A receiver of requests on a socket: of traces (OTLP over HTTP), and of what Alertmanager tells. The unit tests of the
//! exporter use it too.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::thread;

/// A request that was received.
pub(crate) struct Received {
    #[allow(dead_code, reason = "not everybody looks at it")]
    pub(crate) line: String,
    #[allow(dead_code, reason = "not everybody looks at it")]
    pub(crate) headers: Vec<String>,
    pub(crate) body: Vec<u8>,
}

/// A collector on a socket: reads requests and answers each with an empty 200.
pub(crate) fn collector() -> (String, Receiver<Received>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (sender, receiver) = channel();
    thread::spawn(move || {
        for stream in listener.incoming() {
            // It is told before it is answered, so that whoever waited for the answer finds it told.
            let mut stream = stream.unwrap();
            if sender.send(read(&stream)).is_err() {
                return;
            }
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").unwrap();
        }
    });
    (url, receiver)
}

fn read(stream: &TcpStream) -> Received {
    let mut reader = BufReader::new(stream);
    let mut head = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        if line.trim().is_empty() {
            break;
        }
        head.push(line.trim().to_ascii_lowercase());
    }
    let length =
        head.iter().find_map(|line| line.strip_prefix("content-length: ")).map_or(0, |length| length.parse().unwrap());
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    Received { line: head.remove(0), headers: head, body }
}
