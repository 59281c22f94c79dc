//! Who waits and who may start: the rule, without waiting or waking.
//!
//! Attempts are ordered by priority (larger first), then rank (longer way to the end first), then arrival.
//! The first in that order that fits into what is free starts. So a small attempt may pass a large one at
//! the head; once the head has been passed [`PASSED_MAX`] times, nothing else starts until it has: it waits
//! at most for what runs then.
//!
//! Invariant: what runs never needs more than the limits.
//! Invariant: every operation takes logarithmic time. Waiting attempts of the same needs form one line, and
//! only the heads of lines are looked at, at most [`LINES_LOOKED_AT`] of them.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// How often the head may be passed.
pub(super) const PASSED_MAX: u32 = 32;
/// Lines of waiting attempts that are looked at for one that fits.
const LINES_LOOKED_AT: usize = 64;

/// What an attempt takes while it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Needs {
    /// Thousandths of a CPU.
    pub(super) cpu_milli: u32,
    /// Mebibytes.
    pub(super) memory_mib: u32,
}

/// Place in the order: smaller starts first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Place {
    priority: Reverse<i32>,
    rank: Reverse<u32>,
    arrival: u64,
}

/// What is free of the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Free {
    pub(super) cpu_milli: u32,
    pub(super) memory_mib: u32,
    pub(super) places: u32,
}

impl Free {
    const fn holds(self, needs: Needs) -> bool {
        self.places > 0 && needs.cpu_milli <= self.cpu_milli && needs.memory_mib <= self.memory_mib
    }

    const fn take(&mut self, needs: Needs) {
        self.cpu_milli -= needs.cpu_milli;
        self.memory_mib -= needs.memory_mib;
        self.places -= 1;
    }
}

struct Waiting<T> {
    passed: u32,
    who: T,
}

/// The waiting attempts; `T` is what is given back when one starts.
pub(super) struct Queue<T> {
    free: Free,
    lines: HashMap<Needs, BTreeMap<Place, Waiting<T>>>,
    heads: BTreeSet<(Place, Needs)>,
    arrivals: u64,
    waiting: usize,
}

impl<T> Queue<T> {
    pub(super) fn new(free: Free) -> Self {
        Self {
            free,
            lines: HashMap::new(),
            heads: BTreeSet::new(),
            arrivals: 0,
            waiting: 0,
        }
    }

    /// How many wait.
    pub(super) const fn waiting(&self) -> usize {
        self.waiting
    }

    /// What is free now.
    #[cfg(test)]
    pub(super) const fn free(&self) -> Free {
        self.free
    }

    /// Lets an attempt wait. It must fit into the empty machine.
    pub(super) fn push(&mut self, needs: Needs, priority: i32, rank: u32, who: T) -> Place {
        self.arrivals += 1;
        let place = Place {
            priority: Reverse(priority),
            rank: Reverse(rank),
            arrival: self.arrivals,
        };
        let line = self.lines.entry(needs).or_default();
        let head = line.keys().next().copied();
        line.insert(place, Waiting { passed: 0, who });
        self.waiting += 1;
        self.new_head(needs, head);
        place
    }

    /// Takes a waiting attempt out; none when it does not wait.
    pub(super) fn remove(&mut self, needs: Needs, place: Place) -> Option<T> {
        let line = self.lines.get_mut(&needs)?;
        let head = line.keys().next().copied();
        let gone = line.remove(&place)?;
        self.waiting -= 1;
        self.new_head(needs, head);
        Some(gone.who)
    }

    /// The next that may start; what it needs is taken.
    pub(super) fn start(&mut self) -> Option<(Needs, Place, T)> {
        let &(first, first_needs) = self.heads.first()?;
        let chosen = if self.free.holds(first_needs) {
            (first, first_needs)
        } else {
            let line = self.lines.get_mut(&first_needs)?;
            let head = line.get_mut(&first)?;
            if head.passed >= PASSED_MAX {
                return None;
            }
            let looked_at = self.heads.iter().take(LINES_LOOKED_AT);
            let chosen = *looked_at
                .clone()
                .find(|(_, needs)| self.free.holds(*needs))?;
            head.passed += 1;
            chosen
        };
        let (place, needs) = chosen;
        let who = self.remove(needs, place)?;
        self.free.take(needs);
        Some((needs, place, who))
    }

    /// Gives back what a started attempt took.
    pub(super) const fn release(&mut self, needs: Needs) {
        self.free.cpu_milli += needs.cpu_milli;
        self.free.memory_mib += needs.memory_mib;
        self.free.places += 1;
    }

