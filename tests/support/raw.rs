//! HTTP/1.1 by hand: sends any bytes, reads one response at a time, and sees what a connection does afterwards.

use std::io::{self, BufRead as _, BufReader, ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;

/// Longest wait for a response, more than every timeout of the service in these tests.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Longest body of a refusal; the longest have a list of what is wrong in each item of a batch.
const MAX_PROBLEM: usize = 256 << 10;

/// One connection.
pub(crate) struct Raw {
    stream: BufReader<TcpStream>,
}

/// A response.
#[derive(Debug)]
pub(crate) struct Reply {
    version: u8,
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value)
    }

    /// Whether it announces that the connection ends, which is what a response of HTTP/1.0 means unless it says otherwise.
    pub(crate) fn closes(&self) -> bool {
        let connection = self.header("connection");
        if self.version == 0 {
            !connection.eq_ignore_ascii_case("keep-alive")
        } else {
            connection.eq_ignore_ascii_case("close")
        }
    }

    /// What is wrong with it as a refusal; a response to HEAD has no body.
    pub(crate) fn flaw(&self, is_head: bool) -> Option<String> {
        let mime = self.header("content-type");
        if mime != "application/problem+json" {
            return Some(format!("{} with content type {mime:?}", self.status));
        }
        if is_head {
            return None;
        }
        if self.body.len() > MAX_PROBLEM {
            return Some(format!("{} with a problem of {} bytes", self.status, self.body.len()));
        }
        let unpacked = if self.header("content-encoding") == "gzip" { unpacked(&self.body) } else { self.body.clone() };
        let document: Value = match serde_json::from_slice(&unpacked) {
            Ok(document) => document,
            Err(error) => return Some(format!("{} with a body that is not JSON: {error}", self.status)),
        };
        let has_detail = document["detail"].as_str().is_some_and(|detail| !detail.trim().is_empty());
        let is_whole = has_detail && document["status"] == self.status && document["request_id"] != "";
        (!is_whole).then(|| format!("{} with {document}", self.status))
    }
}

impl Raw {
    pub(crate) fn connect(address: &str) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(TIMEOUT)).unwrap();
        stream.set_write_timeout(Some(TIMEOUT)).unwrap();
        Self { stream: BufReader::new(stream) }
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.get_mut().write_all(bytes)
    }

    /// Says that nothing more comes.
    pub(crate) fn finish(&self) {
        // Fails when the other side is gone.
        let _ = self.stream.get_ref().shutdown(Shutdown::Write);
    }

    /// The next response. A `100 Continue` is one; a response of unknown length is read to its end.
    pub(crate) fn reply(&mut self, is_head: bool) -> io::Result<Reply> {
        let first = self.line()?;
        let line = first.strip_prefix("HTTP/1.").and_then(|rest| rest.split_once(' '));
        let line = line.and_then(|(version, rest)| Some((version.parse().ok()?, rest.get(..3)?.parse().ok()?)));
        let (version, status) = line.ok_or_else(|| invalid(&format!("no status line: {first:?}")))?;
        let mut reply = Reply { version, status, headers: Vec::new(), body: Vec::new() };
        loop {
            let line = self.line()?;
            let Some((name, value)) = line.split_once(':') else { break };
            reply.headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        let has_body = !is_head && status >= 200 && ![204, 304].contains(&status);
        // An event stream may not end.
        if has_body && reply.header("content-type") != "text/event-stream" {
            reply.body = if reply.header("transfer-encoding") == "chunked" {
                self.chunks()?
            } else {
                let length = reply.header("content-length");
                let length = length.parse().map_err(|_| invalid(&format!("content length {length:?}")))?;
                let mut body = vec![0; length];
                self.stream.read_exact(&mut body)?;
                body
            };
        }
        Ok(reply)
    }

    /// What comes until the other side ends the connection in order: nothing after a response that was read in full.
    pub(crate) fn rest(&mut self) -> io::Result<Vec<u8>> {
        let mut rest = Vec::new();
        self.stream.read_to_end(&mut rest)?;
        Ok(rest)
    }

    /// Whether the other side has ended the connection in order, with nothing after the last response.
    pub(crate) fn ends(&mut self) -> io::Result<bool> {
        Ok(self.rest()?.is_empty())
    }

    fn chunks(&mut self) -> io::Result<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let line = self.line()?;
            let length = usize::from_str_radix(&line, 16).map_err(|_| invalid(&format!("chunk length {line:?}")))?;
            let start = body.len();
            body.resize(start + length, 0);
            self.stream.read_exact(&mut body[start..])?;
            self.line()?;
            if length == 0 {
                return Ok(body);
            }
        }
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = Vec::new();
        if self.stream.read_until(b'\n', &mut line)? == 0 {
            return Err(io::Error::new(ErrorKind::UnexpectedEof, "the connection ended"));
        }
        let line = String::from_utf8(line).map_err(|_| invalid("a line that is not UTF-8"))?;
        Ok(line.trim_end_matches(['\r', '\n']).to_owned())
    }
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, what.to_owned())
}

fn unpacked(bytes: &[u8]) -> Vec<u8> {
    let mut gzip = Command::new("gzip").arg("-dc").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let (mut input, bytes) = (gzip.stdin.take().unwrap(), bytes.to_vec());
    let writer = std::thread::spawn(move || input.write_all(&bytes));
    let unpacked = gzip.wait_with_output().unwrap().stdout;
    writer.join().unwrap().unwrap();
    unpacked
}
