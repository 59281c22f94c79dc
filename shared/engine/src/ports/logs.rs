//! Reading logs of attempts, whoever wrote them: files of this machine, or a log service.

use async_trait::async_trait;

use super::{AttemptId, LogLine, StoreError};

/// Lines of one page at most.
pub const LOG_PAGE_MAX: usize = 5000;

/// Lines of an attempt's log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogLines {
    /// Ascending by their numbers.
    pub lines: Vec<LogLine>,
    /// The log has ended, and nothing follows these lines.
    pub ended: bool,
}

/// Reads what a [`super::LogSink`] took. An attempt that logged nothing has an empty log.
#[async_trait]
pub trait LogReader: Send + Sync {
    /// At most `limit` lines ([`LOG_PAGE_MAX`] at the most) from number `from` on.
    async fn read(
        &self,
        attempt: &AttemptId,
        from: u64,
        limit: usize,
    ) -> Result<LogLines, StoreError>;
    /// The last `count` lines before number `before`; before the end without it.
    async fn tail(
        &self,
        attempt: &AttemptId,
        before: Option<u64>,
        count: usize,
    ) -> Result<LogLines, StoreError>;
}
