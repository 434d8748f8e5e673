//! A small HTTP/1.1 client for tests that need many cheap requests: one connection, whole batches sent at once, of the
//! answer only what such tests look at.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::Value;

/// Longest wait for an answer: the service's own deadlines are much shorter, so more is a service that hangs.
const PATIENCE: Duration = Duration::from_secs(30);

/// One connection.
pub(crate) struct Wire {
    stream: BufReader<TcpStream>,
    head: String,
    requests: String,
    line: String,
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    /// From an entity tag of the form `"v7"`.
    pub(crate) version: Option<i64>,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }
}

impl Wire {
    pub(crate) fn connect(address: &str, token: &str) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let head = format!(" HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {token}\r\n");
        Ok(Self { stream: BufReader::new(stream), head, requests: String::new(), line: String::new() })
    }

    /// Sends a GET for every path at once; `each` is told the answers in that order.
    pub(crate) fn get_all<'a>(
        &mut self,
        paths: impl IntoIterator<Item = &'a str>,
        mut each: impl FnMut(usize, Reply),
    ) -> io::Result<()> {
        self.requests.clear();
        let mut sent = 0;
        for path in paths {
            for part in ["GET ", path, &self.head, "\r\n"] {
                self.requests.push_str(part);
            }
            sent += 1;
        }
        self.stream.get_mut().write_all(self.requests.as_bytes())?;
        for index in 0..sent {
            each(index, self.reply()?);
        }
        Ok(())
    }

    pub(crate) fn call(&mut self, method: &str, path: &str, body: &Value) -> io::Result<Reply> {
        let body = body.to_string();
        let head = format!("content-type: application/json\r\ncontent-length: {}\r\n\r\n", body.len());
        let request = [method, " ", path, &self.head, &head, &body].concat();
        self.stream.get_mut().write_all(request.as_bytes())?;
        self.reply()
    }

    fn line(&mut self) -> io::Result<&str> {
        self.line.clear();
        if self.stream.read_line(&mut self.line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(self.line.trim_end())
    }

    fn reply(&mut self) -> io::Result<Reply> {
        let first = self.line()?;
        let status = first.split(' ').nth(1).and_then(|status| status.parse().ok());
        let status = status.ok_or_else(|| io::Error::other(format!("no status line: {first:?}")))?;
        let mut reply = Reply { status, version: None, body: Vec::new() };
        let mut length = 0;
        loop {
            let line = self.line()?;
            let Some((name, value)) = line.split_once(':') else { break };
            let value = value.trim();
            if name.eq_ignore_ascii_case("content-length") {
                length = value.parse().map_err(io::Error::other)?;
            } else if name.eq_ignore_ascii_case("etag") {
                // "v3-6420f6c21a2ff": the version, and the moment of the change.
                let version = value.strip_prefix("\"v").and_then(|rest| rest.split_once('-'));
                reply.version = version.and_then(|(version, _)| version.parse().ok());
            }
        }
        reply.body.resize(length, 0);
        self.stream.read_exact(&mut reply.body)?;
        Ok(reply)
    }
}
