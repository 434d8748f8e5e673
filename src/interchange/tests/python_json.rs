use serde_json::json;

use crate::interchange::python_json::{Repair, concatenated, parse};

fn repair(pointer: &str, found: &str) -> Repair {
    Repair { pointer: pointer.to_owned(), found: found.to_owned() }
}

#[test]
fn tokens_outside_strings_become_null_and_say_where() {
    let text = r#"{"a": NaN, "b": [1, -Infinity, {"c/d~": Infinity}], "e": -1.5e-3, "f": {"g": 1, "NaN": NaN}}"#;
    let document = parse(text.as_bytes()).unwrap();
    assert_eq!(
        document.value,
        json!({"a": null, "b": [1, null, {"c/d~": null}], "e": -0.0015, "f": {"g": 1, "NaN": null}})
    );
    let expected =
        [repair("/a", "NaN"), repair("/b/1", "-Infinity"), repair("/b/2/c~1d~0", "Infinity"), repair("/f/NaN", "NaN")];
    assert_eq!(document.repairs, expected);
}

#[test]
fn strings_are_left_alone() {
    let text = r#"{"NaN": "NaN, Infinity", "q": "\"NaN\\", "x": NaN, "é\"NaN": "[{,\u00e9 -Infinity"}"#;
    let document = parse(text.as_bytes()).unwrap();
    let expected = json!({"NaN": "NaN, Infinity", "q": "\"NaN\\", "x": null, "é\"NaN": "[{,é -Infinity"});
    assert_eq!(document.value, expected);
    assert_eq!(document.repairs, [repair("/x", "NaN")]);
    // Plain JSON takes the short way.
    assert_eq!(parse(br#"["NaN"]"#).unwrap().repairs, []);
    assert_eq!(parse(b" NaN ").unwrap().repairs, [repair("", "NaN")]);
}

#[test]
fn a_byte_order_mark_is_no_part_of_the_document() {
    assert_eq!(parse("\u{feff}{\"a\": NaN}".as_bytes()).unwrap().value, json!({"a": null}));
    let documents = concatenated("\u{feff}{\"a\": 1}\n{\"b\": 2}\n");
    let lines: Vec<usize> =
        documents.iter().map(|(line, document)| document.as_ref().map(|_| *line).unwrap()).collect();
    assert_eq!(lines, [1, 2]);
    // Only at the start of a file.
    assert!(parse("{\"a\":\u{feff}1}".as_bytes()).is_err());
}

#[test]
fn numbers_beyond_a_double_and_half_pairs() {
    let digits = "9".repeat(400);
    let text = format!(
        r#"{{"n": -{digits}, "s": "a\ud800b\udc00 \ud83d\ude00 \\ud800", "i": 123456789012345678901234567890}}"#
    );
    let document = parse(text.as_bytes()).unwrap();
    assert_eq!(document.value["n"], json!(null));
    assert_eq!(document.value["s"], json!("a\u{fffd}b\u{fffd} 😀 \\ud800"));
    assert_eq!(document.value["i"].as_f64(), Some(1.234_567_890_123_456_8e29));
    assert_eq!(document.repairs.iter().map(|r| r.pointer.as_str()).collect::<Vec<_>>(), ["/n", "/s", "/s"]);
    assert_eq!(document.repairs[1], repair("/s", "\\ud800"));
    assert_eq!(document.repairs[1].stored(), "U+FFFD");
    assert_eq!(document.repairs[0].stored(), "null");
}

#[test]
fn what_python_does_not_write_stays_an_error() {
    for text in [
        "{\"a\": nan}",
        "{\"a\": inf}",
        "{\"a\": -NaN}",
        "{\"a\": NaN",
        "{\"a\": NaNcy}",
        "",
        "{\"a\": \"\\",
        "{\"a\": 1.}",
    ] {
        assert!(parse(text.as_bytes()).is_err(), "{text}");
    }
    assert!(parse(b"{\"a\": NaN, \"b\": \"\xff\"}").is_err());
    assert!(parse("[".repeat(200).as_bytes()).is_err());
}

/// What a replacement of the parser must keep.
#[test]
fn nothing_is_lost_between_python_and_here() {
    let value = |text: &str| parse(text.as_bytes()).unwrap().value;
    // Doubles to the last bit, with and without a repair in the same document.
    for text in ["0.1", "1e-323", "5e-324", "2.2250738585072011e-308", "1.7976931348623157e308", "9007199254740993.0"] {
        let exact: f64 = text.parse().unwrap();
        for document in [format!("[{text}]"), format!("[{text}, NaN]")] {
            assert_eq!(value(&document)[0].as_f64().unwrap().to_bits(), exact.to_bits(), "{document}");
        }
    }
    assert!(value("[-0.0]")[0].as_f64().unwrap().is_sign_negative());
    assert!(value("[-0]")[0].as_f64().unwrap().is_sign_negative());
    assert_eq!(value("[18446744073709551615, -9223372036854775808]"), json!([u64::MAX, i64::MIN]));
    // As in Python, the last of equal keys counts.
    assert_eq!(value(r#"{"a": 1, "b": NaN, "a": 2}"#), json!({"a": 2, "b": null}));
    // A number beyond a double is reported as it was written.
    assert_eq!(parse(b"[1e400, -1e400]").unwrap().repairs, [repair("/0", "1e400"), repair("/1", "-1e400")]);
    // Keys, too, may hold half a pair; what Python writes for the byte 0xff in a file name.
    let document = parse(br#"{"file \udcff": 1}"#).unwrap();
    assert_eq!(document.value, json!({"file \u{fffd}": 1}));
    assert_eq!(document.repairs[0].found, "\\udcff");
}

#[test]
fn limits_and_places_of_errors() {
    let nested = |depth: usize, inner: &str| format!("{}{inner}{}", "[".repeat(depth), "]".repeat(depth));
    for inner in ["1", "NaN"] {
        assert!(parse(nested(127, inner).as_bytes()).is_ok());
        assert!(parse(nested(128, inner).as_bytes()).is_err());
    }
    let place = |text: &str| parse(text.as_bytes()).map_err(|error| (error.line(), error.column())).unwrap_err();
    assert_eq!(place("[1,\n 2,\n  x]"), (3, 3));
    assert_eq!(place("[NaN,\n 2,\n  x]"), (3, 3));
}

#[test]
fn objects_one_after_another() {
    let text = "{\n  \"a\": \"}{\\\"\",\n  \"b\": NaN\n}\n{\n  \"a\": [\n    {}\n  ]\n}{\"c\": 3}\n\n";
    let documents = concatenated(text);
    let lines: Vec<_> = documents.iter().map(|(line, _)| *line).collect();
    assert_eq!(lines, [1, 5, 9]);
    let values: Vec<_> = documents.into_iter().map(|(_, document)| document.unwrap().value).collect();
    assert_eq!(values, [json!({"a": "}{\"", "b": null}), json!({"a": [{}]}), json!({"c": 3})]);
    assert_eq!(concatenated(" \n"), []);
}

#[test]
fn a_broken_object_does_not_hide_the_next() {
    // The first was cut within a list, the third within a string, the last is being written.
    let text = "{\n  \"a\": [\n    1,\n{\n  \"b\": 2\n}\n{\n  \"c\": \"x\n{\n  \"d\": 4\n}\nrubbish\n{\n  \"e\":";
    let documents = concatenated(text);
    let read: Vec<_> = documents.iter().map(|(line, d)| (*line, d.as_ref().ok().map(|d| d.value.clone()))).collect();
    let expected =
        [(1, None), (4, Some(json!({"b": 2}))), (7, None), (9, Some(json!({"d": 4}))), (12, None), (13, None)];
    assert_eq!(read, expected);
}
