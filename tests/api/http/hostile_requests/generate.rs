//! Requests made from the document of the API: most are nearly right, in one or two places they are not.

use std::fmt::Write as _;

use serde_json::Value;

use super::values::Dice;

/// Its value is replaced in the text of a body.
const MARK: &str = "@hostile@";

/// One operation of the document, or a path that it lacks.
#[derive(Debug, Clone)]
pub(super) struct Operation {
    method: String,
    path: String,
    definition: Value,
}

/// The bytes of a request.
pub(super) struct Generated {
    pub(super) bytes: Vec<u8>,
    pub(super) is_head: bool,
}

/// Every operation of the document, and what is served besides.
pub(super) fn operations(document: &Value) -> Vec<Operation> {
    let mut all = Vec::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, definition) in methods.as_object().unwrap() {
            all.push(Operation { method: method.to_uppercase(), path: path.clone(), definition: definition.clone() });
        }
    }
    for path in ["/", "/docs", "/docs/{rest}", "/api/openapi.json", "/{nothing}", "/api/v1/{nothing}/{nothing}"] {
        all.push(Operation { method: "GET".to_owned(), path: path.to_owned(), definition: Value::Null });
    }
    all
}

/// Those of the operations listener.
pub(super) fn operators() -> Vec<Operation> {
    let paths =
        ["/", "/status.json", "/status/{asset}", "/runbooks/{alert}", "/health", "/ready", "/metrics", "/{nothing}"];
    let get = |path: &&str| Operation { method: "GET".to_owned(), path: (*path).to_owned(), definition: Value::Null };
    paths.iter().map(get).collect()
}

/// The request of a seed.
pub(super) fn request(document: &Value, operation: &Operation, host: &str, token: &str, dice: &mut Dice) -> Generated {
    let method = method(&operation.method, dice);
    let target = format!("{}{}", path(&operation.path, dice), query(document, &operation.definition, dice));
    let version = if dice.one_in(30) { "1.0" } else { "1.1" };
    let mut head = format!("{method} {target} HTTP/{version}\r\nhost: {host}\r\n").into_bytes();
    if version == "1.0" {
        head.extend_from_slice(b"connection: keep-alive\r\n");
    }
    authorization(token, dice, &mut head);
    for _ in 0..dice.below(3) {
        further_header(dice, &mut head);
    }
    let content = &operation.definition["requestBody"]["content"];
    let body = if content.is_object() || dice.one_in(10) { body(document, content, dice) } else { Vec::new() };
    if content.is_object() || !body.is_empty() {
        content_type(content, dice, &mut head);
    }
    let framed = frame(body, version, dice, &mut head);
    head.extend_from_slice(b"\r\n");
    Generated { bytes: [head, framed].concat(), is_head: method == "HEAD" }
}

fn method(usual: &str, dice: &mut Dice) -> String {
    if !dice.one_in(12) {
        return usual.to_owned();
    }
    let others =
        ["HEAD", "OPTIONS", "TRACE", "PUT", "PATCH", "DELETE", "POST", "get", "PROPFIND", "QUERY", "X", "M-SEARCH"];
    match dice.below(others.len() + 1) {
        at if at < others.len() => others[at].to_owned(),
        _ => "LONG".repeat(500),
    }
}

