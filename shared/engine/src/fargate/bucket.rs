//! How fast tasks are launched: a token bucket whose rate falls by half when ECS throttles and grows by one a
//! second otherwise (AIMD, aws.md 5).

/// Limits of an account and region (aws.md 2.4).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rate {
    /// Launches per second, sustained.
    pub per_second: f64,
    /// Launches at once after a pause.
    pub burst: f64,
}

impl Default for Rate {
    /// Fargate's: 20 a second, 100 at once.
    fn default() -> Self {
        Self {
            per_second: 20.0,
            burst: 100.0,
        }
    }
}

/// Never slower than this, so that a bucket recovers.
const SLOWEST: f64 = 0.5;

/// A token bucket. Each process has its own; the number of processes is limited by the event source.
#[derive(Debug, Clone)]
pub struct Bucket {
    limit: Rate,
    rate: f64,
    tokens: f64,
    seen_ms: u64,
    raised_ms: u64,
}

impl Bucket {
    /// A full bucket.
    #[must_use]
    pub const fn new(limit: Rate, now_ms: u64) -> Self {
        Self {
            limit,
            rate: limit.per_second,
            tokens: limit.burst,
            seen_ms: now_ms,
            raised_ms: now_ms,
        }
    }

    /// Takes a token; if there is none, the milliseconds after which there will be one.
    pub fn take(&mut self, now_ms: u64) -> Result<(), u64> {
        let seconds = seconds(now_ms.saturating_sub(self.seen_ms));
        self.seen_ms = self.seen_ms.max(now_ms);
        self.tokens = (self.tokens + seconds * self.rate).min(self.limit.burst);
        if self.tokens >= 1.0 {
            self.tokens -= 1.0;
            return Ok(());
        }
        let missing = (1.0 - self.tokens) / self.rate * 1000.0;
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "between 0 and 2000"
        )]
        Err(missing.ceil() as u64)
    }

    /// ECS throttled: half as fast, and nothing at once.
    pub fn throttled(&mut self, now_ms: u64) {
        self.rate = (self.rate / 2.0).max(SLOWEST);
        self.tokens = 0.0;
        self.raised_ms = now_ms;
    }

    /// ECS took a launch: a little faster, up to the limit.
    pub fn launched(&mut self, now_ms: u64) {
        let seconds = seconds(now_ms.saturating_sub(self.raised_ms));
        self.raised_ms = self.raised_ms.max(now_ms);
        self.rate = (self.rate + seconds).min(self.limit.per_second);
    }

    /// Launches per second at present.
    #[must_use]
    pub const fn rate(&self) -> f64 {
        self.rate
    }
}

#[allow(
    clippy::cast_precision_loss,
    reason = "milliseconds between two launches"
)]
fn seconds(ms: u64) -> f64 {
    ms as f64 / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_then_the_rate() {
        let mut bucket = Bucket::new(Rate::default(), 0);
        let at_once = (0..200).filter(|_| bucket.take(0).is_ok()).count();
        assert_eq!(at_once, 100);
        assert_eq!(bucket.take(0), Err(50));
        let later = (0..200).filter(|_| bucket.take(1_000).is_ok()).count();
        assert_eq!(later, 20);
    }

    #[test]
    fn throttling_halves_the_rate_and_time_restores_it() {
        let mut bucket = Bucket::new(Rate::default(), 0);
        bucket.throttled(0);
        bucket.throttled(0);
        assert!((bucket.rate() - 5.0).abs() < 1e-9);
        assert!(bucket.take(0).is_err());
        bucket.launched(3_000);
        assert!((bucket.rate() - 8.0).abs() < 1e-9);
        bucket.launched(60_000);
        assert!((bucket.rate() - 20.0).abs() < 1e-9);
        for _ in 0..20 {
            bucket.throttled(60_000);
        }
        assert!(bucket.rate() >= SLOWEST);
    }
}
