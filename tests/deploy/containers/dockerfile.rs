//! The Dockerfile: who the images run as, how they are asked and stopped, and that the build finds all that it needs.

use super::{below, read, root};

/// A stage: its instructions, each with its words on one line.
struct Stage {
    name: String,
    base: String,
    steps: Vec<(String, String)>,
}

impl Stage {
    /// What follows an instruction, each time that it is given.
    fn all(&self, instruction: &str) -> Vec<&str> {
        self.steps.iter().filter(|(name, _)| name == instruction).map(|(_, words)| words.as_str()).collect()
    }
}

fn stages() -> Vec<Stage> {
    let text: Vec<String> =
        read("Dockerfile").lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect();
    let mut stages: Vec<Stage> = Vec::new();
    for line in text.join("\n").replace("\\\n", " ").lines().filter(|line| !line.trim().is_empty()) {
        let words = line.split_whitespace().collect::<Vec<_>>().join(" ");
        let (instruction, rest) = words.split_once(' ').unwrap();
        if instruction == "FROM" {
            let (base, name) = rest.split_once(" AS ").unwrap_or((rest, ""));
            stages.push(Stage { name: name.to_owned(), base: base.to_owned(), steps: Vec::new() });
        } else {
            stages.last_mut().unwrap().steps.push((instruction.to_owned(), rest.to_owned()));
        }
    }
    stages
}

/// A stage with those that it begins from, the last instructions first.
fn of(stages: &[Stage], name: &str, instruction: &str) -> Option<String> {
    let stage = stages.iter().find(|stage| stage.name == name)?;
    let own = stage.all(instruction).last().map(|words| (*words).to_owned());
    own.or_else(|| of(stages, &stage.base, instruction))
}

/// What the build takes from the repository.
fn copied(stages: &[Stage]) -> Vec<String> {
    let copies = stages.iter().flat_map(|stage| stage.all("COPY"));
    let from_here = copies.filter(|words| !words.starts_with("--from="));
    let sources = from_here.flat_map(|words| words.rsplit_once(' ').unwrap().0.split(' '));
    sources.map(str::to_owned).collect()
}

#[test]
fn images_run_without_rights_and_stop_when_asked() {
    let stages = stages();
    assert_eq!(stages.last().unwrap().name, "service", "the default is the service");
    for name in ["service", "loadtest"] {
        let says =
            |instruction| of(&stages, name, instruction).unwrap_or_else(|| panic!("{name} has no {instruction}"));
        assert_eq!(says("USER"), "65532:65532", "{name}: a name cannot be proved not to be root");
        assert_eq!(says("STOPSIGNAL"), "SIGTERM");
        // In the form of a list: there is no shell.
        for instruction in ["ENTRYPOINT", "CMD", "VOLUME"] {
            assert!(says(instruction).starts_with('['), "{name}: {instruction}");
        }
        for label in ["title", "description", "version", "revision", "source", "licenses"] {
            assert!(says("LABEL").contains(&format!("org.opencontainers.image.{label}=")), "{name}: {label}");
        }
        let stage = stages.iter().find(|stage| stage.name == name).unwrap();
        let version = format!("DGM_VERSION={}", env!("CARGO_PKG_VERSION"));
        assert!(stage.all("ARG").contains(&version.as_str()), "{name}: not {version}");
        assert!(stage.all("RUN").is_empty(), "{name}: nothing can be run in it");
    }
    let check = of(&stages, "service", "HEALTHCHECK").unwrap();
    assert!(check.ends_with("CMD [\"/usr/local/bin/dgm\", \"healthcheck\"]"), "{check}");
    for words in ["--interval=10s", "--timeout=10s", "--retries=3"] {
        assert!(check.contains(words), "{check}");
    }
    assert_eq!(of(&stages, "service", "EXPOSE").unwrap(), "8007 9007");
    for stage in &stages {
        assert!(stage.all("ADD").is_empty() && !stage.base.ends_with(":latest"), "{}", stage.name);
        assert!(!stage.all("RUN").iter().any(|words| words.contains("--mount")), "the old builder knows no mounts");
    }
}

#[test]
fn the_build_finds_what_the_sources_name() {
    let stages = stages();
    let copied = copied(&stages);
    let has = |path: &str| copied.iter().any(|source| path == source || path.starts_with(&format!("{source}/")));
    let let_in: Vec<_> =
        read(".dockerignore").lines().filter_map(|line| Some(line.strip_prefix('!')?.to_owned())).collect();
    assert_eq!(
        read(".dockerignore").lines().find(|line| !line.starts_with('#')),
        Some("*"),
        "what is not named stays out"
    );
    let mut sources = copied.clone();
    sources.sort();
    let mut allowed = let_in;
    allowed.sort();
    assert_eq!(sources, allowed, ".dockerignore lets in what the Dockerfile copies, and nothing else");

    // Dependencies are built before the sources come: every manifest, and no source.
    let build = &stages[0].steps;
    let dependencies = build.iter().position(|(name, _)| name == "RUN").unwrap();
    let before: Vec<_> =
        build[..dependencies].iter().filter(|(name, _)| name == "COPY").map(|(_, words)| words.as_str()).collect();
    let manifest: toml::Table = read("Cargo.toml").parse().unwrap();
    for member in manifest["workspace"]["members"].as_array().unwrap() {
        let member = member.as_str().unwrap().trim_end_matches('.');
        let path = if member.is_empty() { "Cargo.toml".to_owned() } else { format!("{member}/Cargo.toml") };
        assert!(before.iter().any(|words| words.split(' ').any(|word| word == path)), "{path} comes too late");
    }
    assert!(
        !before.iter().any(|words| words.contains("src")),
        "a change of a source would build the dependencies anew"
    );

    // Files that the sources include from elsewhere.
    let mut files = Vec::new();
    below(&root().join("src"), "rs", &mut files);
    let mut outside = 0;
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        for line in text.lines().filter(|line| line.contains("include_str!") || line.contains("migrate!")) {
            let Some((_, path)) = line.split_once("\"../../").or_else(|| line.split_once("\"./")) else { continue };
            let path = path.trim_start_matches("../").split('"').next().unwrap().trim_end_matches('/');
            outside += 1;
            assert!(has(path), "{} includes {path}, which the Dockerfile does not copy", file.display());
        }
    }
    assert!(outside >= 3, "{outside}");
}
