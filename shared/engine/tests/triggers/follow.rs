//! Schedules come and go with revisions, switches and removed triggers.

use super::world::{World, flow};

const HOURLY: &str = "  - {id: hourly, type: schedule, cron: \"0 * * * *\"}\n";
const DAILY: &str = "  - {id: daily, type: schedule, cron: \"30 2 * * *\"}\n";
const HOOK: &str = "  - {id: hook, type: webhook, key: abcdefghijklmnopqrst}\n";

fn deployed(world: &World, triggers: &str, disabled: bool) {
    let mut next = flow("f", triggers);
    next.disabled = disabled;
    world.change(|flow| *flow = next);
}

fn ids(world: &World) -> Vec<String> {
    world.schedules.made().into_keys().collect()
}

async fn follow(world: &World) {
    world.triggers.follow("genomics", "f").await.unwrap();
}

#[tokio::test]
async fn schedules_are_those_of_the_revision_that_counts() {
    let world = World::new(vec![flow("f", &format!("{HOURLY}{HOOK}"))]);
    follow(&world).await;
    assert_eq!(ids(&world), ["genomics/f/hourly"]);
    assert!(world.schedules.made()["genomics/f/hourly"].starts_with("cron("));
    deployed(&world, &format!("{DAILY}{HOOK}"), false);
    follow(&world).await;
    assert_eq!(ids(&world), ["genomics/f/daily"]);
    // Rolled back.
    deployed(&world, HOURLY, false);
    follow(&world).await;
    assert_eq!(ids(&world), ["genomics/f/hourly"]);
}

#[tokio::test]
async fn what_is_switched_off_has_no_schedule() {
    let world = World::new(vec![flow("f", &format!("{HOURLY}{DAILY}"))]);
    follow(&world).await;
    assert_eq!(ids(&world).len(), 2);
    let key = operon_engine::triggers::TriggerKey {
        namespace: "genomics".to_owned(),
        flow: "f".to_owned(),
        trigger: "daily".to_owned(),
    };
    world
        .triggers
        .disable(&key, "a person", "for now")
        .await
        .unwrap();
    follow(&world).await;
    assert_eq!(ids(&world), ["genomics/f/hourly"]);
    deployed(&world, &format!("{HOURLY}{DAILY}"), true);
    follow(&world).await;
    assert!(ids(&world).is_empty());
    deployed(&world, &format!("{HOURLY}{DAILY}"), false);
    follow(&world).await;
    assert_eq!(ids(&world), ["genomics/f/hourly"]);
}

#[tokio::test]
async fn what_a_failure_left_out_is_made_good() {
    let world = World::new(vec![flow("f", HOURLY)]);
    follow(&world).await;
    deployed(&world, DAILY, false);
    world.schedules.fail(true);
    assert!(world.triggers.follow("genomics", "f").await.is_err());
    assert_eq!(ids(&world), ["genomics/f/hourly"]);
    world.schedules.fail(false);
    follow(&world).await;
    assert_eq!(ids(&world), ["genomics/f/daily"]);
}
