//! Starts attempts so that what runs fits into the machine.
//!
//! Invariant: the resources of running attempts never exceed [`Limits`], and are given back whatever
//! happens to the attempt: success, failure, panic, or a caller that goes away.

mod queue;

use std::collections::HashMap;
use std::fs;
use std::future::Future;
use std::num::NonZero;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::available_parallelism;

use operon_core::exec::Reason;
use operon_engine::ports::{AttemptId, AttemptSpec};
use tokio::sync::oneshot;

use queue::{Free, Needs, Place, Queue};

/// Assumed where the machine does not tell: 4 GiB.
const MEMORY_MIB_DEFAULT: u32 = 4096;

/// What attempts may use together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Thousandths of a CPU.
    pub cpu_milli: u32,
    /// Mebibytes.
    pub memory_mib: u32,
    /// Attempts at once, whatever they need (`--max-parallel`); none means as many as fit.
    pub max_parallel: Option<u32>,
}

impl Limits {
    /// All of this machine: its CPUs (as far as this process may use them) and its memory.
    #[must_use]
    pub fn of_machine() -> Self {
        let cpus = available_parallelism().map_or(1, NonZero::get);
        let memory_mib = fs::read_to_string("/proc/meminfo")
            .ok()
            .and_then(|text| memory_total_mib(&text));
        Self {
            cpu_milli: u32::try_from(cpus).unwrap_or(1).saturating_mul(1000),
            memory_mib: memory_mib.unwrap_or(MEMORY_MIB_DEFAULT),
            max_parallel: None,
        }
    }
}

fn memory_total_mib(text: &str) -> Option<u32> {
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    u32::try_from(kib / 1024).ok()
}

/// Why an attempt was not started.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DispatchError {
    /// It never can be; the task run fails with `Reason::Launch`.
    #[error(
        "the task needs {needs} and this machine offers {has}; lower `resources` of the task, or run it on a larger machine"
    )]
    TooLarge {
        /// Such as `8 CPUs`.
        needs: String,
        /// Such as `2 CPUs`.
        has: String,
    },
    /// [`Dispatcher::cancel`] was called while it waited.
    #[error("the attempt was cancelled before it started")]
    Cancelled,
    /// The same attempt waits or runs already.
    #[error("the attempt was dispatched before")]
    Duplicate,
}

impl DispatchError {
    /// What the core is told.
    #[must_use]
    pub const fn reason(&self) -> Reason {
        match self {
            Self::TooLarge { .. } | Self::Duplicate => Reason::Launch,
            Self::Cancelled => Reason::Kill,
        }
    }
}

type Grant = oneshot::Sender<()>;

struct Inner {
    limits: Limits,
    state: Mutex<State>,
}

struct State {
    queue: Queue<(AttemptId, Grant)>,
    entries: HashMap<AttemptId, Entry>,
    running: usize,
}

/// One attempt that waits or runs.
#[derive(Clone, Copy)]
struct Entry {
    needs: Needs,
    /// Unique, also among attempts of the past.
    place: Place,
    runs: bool,
}

/// Starts attempts in order of priority, rank and arrival; see the module `queue` for the exact rule. Cheap
/// to clone.
#[derive(Clone)]
pub struct Dispatcher {
    inner: Arc<Inner>,
}

