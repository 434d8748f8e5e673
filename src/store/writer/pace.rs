//! When a writer sends a batch that is not a large one.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

/// Batches that took less are too cheap to wait for; the runtime's timer is no finer, either.
const CHEAP: Duration = Duration::from_millis(1);
/// A pause is this many times what a batch takes: a writer in company is at work a quarter of its time.
const FACTOR: u32 = 3;
/// Longest pause.
const LONGEST: Duration = Duration::from_millis(15);
/// Of what batches take and hold, as remembered, each one replaces this part.
const RENEWED: f64 = 0.125;
/// Of the size of the largest batch lately, each smaller one takes this part off. Batches vary by chance: forgotten sooner, a small
/// one would end pauses early, and so make the next one small.
const FORGOTTEN: f64 = 0.03;
/// Requests of a batch, on average, above which others come while one is waiting. A pair now and then is not worth the wait of all
/// who come alone.
const COMPANY: f64 = 1.3;

/// The pace of a writer: a batch at a time and, where the database is slow to answer and requests come in company, a pause after
/// each, so that more of them share the next one. It ends when as many have come as lately at most: callers that wait for their
/// answers are then all there, and nobody else would come.
#[derive(Debug, Default)]
pub(super) struct Pace {
    state: Mutex<State>,
    ended: Notify,
}

#[derive(Debug, Default)]
struct State {
    under_way: usize,
    /// Requests of the largest batch lately.
    most: f64,
    /// Requests of a batch lately, on average.
    mean: f64,
    /// What a batch took lately.
    took: Duration,
    /// When the pause after the last batch is over.
    resume: Option<Instant>,
}

/// What keeps a batch from being sent.
enum Obstacle {
    Another,
    Pause(Duration),
}

impl Pace {
    /// Answers when a batch of so many requests may be sent.
    pub(super) async fn free(&self, requests: usize) {
        loop {
            let ended = self.ended.notified();
            let obstacle = self.state().obstacle(requests, Instant::now());
            match obstacle {
                None => return,
                Some(Obstacle::Another) => ended.await,
                Some(Obstacle::Pause(pause)) => tokio::time::sleep(pause).await,
            }
        }
    }

    /// A batch is sent.
    pub(super) fn begin(&self) {
        self.state().under_way += 1;
    }

    /// A batch of so many requests is over.
    pub(super) fn end(&self, requests: usize, took: Duration) {
        self.state().end(requests, took, Instant::now());
        self.ended.notify_waiters();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    #[expect(clippy::cast_precision_loss, reason = "some hundreds")]
    fn obstacle(&self, requests: usize, now: Instant) -> Option<Obstacle> {
        if self.under_way > 0 {
            return Some(Obstacle::Another);
        }
        let pause = self.resume?.checked_duration_since(now)?;
        ((requests as f64) < self.most).then_some(Obstacle::Pause(pause))
    }

    #[expect(clippy::cast_precision_loss, reason = "some hundreds")]
    fn end(&mut self, requests: usize, took: Duration, now: Instant) {
        self.under_way = self.under_way.saturating_sub(1);
        self.most = (self.most * (1.0 - FORGOTTEN)).max(requests as f64);
        self.mean += (requests as f64 - self.mean) * RENEWED;
        self.took = self.took.mul_f64(1.0 - RENEWED) + took.mul_f64(RENEWED);
        let is_worth_it = self.mean > COMPANY && self.took >= CHEAP;
        self.resume = is_worth_it.then(|| now + (self.took * FACTOR).min(LONGEST));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SLOW: Duration = Duration::from_millis(4);

    fn after(batches: usize, requests: usize, took: Duration) -> (State, Instant) {
        let (mut state, now) = (State::default(), Instant::now());
        for _ in 0..batches {
            state.under_way += 1;
            state.end(requests, took, now);
        }
        (state, now)
    }

    fn pause(state: &State, requests: usize, now: Instant) -> Option<Duration> {
        match state.obstacle(requests, now) {
            Some(Obstacle::Pause(pause)) => Some(pause),
            Some(Obstacle::Another) => panic!("no other batch is under way"),
            None => None,
        }
    }

    #[test]
    fn a_pause_is_as_long_as_some_batches_and_ends_when_all_are_there() {
        let (state, now) = after(100, 10, SLOW);
        let left = pause(&state, 1, now).unwrap();
        assert!(left.abs_diff(SLOW * FACTOR) < Duration::from_micros(10), "{left:?}");
        assert!(pause(&state, 9, now).is_some());
        assert_eq!(pause(&state, 10, now), None);
        assert_eq!(pause(&state, 1, now + SLOW * FACTOR), None);
        let (state, now) = after(100, 10, SLOW * 100);
        assert_eq!(pause(&state, 1, now), Some(LONGEST));
    }

    #[test]
    fn nobody_waits_alone_or_for_a_quick_database_or_one_that_was_idle() {
        for (requests, took) in [(1, SLOW), (10, CHEAP / 2)] {
            let (state, now) = after(100, requests, took);
            assert_eq!(pause(&state, 1, now), None, "{requests} {took:?}");
        }
        let (state, now) = after(0, 0, SLOW);
        assert_eq!(pause(&state, 1, now), None);
    }

    #[test]
    fn a_pair_now_and_then_is_no_company() {
        let (mut state, now) = after(0, 0, SLOW);
        for nth in 0..1_000 {
            state.end(if nth % 10 == 0 { 2 } else { 1 }, SLOW, now);
            assert_eq!(pause(&state, 1, now), None, "{nth}");
        }
    }

    #[test]
    fn company_that_is_gone_is_forgotten() {
        let (mut state, now) = after(10, 10, SLOW);
        let alone = (0..1_000).take_while(|_| {
            state.end(1, SLOW, now);
            pause(&state, 1, now).is_some()
        });
        let alone = alone.count();
        assert!((20..100).contains(&alone), "{alone}");
    }

    #[test]
    fn one_under_way_keeps_the_next_back_however_many_there_are() {
        let (mut state, now) = after(10, 10, SLOW);
        state.under_way = 1;
        assert!(matches!(state.obstacle(100, now), Some(Obstacle::Another)));
    }
}