/// What a path may contain: percent-encoded, and sometimes as it is.
fn encoded(text: &str, dice: &mut Dice) -> String {
    let is_strict = !dice.one_in(6);
    let mut encoded = String::new();
    for byte in text.bytes() {
        let is_plain = byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) || !is_strict && byte.is_ascii_graphic();
        if is_plain && !b"?#".contains(&byte) {
            encoded.push(char::from(byte));
        } else if dice.one_in(2) {
            let _ = write!(encoded, "%{byte:02x}");
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

fn odd_encoding(dice: &mut Dice) -> String {
    let odd = [
        "%",
        "%z",
        "%zz",
        "%2",
        "%ff",
        "%C0%AF",
        "%ED%A0%80",
        "%2e%2e%2f",
        "%252e",
        "%u0041",
        "%00",
        "%0d%0a",
        "+",
        ";a=b",
        "//",
        "*",
    ];
    (*dice.pick(&odd)).to_owned()
}

fn path(template: &str, dice: &mut Dice) -> String {
    let mut path = String::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('{') {
        let (name, next) = after.split_once('}').unwrap();
        path.push_str(before);
        let usual = match name {
            "archive_entry_id" => "entry",
            "improvement_id" => "improvement",
            "service" => "s",
            "metric_type" => "accuracy",
            _ => "artifact",
        };
        path.push_str(&match dice.below(12) {
            0..7 => usual.to_owned(),
            7 => "missing".to_owned(),
            8 => odd_encoding(dice),
            _ => {
                let text = dice.text();
                encoded(&text, dice)
            }
        });
        rest = next;
    }
    path.push_str(rest);
    match dice.below(60) {
        0 => path.push('/'),
        1 => path.insert(0, '/'),
        2 => path.push_str("%2f"),
        3 => path.push_str("#fragment"),
        4 => path = path.to_uppercase(),
        5 => path = format!("http://elsewhere.example{path}"),
        6 => path.push_str(&"a/".repeat(3000)),
        _ => {}
    }
    path
}

fn query(document: &Value, definition: &Value, dice: &mut Dice) -> String {
    let mut pairs: Vec<String> = Vec::new();
    for parameter in definition["parameters"].as_array().into_iter().flatten() {
        if parameter["in"] != "query" || !dice.one_in(3) {
            continue;
        }
        let name = parameter["name"].as_str().unwrap();
        for _ in 0..=usize::from(dice.one_in(20)) {
            let value = match dice.below(8) {
                0 => odd_encoding(dice),
                1..4 => {
                    let text = match dice.fitting(document, &parameter["schema"], 1) {
                        Value::String(text) => text,
                        other => other.to_string(),
                    };
                    encoded(&text, dice)
                }
                4 => {
                    let json = dice.json();
                    encoded(&json, dice)
                }
                _ => {
                    let text = dice.text();
                    encoded(&text, dice)
                }
            };
            pairs.push(format!("{name}={value}"));
        }
    }
    if dice.one_in(15) {
        let odd = [
            "",
            "=",
            "a",
            "a=",
            "=a",
            "&&",
            "a[]=1",
            "a[b]=1",
            "limit",
            "limit=1&limit=2",
            "%00=%00",
            "cursor=%ff",
            "?",
            "a=b?c=d",
        ];
        pairs.push((*dice.pick(&odd)).to_owned());
    }
    let query = pairs.join("&");
    if query.is_empty() && !dice.one_in(20) { query } else { format!("?{query}") }
}

fn authorization(token: &str, dice: &mut Dice, head: &mut Vec<u8>) {
    let line = match dice.below(60) {
        0 => return,
        1 => format!(
            "authorization: {}\r\n",
            dice.pick(&["", "Bearer", "Bearer ", "Basic YTpi", "bearer\tx", "Bearer a b", "dgm_x", "Bearer \u{e9}"])
        ),
        2 => format!("authorization: Bearer {}\r\n", "x".repeat(*dice.pick(&[1, 100, 60_000]))),
        3 => format!("authorization: Bearer {}x\r\n", &token[..token.len() - 1]),
        4 => format!("AUTHORIZATION: bEARER   {token} \r\n"),
        5 => format!("authorization: Bearer {token}\r\nauthorization: Bearer {token}\r\n"),
        _ => format!("authorization: Bearer {token}\r\n"),
    };
    head.extend_from_slice(line.as_bytes());
}

/// Headers that may matter, with values that should not.
fn further_header(dice: &mut Dice, head: &mut Vec<u8>) {
    let tags = [
        "*",
        "\"v1\"",
        "W/\"v1\"",
        "\"a\", \"b\"",
        ",",
        "\"",
        "W/",
        "\"v1-0\",,\"v2-0\"",
        "v1",
        "\"\u{e9}\"",
        "\"v99999999999999999999-0\"",
        "*, \"v1\"",
        "",
    ];
    let values: (&str, &[&str]) = match dice.below(12) {
        0 => ("if-match", &tags),
        1 => ("if-none-match", &tags),
        2 => (
            "range",
            &["bytes=0-0", "bytes=5-1", "bytes=-1", "bytes=0-,1-", "bytes=99999999999999999999-", "lines=1", ""],
        ),
        3 => ("x-http-method-override", &["DELETE", "PATCH", "", "\u{e9}"]),
        4 => ("accept", &["*/*", "text/html", "application/xml;q=0", "", ";", "a/b;q=2"]),
        5 => ("accept-encoding", &["gzip", "gzip;q=0", "identity;q=0, *;q=0", "zstd, br", "", "gzip;q=NaN"]),
        6 => ("x-request-id", &["", "a b", "\u{e9}", "../x", "{}"]),
        7 => (
            "traceparent",
            &[
                "00-00000000000000000000000000000000-0000000000000000-00",
                "ff-1-1-1",
                "",
                "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            ],
        ),
        8 => ("content-encoding", &["gzip", "br", "identity", "x"]),
        9 => ("origin", &["null", "http://evil.example", ""]),
        10 => ("cookie", &["session=1", "a=b; c", ""]),
        _ => ("connection", &["keep-alive", "upgrade", "close", "x", "keep-alive, x-request-id"]),
    };
    let (name, values) = values;
    let value =
        if dice.one_in(40) { "v".repeat(*dice.pick(&[1000, 8000, 60_000])) } else { (*dice.pick(values)).to_owned() };
    head.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
    match dice.below(120) {
        0 => head.extend_from_slice(b"x-raw: \xff\xfe\r\n"),
        1 => head.extend_from_slice(b"upgrade: websocket\r\nconnection: upgrade\r\n"),
        2 => (0..200).for_each(|at| head.extend_from_slice(format!("x-{at}: 1\r\n").as_bytes())),
        3 => head.extend_from_slice(b"x-folded: a\r\n b\r\n"),
        4 => head.extend_from_slice(b"no colon\r\n"),
        5 => head.extend_from_slice(b"x-nul: a\0b\r\n"),
        6 => head.extend_from_slice(b"host: other.example\r\n"),
        7 => head.extend_from_slice(b"expect: something\r\n"),
        8 => head.extend_from_slice(b"expect: 100-continue\r\n"),
        _ => {}
    }
}

fn content_type(content: &Value, dice: &mut Dice, head: &mut Vec<u8>) {
    let usual =
        content.as_object().and_then(|content| content.keys().next()).map_or("application/json", String::as_str);
    let odd = [
        "text/plain",
        "",
        "application/json; charset=utf-16",
        "APPLICATION/JSON",
        "application/json;",
        "application/problem+json",
        "multipart/form-data",
        "application/x-www-form-urlencoded",
        "json",
        "\u{e9}",
        "a/b, application/json",
        "*/*",
    ];
    match dice.below(12) {
        0 => {}
        1 => head.extend_from_slice(format!("content-type: {}\r\n", dice.pick(&odd)).as_bytes()),
        _ => head.extend_from_slice(format!("content-type: {usual}\r\n").as_bytes()),
    }
}

fn body(document: &Value, content: &Value, dice: &mut Dice) -> Vec<u8> {
    let schema = content["application/json"]["schema"].clone();
    let mut value = dice.fitting(document, &schema, 3);
    let text = if dice.one_in(8) {
        value.to_string()
    } else {
        *place(&mut value, dice) = Value::String(MARK.to_owned());
        value.to_string().replacen(&format!("\"{MARK}\""), &dice.json(), 1)
    };
    alter(text, dice)
}

/// Any part of a value.
fn place<'a>(value: &'a mut Value, dice: &mut Dice) -> &'a mut Value {
    let inner = match &*value {
        Value::Object(object) => object.len(),
        Value::Array(items) => items.len(),
        _ => 0,
    };
    if inner == 0 || dice.one_in(8) {
        return value;
    }
    let at = dice.below(inner);
    let part = match value {
        Value::Object(object) => object.values_mut().nth(at),
        Value::Array(items) => items.get_mut(at),
        _ => None,
    };
    place(part.unwrap(), dice)
}

/// Faults of the text as a whole.
fn alter(text: String, dice: &mut Dice) -> Vec<u8> {
    match dice.below(40) {
        0 => Vec::new(),
        1 => dice.bytes(),
        2 => format!("\u{feff}{text}").into_bytes(),
        3 => text.bytes().take(text.len() / 2).collect(),
        4 => format!("{text}{text}").into_bytes(),
        5 => format!("[{text}]").into_bytes(),
        6 => format!("\0{text}\0").into_bytes(),
        7 => text.encode_utf16().flat_map(u16::to_le_bytes).collect(),
        8 => text.replacen('{', "{\"surprise\":1,", 1).into_bytes(),
        9 => text.replacen('{', "{,", 1).into_bytes(),
        10 => format!("/* a */{text}").into_bytes(),
        11 => format!("{}{text}", " ".repeat(70_000)).into_bytes(),
        12 => [text.as_bytes(), &dice.bytes()].concat(),
        13 => text.replacen("\":\"", "\":\"\u{0}", 1).into_bytes(),
        14 => {
            let long = "long ".repeat(*dice.pick(&[2_000, 20_000, 220_000]));
            text.replacen("\":\"", &format!("\":\"{long}"), 1).into_bytes()
        }
        // The first key twice.
        15 => match text.split_once(',') {
            Some((first, _)) if first.starts_with('{') => text.replacen('{', &format!("{first},"), 1).into_bytes(),
            _ => text.into_bytes(),
        },
        _ => text.into_bytes(),
    }
}

/// The body as it is sent, and the headers that say how.
fn frame(body: Vec<u8>, version: &str, dice: &mut Dice, head: &mut Vec<u8>) -> Vec<u8> {
    if version == "1.0" || !dice.one_in(6) {
        if !body.is_empty() || dice.one_in(2) {
            head.extend_from_slice(format!("content-length: {}\r\n", body.len()).as_bytes());
        }
        return body;
    }
    head.extend_from_slice(b"transfer-encoding: chunked\r\n");
    let mut framed = Vec::new();
    let size = *dice.pick(&[1, 7, 1000, 100_000]);
    // One byte each only of what is short.
    let size = if body.len() > 2000 { size.max(1000) } else { size };
    for chunk in body.chunks(size) {
        let extension = if dice.one_in(30) { ";name=\"value\"" } else { "" };
        framed.extend_from_slice(format!("{:X}{extension}\r\n", chunk.len()).as_bytes());
        framed.extend_from_slice(chunk);
        framed.extend_from_slice(b"\r\n");
    }
    let trailers = if dice.one_in(10) { "x-trailer: 1\r\nauthorization: Bearer x\r\n" } else { "" };
    framed.extend_from_slice(format!("0\r\n{trailers}\r\n").as_bytes());
    framed
}
