//! Launchers, the runtime they call, the lock, and people: everything that acts on commands.

use operon_core::exec::{Event, Outcome, RootPhase, State, Time, Truth};
use operon_core::lang::model::ConcurrencyBehavior;
use rand::Rng;

use super::script::Fate;
use super::world::{Action, Attempt, Container, Key, Work, World};
use super::{Mutation, Simulation};

impl Simulation {
    /// A message reaches whoever works on its queue.
    pub(super) fn deliver(&mut self, id: u64) {
        let Some(message) = self.world.messages.get(&id) else {
            return;
        };
        if message.visible_at > self.world.now {
            return; // In a planner's batch already: invisible until it is not acknowledged in time.
        }
        match message.work.clone() {
            Work::Plan(..) => return self.plan(id),
            Work::Launch(attempt) => {
                self.world.receive(id);
                return self.launch(id, attempt);
            }
            Work::Stop(attempt) => {
                self.world.receive(id);
                self.stop(attempt);
            }
            Work::Probe(attempt) => {
                self.world.receive(id);
                self.probe(&attempt);
            }
            Work::Acquire(execution) => {
                self.world.receive(id);
                if !self.acquire(execution) {
                    return;
                }
            }
            Work::Release(execution, until) => {
                self.world.receive(id);
                if !self.release(execution, until) {
                    return;
                }
            }
        }
        if !self.world.crashes() {
            self.world.messages.remove(&id);
        }
    }

    /// A launcher asks the table whether the attempt is still wanted.
    fn launch(&mut self, id: u64, attempt: Attempt) {
        if self.world.crashes() {
            return;
        }
        let (_, shard) = self.world.read(&attempt.key);
        let wanted = shard.is_some_and(|shard| {
            shard
                .slots
                .get(usize::from(attempt.slot))
                .is_some_and(|slot| {
                    slot.state == State::Launching && slot.attempt == attempt.attempt
                })
        });
        if wanted {
            let call = self.world.rng.random_range(100..300);
            self.world.after(call, Action::Run(id, attempt));
        } else {
            self.world.messages.remove(&id);
        }
    }

    /// The runtime is called; a second call under the same name is the first one.
    pub(super) fn run_task(&mut self, id: u64, attempt: Attempt) {
        let known = self.world.containers.contains_key(&attempt);
        let twice = self.config.mutation == Some(Mutation::RandomToken) && known;
        if twice {
            let what = format!("{attempt:?} runs twice");
            self.world.violated(super::ONE_ATTEMPT, what);
        }
        if !known {
            self.check_launch(&attempt);
            self.world.report.launches += 1;
            self.world
                .note(|| format!("run       {}", describe(&attempt)));
            self.world
                .containers
                .insert(attempt.clone(), Container::Alive);
            // Mostly a warm worker or a process, else a Fargate task (aws.md 4.3).
            let start = if self.world.chance(700) {
                self.world.rng.random_range(20..2_000)
            } else {
                self.world.rng.random_range(30_000..60_000)
            };
            let exponent = self.world.rng.random_range(4..21);
            let duration = self.world.rng.random_range(0..1_u64 << exponent);
            self.world
                .after(start + duration, Action::End(attempt.clone()));
            if self.world.chance(500) {
                let (slot, number) = (attempt.slot, attempt.attempt);
                let event = Event::Started {
                    slot,
                    attempt: number,
                };
                self.world.send_event(&attempt.key, event);
            }
        }
        if !self.world.crashes() {
            self.world.messages.remove(&id);
        }
    }

    /// An attempt comes to the end its script says.
    pub(super) fn end(&mut self, attempt: Attempt) {
        if self.world.containers.get(&attempt) != Some(&Container::Alive) {
            return;
        }
        let name = self.world.name(&attempt.key, attempt.slot);
        let fate = self
            .world
            .script
            .fate(attempt.key.execution, &name, attempt.attempt);
        self.world
            .note(|| format!("end       {} {fate:?}", describe(&attempt)));
        match fate {
            Fate::Hangs => {}
            Fate::Vanishes => {
                self.world.containers.insert(attempt, Container::Gone);
            }
            Fate::Ends(outcome) => {
                let event = done(&attempt, outcome);
                self.world.send_event(&attempt.key, event.clone());
                // The watcher reports what failed once more (aws.md 6.2).
                if outcome != Outcome::Success && !self.world.faults.is_calm() {
                    self.world.send_event(&attempt.key, event);
                }
                self.world
                    .containers
                    .insert(attempt, Container::Ended(outcome));
            }
        }
    }

