use serde_json::json;

use super::options;
use crate::interchange::{Format, MappingError, Options, Program, Run, Scale, Score, map};

fn run(scores: &[Option<f64>]) -> Run {
    let programs =
        scores.iter().enumerate().map(|(n, fitness)| Program { fitness: *fitness, ..Program::new(format!("p{n}")) });
    Run { name: "r".to_owned(), programs: programs.collect(), problems: Vec::new() }
}

fn scored(scores: &[Option<f64>], scale: Scale) -> Result<Vec<f64>, MappingError> {
    let mapped = map(Format::OpenEvolve, run(scores), &Options { scale, ..options() })?;
    Ok(mapped.entries.iter().map(|entry| entry.accuracy_score).collect())
}

#[test]
fn scales_are_parsed() {
    assert_eq!("identity".parse(), Ok(Scale::Identity));
    assert_eq!("min-max".parse(), Ok(Scale::MinMax));
    assert_eq!("divide:2.5".parse(), Ok(Scale::Divide(2.5)));
    for bad in ["", "divide", "divide:", "divide:0", "divide:-1", "divide:NaN", "divide:inf", "minmax"] {
        assert!(bad.parse::<Scale>().is_err(), "{bad}");
    }
}

#[test]
fn identity_keeps_and_never_clamps() {
    assert_eq!(
        scored(&[Some(0.0), Some(1.0), Some(0.123_45), Some(-0.0)], Scale::Identity),
        Ok(vec![0.0, 1.0, 0.1235, 0.0])
    );
    let error = scored(&[Some(0.5), Some(-1.0), Some(2.635), Some(f64::NAN), None], Scale::Identity).unwrap_err();
    let expected = MappingError::OutOfRange { outside: 2, of: 3, min: -1.0, max: 2.635, scale: Scale::Identity };
    assert_eq!(error, expected);
    let text = error.to_string();
    for part in ["2 of 3", "from -1 to 2.635", "--scale min-max", "--scale divide:X", "--score"] {
        assert!(text.contains(part), "{text}");
    }
    // A hair above 1 would round to 1, and still is not within.
    assert!(scored(&[Some(1.000_001)], Scale::Identity).is_err());
}

#[test]
fn min_max_spans_the_finite_scores() {
    let scores = [Some(-10.0), Some(30.0), Some(0.0), Some(f64::INFINITY), None];
    assert_eq!(scored(&scores, Scale::MinMax), Ok(vec![0.0, 1.0, 0.25, 0.0, 0.0]));
    assert_eq!(scored(&[Some(7.0), Some(7.0)], Scale::MinMax), Ok(vec![1.0, 1.0]));
    assert_eq!(scored(&[Some(f64::MAX), Some(f64::MIN), Some(0.0)], Scale::MinMax), Ok(vec![1.0, 0.0, 0.5]));
    assert_eq!(scored(&[None], Scale::MinMax), Ok(vec![0.0]));
    assert_eq!(scored(&[], Scale::MinMax), Ok(vec![]));
}

#[test]
fn divide_has_to_suffice() {
    assert_eq!(scored(&[Some(2.635), Some(1.0)], Scale::Divide(5.0)), Ok(vec![0.527, 0.2]));
    assert!(matches!(scored(&[Some(2.635)], Scale::Divide(2.0)), Err(MappingError::OutOfRange { outside: 1, .. })));
    assert!(matches!(scored(&[Some(-0.5)], Scale::Divide(2.0)), Err(MappingError::OutOfRange { .. })));
    assert_eq!(scored(&[Some(1.0)], Scale::Divide(0.0)), Err(MappingError::Divisor(0.0)));
}

#[test]
fn the_source_keeps_the_score_unrounded() {
    let mapped = map(Format::Shinka, run(&[Some(0.123_456_789)]), &options()).unwrap();
    assert_eq!(mapped.entries[0].evaluation_results["source"]["score"], json!(0.123_456_789));
    let scale = Options { scale: Scale::Divide(3.0), ..options() };
    let source = &map(Format::Shinka, run(&[Some(1.0)]), &scale).unwrap().entries[0].evaluation_results["source"];
    assert_eq!(
        *source,
        json!({"format": "shinka", "id": "p0", "score": 1.0, "scale": "divide:3", "scaled_score": 1.0 / 3.0})
    );
}

#[test]
fn a_field_may_be_a_name_or_a_path() {
    let with = |metrics: serde_json::Value| {
        let metrics = metrics.as_object().unwrap().clone();
        Run { programs: vec![Program { metrics, ..Program::new("p".to_owned()) }], ..run(&[]) }
    };
    let by = |field: &str| Options { score: Score::Field(field.to_owned()), ..options() };
    let metrics = json!({"a.b": 0.25, "a": {"b": 0.5, "c": {"d": 0.75}}, "s": "1", "t": true});
    for (field, score) in [("a.b", 0.25), ("a.c.d", 0.75)] {
        let mapped = map(Format::Shinka, with(metrics.clone()), &by(field)).unwrap();
        assert_eq!((mapped.entries[0].accuracy_score, mapped.entries[0].status.as_str()), (score, "active"), "{field}");
        assert_eq!(mapped.entries[0].evaluation_results["source"]["score_field"], json!(field));
    }
    for field in ["a", "a.x", "s", "t", "", "s.x"] {
        let error = map(Format::Shinka, with(metrics.clone()), &by(field)).unwrap_err();
        assert_eq!(error, MappingError::NoSuchField { field: field.to_owned(), known: "a.b".to_owned() });
    }
}

#[test]
fn compliance_is_a_metric_or_follows_the_status() {
    let program = |id: &str, c: serde_json::Value, fitness| {
        let metrics = json!({ "c": c }).as_object().unwrap().clone();
        Program { metrics, fitness, ..Program::new(id.to_owned()) }
    };
    let compliance = |programs: &[Program], field: Option<&str>| {
        let options = Options { compliance: field.map(str::to_owned), ..options() };
        map(Format::Dgm, Run { programs: programs.to_vec(), ..run(&[]) }, &options)
            .map(|mapped| mapped.entries.iter().map(|e| e.constitutional_compliance_score).collect::<Vec<_>>())
    };
    let good =
        [program("a", json!(0.123_46), Some(1.0)), program("b", json!(null), None), program("c", json!(0.5), None)];
    assert_eq!(compliance(&good, None), Ok(vec![1.0, 0.0, 0.0]));
    assert_eq!(compliance(&good, Some("c")), Ok(vec![0.1235, 0.0, 0.5]));
    for (bad, found) in [(json!(1.5), "1.5"), (json!(-0.1), "-0.1"), (json!("x"), "\"x\""), (json!(null), "null")] {
        let error = compliance(&[program("a", bad, Some(1.0))], Some("c")).unwrap_err();
        let expected = MappingError::Compliance { id: "a".to_owned(), field: "c".to_owned(), found: found.to_owned() };
        assert_eq!(error, expected);
    }
    assert!(compliance(&good[..1], Some("missing")).unwrap_err().to_string().contains("is missing"));
}
