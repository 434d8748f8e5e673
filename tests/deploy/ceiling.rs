//! The parts of `make bench` that need no servers: a bench without the harness runs no tests of its own.
#![allow(dead_code, reason = "the bench uses the rest")]

#[path = "../../benches/ceiling/document.rs"]
mod document;
#[path = "../../benches/ceiling/figures.rs"]
mod figures;

use document::splice;
use figures::{Figures, millis, thousands};

#[test]
fn only_what_stands_between_the_marks_changes() {
    let once = splice("# Performance\n", "one\n");
    assert_eq!(once, "# Performance\n\n<!-- ceiling:begin -->\none\n<!-- ceiling:end -->\n");
    let twice = splice(&format!("{once}\nWords.\n"), "two\n");
    assert_eq!(twice, "# Performance\n\n<!-- ceiling:begin -->\ntwo\n<!-- ceiling:end -->\n\nWords.\n");
}

#[test]
fn figures_are_the_last_line_of_the_loader() {
    let text = "Running 2s test\n  1 threads\n{\"requests\":300,\"microseconds\":1500000,\"p50_us\":1,\"p99_us\":2,\
                \"connect\":0,\"read\":1,\"write\":0,\"status\":2,\"timeout\":0,\"missed\":4}\n";
    let figures = Figures::parse(text).unwrap();
    assert_eq!((thousands(figures.rate()).as_str(), figures.errors()), ("200", 7));
    assert_eq!(figures.kinds(), " read 1 status 2 missed 4");
    assert!(Figures::parse("Running 2s test\n").is_err(), "no figures are not zeros");
}

#[test]
fn figures_are_easy_to_read() {
    assert_eq!([1.0, 999.6, 12_345.0, 1_234_567.0].map(thousands), ["1", "1,000", "12,345", "1,234,567"]);
    assert_eq!((millis(90), millis(12_345)), ("0.09".to_owned(), "12.34".to_owned()));
}
