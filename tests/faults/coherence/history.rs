//! Judges a recorded run: which reads are too old. It knows the promises and nothing of how they are kept.

use std::fmt;
use std::time::Duration;

/// A change that was acknowledged. Times are those of the run's one clock, seen by the client: the change was committed
/// after `started` and no later than `acknowledged`. A change whose answer was lost stands in no history.
#[derive(Debug, Clone, Copy)]
pub(super) struct Write {
    pub(super) entry: usize,
    pub(super) version: i64,
    pub(super) started: Duration,
    pub(super) acknowledged: Duration,
    /// The replica that made it, with the version that its answer held, which others may have raised meanwhile; none for
    /// a change made by SQL.
    pub(super) by: Option<(usize, i64)>,
}

/// An answer with an entry: asked not before `started`, received at `finished`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Read {
    pub(super) entry: usize,
    pub(super) version: i64,
    pub(super) started: Duration,
    pub(super) finished: Duration,
    pub(super) replica: usize,
}

/// A promise that a read breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Violation {
    /// A newer version was committed longer than the bound before the read: so long before.
    Stale(Duration),
    /// The replica had acknowledged a newer version itself: so long before, or in this very answer.
    OwnWrite(Duration),
    /// No change has made this version, or only one that began after the read.
    NeverWritten,
}

/// What is found.
#[derive(Debug, Default)]
pub(super) struct Verdict {
    pub(super) violations: Vec<(Read, Violation)>,
    /// The longest time for which any read's answer was certainly outdated when it was asked.
    pub(super) stalest: Duration,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = |kind: fn(&Violation) -> bool| self.violations.iter().filter(|(_, found)| kind(found)).count();
        let stale = count(|found| matches!(found, Violation::Stale(_)));
        let own = count(|found| matches!(found, Violation::OwnWrite(_)));
        let never = count(|found| matches!(found, Violation::NeverWritten));
        write!(f, "stalest read {} ms, {} violations ", self.stalest.as_millis(), self.violations.len())?;
        write!(f, "({stale} past the bound, {own} of own writes, {never} never written)")
    }
}

/// What is known of one entry, by version.
struct Timeline {
    /// By version: when a newer one was acknowledged first, by anyone.
    outdated: Vec<Option<Duration>>,
    /// By replica and version: when this replica first acknowledged a newer one.
    outdated_by: Vec<Vec<Option<Duration>>>,
    /// By version: when its change began; none when its answer was lost.
    begun: Vec<Option<Duration>>,
}

impl Timeline {
    fn new(last: i64, replicas: usize) -> Self {
        let versions = usize::try_from(last).unwrap() + 1;
        Self {
            outdated: vec![None; versions],
            outdated_by: vec![vec![None; versions]; replicas],
            begun: vec![None; versions],
        }
    }

    fn add(&mut self, write: &Write) {
        let version = usize::try_from(write.version).unwrap();
        self.begun[version] = Some(write.started);
        let own = write.by.map(|(replica, _)| &mut self.outdated_by[replica]);
        for times in [Some(&mut self.outdated), own].into_iter().flatten() {
            times[version - 1] = earlier(times[version - 1], Some(write.acknowledged));
        }
    }

    /// What makes version 5 outdated makes version 4 so.
    fn complete(&mut self) {
        for times in std::iter::once(&mut self.outdated).chain(&mut self.outdated_by) {
            for version in (1..times.len()).rev() {
                times[version - 1] = earlier(times[version - 1], times[version]);
            }
        }
    }
}

fn earlier(a: Option<Duration>, b: Option<Duration>) -> Option<Duration> {
    a.into_iter().chain(b).min()
}

