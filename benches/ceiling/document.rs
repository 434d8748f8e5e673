//! The document that holds the table between two marks; the rest of it is people's.

use std::fs;
use std::io;
use std::path::Path;

use anyhow::{Context as _, Result};

const BEGIN: &str = "<!-- ceiling:begin -->";
const END: &str = "<!-- ceiling:end -->";

/// Puts the text into the document, which is made when there is none.
///
/// # Errors
/// When it cannot be read or written.
pub(crate) fn write(path: &Path, text: &str) -> Result<()> {
    let old = match fs::read_to_string(path) {
        Ok(old) => old,
        Err(error) if error.kind() == io::ErrorKind::NotFound => "# Performance\n".to_owned(),
        Err(error) => return Err(error).with_context(|| path.display().to_string()),
    };
    path.parent().map_or(Ok(()), fs::create_dir_all)?;
    fs::write(path, splice(&old, text)).with_context(|| path.display().to_string())
}

/// Replaces what stands between the marks; without marks, both come at the end.
pub(crate) fn splice(old: &str, text: &str) -> String {
    let found = old.split_once(BEGIN).and_then(|(before, rest)| Some((before, rest.split_once(END)?.1)));
    match found {
        Some((before, after)) => format!("{before}{BEGIN}\n{text}{END}{after}"),
        None => format!("{}\n\n{BEGIN}\n{text}{END}\n", old.trim_end()),
    }
}