    /// Stops an attempt. One that was never launched will not start any more.
    fn stop(&mut self, attempt: Attempt) {
        match self.world.containers.get(&attempt).copied() {
            None => {
                self.world
                    .containers
                    .insert(attempt.clone(), Container::Tombstone);
                self.stopped(&attempt);
            }
            Some(Container::Alive) => {
                let grace = self.world.rng.random_range(100..30_000);
                self.world.after(grace, Action::Down(attempt));
            }
            Some(Container::Ended(outcome)) => {
                let event = done(&attempt, outcome);
                self.world.send_event(&attempt.key, event);
            }
            Some(Container::Gone | Container::Tombstone) => self.stopped(&attempt),
        }
    }

    /// A stopped attempt is down.
    pub(super) fn down(&mut self, attempt: &Attempt) {
        if self.world.containers.get(attempt) == Some(&Container::Alive) {
            self.world
                .note(|| format!("down      {}", describe(attempt)));
            self.world
                .containers
                .insert(attempt.clone(), Container::Tombstone);
            self.stopped(attempt);
        }
    }

    fn stopped(&mut self, attempt: &Attempt) {
        let event = Event::Stopped {
            slot: attempt.slot,
            attempt: attempt.attempt,
        };
        self.world.send_event(&attempt.key, event);
    }

    fn probe(&mut self, attempt: &Attempt) {
        self.world.report.probes += 1;
        let truth = match self.world.containers.get(attempt) {
            None => Truth::Absent,
            Some(Container::Alive) => Truth::Alive,
            Some(Container::Ended(outcome)) => Truth::Ended(*outcome),
            Some(Container::Gone | Container::Tombstone) => Truth::Gone,
        };
        let event = Event::Probed {
            slot: attempt.slot,
            attempt: attempt.attempt,
            truth,
        };
        self.world.send_event(&attempt.key, event);
    }

    /// Queues an execution for the lock and admits whoever is next; false when the handler died.
    fn acquire(&mut self, execution: usize) -> bool {
        let Some(concurrency) = self.world.plan.concurrency.clone() else {
            return true;
        };
        let queued = self
            .world
            .root_shard(execution)
            .is_some_and(|root| root.phase == RootPhase::Queued);
        if !queued {
            return true; // A late message of an execution that has been admitted since.
        }
        self.world.queued.insert(execution);
        if !self.admit() {
            return false;
        }
        if self.world.lock.take_over(&owner(execution)) {
            // Perhaps granted before, and the message was lost, or restarted in its quarantine.
            self.world.note(|| format!("grant     {execution} again"));
            self.world.queued.remove(&execution);
            self.world
                .send_event(&World::root(execution), Event::Admitted);
        } else if concurrency.behavior != ConcurrencyBehavior::Queue {
            self.world.queued.remove(&execution);
            let state = State::Cancelled;
            let event = Event::Refused { state };
            self.world.send_event(&World::root(execution), event);
        }
        true
    }

    pub(super) fn admit(&mut self) -> bool {
        let limit = self.world.plan.concurrency.as_ref().map_or(0, |c| c.limit);
        let now = Time(self.world.now);
        self.drop_finished();
        // Also when nobody queues: a quarantine that is over must not be due for ever.
        self.world.lock.expire(now);
        if let Some(until) = self.world.lock.due() {
            let wait = until.0.saturating_sub(self.world.now);
            self.world.after(wait.max(1_000), Action::Admit);
        }
        for execution in self.world.queued.clone() {
            if !self.world.lock.acquire(&owner(execution), limit, now) {
                break;
            }
            self.world.note(|| format!("grant     {execution}"));
            // A crash here leaves it queued and owning; the next admission grants it again.
            if self.world.crashes() {
                return false;
            }
            self.world.queued.remove(&execution);
            self.world
                .send_event(&World::root(execution), Event::Admitted);
        }
        true
    }

