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
