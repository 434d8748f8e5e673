//! Refuses keys that are not in the defaults.

use figment::providers::Format as _;
use figment::value::{Dict, Value};
use figment::{Figment, Provider as _};

use super::{DEFAULTS, Error, Toml};

/// Two keys this alike (0 to 1, Jaro-Winkler) are taken for a slip of the pen.
const ALIKE: f64 = 0.75;

pub(super) fn refuse(figment: &Figment) -> Result<(), Error> {
    let known = keys(&Figment::from(Toml::string(DEFAULTS)))?;
    let given = keys(figment)?;
    let Some(unknown) = given.iter().find(|key| !known.contains(key)) else { return Ok(()) };
    let nearest = known
        .iter()
        .map(|key| (strsim::jaro_winkler(key, unknown), key))
        .filter(|(likeness, _)| *likeness >= ALIKE)
        .max_by(|a, b| a.0.total_cmp(&b.0));
    Err(Error::Unknown {
        key: unknown.clone(),
        source_name: figment.find_metadata(unknown).map_or_else(
            || "unknown source".to_owned(),
            |m| m.source.as_ref().map_or(m.name.to_string(), ToString::to_string),
        ),
        hint: nearest.map_or_else(String::new, |(_, key)| format!("; did you mean {key:?}?")),
    })
}

/// The dotted keys of all leaves.
fn keys(figment: &Figment) -> Result<Vec<String>, Error> {
    let mut found = Vec::new();
    for dict in figment.data().map_err(Box::new)?.values() {
        collect("", dict, &mut found);
    }
    Ok(found)
}

fn collect(prefix: &str, dict: &Dict, found: &mut Vec<String>) {
    for (key, value) in dict {
        let path = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
        match value {
            Value::Dict(_, inner) => collect(&path, inner, found),
            _ => found.push(path),
        }
    }
}
