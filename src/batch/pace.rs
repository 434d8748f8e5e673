//! Adaptive batching: when a writer sends a batch that is not full.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

/// Batches that commit faster are too cheap to wait for; the runtime's timer is no finer either.
const CHEAP: Duration = Duration::from_millis(1);
/// The batch window is this many times the duration of a batch: a writer with concurrent callers commits a quarter of its time.
const FACTOR: u32 = 3;
/// Upper bound of the batch window.
const MAX_WINDOW: Duration = Duration::from_millis(15);
/// Weight of the newest batch in the moving averages.
const WEIGHT: f64 = 0.125;
/// Decay of the recent maximum of the batch size with each smaller batch. Batch sizes vary: with a faster decay, a small batch
/// would end windows early and so make the next batch small.
const DECAY: f64 = 0.03;
/// Average requests of a batch above which a window is worthwhile. An occasional pair does not justify a delay for all
/// single requests.
const MIN_AVERAGE: f64 = 1.3;

/// Limits a writer to one small batch at a time. Where commits are slow and requests arrive concurrently, a batch window follows
/// each batch, so that more requests share the next one. It ends early when as many requests wait as in the largest recent
/// batch: then all callers of a closed loop are waiting, and no other request would arrive.
#[derive(Debug, Default)]
pub(super) struct Pace {
    state: Mutex<State>,
    ended: Notify,
}

#[derive(Debug, Default)]
struct State {
    in_flight: usize,
    /// Requests of the largest recent batch.
    max: f64,
    /// Moving average of the requests of a batch.
    mean: f64,
    /// Moving average of the duration of a batch.
    took: Duration,
    /// When the batch window ends.
    window_ends: Option<Instant>,
}

/// Why a batch is not sent yet.
enum Obstacle {
    InFlight,
    Window(Duration),
}

impl Pace {
    /// Returns when a batch of this many requests may be sent.
    pub(super) async fn free(&self, requests: usize) {
        loop {
            let ended = self.ended.notified();
            let obstacle = self.state().obstacle(requests, Instant::now());
            match obstacle {
                None => return,
                Some(Obstacle::InFlight) => ended.await,
                Some(Obstacle::Window(left)) => tokio::time::sleep(left).await,
            }
        }
    }

    /// Counts a batch as sent.
    pub(super) fn begin(&self) {
        self.state().in_flight += 1;
    }

    /// Counts a batch of this many requests as done.
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
        if self.in_flight > 0 {
            return Some(Obstacle::InFlight);
        }
        let left = self.window_ends?.checked_duration_since(now)?;
        ((requests as f64) < self.max).then_some(Obstacle::Window(left))
    }

    #[expect(clippy::cast_precision_loss, reason = "some hundreds")]
    fn end(&mut self, requests: usize, took: Duration, now: Instant) {
        self.in_flight = self.in_flight.saturating_sub(1);
        self.max = (self.max * (1.0 - DECAY)).max(requests as f64);
        self.mean += (requests as f64 - self.mean) * WEIGHT;
        self.took = self.took.mul_f64(1.0 - WEIGHT) + took.mul_f64(WEIGHT);
        let is_worthwhile = self.mean > MIN_AVERAGE && self.took >= CHEAP;
        self.window_ends = is_worthwhile.then(|| now + (self.took * FACTOR).min(MAX_WINDOW));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SLOW: Duration = Duration::from_millis(4);

    fn after(batches: usize, requests: usize, took: Duration) -> (State, Instant) {
        let (mut state, now) = (State::default(), Instant::now());
        for _ in 0..batches {
            state.in_flight += 1;
            state.end(requests, took, now);
        }
        (state, now)
    }

    fn window(state: &State, requests: usize, now: Instant) -> Option<Duration> {
        match state.obstacle(requests, now) {
            Some(Obstacle::Window(left)) => Some(left),
            Some(Obstacle::InFlight) => panic!("no other batch is in flight"),
            None => None,
        }
    }

    #[test]
    fn a_pause_is_as_long_as_some_batches_and_ends_when_all_are_there() {
        let (state, now) = after(100, 10, SLOW);
        let left = window(&state, 1, now).unwrap();
        assert!(left.abs_diff(SLOW * FACTOR) < Duration::from_micros(10), "{left:?}");
        assert!(window(&state, 9, now).is_some());
        assert_eq!(window(&state, 10, now), None);
        assert_eq!(window(&state, 1, now + SLOW * FACTOR), None);
        let (state, now) = after(100, 10, SLOW * 100);
        assert_eq!(window(&state, 1, now), Some(MAX_WINDOW));
    }

    #[test]
    fn nobody_waits_alone_or_for_a_quick_database_or_one_that_was_idle() {
        for (requests, took) in [(1, SLOW), (10, CHEAP / 2)] {
            let (state, now) = after(100, requests, took);
            assert_eq!(window(&state, 1, now), None, "{requests} {took:?}");
        }
        let (state, now) = after(0, 0, SLOW);
        assert_eq!(window(&state, 1, now), None);
    }

    #[test]
    fn a_pair_now_and_then_is_no_company() {
        let (mut state, now) = after(0, 0, SLOW);
        for nth in 0..1_000 {
            state.end(if nth % 10 == 0 { 2 } else { 1 }, SLOW, now);
            assert_eq!(window(&state, 1, now), None, "{nth}");
        }
    }

    #[test]
    fn company_that_is_gone_is_forgotten() {
        let (mut state, now) = after(10, 10, SLOW);
        let alone = (0..1_000).take_while(|_| {
            state.end(1, SLOW, now);
            window(&state, 1, now).is_some()
        });
        let alone = alone.count();
        assert!((20..100).contains(&alone), "{alone}");
    }

    #[test]
    fn one_in_flight_keeps_the_next_back_however_many_there_are() {
        let (mut state, now) = after(10, 10, SLOW);
        state.in_flight = 1;
        assert!(matches!(state.obstacle(100, now), Some(Obstacle::InFlight)));
    }
}
