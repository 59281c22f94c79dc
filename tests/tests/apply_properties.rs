//! Properties of [`apply`] over random flows and arbitrary events, garbage included.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::wildcard_enum_match_arm
)]

use operon_core::exec::{
    Command, Event, Outcome, Reason, Shard, State, Time, Truth, Verdict, apply, commands_of,
};
use operon_core::lang::model::{OnFailure, Retry, RetryInterval};
use operon_core::plan::{Layout, NodeKind, Plan, ShardId};
use operon_testkit::simulate::{Shape, random_plan};
use proptest::prelude::*;
use proptest::sample::Index;

const NOW: Time = Time(1_000_000);

/// Flows of every kind, drawn as the simulator draws them; small ones, so that events often are about something.
const SHAPE: Shape = Shape {
    task_runs: 40,
    list: 6,
    waits: true,
};

/// Half of them try again at once: only then an event about the attempt before is a late one.
fn plan(seed: u64) -> Plan {
    let mut plan = random_plan(seed, SHAPE).expect("a random flow compiles");
    let nodes = plan.scopes.iter_mut().flat_map(|scope| &mut scope.nodes);
    for node in nodes.filter(|_| seed.is_multiple_of(2)) {
        if let NodeKind::Task(task) = &mut node.kind
            && task.idempotent
        {
            task.retry = Some(Retry {
                interval: RetryInterval::Constant { interval_ms: 0 },
                max_attempts: Some(3),
                max_duration_ms: None,
                warning_on_retry: false,
                reasons: Vec::new(),
            });
        }
    }
    plan
}

fn outcome() -> impl Strategy<Value = Outcome> {
    prop_oneof![
        3 => Just(Outcome::Success),
        1 => Just(Outcome::Warning),
        2 => (0..24_u8).prop_map(|reason| Outcome::Failed(Reason::of(reason))),
    ]
}

fn truth() -> impl Strategy<Value = Truth> {
    prop_oneof![
        Just(Truth::Alive),
        Just(Truth::Gone),
        Just(Truth::Absent),
        outcome().prop_map(Truth::Ended),
    ]
}

fn verdict() -> impl Strategy<Value = Verdict> {
    prop_oneof![
        any::<bool>().prop_map(Verdict::Gate),
        any::<Option<bool>>().prop_map(|branch| Verdict::Branch(branch.map(u8::from))),
        (0..4_u32).prop_map(Verdict::Count),
        any::<Option<u64>>().prop_map(Verdict::Wait),
        Just(Verdict::Error),
    ]
}

/// Mostly events that mean something, sometimes about what does not exist.
fn event() -> impl Strategy<Value = Event> {
    let slot = || prop_oneof![9 => 0..20_u16, 1 => any::<u16>()];
    let attempt = || prop_oneof![9 => 1..3_u8, 1 => any::<u8>()];
    prop_oneof![
        3 => Just(Event::Start),
        1 => Just(Event::Admitted),
        1 => (slot(), attempt()).prop_map(|(slot, attempt)| Event::Started { slot, attempt }),
        9 => (slot(), attempt(), outcome()).prop_map(|(slot, attempt, outcome)| Event::Done {
            slot,
            attempt,
            outcome,
            age_ms: 0,
        }),
        2 => (slot(), attempt()).prop_map(|(slot, attempt)| Event::Stopped { slot, attempt }),
        2 => (slot(), attempt(), truth()).prop_map(|(slot, attempt, truth)| Event::Probed {
            slot,
            attempt,
            truth,
        }),
        5 => (slot(), verdict()).prop_map(|(slot, verdict)| Event::Decided { slot, verdict }),
        1 => (slot(), any::<bool>()).prop_map(|(slot, go_on)| Event::Resume { slot, go_on }),
        2 => Just(Event::Tick),
        1 => proptest::option::of(0..3_u8).prop_map(|round| Event::Kill { reason: Reason::Kill, round }),
        1 => (0..18_usize, proptest::option::of(0..3_u8))
            .prop_map(|(state, round)| Event::Exit { state: State::ALL[state], round }),
        1 => (0..3_u8, any::<bool>())
            .prop_map(|(round, tolerated)| Event::Restart { round, tolerated }),
        1 => (any::<u8>(), 0..3_u8, 0..5_u32, 0..3_u32, any::<[bool; 3]>()).prop_map(
            |(round, generation, total, ahead, [stop, kill, tolerated])| Event::Ahead {
                round: round % 3,
                generation,
                total,
                ahead,
                before: operon_core::exec::Counts::default(),
                stop,
                kill,
                deadline: None,
                tolerated,
                again: false,
            },
        ),
    ]
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    prop::collection::vec(event(), 0..60)
}

