//! The arithmetic, and a simulation that compares sizes chosen here with the 100 that are fixed today.

use super::*;

const WISH: Wish = Wish {
    target_ms: 300_000,
    min: 5,
    max: 2_000,
};

fn known(items_per_s: f64, overhead_s: f64) -> Estimate {
    Estimate {
        items_per_s,
        overhead_s,
        samples: 9,
    }
}

#[test]
fn the_target_bounds_a_batch_when_much_waits() {
    // 300 s - 60 s = 240 s at 2 items/s.
    assert_eq!(known(2.0, 60.0).size(WISH, 1_000_000, 10), 480);
    assert_eq!(known(100.0, 60.0).size(WISH, 1_000_000, 10), 2_000, "max");
    assert_eq!(known(0.001, 60.0).size(WISH, 1_000_000, 10), 5, "min");
}

#[test]
fn a_small_backlog_is_spread_over_what_is_free() {
    assert_eq!(known(2.0, 5.0).size(WISH, 1_000, 10), 100);
    assert_eq!(
        known(2.0, 5.0).size(WISH, 100, 10),
        50,
        "two: more would mostly pay the overhead"
    );
    assert_eq!(
        known(2.0, 5.0).size(WISH, 1_000, 0),
        590,
        "nothing is free: the target"
    );
}

#[test]
fn what_is_not_known_yet_gets_what_was_fixed_before() {
    assert_eq!(Estimate::default().size(WISH, 1_000_000, 10), 100);
    let tight = Wish {
        min: 1,
        max: 4,
        ..WISH
    };
    assert_eq!(Estimate::default().size(tight, 1_000_000, 10), 4);
}

#[test]
fn measurements_change_the_estimate_slowly_and_survive_nonsense() {
    let sample = |items, work_ms| Sample {
        items,
        overhead_ms: 40_000,
        work_ms,
    };
    let mut estimate = Estimate::default().with(sample(100, 50_000));
    assert!((estimate.items_per_s - 2.0).abs() < 1e-9);
    for _ in 0..30 {
        estimate = estimate.with(sample(100, 100_000));
    }
    assert!((estimate.items_per_s - 1.0).abs() < 0.01, "{estimate:?}");
    let odd = estimate.with(sample(0, 0));
    assert!(odd.items_per_s.is_finite() && odd.size(WISH, u64::MAX, u32::MAX) >= 5);
}

/// A day of one task on Fargate.
struct Load {
    name: &'static str,
    /// Seconds at which items come, and how many.
    arrivals: Vec<(u64, u64)>,
    items_per_s: f64,
    overhead_s: f64,
    /// Executions at once.
    slots: usize,
}

/// What a choice of sizes led to.
#[derive(Debug, Clone, Copy, Default)]
struct Result {
    makespan_s: f64,
    /// Task seconds that are paid: at least a minute each.
    paid_s: f64,
    batches: u32,
}

/// Longest wait of an item for others.
const WAIT_S: f64 = 30.0;

/// Runs the load. Fixed batches are cut when they are full or due and queue for a slot; chosen ones are cut when a
/// slot is free, because they would only queue.
fn simulate(load: &Load, fixed: Option<u32>) -> Result {
    let mut estimate = Estimate::default();
    let mut free_at = vec![0.0_f64; load.slots];
    let mut queue: std::collections::VecDeque<u64> = std::collections::VecDeque::new();
    // Finished executions are learned from once they have ended.
    let mut running: Vec<(f64, Sample)> = Vec::new();
    let mut arrivals: std::collections::VecDeque<(f64, u64)> = load
        .arrivals
        .iter()
        .map(|(at, items)| (float(*at), *items))
        .collect();
    let (mut now, mut waiting, mut oldest) = (0.0_f64, 0_u64, 0.0_f64);
    let mut result = Result::default();
    loop {
        while let Some((_, items)) = arrivals.pop_front_if(|(at, _)| *at <= now) {
            oldest = if waiting == 0 { now } else { oldest };
            waiting += items;
        }
        running.retain(|(end, sample)| {
            if *end <= now {
                estimate = estimate.with(*sample);
            }
            *end > now
        });
        let free = free_at.iter().filter(|at| **at <= now).count();
        let may_cut = fixed.is_some() || free > queue.len();
        let size = u64::from(
            fixed.unwrap_or_else(|| estimate.size(WISH, waiting, u32::try_from(free).unwrap())),
        );
        if waiting > 0 && may_cut && (waiting >= size || now >= oldest + WAIT_S) {
            queue.push_back(waiting.min(size));
            waiting -= waiting.min(size);
            continue;
        }
        if free > 0
            && let Some(items) = queue.pop_front()
        {
            let work_s = float(items) / load.items_per_s;
            let end = now + load.overhead_s + work_s;
            *free_at.iter_mut().find(|at| **at <= now).unwrap() = end;
            let sample = Sample {
                items: u32::try_from(items).unwrap(),
                overhead_ms: u64::from(whole(load.overhead_s * 1_000.0)),
                work_ms: u64::from(whole(work_s * 1_000.0)),
            };
            running.push((end, sample));
            result.paid_s += (load.overhead_s + work_s).max(60.0);
            result.makespan_s = result.makespan_s.max(end);
            result.batches += 1;
            continue;
        }
        let mut times: Vec<f64> = arrivals.front().map(|(at, _)| *at).into_iter().collect();
        times.extend(free_at.iter().filter(|at| **at > now));
        if waiting > 0 && now < oldest + WAIT_S {
            times.push(oldest + WAIT_S);
        }
        let Some(then) = times.into_iter().min_by(f64::total_cmp) else {
            return result;
        };
        now = then;
    }
}

fn loads() -> Vec<Load> {
    vec![
        Load {
            name: "light: 30 items a minute for 4 hours, 1 execution at once, 2 items/s",
            arrivals: (0..1_440).map(|tenth| (tenth * 10, 5)).collect(),
            items_per_s: 2.0,
            overhead_s: 45.0,
            slots: 1,
        },
        Load {
            name: "burst: 360 items at once, 20 executions at once, 0.5 items/s",
            arrivals: vec![(0, 40), (700, 360)],
            items_per_s: 0.5,
            overhead_s: 45.0,
            slots: 20,
        },
        Load {
            name: "heavy: 20,000 items at once, 20 executions at once, 5 items/s",
            arrivals: vec![(0, 200), (400, 19_800)],
            items_per_s: 5.0,
            overhead_s: 45.0,
            slots: 20,
        },
    ]
}

/// The figures of docs/triggers.md.
#[test]
fn sizes_chosen_here_beat_a_fixed_hundred() {
    let mut table = String::new();
    for load in loads() {
        let (fixed, chosen) = (simulate(&load, Some(100)), simulate(&load, None));
        assert!(
            chosen.makespan_s < fixed.makespan_s,
            "{}: {chosen:?} {fixed:?}",
            load.name
        );
        assert!(
            chosen.paid_s <= fixed.paid_s,
            "{}: {chosen:?} {fixed:?}",
            load.name
        );
        for (name, result) in [("fixed 100", fixed), ("`target: 5m`", chosen)] {
            let (makespan, paid) = (result.makespan_s, result.paid_s);
            let row = format!(
                "| {} | {name} | {} | {makespan:.0} s | {paid:.0} s |\n",
                load.name, result.batches
            );
            table += &row;
        }
    }
    insta::assert_snapshot!(table);
}