/// Judges the reads. `last` holds the version of each entry after the run, `bound` is how old an answer may be.
/// Versions rise by one at each change, the first is 1 and was there before the run.
pub(super) fn judge(writes: &[Write], reads: &[Read], last: &[i64], bound: Duration) -> Verdict {
    let replicas = reads.iter().map(|r| r.replica).chain(writes.iter().filter_map(|w| Some(w.by?.0))).max();
    let replicas = replicas.map_or(0, |greatest| greatest + 1);
    let mut timelines: Vec<Timeline> = last.iter().map(|last| Timeline::new(*last, replicas)).collect();
    for write in writes {
        timelines[write.entry].add(write);
    }
    timelines.iter_mut().for_each(Timeline::complete);
    let mut verdict = Verdict::default();
    for Write { entry, version, started, acknowledged, by } in writes.iter().copied() {
        if let Some((replica, answer)) = by.filter(|(_, answer)| *answer < version) {
            let read = Read { entry, version: answer, started, finished: acknowledged, replica };
            verdict.violations.push((read, Violation::OwnWrite(Duration::ZERO)));
        }
    }
    for read in reads {
        let timeline = &timelines[read.entry];
        let version = usize::try_from(read.version).unwrap_or(0);
        if version == 0 || version >= timeline.begun.len() {
            verdict.violations.push((*read, Violation::NeverWritten));
            continue;
        }
        if timeline.begun[version].is_some_and(|begun| read.finished < begun) {
            verdict.violations.push((*read, Violation::NeverWritten));
        }
        let age = |since: Option<Duration>| since.and_then(|since| read.started.checked_sub(since));
        if let Some(age) = age(timeline.outdated[version]) {
            verdict.stalest = verdict.stalest.max(age);
            if age > bound {
                verdict.violations.push((*read, Violation::Stale(age)));
            }
        }
        if let Some(age) = age(timeline.outdated_by[read.replica][version]).filter(|age| !age.is_zero()) {
            verdict.violations.push((*read, Violation::OwnWrite(age)));
        }
    }
    verdict
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUND: Duration = Duration::from_secs(5);

    fn at(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    fn write(version: i64, started: u64, acknowledged: u64, replica: Option<usize>) -> Write {
        let by = replica.map(|replica| (replica, version));
        Write { entry: 0, version, started: at(started), acknowledged: at(acknowledged), by }
    }

    /// By replica 1, which takes a millisecond.
    fn read(version: i64, started: u64) -> Read {
        Read { entry: 0, version, started: at(started), finished: at(started + 1), replica: 1 }
    }

    fn found(writes: &[Write], read: Read, last: i64) -> Vec<Violation> {
        let other = Write { entry: 1, ..write(2, 0, 1, Some(1)) };
        let writes: Vec<Write> = writes.iter().copied().chain([other]).collect();
        judge(&writes, &[read], &[last, 2], BOUND).violations.into_iter().map(|(_, violation)| violation).collect()
    }

    #[test]
    fn what_is_promised_passes() {
        let writes = [write(2, 1000, 1010, Some(0)), write(3, 2000, 2010, None), write(4, 9000, 9010, Some(1))];
        // Current; seen before its answer; overtaken by changes of others within the bound; the last moment of it.
        for (version, started) in [(1, 0), (2, 1000), (3, 2005), (1, 1500), (2, 2500), (1, 6010), (2, 7010), (3, 9005)]
        {
            assert_eq!(found(&writes, read(version, started), 4), [], "v{version} at {started}");
        }
    }

    #[test]
    fn a_read_past_the_bound_is_found() {
        let writes = [write(2, 1000, 1010, Some(0)), write(3, 2000, 2010, None)];
        assert_eq!(found(&writes, read(1, 6011), 3), [Violation::Stale(at(5001))]);
        // Counted from the first change that outdates it, not from the last.
        assert_eq!(found(&writes, read(1, 7000), 3), [Violation::Stale(at(5990))]);
        assert_eq!(found(&writes, read(2, 7011), 3), [Violation::Stale(at(5001))]);
        // The answer to version 2 was lost; version 3 outdates the first all the same.
        assert_eq!(found(&writes[1..], read(1, 7011), 3), [Violation::Stale(at(5001))]);
        let reads = [read(1, 3000), read(3, 9000)];
        assert_eq!(judge(&writes, &reads, &[3], BOUND).stalest, at(1990));
    }

    #[test]
    fn a_replica_that_forgets_its_own_write_is_found() {
        let writes = [write(2, 1000, 1010, Some(1)), write(3, 1020, 1030, Some(0))];
        assert_eq!(found(&writes, read(1, 1011), 3), [Violation::OwnWrite(at(1))]);
        assert_eq!(found(&writes, read(1, 1010), 3), [], "asked before the answer was there");
        assert_eq!(found(&writes, read(2, 1031), 3), [], "the other's write");
        // A later write of its own counts when the answer to the one between was lost.
        assert_eq!(found(&[write(3, 1000, 1010, Some(1))], read(1, 1015), 3), [Violation::OwnWrite(at(5))]);
        // In the very answer to the change.
        let answered = |answer| found(&[Write { by: Some((0, answer)), ..writes[0] }], read(2, 1100), 3);
        assert_eq!(answered(1), [Violation::OwnWrite(at(0))]);
        assert_eq!((answered(2), answered(3)), (vec![], vec![]), "another's change came between");
    }

    #[test]
    fn a_version_from_nowhere_is_found() {
        let writes = [write(2, 1000, 1010, None)];
        for version in [-1, 0, 4] {
            assert_eq!(found(&writes, read(version, 1100), 3), [Violation::NeverWritten], "v{version}");
        }
        assert_eq!(found(&writes, read(3, 1100), 3), [], "its change was made and the answer lost");
        assert_eq!(found(&writes, read(2, 998), 3), [Violation::NeverWritten], "received before it was made");
        assert_eq!(found(&writes, read(2, 999), 3), [], "made while the answer was on its way");
    }
}
