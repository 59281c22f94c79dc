//! One shard of a flow, told what happens in words and answering in words.

use crate::exec::{
    Command, Counts, Event, Outcome, Reason, Shard, State, Time, Truth, Verdict, apply,
};
use crate::lang::model::Flow;
use crate::plan::{Layout, NodeKind, Plan, ShardId, compile};

/// A shard of one execution. Every method returns the scenario, so that a story reads from top to bottom.
pub(super) struct Scenario {
    plan: Plan,
    at: ShardId,
    pub(super) shard: Shard,
    now: Time,
}

impl Scenario {
    pub(super) fn new(flow: &Flow) -> Self {
        Self::of(compile(flow).unwrap())
    }

    pub(super) fn of(plan: Plan) -> Self {
        Self::at(plan, ShardId::ROOT)
    }

    /// The first chunk of the flow's only loop, which must be a task of the flow itself.
    pub(super) fn chunk(flow: &Flow) -> Self {
        let plan = compile(flow).unwrap();
        let nodes = &plan.scopes[0].nodes;
        let is_loop = |kind: &NodeKind| matches!(kind, NodeKind::Loop { .. });
        let slot = nodes.iter().position(|node| is_loop(&node.kind)).unwrap();
        let at = ShardId::ROOT.of_loop(u16::try_from(slot).unwrap(), 0);
        Self::at(plan, at)
    }

    fn at(plan: Plan, at: ShardId) -> Self {
        let layout = Layout::of(&plan, &at).unwrap();
        let shard = Shard::fresh(&layout, Time(1_000_000));
        Self {
            plan,
            at,
            shard,
            now: Time(1_000_000),
        }
    }

    /// Applies the event and expects exactly these commands, separated by `, `.
    ///
    /// Events: `start`, `admitted`, `kill`, `kill N` and `exit N` (of a round), `restart N`, `retry N` (of failed items), `tick`, `TASK#N success|warning|failed|interrupted|
    /// timeout|stopped|started|alive|absent|gone`, `TASK gate true|false`, `TASK count N`, `TASK branch
    /// N|none`, `TASK resume`, `LOOP ended SUCCEEDED
    /// [limit|failed|tolerated|warned]`; to a chunk `open ROUND TOTAL [retry]`. In a chunk a task is called `ID[ITERATION]`.
    #[track_caller]
    pub(super) fn on(mut self, event: &str, expected: &str) -> Self {
        let event = self.event(event);
        let (shard, commands) = apply(&self.plan, &self.at, &self.shard, &[event], self.now);
        self.shard = shard;
        let told: Vec<String> = commands.iter().map(|command| self.words(command)).collect();
        assert_eq!(told.join(", "), expected);
        let again = Shard::decode(&self.shard.encode()).unwrap();
        assert_eq!(again, self.shard, "the shard survives its encoding");
        self
    }

    /// Lets time pass, in milliseconds.
    pub(super) fn after(mut self, ms: u64) -> Self {
        self.now = self.now.plus(ms);
        self
    }

    /// Expects the state and reason of a task run.
    #[track_caller]
    pub(super) fn expect(self, task: &str, state: State, reason: Reason) -> Self {
        let slot = self.shard.slots[usize::from(self.slot(task))];
        assert_eq!((slot.state, slot.reason()), (state, reason), "{task}");
        self
    }

    /// Expects how often a loop has begun from scratch.
    #[track_caller]
    pub(super) fn generation(self, task: &str, expected: u8) -> Self {
        let slot = self.shard.slots[usize::from(self.slot(task))];
        assert_eq!(slot.attempt, expected, "{task}");
        self
    }

    /// Expects how many items of the chunk failed.
    #[track_caller]
    pub(super) fn failed_items(self, expected: usize) -> Self {
        let layout = self.layout();
        assert_eq!(crate::exec::failed_items(&layout, &self.shard), expected);
        self
    }

    /// Expects whether somebody must look again.
    #[track_caller]
    pub(super) fn due(self, expected: bool) -> Self {
        let layout = self.layout();
        assert_eq!(self.shard.due(&layout).is_some(), expected);
        self
    }

