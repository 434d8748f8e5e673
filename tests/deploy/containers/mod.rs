//! The Dockerfile and compose.yaml, as far as they can be judged without a Docker daemon; `make image-test` asks one.

mod compose;
mod dockerfile;

use std::path::{Path, PathBuf};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A file of the repository.
fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The files below a folder with an ending.
fn below(folder: &Path, ending: &str, found: &mut Vec<PathBuf>) {
    for path in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        if path.is_dir() {
            below(&path, ending, found);
        } else if path.extension().is_some_and(|extension| extension == ending) {
            found.push(path);
        }
    }
}

/// Our images have one version everywhere: that of the package.
#[test]
fn images_are_those_of_this_version() {
    let mut files = vec![root().join("compose.yaml")];
    below(&root().join("k8s"), "yaml", &mut files);
    let mut named = 0;
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        let images = text.lines().filter_map(|line| line.trim().trim_start_matches("- ").strip_prefix("image: "));
        for image in images {
            let (name, tag) =
                image.rsplit_once(':').unwrap_or_else(|| panic!("{}: {image} has no tag", file.display()));
            assert_ne!(tag, "latest", "{}: {image}", file.display());
            if name.starts_with("dgm-") {
                assert!(["dgm-service", "dgm-loadtest"].contains(&name), "{}: nobody builds {name}", file.display());
                assert_eq!(tag, env!("CARGO_PKG_VERSION"), "{}: {image}", file.display());
                named += 1;
            }
        }
    }
    assert!(named >= 3, "{named} images of ours");
}
