//! Flow triggers: one execution for each time the dependencies are satisfied.

use super::world::{World, deployed, fields, flow};

const UPSTREAM: &str = "id: {id}\nnamespace: genomics\ntasks: [{id: t, type: log, message: x}]\ntriggers: [{id: s, type: s3, bucket: {id}}]\n";

fn world(trigger: &str) -> World {
    let upstream = |id: &str| deployed(&UPSTREAM.replace("{id}", id));
    World::new(vec![flow("down", trigger), upstream("a"), upstream("b")])
}

/// An execution of an upstream flow ends; told `times` times.
async fn end(world: &World, flow: &str, name: &str, state: &str, times: usize) {
    let deployed = world
        .triggers
        .flows
        .deployed_flow("genomics", flow)
        .await
        .unwrap()
        .unwrap();
    let mut event = super::world::object(name);
    event.source = operon_core::triggers::Source::Object {
        bucket: flow.to_owned(),
        key: name.to_owned(),
        size: 1,
    };
    let outcome = world
        .triggers
        .accept(&deployed, &deployed.triggers[0], event)
        .await
        .unwrap();
    let id = outcome.execution().unwrap().clone();
    let row = world
        .executions()
        .await
        .into_iter()
        .find(|row| row.meta.id == id)
        .unwrap();
    let row = world.end(&row, state).await;
    for _ in 0..times {
        world.triggers.ended(&row).await.unwrap();
    }
}

async fn fired(world: &World) -> usize {
    world
        .executions()
        .await
        .iter()
        .filter(|row| row.meta.flow == "down")
        .count()
}

#[tokio::test]
async fn any_fires_for_each_execution_once() {
    let world = world(
        "  - {id: after, type: flow, mode: ANY, dependsOn: [{flowId: a}, {flowId: b, states: [FAILED]}]}\n",
    );
    end(&world, "a", "1", "SUCCESS", 3).await;
    end(&world, "a", "2", "FAILED", 1).await;
    end(&world, "b", "3", "FAILED", 2).await;
    assert_eq!(fired(&world).await, 2);
    let rows = world.executions().await;
    let mut told: Vec<(&str, &str)> = rows
        .iter()
        .filter(|row| row.meta.flow == "down")
        .filter_map(|row| {
            Some((
                fields(row)["flowId"].as_str()?,
                fields(row)["state"].as_str()?,
            ))
        })
        .collect();
    told.sort_unstable();
    assert_eq!(told, [("a", "SUCCESS"), ("b", "FAILED")]);
}

#[tokio::test]
async fn all_fires_when_both_have_ended_in_either_order() {
    for order in [["a", "b"], ["b", "a"]] {
        let world = world("  - {id: after, type: flow, dependsOn: [{flowId: a}, {flowId: b}]}\n");
        end(&world, order[0], "1", "SUCCESS", 2).await;
        assert_eq!(fired(&world).await, 0);
        end(&world, order[1], "2", "SUCCESS", 2).await;
        assert_eq!(fired(&world).await, 1, "{order:?}");
        end(&world, order[0], "3", "SUCCESS", 1).await;
        assert_eq!(fired(&world).await, 1, "the other one is used up");
        end(&world, order[1], "4", "SUCCESS", 1).await;
        assert_eq!(fired(&world).await, 2);
    }
}

#[tokio::test]
async fn a_crash_while_firing_fires_once() {
    for writes in 0..40 {
        let world = world("  - {id: after, type: flow, dependsOn: [{flowId: a}, {flowId: b}]}\n");
        end(&world, "a", "1", "SUCCESS", 1).await;
        end(&world, "b", "2", "SUCCESS", 0).await;
        let rows = world.executions().await;
        let row = rows.iter().find(|row| row.meta.flow == "b").unwrap();
        world.fuse.set(writes);
        let _ = world.triggers.ended(row).await;
        world.fuse.set(i64::MAX);
        world.triggers.ended(row).await.unwrap();
        world.pass(2).await;
        assert_eq!(fired(&world).await, 1, "crash after {writes} writes");
    }
}

