//! JSON Schema of the server's frames: describes every example in `docs/WEBSOCKET.md`.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use schemars::schema_for;
use serde_json::Value;
use switchboard_protocol::ServerFrame;

const DOC: &str = include_str!("../../../docs/WEBSOCKET.md");

fn documented_frames() -> Vec<Value> {
    let (_, section) = DOC.split_once("\n## Server → client\n").unwrap();
    let section = section.split_once("\n## ").unwrap().0;
    let examples = section.split("\n```json\n").skip(1).map(|rest| rest.split_once("\n```").unwrap().0);
    examples.map(|example| serde_json::from_str(example).unwrap()).collect()
}

/// Whether a value has this JSON type.
fn has_type(value: &Value, name: &str) -> bool {
    match name {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        other => panic!("unknown type {other}"),
    }
}

/// Returns the schema itself and the schema that it refers to.
fn resolved<'a>(schema: &'a Value, root: &'a Value) -> Vec<&'a Value> {
    let reference = schema["$ref"].as_str().map(|path| root.pointer(path.trim_start_matches('#')).unwrap());
    [Some(schema), reference].into_iter().flatten().collect()
}

/// Validates the keywords that the schemas of frames use. Unlike in JSON Schema, members must be described.
fn validate(value: &Value, schema: &Value, root: &Value) -> Result<(), String> {
    let schemas = resolved(schema, root);
    let property = |name: &str| schemas.iter().find_map(|schema| schema["properties"].get(name));
    for schema in &schemas {
        let types = schema["type"].as_array().map_or(std::slice::from_ref(&schema["type"]), Vec::as_slice);
        let mut types = types.iter().filter_map(Value::as_str).peekable();
        if types.peek().is_some() && !types.any(|name| has_type(value, name)) {
            return Err(format!("{value} does not have the type {}", schema["type"]));
        }
        if schema.get("const").is_some_and(|only| only != value) {
            return Err(format!("{value} is not {}", schema["const"]));
        }
        if schema["enum"].as_array().is_some_and(|allowed| !allowed.contains(value)) {
            return Err(format!("{value} is not one of {}", schema["enum"]));
        }
        for required in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            value.get(required).ok_or_else(|| format!("{value} has no `{required}`"))?;
        }
        if let Some(options) = schema.get("oneOf").or_else(|| schema.get("anyOf")).and_then(Value::as_array) {
            let errors: Vec<_> = options.iter().map_while(|option| validate(value, option, root).err()).collect();
            if errors.len() == options.len() {
                return Err(errors.join("; "));
            }
        }
        if let (Some(items), Some(values)) = (schema.get("items"), value.as_array()) {
            values.iter().try_for_each(|value| validate(value, items, root))?;
        }
    }
    let has_properties = schemas.iter().any(|schema| schema.get("properties").is_some());
    let is_open = schemas.iter().any(|schema| schema["additionalProperties"] == true);
    for (name, member) in value.as_object().into_iter().flatten().filter(|_| has_properties) {
        match property(name) {
            Some(property) => validate(member, property, root)?,
            None if is_open => {}
            None => return Err(format!("`{name}` is not described")),
        }
    }
    Ok(())
}

#[test]
fn describes_every_documented_frame() {
    let schema = schema_for!(ServerFrame<'_>).to_value();
    let frames = documented_frames();
    assert!(!frames.is_empty());
    for frame in &frames {
        validate(frame, &schema, &schema).unwrap_or_else(|error| panic!("{error} in {frame}"));
    }
}

#[test]
fn rejects_frames_with_missing_invalid_or_unknown_fields() {
    let schema = schema_for!(ServerFrame<'_>).to_value();
    for frame in documented_frames() {
        let mut unknown = frame.clone();
        unknown["color"] = "red".into();
        let mut mistyped = frame.clone();
        mistyped["type"] = "shout".into();
        // The fields of a part depend on its kind.
        assert!(validate(&unknown, &schema, &schema).is_err() || frame["type"] == "part", "{unknown}");
        assert!(validate(&mistyped, &schema, &schema).is_err(), "{mistyped}");
        for required in [
            "turn_id",
            "seq",
            "code",
            "state",
            "user",
            "reconnect_after_ms",
            "expires_in",
            "level",
            "turns",
            "position",
            "actor",
        ] {
            // These fields depend on the kind of the event.
            if frame["type"] == "event" && ["turn_id", "code"].contains(&required) {
                continue;
            }
            let mut invalid = frame.clone();
            if frame["type"] != "error" && frame["type"] != "resumed" && frame.get(required).is_some() {
                invalid.as_object_mut().unwrap().remove(required);
                let is_optional = frame["type"] == "token" && required == "turn_id";
                assert!(is_optional || validate(&invalid, &schema, &schema).is_err(), "{invalid} without `{required}`");
                invalid[required] = true.into();
                assert!(validate(&invalid, &schema, &schema).is_err(), "{invalid}");
            }
        }
    }
}
