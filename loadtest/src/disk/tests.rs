//! What the observers read in real runs (captured/README.md), and what is made of it.

use std::time::{Duration, Instant};

use super::probe::Starved;
use super::stall::{Detector, Sample, Stall};
use super::{Pause, certain, device, effects, pauses, sessions};
use crate::caller::{Answer, Failure};
use crate::operation::Operation;
use crate::profile::Role;
use crate::record::Recorder;

const FLUSH: &str = include_str!("captured/flush.txt");
const FREEZE: &str = include_str!("captured/freeze.txt");
const LOCK: &str = include_str!("captured/lock.txt");

/// The stalls that the observers of the device and of PostgreSQL found.
fn stalls(captured: &str, first: Instant) -> (Vec<Stall>, Vec<Stall>) {
    let (mut device, mut wal) = (Detector::default(), Detector::default());
    for line in captured.lines() {
        let mut fields = line.splitn(4, ' ');
        let observer = fields.next().unwrap();
        let mut at = || first + Duration::from_micros(fields.next().unwrap().parse().unwrap());
        let (times, text) = ((at(), at()), fields.next().unwrap());
        match observer {
            "wal" => wal.add(sessions::sample(times, text).unwrap().0),
            "device" => {
                let (stat, inflight) = text.split_once('|').unwrap();
                device.add(device::sample(times, stat, inflight).unwrap());
            }
            other => panic!("{other}"),
        }
    }
    (device.finish(), wal.finish())
}

fn found(captured: &str) -> Vec<Pause> {
    let first = Instant::now();
    let (device, wal) = stalls(captured, first);
    pauses(first, &[], &device, &wal)
}

#[test]
fn a_device_that_completes_no_write_is_a_pause_that_both_see() {
    let [pause] = &found(FREEZE)[..] else { panic!("{:?}", found(FREEZE)) };
    assert!((0.35..0.45).contains(&pause.seconds()) && (0.70..0.75).contains(&pause.from), "{pause:?}");
    let (device, wal) = (pause.device.as_ref().unwrap(), pause.wal.as_ref().unwrap());
    assert!(device.ms > 350.0 && device.outstanding == 1 && wal.ms > 350.0, "{pause:?}");
    assert_eq!(wal.waits, "LWLock:WALWrite 3, IO:WALSync 1");
}

#[test]
fn a_delayed_flush_is_a_pause_that_postgresql_sees() {
    let [pause] = &found(FLUSH)[..] else { panic!("{:?}", found(FLUSH)) };
    assert!((0.35..0.45).contains(&pause.seconds()) && (0.70..0.75).contains(&pause.from), "{pause:?}");
    assert!(pause.device.is_none(), "{pause:?}");
    assert_eq!(pause.wal.as_ref().unwrap().waits, "LWLock:WALWrite 12, IO:WALSync 1");
}

#[test]
fn sessions_that_wait_for_a_lock_are_no_pause_although_nothing_is_flushed() {
    let quiet = LOCK.lines().filter(|line| line.contains("0/15716E0 0/15716E0|Lock:relation")).count();
    assert!(quiet > 14, "the log stood still for 0.4 s: {quiet}");
    assert_eq!(found(LOCK), []);
}

#[test]
fn late_samples_make_no_pause_and_lose_none() {
    let first = Instant::now();
    let at = |ms: u64| first + Duration::from_millis(ms);
    let sample = |ms, progress, outstanding| Sample {
        asked: at(ms),
        answered: at(ms + 1),
        progress,
        outstanding,
        detail: String::new(),
    };
    let stalls = |samples: &[Sample<u64>]| {
        let mut detector = Detector::default();
        samples.iter().cloned().for_each(|sample| detector.add(sample));
        detector.finish()
    };
    // One sample in half a second: something was outstanding before and after, but not the same.
    assert_eq!(stalls(&[sample(0, 1, 1), sample(500, 2, 1), sample(510, 3, 1)]), []);
    // Nothing was outstanding: an idle device.
    assert_eq!(stalls(&[sample(0, 1, 0), sample(500, 1, 0), sample(1_000, 1, 1), sample(1_010, 2, 0)]), []);
    // The same is outstanding in both, and at the end of the run still.
    let found = stalls(&[sample(0, 1, 1), sample(500, 1, 2)]);
    let [stall] = &found[..] else { panic!("{found:?}") };
    assert_eq!((stall.from, stall.to, stall.outstanding), (at(1), at(500), 2));
    // Shorter than a pause.
    assert_eq!(stalls(&[sample(0, 1, 1), sample(90, 1, 1), sample(120, 2, 1)]), []);
}