    /// Frees the slots of executions that are over and could not say so.
    fn drop_finished(&mut self) {
        for execution in 0..self.executions {
            let Some(root) = self.world.root_shard(execution) else {
                continue;
            };
            if root.phase == RootPhase::Over {
                let until = self.quarantine(execution, &root);
                self.world.lock.release(&owner(execution), until);
            }
        }
    }

    fn release(&mut self, execution: usize, until: Option<Time>) -> bool {
        // A late message of a round before: the execution holds the lock for another reason now.
        let over = self
            .world
            .root_shard(execution)
            .is_some_and(|root| matches!(root.phase, RootPhase::Ended | RootPhase::Over));
        if over || self.config.mutation == Some(Mutation::UnfencedRelease) {
            self.world
                .note(|| format!("release   {execution} until {until:?}"));
            self.world.queued.remove(&execution);
            self.world.lock.release(&owner(execution), until);
            return self.admit();
        }
        true
    }

    /// The source of the event delivers it until the execution is there.
    pub(super) fn intake(&mut self, execution: usize) {
        let root = World::root(execution);
        if !self.world.shards.contains_key(&root) {
            self.world.send_event(&root, Event::Start);
            self.world.after(60_000, Action::Intake(execution));
        }
    }

    /// A person kills, or a task exits, until it is seen.
    pub(super) fn kill(&mut self, execution: usize, exit: bool) {
        let Some(root) = self.world.root_shard(execution) else {
            return;
        };
        if root.kill || matches!(root.phase, RootPhase::Ended | RootPhase::Over) {
            return;
        }
        let event = if exit {
            Event::Exit {
                state: State::Warning,
                round: Some(root.round),
            }
        } else {
            Event::Kill {
                reason: operon_core::exec::Reason::Kill,
                round: Some(root.round),
            }
        };
        self.killed.insert((execution, root.round));
        self.world.send_event(&World::root(execution), event);
        self.world.after(60_000, Action::Kill(execution, exit));
    }

    /// A person answers a pause until it goes on.
    pub(super) fn resume(&mut self, key: Key, slot: u16) {
        let (_, shard) = self.world.look(&key);
        let waits = shard
            .as_ref()
            .and_then(|shard| shard.slots.get(usize::from(slot)))
            .is_some_and(|slot| slot.state == State::Paused && slot.due == 0);
        if waits {
            let name = self.world.name(&key, slot);
            let go_on = self.world.script.resumes(key.execution, &name);
            self.world.send_event(&key, Event::Resume { slot, go_on });
            self.world.after(600_000, Action::Resume(key, slot));
        }
    }

    /// A person restarts an execution until a new round has begun.
    pub(super) fn restart(&mut self, execution: usize, round: u8) {
        let root = World::root(execution);
        let over = self
            .world
            .root_shard(execution)
            .is_some_and(|shard| shard.phase == RootPhase::Over && shard.round < round);
        if over {
            self.restarts.insert((execution, round));
            self.world.send_event(
                &root,
                Event::Restart {
                    round,
                    tolerated: false,
                },
            );
            self.world.after(60_000, Action::Restart(execution, round));
        }
    }

    /// The self-re-arming timer of a shard fires.
    pub(super) fn timer(&mut self, key: &Key, at: u64) {
        let current = self.world.shards.get(key).and_then(|row| row.timer);
        if current == Some(at) {
            self.world.send_event(key, Event::Tick);
        }
    }

    /// The reconciler sends a tick to whatever is due.
    pub(super) fn sweep(&mut self) {
        let now = self.world.now;
        let due: Vec<Key> = self
            .world
            .shards
            .iter()
            .filter(|(_, row)| row.due.is_some_and(|due| due <= now))
            .map(|(key, _)| key.clone())
            .collect();
        for key in due {
            self.world.send_event(&key, Event::Tick);
        }
        self.world.after(60_000, Action::Sweep);
    }
}

pub(super) fn owner(execution: usize) -> String {
    format!("e{execution}")
}

fn done(attempt: &Attempt, outcome: Outcome) -> Event {
    Event::Done {
        slot: attempt.slot,
        attempt: attempt.attempt,
        outcome,
        age_ms: 0,
    }
}

fn describe(attempt: &Attempt) -> String {
    let Attempt { key, slot, attempt } = attempt;
    format!("{}/{} {slot} ({attempt})", key.execution, key.shard)
}
