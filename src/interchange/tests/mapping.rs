use std::collections::HashSet;
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta};
use serde_json::{Map, json};

use super::{options, says};
use crate::domain::archive::InspirationKind::{Archive, TopK};
use crate::interchange::{Format, Mapped, Options, Program, Run, Severity, archive_entry_id, map};

fn program(id: &str, parent: Option<&str>, generation: i32) -> Program {
    Program { parent_id: parent.map(str::to_owned), generation, fitness: Some(0.5), ..Program::new(id.to_owned()) }
}

fn mapped(programs: Vec<Program>) -> Mapped {
    map(Format::OpenEvolve, Run { name: "r".to_owned(), programs, problems: Vec::new() }, &options()).unwrap()
}

fn id(peer: &str) -> String {
    archive_entry_id("svc", Format::OpenEvolve, peer)
}

fn parents(mapped: &Mapped) -> Vec<(String, Option<String>)> {
    let peer = |e: &crate::interchange::Entry| e.evaluation_results["source"]["id"].as_str().unwrap().to_owned();
    let of = |entry_id: &String| mapped.entries.iter().find(|e| e.archive_entry_id == *entry_id).map(peer);
    mapped.entries.iter().map(|e| (peer(e), e.parent_entry_id.as_ref().and_then(of))).collect()
}

fn pairs(of: &[(&str, Option<&str>)]) -> Vec<(String, Option<String>)> {
    of.iter().map(|(child, parent)| ((*child).to_owned(), parent.map(str::to_owned))).collect()
}

#[test]
fn ids_are_stable_and_tell_runs_apart() {
    // printf 'svc\0openevolve\0a' | sha256sum
    assert_eq!(id("a"), "openevolve-1492828f6ecc3b1e2e2a966b0e71495c");
    assert_ne!(archive_entry_id("svc", Format::Dgm, "a")[4..], id("a")[11..]);
    assert_ne!(archive_entry_id("other", Format::OpenEvolve, "a"), id("a"));
    assert_eq!(id(&"x".repeat(9000)).len(), "openevolve-".len() + 32);
}

#[test]
fn parents_stand_before_children_and_eviction_is_kept() {
    let kid = program("kid", Some("mid"), 2);
    let result =
        mapped(vec![kid, program("mid", Some("root"), 1), program("stray", Some("gone"), 9), program("root", None, 0)]);
    let expected = [("stray", None), ("root", None), ("mid", Some("root")), ("kid", Some("mid"))];
    assert_eq!(parents(&result), pairs(&expected));
    assert_eq!((result.evicted_parents, result.deepest), (1, 2));
    let stray = &result.entries[0];
    assert_eq!((stray.generation_number, stray.status.as_str()), (9, "active"));
    let source =
        json!({"format": "openevolve", "id": "stray", "score": 0.5, "parent_id": "gone", "parent_evicted": true});
    assert_eq!(stray.evaluation_results["source"], source);
    assert_eq!(result.problems, []);
}

#[test]
fn cycles_are_broken_at_their_first_member() {
    let at = |seconds: i64, program: Program| Program { created_at: DateTime::from_timestamp(seconds, 0), ..program };
    let result = mapped(vec![
        program("self", Some("self"), 0),
        // By generation.
        program("a", Some("b"), 3),
        program("b", Some("c"), 2),
        program("c", Some("a"), 4),
        program("below", Some("c"), 5),
        // By time, then by id.
        at(20, program("y", Some("x"), 1)),
        at(10, program("z", Some("y"), 1)),
        at(10, program("x", Some("z"), 1)),
    ]);
    let expected = [
        ("self", None),
        ("b", None),
        ("x", None),
        ("a", Some("b")),
        ("y", Some("x")),
        ("c", Some("a")),
        ("z", Some("y")),
        ("below", Some("c")),
    ];
    assert_eq!(parents(&result), pairs(&expected));
    for (place, what) in [("self", "its own parent"), ("b", "3 parents up"), ("x", "imported as a root")] {
        assert!(says(&result.problems, Severity::Note, place, what), "{:?}", result.problems);
    }
    assert_eq!((result.problems.len(), result.evicted_parents), (3, 0));
    assert_eq!(result.entries[0].evaluation_results["source"]["parent_id"], json!("self"));
    assert_eq!(result.entries[0].evaluation_results["source"]["parent_cycle"], json!(true));
}

#[test]
fn the_first_of_two_with_one_id_is_taken() {
    let second = Program { patch: Some("second".to_owned()), ..program("a", None, 1) };
    let result = mapped(vec![program("a", None, 0), second]);
    assert_eq!((result.entries.len(), result.entries[0].solution_patch.as_ref()), (1, None));
    assert!(says(&result.problems, Severity::Skipped, "a", "the first is taken"));
}

#[test]
fn inspirations_within_the_run_are_linked_and_all_are_kept() {
    let shown = [("b", TopK), ("b", Archive), ("b", TopK), ("a", Archive), ("gone", Archive)];
    let inspirations = shown.map(|(id, kind)| (id.to_owned(), kind)).to_vec();
    let result = mapped(vec![Program { inspirations, ..program("a", None, 0) }, program("b", None, 0)]);
    assert_eq!(result.entries[0].inspirations, [(id("b"), Archive), (id("b"), TopK)]);
    let kept = result.entries[0].evaluation_results["source"]["inspirations"].as_array().unwrap();
    assert_eq!((kept.len(), &kept[4]), (5, &json!({"id": "gone", "kind": "archive"})));
}