    /// Keeps `heads` true after a change of a line whose head was `before`.
    fn new_head(&mut self, needs: Needs, before: Option<Place>) {
        let now = self
            .lines
            .get(&needs)
            .and_then(|line| line.keys().next().copied());
        if now == before {
            return;
        }
        if let Some(before) = before {
            self.heads.remove(&(before, needs));
        }
        match now {
            Some(now) => {
                self.heads.insert((now, needs));
            }
            None => {
                self.lines.remove(&needs);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use std::time::{Duration, Instant};

    use proptest::prelude::*;

    use super::*;

    const FREE: Free = Free {
        cpu_milli: 4000,
        memory_mib: 8000,
        places: 6,
    };

    fn needs(cpu_milli: u32, memory_mib: u32) -> Needs {
        Needs {
            cpu_milli,
            memory_mib,
        }
    }

    #[test]
    fn priority_then_rank_then_arrival() {
        let mut queue = Queue::new(Free { places: 1, ..FREE });
        let one = needs(100, 0);
        for (priority, rank, name) in [
            (0, 1, "d"),
            (0, 9, "c"),
            (5, 0, "a"),
            (0, 1, "e"),
            (5, 0, "b"),
        ] {
            queue.push(one, priority, rank, name);
        }
        let mut order = String::new();
        while let Some((needs, _, name)) = queue.start() {
            order.push_str(name);
            queue.release(needs);
        }
        assert_eq!(order, "abcde");
        assert_eq!(queue.waiting(), 0);
    }

    #[test]
    fn a_large_one_is_passed_a_bounded_number_of_times() {
        let mut queue = Queue::new(FREE);
        let small = needs(1000, 0);
        queue.push(small, 0, 0, "first");
        assert_eq!(queue.start().unwrap().2, "first");
        queue.push(needs(4000, 0), 1, 0, "large");
        for _ in 0..1000 {
            queue.push(small, 0, 0, "small");
        }
        let mut passed = 0;
        // One small one always runs, so the large one never fits by luck.
        while let Some((_, _, who)) = queue.start() {
            assert_eq!(who, "small");
            passed += 1;
            queue.release(small);
        }
        assert_eq!(passed, PASSED_MAX);
        queue.release(small);
        assert_eq!(queue.start().unwrap().2, "large");
    }

    #[test]
    fn a_hundred_thousand_may_wait() {
        let mut queue = Queue::new(FREE);
        let start = Instant::now();
        let mut places = Vec::new();
        for n in 0..100_000_u32 {
            let need = needs(500 + n % 100 * 10, n % 7 * 100);
            places.push((need, queue.push(need, 0, n % 13, n)));
        }
        for (need, place) in places.iter().step_by(2) {
            queue.remove(*need, *place).unwrap();
        }
        let mut started = 0;
        while let Some((need, _, _)) = queue.start() {
            queue.release(need);
            started += 1;
        }
        assert_eq!(started, 50_000);
        // Generous: it takes a tenth of a second without optimisation; quadratic time takes minutes.
        assert!(start.elapsed() < Duration::from_secs(10));
    }

    #[derive(Debug, Clone)]
    enum Act {
        Push(u32, u32, i32, u32),
        Finish(usize),
        Cancel(usize),
    }

    fn act() -> impl Strategy<Value = Act> {
        prop_oneof![
            4 => (1_u32..=4, 0_u32..=8, -1_i32..=1, 0_u32..3)
                .prop_map(|(cpu, memory, priority, rank)| Act::Push(cpu * 1000, memory * 1000, priority, rank)),
            3 => any::<usize>().prop_map(Act::Finish),
            1 => any::<usize>().prop_map(Act::Cancel),
        ]
    }

    proptest! {
        /// A plain list plays the same rule; both must start the same attempts and stay within the limits.
        #[test]
        fn limits_hold_and_the_order_is_as_said(acts in prop::collection::vec(act(), 1..200)) {
            let mut queue = Queue::new(FREE);
            let mut list: Vec<(Place, Needs, u32)> = Vec::new();
            let mut running: Vec<Needs> = Vec::new();
            for act in acts {
                match act {
                    Act::Push(cpu, memory, priority, rank) => {
                        let need = needs(cpu, memory);
                        let place = queue.push(need, priority, rank, ());
                        list.push((place, need, 0));
                        list.sort_by_key(|waiting| waiting.0);
                    }
                    Act::Finish(which) if !running.is_empty() => {
                        queue.release(running.swap_remove(which % running.len()));
                    }
                    Act::Cancel(which) if !list.is_empty() => {
                        let (place, need, _) = list.remove(which % list.len());
                        prop_assert!(queue.remove(need, place).is_some());
                        prop_assert!(queue.remove(need, place).is_none());
                    }
                    Act::Finish(_) | Act::Cancel(_) => {}
                }
                loop {
                    let free = queue.free();
                    let fits = list.iter().position(|(_, need, _)| free.holds(*need));
                    let expected = fits.filter(|index| *index == 0 || list[0].2 < PASSED_MAX);
                    let started = queue.start();
                    prop_assert_eq!(started.as_ref().map(|s| s.1), expected.map(|index| list[index].0));
                    let (Some(index), Some((need, ..))) = (expected, started) else { break };
                    if index > 0 {
                        list[0].2 += 1;
                    }
                    list.remove(index);
                    running.push(need);
                }
                let cpu: u32 = running.iter().map(|need| need.cpu_milli).sum();
                let memory: u32 = running.iter().map(|need| need.memory_mib).sum();
                prop_assert!(cpu <= FREE.cpu_milli && memory <= FREE.memory_mib);
                prop_assert!(running.len() <= FREE.places as usize);
                prop_assert_eq!(cpu + queue.free().cpu_milli, FREE.cpu_milli);
                prop_assert_eq!(queue.waiting(), list.len());
            }
        }
    }
}
