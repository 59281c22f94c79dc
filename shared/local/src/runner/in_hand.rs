//! The attempts this engine is busy with, and how the latest ones ended.
//!
//! Invariant: an attempt is entered before it is claimed, so a stop always finds it.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use operon_core::exec::{Outcome, Truth};
use operon_engine::ports::AttemptId;
use tokio::sync::watch;

/// Outcomes remembered for probes: a probe may overtake the result.
const RECENT_MAX: usize = 10_000;

/// See the module.
#[derive(Default)]
pub(crate) struct InHand {
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    running: HashMap<AttemptId, Arc<Running>>,
    recent: HashMap<AttemptId, Outcome>,
    recent_order: VecDeque<AttemptId>,
}

struct Running {
    stop: watch::Sender<bool>,
    done: watch::Sender<bool>,
}

impl InHand {
    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Enters an attempt; none when it is here already. The receiver becomes true when it must stop.
    pub(crate) fn enter(self: &Arc<Self>, id: &AttemptId) -> Option<(Held, watch::Receiver<bool>)> {
        let mut table = self.table();
        if table.running.contains_key(id) {
            return None;
        }
        let (stop, stopped) = watch::channel(false);
        let running = Running {
            stop,
            done: watch::channel(false).0,
        };
        table.running.insert(id.clone(), Arc::new(running));
        let held = Held {
            all: self.clone(),
            id: id.clone(),
            outcome: None,
        };
        Some((held, stopped))
    }

    /// Has an attempt stop, and waits until it has; false when it is not here.
    pub(crate) async fn stop(&self, id: &AttemptId) -> bool {
        let running = self.table().running.get(id).cloned();
        let Some(running) = running else {
            return false;
        };
        let mut done = running.done.subscribe();
        running.stop.send_replace(true);
        // An error means that the sender is gone, which is the end as well.
        let _ = done.wait_for(|done| *done).await;
        true
    }

    /// What is known of an attempt here.
    pub(crate) fn truth(&self, id: &AttemptId) -> Option<Truth> {
        let table = self.table();
        if table.running.contains_key(id) {
            return Some(Truth::Alive);
        }
        table.recent.get(id).copied().map(Truth::Ended)
    }

    /// The attempts that are here.
    pub(crate) fn ids(&self) -> HashSet<AttemptId> {
        self.table().running.keys().cloned().collect()
    }

    fn leave(&self, id: &AttemptId, outcome: Option<Outcome>) {
        let mut table = self.table();
        if let Some(outcome) = outcome
            && table.recent.insert(id.clone(), outcome).is_none()
        {
            table.recent_order.push_back(id.clone());
            if table.recent_order.len() > RECENT_MAX
                && let Some(oldest) = table.recent_order.pop_front()
            {
                table.recent.remove(&oldest);
            }
        }
        if let Some(running) = table.running.remove(id) {
            running.done.send_replace(true);
        }
    }
}

/// One attempt in hand; leaves when it is dropped, whatever happened.
pub(crate) struct Held {
    all: Arc<InHand>,
    id: AttemptId,
    outcome: Option<Outcome>,
}

impl Held {
    /// Remembers how it ended.
    pub(crate) const fn ended(&mut self, outcome: Outcome) {
        self.outcome = Some(outcome);
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.all.leave(&self.id, self.outcome);
    }
}
