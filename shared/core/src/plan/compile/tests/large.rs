//! Flows that need more than one shard.

use super::*;

#[test]
fn up_to_128_nodes_are_one_shard_without_mirrors() {
    let plan = plan_of(chain(flow(), "t", 127));
    assert_eq!(plan.scopes[0].shards.len(), 1);
    assert!(plan.scopes[0].shards[0].mirrors.is_empty());
    let plan = plan_of(chain(flow(), "t", 128));
    assert_eq!(plan.scopes[0].shards.len(), 2);
}

#[test]
fn a_chain_of_ten_thousand_crosses_shards_once_per_shard() {
    let plan = plan_of(chain(flow(), "t", 10_000));
    let shards = &plan.scopes[0].shards;
    assert!((100..=105).contains(&shards.len()), "{}", shards.len());
    // The group above and the task before.
    assert!(shards[1..].iter().all(|shard| shard.mirrors.len() <= 2));
    assert_eq!(node(&plan, "t0").rank, 10_000);
    assert_eq!(node(&plan, "t9999").rank, 1);
}

#[test]
fn layers_of_a_hundred_fit() {
    for layers in [10, 100] {
        let plan = plan_of(wide(layers, 100));
        assert!(
            plan.scopes[0].shards.len() <= layers * 2,
            "{}",
            plan.scopes[0].shards.len()
        );
    }
}

#[test]
fn groups_that_must_stay_together_do_when_their_descendants_need_not() {
    // 30 groups of 30 under a limit; a choice with two long branches; both in one flow.
    let plan = plan_of(
        flow()
            .parallel("limited", 4, |f| {
                (0..30).fold(f, |f, g| {
                    f.group(&format!("g{g}"), GroupOrder::Sequential, |f| {
                        chain(f, &format!("g{g}t"), 30)
                    })
                })
            })
            .choice(
                "pick",
                "{{ inputs.x }}",
                |f| chain(f, "yes", 300),
                |f| chain(f, "no", 5),
            )
            .errors(|f| chain(f, "err", 250))
            .finally(|f| chain(f, "fin", 3))
            .after_execution(|f| chain(f, "aft", 300)),
    );
    let home = |id: &str| {
        let at = plan.scopes[0]
            .nodes
            .iter()
            .position(|node| node.id == id)
            .unwrap();
        plan.home(u16::try_from(at).unwrap()).unwrap()
    };
    assert_eq!(home(".flow"), (0, 0));
    assert_eq!(home(".after"), (0, 1));
    for group in ["limited", "pick"] {
        for &child in &node(&plan, group).children {
            assert_eq!(plan.home(child).unwrap().0, home(group).0);
        }
    }
    assert_ne!(home("g29").0, home("limited").0);
    assert_ne!(home("yes0").0, home("yes299").0);
    assert_eq!(node(&plan, "err0").rank, 250);
}

#[test]
fn a_task_that_gathers_a_thousand_fits_and_one_that_gathers_too_many_is_named() {
    let fan_in = |count: usize| {
        let ids: Vec<String> = (0..count).map(|at| format!("t{at}")).collect();
        let deps: Vec<&str> = ids.iter().map(String::as_str).collect();
        chain(flow(), "t", count).task_after("join", &deps)
    };
    plan_of(fan_in(1_000));
    insta::assert_snapshot!(errors_of(fan_in(3_000)).join("\n"), @"task `join`: the task depends on 3000 others, which is too many. Gather these into groups and depend on the groups");
}

#[test]
fn groups_that_must_stay_together_nest() {
    let plan = plan_of(flow().parallel("outer", 4, |f| {
        (0..100).fold(f, |f, g| {
            let f = f.parallel(&format!("inner{g}"), 2, |f| chain(f, &format!("t{g}-"), 90));
            if g == 0 {
                f
            } else {
                f.after(&[&format!("inner{}", g - 1)])
            }
        })
    }));
    assert!(plan.scopes[0].shards.len() <= 102);
    // The hidden group around an inner one stands for it.
    let nodes = &plan.scopes[0].nodes;
    let around = |id: &str| &nodes[usize::from(node(&plan, id).parent.unwrap())];
    assert!(around("inner7").hidden && node(&plan, "inner7").deps.is_empty());
    let before: Vec<&str> = around("inner7")
        .deps
        .iter()
        .map(|&d| nodes[usize::from(d)].id.as_str())
        .collect();
    assert_eq!(before, [around("inner6").id.as_str()]);
}

#[test]
fn a_group_with_too_many_dependencies_for_its_shard_gives_way() {
    let ids: Vec<String> = (0..800).map(|at| format!("t{at}")).collect();
    let deps: Vec<&str> = ids.iter().map(String::as_str).collect();
    let builder = chain(flow(), "t", 800).parallel("join", 3, |f| chain(f, "j", 95));
    plan_of(builder.after(&deps));
}
