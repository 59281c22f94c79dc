//! Messages between shards that are lost, and who asks for them again.

use std::collections::{BTreeMap, VecDeque};

use crate::exec::{Command, Event, Outcome, RootPhase, Shard, State, Time, Verdict, apply};
use crate::plan::builder::FlowBuilder;
use crate::plan::{Layout, Plan, ShardId, compile};

/// All shards of an execution, whose attempts succeed at once.
struct Network {
    plan: Plan,
    shards: BTreeMap<ShardId, Shard>,
    now: Time,
    loses: fn(&Event) -> bool,
    /// How many messages that `loses` picks are still lost.
    left: usize,
    delivered: usize,
}

impl Network {
    /// Delivers the event and everything that follows from it.
    fn tell(&mut self, at: ShardId, event: Event) {
        let mut queue = VecDeque::from([(at, event)]);
        while let Some((at, event)) = queue.pop_front() {
            self.delivered += 1;
            assert!(self.delivered < 10_000, "messages multiply");
            let layout = Layout::of(&self.plan, &at).unwrap();
            let shard = self
                .shards
                .get(&at)
                .cloned()
                .unwrap_or_else(|| Shard::fresh(&layout, self.now));
            let (shard, commands) = apply(&self.plan, &at, &shard, &[event], self.now);
            self.shards.insert(at.clone(), shard);
            for command in commands {
                match command {
                    Command::Send { event, .. } if self.left > 0 && (self.loses)(&event) => {
                        self.left -= 1;
                    }
                    Command::Send { to, event } => queue.push_back((to, event)),
                    Command::Launch { slot, attempt } => {
                        let outcome = Outcome::Success;
                        queue.push_back((
                            at.clone(),
                            Event::Done {
                                slot,
                                attempt,
                                outcome,
                                age_ms: 0,
                            },
                        ));
                    }
                    Command::Evaluate { slot } => {
                        let verdict = Verdict::Count(300);
                        queue.push_back((at.clone(), Event::Decided { slot, verdict }));
                    }
                    Command::Stop { .. }
                    | Command::Probe { .. }
                    | Command::Acquire
                    | Command::Release { .. }
                    | Command::Finish { .. } => {}
                }
            }
        }
    }

    /// Lets the time come at which the next shard is due, and tells it.
    fn tick(&mut self) {
        let due = self.shards.iter().filter_map(|(at, shard)| {
            let layout = Layout::of(&self.plan, at)?;
            Some((shard.due(&layout)?, at.clone()))
        });
        let (time, at) = due.min().expect("nothing is due");
        self.now = time;
        self.tell(at, Event::Tick);
    }
}

/// Whether an execution of a loop over three chunks ends when `lost` messages that `loses` picks are lost.
fn ends(lost: usize, loses: fn(&Event) -> bool) {
    let flow = FlowBuilder::new("test", "loop")
        .looped("each", 300, |body| body.task("item"))
        .build();
    let mut network = Network {
        plan: compile(&flow).unwrap(),
        shards: BTreeMap::new(),
        now: Time(1_000_000),
        loses,
        left: lost,
        delivered: 0,
    };
    network.tell(ShardId::ROOT, Event::Start);
    for _ in 0..20 {
        let root = &network.shards[&ShardId::ROOT];
        if root.phase == RootPhase::Over {
            assert_eq!(root.slots[0].state, State::Success);
            assert_eq!(network.left, 0, "nothing was lost");
            return;
        }
        network.tick();
    }
    panic!("it never ends: {:?}", network.shards[&ShardId::ROOT]);
}

#[test]
fn a_loop_asks_for_an_end_that_was_lost() {
    for lost in 1..4 {
        ends(lost, |event| matches!(event, Event::LoopDone { .. }));
    }
}

#[test]
fn a_loop_asks_for_an_opening_that_was_lost() {
    for lost in 1..6 {
        ends(lost, |event| matches!(event, Event::Ahead { .. }));
    }
}