    fn layout(&self) -> Layout<'_> {
        Layout::of(&self.plan, &self.at).unwrap()
    }

    fn slot(&self, task: &str) -> u16 {
        let (id, item) = match task.split_once('[') {
            Some((id, item)) => (id, item.trim_end_matches(']').parse().unwrap()),
            None => (task, 0),
        };
        let nodes = self.layout().nodes;
        let node = nodes.iter().position(|node| node.id == id);
        let node = node.unwrap_or_else(|| panic!("no task {task}"));
        u16::try_from(item * nodes.len() + node).unwrap()
    }

    fn name(&self, slot: u16) -> String {
        let nodes = self.layout().nodes;
        let id = &nodes[usize::from(slot) % nodes.len()].id;
        if self.at == ShardId::ROOT {
            id.clone()
        } else {
            format!("{id}[{}]", usize::from(slot) / nodes.len())
        }
    }

    fn event(&self, text: &str) -> Event {
        let words: Vec<&str> = text.split(' ').collect();
        match words.as_slice() {
            ["start"] => Event::Start,
            ["admitted"] => Event::Admitted,
            ["tick"] => Event::Tick,
            ["kill"] => Event::Kill {
                reason: Reason::Kill,
                round: None,
            },
            ["kill", round] => Event::Kill {
                reason: Reason::Kill,
                round: Some(round.parse().unwrap()),
            },
            ["exit", round] => Event::Exit {
                state: State::Failed,
                round: Some(round.parse().unwrap()),
            },
            ["restart", round] => Event::Restart {
                round: round.parse().unwrap(),
                tolerated: false,
            },
            ["retry", round] => Event::Restart {
                round: round.parse().unwrap(),
                tolerated: true,
            },
            [task, "gate", verdict] => Event::Decided {
                slot: self.slot(task),
                verdict: Verdict::Gate(*verdict == "true"),
            },
            [task, "count", count] => Event::Decided {
                slot: self.slot(task),
                verdict: Verdict::Count(count.parse().unwrap()),
            },
            [task, "branch", branch] => Event::Decided {
                slot: self.slot(task),
                verdict: Verdict::Branch(branch.parse().ok()),
            },
            ["open", round, total, retry @ ..] => Event::Ahead {
                round: round.parse().unwrap(),
                generation: 0,
                total: total.parse().unwrap(),
                ahead: 0,
                before: Counts::default(),
                stop: false,
                kill: false,
                deadline: None,
                tolerated: retry == ["retry"],
                again: false,
            },
            [task, "ended", success, more @ ..] => Event::LoopDone {
                round: self.shard.round,
                generation: self.shard.slots[usize::from(self.slot(task))].attempt,
                slot: self.slot(task),
                counts: Counts {
                    success: success.parse().unwrap(),
                    failed: u32::from(more == ["failed"]),
                    warning: u32::from(matches!(more, ["tolerated" | "warned"])),
                    tolerated: more == ["tolerated"],
                    ..Counts::default()
                },
                limit: more == ["limit"],
            },
            [task, "resume"] => Event::Resume {
                slot: self.slot(task),
                go_on: true,
            },
            [run, what] => self.report(run, what),
            _ => panic!("no such event: {text}"),
        }
    }

    fn report(&self, run: &str, what: &str) -> Event {
        let (task, attempt) = run.split_once('#').unwrap();
        let (slot, attempt) = (self.slot(task), attempt.parse().unwrap());
        let probed = |truth| Event::Probed {
            slot,
            attempt,
            truth,
        };
        let outcome = match what {
            "started" => return Event::Started { slot, attempt },
            "stopped" => return Event::Stopped { slot, attempt },
            "alive" => return probed(Truth::Alive),
            "absent" => return probed(Truth::Absent),
            "gone" => return probed(Truth::Gone),
            "success" => Outcome::Success,
            "warning" => Outcome::Warning,
            "failed" => Outcome::Failed(Reason::ExitCode),
            "interrupted" => Outcome::Failed(Reason::Interrupted),
            "timeout" => Outcome::Failed(Reason::Timeout),
            "invalid" => Outcome::Failed(Reason::InvalidInput),
            other => panic!("no such report: {other}"),
        };
        Event::Done {
            slot,
            attempt,
            outcome,
            age_ms: 0,
        }
    }

    #[allow(clippy::wildcard_enum_match_arm, reason = "words for all the others")]
    fn words(&self, command: &Command) -> String {
        let name = |slot: &u16| self.name(*slot);
        match command {
            Command::Evaluate { slot } => format!("evaluate {}", name(slot)),
            Command::Launch { slot, attempt } => format!("launch {}#{attempt}", name(slot)),
            Command::Stop { slot, attempt } => format!("stop {}#{attempt}", name(slot)),
            Command::Probe { slot, attempt } => format!("probe {}#{attempt}", name(slot)),
            Command::Send {
                event: Event::LoopDone { counts, limit, .. },
                ..
            } => format!(
                "loop done: {} succeeded, {} failed, {} cancelled{}{}",
                counts.success,
                counts.failed,
                counts.cancelled,
                if *limit { " (limit)" } else { "" },
                if counts.tolerated { " (tolerated)" } else { "" }
            ),
            Command::Send { to, .. } => format!("send {to}"),
            Command::Acquire => "acquire".to_owned(),
            Command::Release { quarantine_until } => match quarantine_until {
                None => "release".to_owned(),
                Some(_) => "release later".to_owned(),
            },
            Command::Finish { state, reason } if *reason == Reason::None => {
                format!("finish {state:?}")
            }
            Command::Finish { state, reason } => format!("finish {state:?} ({})", reason.words()),
        }
    }
}
