//! What generators of clients need from the OpenAPI document.

use dgm_service::http::document;
use serde_json::{Value, json};

fn assembled() -> Value {
    serde_json::to_value(document()).unwrap()
}

/// `GET /path` and the like, with the operation.
fn operations(document: &Value) -> Vec<(String, &Value)> {
    let paths = document["paths"].as_object().unwrap().iter();
    paths
        .flat_map(|(path, item)| {
            item.as_object().unwrap().iter().map(move |(method, it)| (format!("{method} {path}"), it))
        })
        .collect()
}

/// Every object of the document, with its JSON pointer.
fn walk(value: &Value, pointer: &str, see: &mut impl FnMut(&str, &Value)) {
    see(pointer, value);
    match value {
        Value::Object(fields) => {
            fields.iter().for_each(|(name, field)| walk(field, &format!("{pointer}/{name}"), see));
        }
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(at, item)| walk(item, &format!("{pointer}/{at}"), see));
        }
        _ => {}
    }
}

/// OpenAPI 3.1 requires one; utoipa omits it when the route has none.
#[test]
fn every_response_has_a_description() {
    let document = assembled();
    let responses: Vec<_> = operations(&document)
        .into_iter()
        .flat_map(|(name, operation)| {
            let responses = operation["responses"].as_object().unwrap().iter();
            responses.map(move |(status, response)| (format!("{name} {status}"), response))
        })
        .collect();
    assert!(responses.len() > 300, "{} responses", responses.len());
    for (name, response) in responses {
        assert!(response["description"].as_str().is_some_and(|text| !text.is_empty()), "{name}: {response}");
    }
    let improvement = "/paths/~1api~1v1~1improvements~1{improvement_id}/get/responses/200/description";
    assert_eq!(document.pointer(improvement).unwrap(), "An improvement.");
}

#[test]
fn items_of_lists_refer_to_named_schemas() {
    let document = assembled();
    walk(&document, "", &mut |pointer, value| {
        let items = &value["items"];
        let inline = items.is_object()
            && (items["type"] == "object" || items["properties"].is_object() || items["allOf"].is_array());
        assert!(!inline || pointer.ends_with("/properties"), "{pointer} has inline items");
    });
    for (page, item) in [("Page_Summary", "Summary"), ("Page_Improvement", "Improvement")] {
        let reference = json!({"$ref": format!("#/components/schemas/{item}")});
        assert_eq!(document["components"]["schemas"][page]["properties"]["items"]["items"], reference, "{page}");
    }
}

/// Clients would send `null` as a text.
#[test]
fn no_parameter_admits_null() {
    let document = assembled();
    for (name, operation) in operations(&document) {
        for parameter in operation["parameters"].as_array().into_iter().flatten() {
            assert!(!parameter["schema"].to_string().contains("\"null\""), "{name}: {parameter}");
        }
    }
}

/// Bytes and event streams: a client must not parse them as JSON.
#[test]
fn bodies_that_are_not_json_are_strings() {
    let document = assembled();
    let mut seen = Vec::new();
    walk(&document["paths"], "", &mut |pointer, value| {
        for (mime, content) in value["content"].as_object().into_iter().flatten() {
            if !mime.ends_with("json") {
                assert_eq!(content["schema"]["type"], "string", "{pointer} {mime}");
                let format = if mime == "text/event-stream" { Value::Null } else { json!("binary") };
                assert_eq!(content["schema"]["format"], format, "{pointer} {mime}");
                seen.push(mime.clone());
            }
        }
    });
    seen.sort();
    assert_eq!(seen, ["*/*", "application/octet-stream", "application/octet-stream", "text/event-stream"]);
    assert!(document["components"]["schemas"]["Event"]["properties"]["event_id"].is_object());
}
