//! A disk that pauses, as PostgreSQL sees it: flushes of the write-ahead log are delayed in its processes (`tests/slow_flush`).

use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use super::run::subfolder;

/// The library, and the file by which it is told when to delay. Neither delays anything yet.
pub(crate) struct SlowFlush(TempDir);

impl SlowFlush {
    /// Compiles it.
    pub(crate) fn build() -> Self {
        let slow = Self(subfolder());
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/slow_flush/slow_flush.c");
        let compiled =
            Command::new("gcc").args(["-O2", "-shared", "-fPIC", "-o"]).arg(slow.library()).arg(source).status();
        assert!(compiled.unwrap().success());
        slow
    }

    /// Has a program, and the PostgreSQL that it starts, load the library.
    pub(crate) fn preload(&self, command: &mut Command) {
        command.env("LD_PRELOAD", self.library()).env("DGM_SLOW_FLUSH", self.control());
    }

    /// From now on a pause begins once every period, both in milliseconds.
    pub(crate) fn pause(&self, period: u32, length: u32) {
        std::fs::write(self.control(), format!("{period} {length}")).unwrap();
    }

    pub(crate) fn stop(&self) {
        std::fs::remove_file(self.control()).unwrap();
    }

    fn library(&self) -> PathBuf {
        self.0.path().join("slow_flush.so")
    }

    fn control(&self) -> PathBuf {
        self.0.path().join("control")
    }
}
