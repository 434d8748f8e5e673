//! Processor time and memory of those that take part.

use anyhow::{Context as _, Result};
use procfs::process::{Process, Stat, all_processes};

/// Whose time is read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Meter {
    pub(crate) service: i32,
    /// The first process of PostgreSQL; the others are its children.
    pub(crate) postgres: i32,
    pub(crate) redis: i32,
}

/// Processor seconds, user and system.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Cpu {
    pub(crate) service: f64,
    pub(crate) postgres: f64,
    pub(crate) redis: f64,
    /// Of the driver's children that have ended: between two looks around a run of wrk, wrk.
    pub(crate) loader: f64,
}

impl Cpu {
    /// What was used between an earlier look and this one.
    pub(crate) fn since(self, then: Self) -> Self {
        Self {
            service: self.service - then.service,
            postgres: self.postgres - then.postgres,
            redis: self.redis - then.redis,
            loader: self.loader - then.loader,
        }
    }

    /// All of it.
    pub(crate) fn sum(self) -> f64 {
        self.service + self.postgres + self.redis + self.loader
    }
}

impl Meter {
    /// What was used up to now.
    ///
    /// # Errors
    /// When one of the processes is gone.
    pub(crate) fn read(self) -> Result<Cpu> {
        let postgres = stat(self.postgres)?;
        let backends = all_processes()?.flatten().filter_map(|process| process.stat().ok());
        let backends: f64 = backends.filter(|stat| stat.ppid == self.postgres).map(|stat| own(&stat)).sum();
        Ok(Cpu {
            service: own(&stat(self.service)?),
            // A backend that ends hands its time over to its parent, so that the sum only grows.
            postgres: own(&postgres) + ended(&postgres) + backends,
            redis: own(&stat(self.redis)?),
            loader: ended(&Process::myself()?.stat()?),
        })
    }

    /// Bytes of memory that the service holds.
    ///
    /// # Errors
    /// When it is gone.
    pub(crate) fn resident(self) -> Result<u64> {
        Ok(stat(self.service)?.rss * procfs::page_size())
    }
}

fn stat(pid: i32) -> Result<Stat> {
    let stat = Process::new(pid).and_then(|process| process.stat());
    stat.with_context(|| format!("process {pid} cannot be measured"))
}

#[expect(clippy::cast_precision_loss, reason = "exact up to 2^53 ticks")]
fn own(stat: &Stat) -> f64 {
    (stat.utime + stat.stime) as f64 / procfs::ticks_per_second() as f64
}

#[expect(clippy::cast_precision_loss, reason = "exact up to 2^53 ticks")]
fn ended(stat: &Stat) -> f64 {
    (stat.cutime + stat.cstime) as f64 / procfs::ticks_per_second() as f64
}
