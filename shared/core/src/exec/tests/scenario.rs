//! A flow of one shard, told what happens in words and answering in words.

use crate::exec::{Command, Event, Outcome, Reason, Shard, State, Time, Truth, Verdict, apply};
use crate::lang::model::Flow;
use crate::plan::{Layout, Plan, ShardId, compile};

/// One execution. Every method returns the scenario, so that a story reads from top to bottom.
pub(super) struct Scenario {
    plan: Plan,
    pub(super) shard: Shard,
    now: Time,
}

impl Scenario {
    pub(super) fn new(flow: &Flow) -> Self {
        Self::of(compile(flow).unwrap())
    }

    pub(super) fn of(plan: Plan) -> Self {
        let layout = Layout::of(&plan, &ShardId::ROOT).unwrap();
        let shard = Shard::fresh(&layout, Time(1_000_000));
        Self {
            plan,
            shard,
            now: Time(1_000_000),
        }
    }

    /// Applies the event and expects exactly these commands, separated by `, `.
    ///
    /// Events: `start`, `admitted`, `kill`, `restart N`, `tick`, `TASK#N success|warning|failed|interrupted|
    /// timeout|stopped|started|alive|absent|gone`, `TASK gate true|false`, `TASK count N`, `TASK resume`.
    #[track_caller]
    pub(super) fn on(mut self, event: &str, expected: &str) -> Self {
        let event = self.event(event);
        let (shard, commands) = apply(&self.plan, &ShardId::ROOT, &self.shard, &[event], self.now);
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

    /// Expects whether somebody must look again.
    #[track_caller]
    pub(super) fn due(self, expected: bool) -> Self {
        let layout = Layout::of(&self.plan, &ShardId::ROOT).unwrap();
        assert_eq!(self.shard.due(&layout).is_some(), expected);
        self
    }

    fn slot(&self, task: &str) -> u16 {
        let nodes = &self.plan.scopes[0].nodes;
        let node = nodes.iter().position(|node| node.id == task);
        u16::try_from(node.unwrap_or_else(|| panic!("no task {task}"))).unwrap()
    }

    fn event(&self, text: &str) -> Event {
        let words: Vec<&str> = text.split(' ').collect();
        match words.as_slice() {
            ["start"] => Event::Start,
            ["admitted"] => Event::Admitted,
            ["tick"] => Event::Tick,
            ["kill"] => Event::Kill {
                reason: Reason::Kill,
            },
            ["restart", round] => Event::Restart {
                round: round.parse().unwrap(),
            },
            [task, "gate", verdict] => Event::Decided {
                slot: self.slot(task),
                verdict: Verdict::Gate(*verdict == "true"),
            },
            [task, "count", count] => Event::Decided {
                slot: self.slot(task),
                verdict: Verdict::Count(count.parse().unwrap()),
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
        let name = |slot: &u16| self.plan.scopes[0].nodes[usize::from(*slot)].id.clone();
        match command {
            Command::Evaluate { slot } => format!("evaluate {}", name(slot)),
            Command::Launch { slot, attempt } => format!("launch {}#{attempt}", name(slot)),
            Command::Stop { slot, attempt } => format!("stop {}#{attempt}", name(slot)),
            Command::Probe { slot, attempt } => format!("probe {}#{attempt}", name(slot)),
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