impl Dispatcher {
    /// A dispatcher over these limits.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        let free = Free {
            cpu_milli: limits.cpu_milli,
            memory_mib: limits.memory_mib,
            places: limits.max_parallel.unwrap_or(u32::MAX),
        };
        let state = State {
            queue: Queue::new(free),
            entries: HashMap::new(),
            running: 0,
        };
        Self {
            inner: Arc::new(Inner {
                limits,
                state: Mutex::new(state),
            }),
        }
    }

    /// Waits for the attempt's turn, then runs what `start` gives. Dropping the future gives everything
    /// back.
    pub async fn run<T, F, Fut>(&self, spec: AttemptSpec, start: F) -> Result<T, DispatchError>
    where
        F: FnOnce(AttemptSpec) -> Fut,
        Fut: Future<Output = T>,
    {
        let _permit = self.admit(&spec).await?;
        Ok(start(spec).await)
    }

    /// Waits for the attempt's turn. It runs until the permit is dropped.
    pub async fn admit(&self, spec: &AttemptSpec) -> Result<Permit, DispatchError> {
        let needs = self.needs(spec)?;
        let (grant, granted) = oneshot::channel();
        let permit = self.inner.enter(spec, needs, grant)?;
        match granted.await {
            Ok(()) => Ok(permit),
            Err(_) => Err(DispatchError::Cancelled),
        }
    }

    /// Takes a waiting attempt out; false when it does not wait (it runs, ended, or never came).
    #[must_use]
    pub fn cancel(&self, id: &AttemptId) -> bool {
        let mut state = self.inner.state();
        let Some(entry) = state.entries.get(id).copied().filter(|entry| !entry.runs) else {
            return false;
        };
        state.entries.remove(id);
        // Dropping the grant tells the one who waits.
        let gone = state.queue.remove(entry.needs, entry.place).is_some();
        state.start();
        gone
    }

    /// Attempts that wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.inner.state().queue.waiting()
    }

    /// Attempts that run.
    #[must_use]
    pub fn running(&self) -> usize {
        self.inner.state().running
    }

    fn needs(&self, spec: &AttemptSpec) -> Result<Needs, DispatchError> {
        let needs = Needs {
            cpu_milli: spec.resources.cpu_milli,
            memory_mib: spec.resources.memory_mib,
        };
        let limits = self.inner.limits;
        if needs.cpu_milli > limits.cpu_milli {
            return Err(DispatchError::TooLarge {
                needs: cpus(needs.cpu_milli),
                has: cpus(limits.cpu_milli),
            });
        }
        if needs.memory_mib > limits.memory_mib {
            return Err(DispatchError::TooLarge {
                needs: format!("{} MiB of memory", needs.memory_mib),
                has: format!("{} MiB", limits.memory_mib),
            });
        }
        Ok(needs)
    }
}

fn cpus(milli: u32) -> String {
    format!("{} CPUs", f64::from(milli) / 1000.0)
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn enter(
        self: &Arc<Self>,
        spec: &AttemptSpec,
        needs: Needs,
        grant: Grant,
    ) -> Result<Permit, DispatchError> {
        let mut state = self.state();
        if state.entries.contains_key(&spec.id) {
            return Err(DispatchError::Duplicate);
        }
        let who = (spec.id.clone(), grant);
        let place = state.queue.push(needs, spec.priority, spec.rank, who);
        let entry = Entry {
            needs,
            place,
            runs: false,
        };
        state.entries.insert(spec.id.clone(), entry);
        state.start();
        Ok(Permit {
            inner: self.clone(),
            id: spec.id.clone(),
            place,
        })
    }
}

impl State {
    /// Starts whatever may start.
    fn start(&mut self) {
        while let Some((_, _, (id, grant))) = self.queue.start() {
            self.running += 1;
            if let Some(entry) = self.entries.get_mut(&id) {
                entry.runs = true;
            }
            // Nobody listens any more: then the permit is being dropped, and gives everything back.
            let _ = grant.send(());
        }
    }
}

/// The right to run; a place in the queue until it is granted. Gives everything back when it is dropped.
pub struct Permit {
    inner: Arc<Inner>,
    id: AttemptId,
    place: Place,
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut state = self.inner.state();
        let ours = |entry: &&Entry| entry.place == self.place;
        let Some(entry) = state.entries.get(&self.id).filter(ours).copied() else {
            return;
        };
        state.entries.remove(&self.id);
        if entry.runs {
            state.running -= 1;
            state.queue.release(entry.needs);
        } else {
            state.queue.remove(entry.needs, entry.place);
        }
        state.start();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use std::sync::atomic::{AtomicU32, Ordering};
    use std::time::Duration;

    use super::*;
    use crate::runner::testing::shell;

    fn spec(slot: u16, cpu_milli: u32) -> AttemptSpec {
        let mut spec = shell(slot, "true");
        spec.resources.cpu_milli = cpu_milli;
        spec
    }

    fn limits(cpu_milli: u32) -> Limits {
        Limits {
            cpu_milli,
            memory_mib: 1000,
            max_parallel: None,
        }
    }

