//! States of the parts that the service depends on.

/// State of Redis, by the last calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RedisStatus {
    /// Not configured.
    Disabled,
    /// It answers.
    Up,
    /// It does not answer; requests are served without it.
    Down,
    /// It answers and refuses writes, for this reason: no session is opened or closed.
    RefusesWrites(&'static str),
}

/// State of the target of exported months, by the last look at it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExportsStatus {
    /// Not configured: months are dropped without an export.
    Disabled,
    /// Not looked at yet.
    Unknown,
    /// It is initialised.
    Ready,
    /// It is not initialised, not mounted, or does not answer: no month is dropped.
    Unavailable,
}