#[tokio::test]
async fn a_window_that_passes_in_vain_fails_visibly_once() {
    let trigger = "  - {id: after, type: flow, mode: AT_LEAST, minSatisfied: 2, dependsOn: [{flowId: a}, {flowId: b}], window: {every: PT1H}, onMiss: {behavior: FAIL, labels: {why: late}}}\n";
    let world = world(trigger);
    world.triggers.arm_all().await.unwrap();
    end(&world, "a", "1", "SUCCESS", 1).await;
    world.memory.clock.advance(3_600_000);
    world.pass(3).await;
    let rows = world.executions().await;
    let missed = rows.iter().find(|row| row.meta.flow == "down").unwrap();
    assert_eq!(
        (missed.state.as_str(), missed.labels["why"].as_str()),
        ("FAILED", "late")
    );
    assert!(
        missed.reason.as_ref().unwrap().contains("1 of 2"),
        "{:?}",
        missed.reason
    );
    assert_eq!(fired(&world).await, 1);
    // The next window has both.
    end(&world, "b", "2", "SUCCESS", 1).await;
    end(&world, "a", "3", "SUCCESS", 1).await;
    assert_eq!(fired(&world).await, 2);
    end(&world, "a", "4", "SUCCESS", 1).await;
    end(&world, "b", "5", "SUCCESS", 1).await;
    assert_eq!(fired(&world).await, 2, "once per window");
    world.memory.clock.advance(3_600_000);
    world.pass(3).await;
    assert_eq!(fired(&world).await, 2, "it did not pass in vain");
}

#[tokio::test]
async fn ends_of_executions_are_batched() {
    let trigger = "  - {id: after, type: flow, mode: ANY, dependsOn: [{flowId: a}, {flowId: b}], batch: {maxItems: 3, maxWait: PT30S}}\n";
    for writes in 0..40 {
        let world = world(trigger);
        for (flow, name) in [("a", "1"), ("b", "2"), ("a", "3"), ("a", "4")] {
            end(&world, flow, name, "SUCCESS", 0).await;
        }
        let rows = world.executions().await;
        for row in rows.iter().filter(|row| row.meta.flow != "down") {
            world.fuse.set(writes);
            let _ = world.triggers.ended(row).await;
            world.fuse.set(i64::MAX);
            world.triggers.ended(row).await.unwrap();
        }
        assert_eq!(fired(&world).await, 1, "three are a batch at once");
        world.memory.clock.advance(30_000);
        world.pass(2).await;
        let rows = world.executions().await;
        let batches = rows.iter().filter(|row| row.meta.flow == "down");
        let mut ends: Vec<(usize, u64)> = batches
            .map(|row| {
                let items = fields(row)["items"].as_array().unwrap();
                assert!(items.iter().all(|item| item["state"] == "SUCCESS"));
                (items.len(), fields(row)["depth"].as_u64().unwrap())
            })
            .collect();
        ends.sort_unstable();
        assert_eq!(ends, [(1, 1), (3, 1)], "crashes after {writes} writes");
    }
}

#[tokio::test]
async fn every_window_in_which_nothing_happens_is_missed() {
    let world = world(
        "  - {id: after, type: flow, dependsOn: [{flowId: a}], window: {every: PT5M}, onMiss: {behavior: FAIL}}\n",
    );
    // Once, as where flows are looked at every quarter of an hour.
    world.triggers.arm_all().await.unwrap();
    for _ in 0..15 {
        world.memory.clock.advance(60_000);
        world.pass(1).await;
    }
    assert_eq!(fired(&world).await, 3);
    assert_eq!(world.heard.over().len(), 3, "each is told");
}

#[tokio::test]
async fn a_condition_that_cannot_be_evaluated_is_a_visible_rejection() {
    let world = world(
        "  - {id: after, type: flow, mode: ANY, dependsOn: [{flowId: a, when: \"{{ trigger.outputs.n.m }}\"}]}\n",
    );
    end(&world, "a", "1", "SUCCESS", 2).await;
    assert_eq!(fired(&world).await, 0);
    let letters = world.triggers.dead_letters(None, 10).await.unwrap();
    assert_eq!(letters.len(), 1);
    assert!(
        letters[0].reason.contains("`when` of `dependsOn`"),
        "{letters:?}"
    );
}
