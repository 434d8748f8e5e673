//! Who may ask this machine's clock: everything else uses the clock of the database.

use super::references::Reference;
use super::tree::Tree;

/// Functions that tell the time of day by this machine.
const CLOCKS: &[&str] = &["Utc::now", "Local::now", "SystemTime::now", "UNIX_EPOCH::elapsed", "clock::local"];

/// A module and why it may.
pub(super) type Allowed = (&'static str, &'static str);

/// Every other module that does. Tests in the sources may.
pub(super) fn local_clocks(tree: &Tree, references: &[Reference], allowed: &[Allowed]) -> Vec<String> {
    let asks = |reference: &&Reference| {
        CLOCKS.iter().any(|clock| reference.target == *clock || reference.target.ends_with(&format!("::{clock}")))
    };
    let test = |module: &str| module.split("::").any(|part| part == "tests" || part.ends_with("_tests"));
    let mut found: Vec<String> = (references.iter().filter(asks))
        .filter(|reference| !test(&reference.module))
        .filter(|reference| !allowed.iter().any(|(module, _)| *module == reference.module))
        .map(|Reference { file, line, target, .. }| {
            format!(
                "src/{}:{line}: {target}: use the clock of the services, or list the module with a reason",
                tree.files[*file].name
            )
        })
        .collect();
    let stale = allowed.iter().filter(|(module, _)| !references.iter().any(|r| r.module == *module && asks(&r)));
    found.extend(stale.map(|(module, _)| format!("{module} does not ask this machine's clock any more")));
    found
}