    #[test]
    fn the_machine_has_something() {
        let limits = Limits::of_machine();
        assert!(limits.cpu_milli >= 1000 && limits.memory_mib > 0);
        assert_eq!(
            memory_total_mib("MemTotal:  2048 kB\nMemFree: 1 kB"),
            Some(2)
        );
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn never_more_than_the_limits_at_once() {
        let dispatcher = Dispatcher::new(limits(1000));
        let (now, most): (Arc<AtomicU32>, Arc<AtomicU32>) = Default::default();
        let mut all = Vec::new();
        for slot in 0..200 {
            let (dispatcher, now, most) = (dispatcher.clone(), now.clone(), most.clone());
            all.push(tokio::spawn(async move {
                let needs = 100 * u32::from(1 + slot % 7);
                let work = |_| async move {
                    let used = now.fetch_add(needs, Ordering::SeqCst) + needs;
                    most.fetch_max(used, Ordering::SeqCst);
                    tokio::time::sleep(Duration::from_millis(1)).await;
                    now.fetch_sub(needs, Ordering::SeqCst);
                };
                dispatcher.run(spec(slot, needs), work).await.unwrap();
            }));
        }
        for one in all {
            one.await.unwrap();
        }
        let most = most.load(Ordering::SeqCst);
        assert!((700..=1000).contains(&most), "{most}");
        assert_eq!((dispatcher.running(), dispatcher.waiting()), (0, 0));
    }

    #[tokio::test]
    async fn what_can_never_run_fails_at_once() {
        let dispatcher = Dispatcher::new(limits(2000));
        let refused = dispatcher.admit(&spec(1, 8000)).await.err().unwrap();
        let message = refused.to_string();
        assert!(
            message.contains("8 CPUs") && message.contains("2 CPUs"),
            "{message}"
        );
        let mut large = spec(2, 100);
        large.resources.memory_mib = 4000;
        let refused = dispatcher.admit(&large).await.err().unwrap();
        assert!(refused.to_string().contains("4000 MiB"));
    }

    #[tokio::test]
    async fn a_waiting_attempt_can_be_cancelled_and_a_running_one_cannot() {
        let dispatcher = Dispatcher::new(limits(1000));
        let first = dispatcher.admit(&spec(1, 1000)).await.unwrap();
        let waits = {
            let dispatcher = dispatcher.clone();
            tokio::spawn(async move { dispatcher.admit(&spec(2, 1000)).await.err() })
        };
        while dispatcher.waiting() == 0 {
            tokio::task::yield_now().await;
        }
        let again = dispatcher.admit(&spec(2, 1000)).await.err();
        assert_eq!(again, Some(DispatchError::Duplicate));
        assert!(!dispatcher.cancel(&spec(1, 0).id));
        assert!(dispatcher.cancel(&spec(2, 0).id));
        assert_eq!(waits.await.unwrap(), Some(DispatchError::Cancelled));
        assert!(!dispatcher.cancel(&spec(2, 0).id));
        drop(first);
        assert_eq!((dispatcher.running(), dispatcher.waiting()), (0, 0));
    }

    #[tokio::test]
    async fn who_goes_away_gives_everything_back() {
        let dispatcher = Dispatcher::new(limits(1000));
        let first = dispatcher.admit(&spec(1, 1000)).await.unwrap();
        let second = spec(2, 1000);
        let waits = dispatcher.admit(&second);
        let late = tokio::time::timeout(Duration::from_millis(5), waits).await;
        assert!(late.is_err());
        assert_eq!(dispatcher.waiting(), 0);
        // Granted, but never looked at.
        let mut waits = Box::pin(dispatcher.admit(&second));
        assert!(futures_util::poll!(waits.as_mut()).is_pending());
        drop(first);
        assert_eq!(dispatcher.running(), 1);
        drop(waits);
        assert_eq!((dispatcher.running(), dispatcher.waiting()), (0, 0));
        let clone = dispatcher.clone();
        let boom = tokio::spawn(async move {
            let panics = |_| async { panic!("boom") };
            clone.run::<(), _, _>(spec(3, 1000), panics).await
        });
        assert!(boom.await.is_err());
        assert_eq!(dispatcher.running(), 0);
    }
}