#[test]
fn without_a_score_a_program_is_failed() {
    let none = |id: &str, fitness| Program { fitness, ..program(id, None, 0) };
    let wrong = Program { failure: Some("wrong".to_owned()), ..none("wrong", Some(0.75)) };
    let both = Program { failure: Some("broken".to_owned()), ..none("both", None) };
    let result = mapped(vec![none("nan", Some(f64::NAN)), none("none", None), wrong, both]);
    let of: Vec<_> = result
        .entries
        .iter()
        .map(|e| {
            (
                e.status.as_str(),
                e.accuracy_score,
                e.constitutional_compliance_score,
                e.evaluation_results["failure"].as_str().unwrap(),
            )
        })
        .collect();
    let expected = [
        ("failed", 0.0, 0.0, "the fitness is NaN"),
        ("failed", 0.0, 0.0, "there is no fitness"),
        ("failed", 0.75, 0.0, "wrong"),
        ("failed", 0.0, 0.0, "broken"),
    ];
    assert_eq!(of, expected);
    for place in ["nan", "none", "both"] {
        assert!(says(&result.problems, Severity::Note, place, "imported as failed with the score 0"));
    }
    assert_eq!(result.problems.len(), 3);
}

#[test]
fn nul_is_replaced_everywhere() {
    let object = |value: serde_json::Value| value.as_object().unwrap().clone();
    let program = Program {
        patch: Some("a\0b".to_owned()),
        problem_statement: Some("\0".to_owned()),
        metrics: object(json!({"k\u{0}": [{"deep": "\u{0}"}], "plain": 1})),
        extra: object(json!({"source": "theirs", "failure": "theirs\u{0}"})),
        ..program("i\0d", Some("p\0"), 0)
    };
    let result = mapped(vec![program]);
    let entry = &result.entries[0];
    assert_eq!(entry.solution_patch.as_deref(), Some("a\u{fffd}b"));
    assert_eq!(entry.problem_statement, "\u{fffd}");
    assert_eq!(json!(entry.performance_metrics), json!({"k\u{fffd}": [{"deep": "\u{fffd}"}], "plain": 1}));
    assert_eq!(entry.evaluation_results["source"]["parent_id"], json!("p\u{fffd}"));
    // The peer's own fields do not take the place of ours.
    assert_eq!(entry.evaluation_results["peer_source"], json!("theirs"));
    assert_eq!(entry.evaluation_results["peer_failure"], json!("theirs\u{fffd}"));
    assert_eq!(entry.archive_entry_id, id("i\0d"));
    assert!(!serde_json::to_string(&entry.evaluation_results).unwrap().contains("\\u0000"));
    for field in ["problem_statement", "solution_patch", "performance_metrics", "evaluation_results"] {
        assert!(says(&result.problems, Severity::Note, "i\0d", field), "{field}");
    }
}

#[test]
fn the_problem_statement_is_given_or_the_programs_or_the_runs() {
    let run = || {
        let own = Program { problem_statement: Some("own".to_owned()), ..program("a", None, 0) };
        Run { name: "r7".to_owned(), programs: vec![own, program("b", None, 0)], problems: Vec::new() }
    };
    let statements = |given: Option<&str>| {
        let options = Options { problem_statement: given.map(str::to_owned), ..options() };
        map(Format::Shinka, run(), &options)
            .unwrap()
            .entries
            .into_iter()
            .map(|e| e.problem_statement)
            .collect::<Vec<_>>()
    };
    assert_eq!(statements(None), ["own", "shinka run r7"]);
    assert_eq!(statements(Some("given")), ["given", "given"]);
}

#[test]
fn a_hundred_thousand_deep_and_a_cycle_as_long() {
    const N: usize = 100_000;
    let name = |n: usize| format!("p{n:06}");
    // Children first, the hardest order.
    let chain = |root: Option<String>| -> Vec<Program> {
        let parent = |n: usize| if n == 0 { root.clone() } else { Some(name(n - 1)) };
        (0..N)
            .rev()
            .map(|n| Program { parent_id: parent(n), metrics: Map::new(), ..program(&name(n), None, 0) })
            .collect()
    };
    let begun = Instant::now();
    for root in [None, Some(name(N - 1))] {
        let closed = root.is_some();
        let start = DateTime::UNIX_EPOCH;
        let mut programs = chain(root);
        programs[7].created_at = Some(start);
        programs.iter_mut().skip(8).for_each(|p| p.created_at = Some(start + TimeDelta::seconds(1)));
        programs.iter_mut().take(7).for_each(|p| p.created_at = Some(start + TimeDelta::seconds(2)));
        let result = mapped(programs);
        assert_eq!((result.entries.len(), result.deepest), (N, 99_999));
        let mut seen = HashSet::new();
        for entry in &result.entries {
            assert!(entry.parent_entry_id.as_ref().is_none_or(|parent| seen.contains(parent)));
            seen.insert(entry.archive_entry_id.clone());
        }
        let first = if closed { name(N - 8) } else { name(0) };
        assert_eq!(result.entries[0].evaluation_results["source"]["id"], json!(first));
        assert_eq!(result.problems.len(), usize::from(closed));
    }
    assert!(begun.elapsed() < Duration::from_mins(1), "{:?}", begun.elapsed());
}
