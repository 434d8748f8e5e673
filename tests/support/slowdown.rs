//! How much slower than alone this machine works now. A promise of the service in seconds is one of a machine that is not
//! overloaded, so tests stretch it by this.

use std::sync::{LazyLock, Mutex};
use std::time::{Duration, Instant};

const EVERY: Duration = Duration::from_millis(50);

struct Sample {
    at: Instant,
    /// Processes that want a processor, for each that there is.
    demand: f64,
    /// How much later this sample was taken than it should have been.
    late: Duration,
}

static SAMPLES: LazyLock<Mutex<Vec<Sample>>> = LazyLock::new(|| {
    std::thread::spawn(|| {
        let processors = f64::from(u32::try_from(std::thread::available_parallelism().unwrap().get()).unwrap());
        loop {
            let asleep = Instant::now();
            std::thread::sleep(EVERY);
            let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
            let running = load.split([' ', '/']).nth(3).and_then(|running| running.parse::<f64>().ok());
            let demand = running.unwrap_or(1.0) / processors;
            let late = asleep.elapsed().saturating_sub(EVERY);
            SAMPLES.lock().unwrap().push(Sample { at: Instant::now(), demand, late });
        }
    });
    Mutex::default()
});

/// Watches from now on.
pub(crate) struct Slowdown(Instant);

impl Slowdown {
    pub(crate) fn watch() -> Self {
        LazyLock::force(&SAMPLES);
        Self(Instant::now())
    }

    /// What a time on a machine of one's own has become since then: times the greatest demand for processors, and more by
    /// what the machine stood still. On an idle machine the same.
    pub(crate) fn stretch(&self, time: Duration) -> Duration {
        let samples = SAMPLES.lock().unwrap();
        let since = || samples.iter().rev().take_while(|sample| sample.at >= self.0);
        let demand = since().map(|sample| sample.demand).fold(1.0, f64::max);
        let late = since().map(|sample| sample.late).max().unwrap_or_default();
        time.mul_f64(demand) + 10 * late
    }
}