#[test]
fn stalls_that_overlap_are_one_pause() {
    let first = Instant::now();
    let stall = |from, to| Stall {
        from: first + Duration::from_millis(from),
        to: first + Duration::from_millis(to),
        outstanding: 1,
        detail: "IO:WALSync 1".to_owned(),
    };
    let found = pauses(first, &[stall(100, 300), stall(900, 1_100)], &[stall(150, 350)], &[stall(320, 450)]);
    let [one, other] = &found[..] else { panic!("{found:?}") };
    assert_eq!((one.from, one.to, one.probe_ms), (0.1, 0.45, Some(200.0)));
    assert!(one.device.is_some() && one.wal.is_some(), "{one:?}");
    assert_eq!((other.from, other.to), (0.9, 1.1));
    assert!(other.device.is_none() && other.wal.is_none(), "{other:?}");
}

#[test]
fn a_stall_of_postgresql_that_a_full_machine_explains_is_no_pause() {
    let first = Instant::now();
    let at = |ms| first + Duration::from_millis(ms);
    let stall = |from, to| Stall { from: at(from), to: at(to), outstanding: 1, detail: "IO:WALSync 1".to_owned() };
    let starved = |from, to, waited| Starved { from: at(from), to: at(to), waited: Duration::from_millis(waited) };
    let long = stall(1_000, 1_400);
    let stalls = vec![stall(0, 150), long.clone(), stall(2_000, 2_120)];
    assert_eq!(certain(stalls.clone(), &[]), stalls);
    let starved =
        [starved(140, 300, 60), starved(1_000, 1_200, 90), starved(1_990, 2_010, 15), starved(2_120, 2_300, 90)];
    assert_eq!(certain(stalls, &starved), [long, stall(2_000, 2_120)]);
}

#[test]
fn requests_that_overlap_a_pause_are_told_apart_from_the_others() {
    let recorder = Recorder::default();
    let began = recorder.began();
    let note = |operation, took: u64, outcome: Result<Answer, Failure>| {
        let now = Instant::now();
        let _ =
            recorder.note((0, Role::Worker), operation, now.checked_sub(Duration::from_millis(took)).unwrap(), outcome);
    };
    let answer = || Ok(Answer { etag: None, body: Vec::new() });
    std::thread::sleep(Duration::from_millis(20));
    (0..100).for_each(|_| note(Operation::CreateEntry, 10, answer()));
    note(Operation::Claim, 1, Err(Failure::Status(500)));
    // The disk pauses; what was sent before it and what is sent in it ends after it.
    let from = began.elapsed().as_secs_f64() + 0.05;
    std::thread::sleep(Duration::from_millis(450));
    (0..10).for_each(|_| note(Operation::CreateEntry, 420, answer()));
    (0..10).for_each(|_| note(Operation::CreateEntry, 200, answer()));
    let to = began.elapsed().as_secs_f64() - 0.05;
    // A slow one after it.
    std::thread::sleep(Duration::from_millis(200));
    note(Operation::CreateEntry, 120, answer());
    let pause = Pause { from, to, probe_ms: None, device: None, wal: None };
    let effects = effects(&recorder.record(), None, &[pause]);
    let [all, create] = &effects[..] else { panic!("{effects:?}") };
    assert_eq!((all.operation.as_deref(), create.operation.as_deref()), (None, Some("POST /api/v1/archive")));
    for effect in [all, create] {
        assert_eq!((effect.during, effect.outside, effect.slow, effect.slow_during), (20, 101, 21, 20), "{effect:?}");
        assert!((9.0..20.0).contains(&effect.p95_without_ms), "{effect:?}");
    }
    assert_eq!(super::effects(&recorder.record(), None, &[]), []);
}