/// Where an event may go: the shards of the flow itself, and the first chunk of each loop, also of those inside.
fn places(plan: &Plan) -> Vec<ShardId> {
    let mut places: Vec<ShardId> = (0..1_000)
        .map(ShardId::of_part)
        .take_while(|part| Layout::of(plan, part).is_some())
        .collect();
    let mut at = 0;
    while let Some(place) = places.get(at).cloned() {
        let layout = Layout::of(plan, &place).unwrap();
        let loops = (0..128).filter(|slot| {
            let node = layout.node_of(*slot).filter(|_| layout.item_of(*slot) == 0);
            node.is_some_and(|node| {
                matches!(layout.nodes[usize::from(node)].kind, NodeKind::Loop { .. })
            })
        });
        places.extend(loops.map(|slot| place.of_loop(slot, 0)));
        at += 1;
    }
    places
}

/// A plan and one of its shards.
fn somewhere() -> impl Strategy<Value = (u64, Index)> {
    (any::<u64>(), any::<Index>())
}

fn drawn((seed, index): (u64, Index)) -> (Plan, ShardId) {
    let plan = plan(seed);
    let at = index.get(&places(&plan)).clone();
    (plan, at)
}

fn reach(plan: &Plan, at: &ShardId, events: &[Event]) -> Shard {
    let fresh = Shard::fresh(&Layout::of(plan, at).unwrap(), NOW);
    let step = |shard, event: &Event| apply(plan, at, &shard, std::slice::from_ref(event), NOW).0;
    events.iter().fold(fresh, step)
}

