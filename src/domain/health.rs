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
}