/// The event, about an attempt that is alive if it is a report and there is one: few that are drawn are.
fn aimed(event: Event, shard: &Shard, index: Index) -> Event {
    let alive: Vec<(u16, u8)> = (0_u16..)
        .zip(&shard.slots)
        .filter(|(_, slot)| slot.state.is_live())
        .map(|(slot, task_run)| (slot, task_run.attempt))
        .collect();
    match event {
        Event::Done {
            outcome, age_ms, ..
        } if !alive.is_empty() => {
            let (slot, attempt) = *index.get(&alive);
            Event::Done {
                slot,
                attempt,
                outcome,
                age_ms,
            }
        }
        event => event,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, max_global_rejects: 100_000, ..ProptestConfig::default() })]

    #[test]
    fn applying_twice_is_applying_once(
        before in events(),
        event in event(),
        place in somewhere(),
        aim in any::<Option<Index>>(),
    ) {
        let (plan, at) = drawn(place);
        let at = &at;
        let shard = reach(&plan, at, &before);
        let event = match aim {
            Some(index) => aimed(event, &shard, index),
            None => event,
        };
        // An immediate retry makes the next attempt's number current, so the event is a late one then too.
        let event = std::slice::from_ref(&event);
        let (once, _) = apply(&plan, at, &shard, event, NOW);
        let (twice, _) = apply(&plan, at, &once, event, NOW);
        // A verdict may be for the gate first and then for the value: the second is not the same event.
        // A kill that ends the flow is followed by one of `afterExecution`: that is meant.
        let another = match event {
            [Event::Decided { .. }] => true,
            [Event::Kill { .. } | Event::Exit { .. }] => once.phase != shard.phase,
            _ => false,
        };
        if !another {
            prop_assert_eq!(once, twice);
        }
    }

    #[test]
    fn what_is_terminal_stays_within_a_round(before in events(), event in event(), place in somewhere()) {
        let (plan, at) = drawn(place);
        let at = &at;
        let shard = reach(&plan, at, &before);
        let (next, _) = apply(&plan, at, &shard, &[event], NOW);
        if (shard.round, shard.generation) == (next.round, next.generation) {
            for (was, is) in shard.slots.iter().zip(&next.slots) {
                prop_assert!(!was.state.is_terminal() || was == is, "{:?} became {:?}", was, is);
            }
        }
    }

    #[test]
    fn a_shard_is_read_as_it_was_written(before in events(), place in somewhere()) {
        let (plan, at) = drawn(place);
        let shard = reach(&plan, &at, &before);
        prop_assert_eq!(Shard::decode(&shard.encode()).unwrap(), shard);
    }

    #[test]
    fn state_is_the_outbox(before in events(), place in somewhere()) {
        let (plan, at) = drawn(place);
        let at = &at;
        let shard = reach(&plan, at, &before);
        let commands = commands_of(&plan, at, &shard, false);
        for (slot, task_run) in (0_u16..).zip(&shard.slots) {
            let attempt = task_run.attempt;
            let wanted = match task_run.state {
                State::Launching => Command::Launch { slot, attempt },
                State::Killing => Command::Stop { slot, attempt },
                State::Gate | State::Deciding => Command::Evaluate { slot },
                _ => continue,
            };
            prop_assert!(commands.contains(&wanted), "{:?} is missing", wanted);
        }
    }

    /// What is said of two attempts that are alive may come in any order, wherever they are and whatever waits for
    /// them, as long as nothing fails: a failure keeps others from beginning, which is its meaning.
    #[test]
    fn what_is_said_of_different_attempts_commutes(
        before in prop::collection::vec(event(), 0..40),
        place in somewhere(),
        which in any::<[Index; 2]>(),
        said in [0..5_u8, 0..5_u8],
    ) {
        let (plan, at) = drawn(place);
        let at = &at;
        let mut shard = reach(&plan, at, &[Event::Start]);
        // Events that are drawn seldom fit: what waits to be decided goes on by itself.
        for event in &before {
            shard = apply(&plan, at, &shard, std::slice::from_ref(event), NOW).0;
            let gates = (0_u16..).zip(&shard.slots).find(|(_, slot)| slot.state == State::Gate);
            if let Some((slot, _)) = gates {
                let verdict = Verdict::Gate(true);
                shard = apply(&plan, at, &shard, &[Event::Decided { slot, verdict }], NOW).0;
            }
        }
        let alive: Vec<(u16, u8)> = (0_u16..)
            .zip(&shard.slots)
            .filter(|(_, slot)| slot.state.is_live())
            .map(|(slot, task_run)| (slot, task_run.attempt))
            .collect();
        prop_assume!(alive.len() > 1);
        let (one, other) = (which[0].index(alive.len()), which[1].index(alive.len()));
        prop_assume!(one != other);
        let event = |index: usize, kind: u8| {
            let (slot, attempt) = alive[index];
            let done = |outcome| Event::Done { slot, attempt, outcome, age_ms: 0 };
            match kind {
                0 => Event::Started { slot, attempt },
                1 => Event::Probed { slot, attempt, truth: Truth::Alive },
                2 => Event::Probed { slot, attempt, truth: Truth::Ended(Outcome::Success) },
                3 => done(Outcome::Warning),
                _ => done(Outcome::Success),
            }
        };
        let (a, b) = (event(one, said[0]), event(other, said[1]));
        let (ab, _) = apply(&plan, at, &shard, &[a.clone(), b.clone()], NOW);
        let (ba, _) = apply(&plan, at, &shard, &[b, a], NOW);
        prop_assert_eq!(ab, ba);
    }

    /// Reports about iterations that have nothing to do with each other may come in any order.
    #[test]
    fn reports_about_different_iterations_commute(
        place in somewhere(),
        reports in any::<[(Index, u8, bool); 2]>(),
        outcomes in [outcome(), outcome()],
        before in prop::collection::vec(event(), 0..40),
    ) {
        let plan = plan(place.0);
        let loops: Vec<ShardId> = places(&plan).into_iter().filter(|at| !at.path().is_empty()).collect();
        prop_assume!(!loops.is_empty());
        let at = place.1.get(&loops);
        let layout = Layout::of(&plan, at).unwrap();
        let body = &plan.scopes[usize::from(layout.scope)];
        // With `onFailure: stop` a failure before a success keeps the next iteration from beginning, and one after it
        // does not: these have to do with each other.
        let (outer, node) = body.owner.unwrap();
        let owner = &plan.scopes[usize::from(outer)].nodes[usize::from(node)];
        let stops = matches!(owner.kind, NodeKind::Loop { on_failure: OnFailure::Stop, .. });
        prop_assume!(!stops);
        let items = body.items_per_shard();
        prop_assume!(items > 1);
        let open = Event::Ahead {
            round: 0,
            generation: 0,
            total: items,
            ahead: 0,
            before: operon_core::exec::Counts::default(),
            stop: false,
            kill: false,
            deadline: None,
            tolerated: false,
            again: false,
        };
        let mut first = vec![open];
        first.extend(before);
        let shard = reach(&plan, at, &first);
        // What is alive is what a report is about; without any of it, whatever is drawn.
        let alive: Vec<u16> = (0_u16..)
            .zip(&shard.slots)
            .filter(|(_, slot)| slot.state.is_live())
            .map(|(slot, _)| slot)
            .collect();
        let all: Vec<u16> = (0_u16..).take(shard.slots.len()).collect();
        prop_assume!(!all.is_empty());
        let report = |at: usize| {
            let (index, attempt, wild) = &reports[at];
            let from = if *wild || alive.is_empty() { &all } else { &alive };
            let slot = *index.get(from);
            let live = shard.slots[usize::from(slot)].attempt;
            // None of an attempt that was never begun: the other report may begin it.
            let attempt = if *wild { (*attempt % 3).min(live) } else { live };
            Event::Done { slot, attempt, outcome: outcomes[at], age_ms: 0 }
        };
        let (a, b) = (report(0), report(1));
        let slot = |event: &Event| match event {
            Event::Done { slot, .. } => *slot,
            _ => 0,
        };
        prop_assume!(layout.item_of(slot(&a)) != layout.item_of(slot(&b)));
        let (ab, _) = apply(&plan, at, &shard, &[a.clone(), b.clone()], NOW);
        let (ba, _) = apply(&plan, at, &shard, &[b, a], NOW);
        prop_assert_eq!(ab, ba);
    }
}
