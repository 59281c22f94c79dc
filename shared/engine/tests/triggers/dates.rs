//! Schedules: dates fire once, outages and switches are dealt with as documented, backfills keep their cap.

use super::world::{World, fields, flow};
use operon_engine::triggers::{BackfillError, BackfillRange};

const DAY: u64 = 86_400_000;

fn daily(recover: &str) -> String {
    format!(
        "  - {{id: nightly, type: schedule, cron: \"0 2 * * *\", timezone: Europe/Zurich, recoverMissedSchedules: {recover}}}\n"
    )
}

async fn dates(world: &World) -> Vec<String> {
    let mut dates: Vec<String> = world
        .executions()
        .await
        .iter()
        .map(|row| fields(row)["date"].as_str().unwrap().to_owned())
        .collect();
    dates.sort();
    dates
}

#[tokio::test]
async fn a_date_fires_once_and_knows_its_neighbours() {
    let world = World::new(vec![flow("f", &daily("LAST"))]);
    world.triggers.arm_all().await.unwrap();
    let state = world.triggers.state(&world.key()).await.unwrap();
    // The clock stands at 2030-01-01T00:00Z, which is one o'clock in Zurich.
    assert_eq!(state.next_ms, Some(world.now() + 3_600_000));
    world.memory.clock.advance(3_600_000);
    for _ in 0..3 {
        world.triggers.look_at_due().await.unwrap();
        world.triggers.look(&world.key()).await.unwrap();
    }
    let rows = world.executions().await;
    assert_eq!(rows.len(), 1);
    assert_eq!(fields(&rows[0])["date"], "2030-01-01T02:00:00+01:00");
    assert_eq!(fields(&rows[0])["next"], "2030-01-02T02:00:00+01:00");
    assert_eq!(fields(&rows[0])["previous"], "2029-12-31T02:00:00+01:00");
}

#[tokio::test]
async fn three_days_without_an_engine_and_three_days_switched_off_are_the_same() {
    for (recover, expected) in [("ALL", 3), ("LAST", 1), ("NONE", 0)] {
        for off in [false, true] {
            let world = World::new(vec![flow("f", &daily(recover))]);
            world.triggers.arm_all().await.unwrap();
            if off {
                world
                    .triggers
                    .disable(&world.key(), "me", "holiday")
                    .await
                    .unwrap();
            }
            world.memory.clock.advance(3 * DAY - 60_000);
            if off {
                world.triggers.look_at_due().await.unwrap();
                assert!(world.executions().await.is_empty());
                world
                    .triggers
                    .enable(&world.flow(), &world.flow().triggers[0])
                    .await
                    .unwrap();
            }
            world.triggers.look_at_due().await.unwrap();
            assert_eq!(world.executions().await.len(), expected, "{recover} {off}");
            let state = world.triggers.state(&world.key()).await.unwrap();
            assert_eq!(state.missed_count, 3 - expected as u64, "{recover} {off}");
            assert_eq!(state.late.len(), expected, "{recover} {off}");
            // Switching it off and on again changes nothing.
            world
                .triggers
                .disable(&world.key(), "me", "again")
                .await
                .unwrap();
            world
                .triggers
                .enable(&world.flow(), &world.flow().triggers[0])
                .await
                .unwrap();
            world.triggers.look_at_due().await.unwrap();
            assert_eq!(world.executions().await.len(), expected);
            // And the next date fires.
            world.memory.clock.advance(3_600_000 + 61_000);
            world.triggers.look_at_due().await.unwrap();
            let view = world.triggers.list(None).await.unwrap().remove(0);
            assert!(view.enabled && !view.late, "{view:?}");
        }
    }
}

#[tokio::test]
async fn a_crash_between_date_and_cursor_repeats_no_date() {
    for writes in 0..30 {
        let world = World::new(vec![flow("f", &daily("ALL"))]);
        world.triggers.arm_all().await.unwrap();
        world.memory.clock.advance(3 * DAY);
        world.fuse.set(writes);
        let _ = world.triggers.look(&world.key()).await;
        world.fuse.set(i64::MAX);
        world.triggers.look_at_due().await.unwrap();
        assert_eq!(dates(&world).await.len(), 3, "crash after {writes} writes");
        assert!(
            world
                .executions()
                .await
                .iter()
                .all(|row| world.was_started(row))
        );
    }
}

#[tokio::test]
async fn a_changed_schedule_does_not_fire_for_the_past() {
    let world = World::new(vec![flow("f", &daily("ALL"))]);
    world.triggers.arm_all().await.unwrap();
    world.memory.clock.advance(30 * 60_000);
    world.change(|there| {
        *there = flow(
            "f",
            "  - {id: nightly, type: schedule, cron: \"* * * * *\", recoverMissedSchedules: ALL}\n",
        );
    });
    world.triggers.arm_all().await.unwrap();
    world.triggers.look_at_due().await.unwrap();
    assert!(world.executions().await.is_empty());
    world.memory.clock.advance(60_000);
    world.triggers.look_at_due().await.unwrap();
    assert_eq!(world.executions().await.len(), 1);
}

fn range(world: &World, days: u64, cap: u32) -> BackfillRange {
    let now = world.now();
    BackfillRange {
        from_ms: now - days * DAY,
        until_ms: now,
        cap,
        max_executions: None,
        inputs: [("n".to_owned(), 5.into())].into(),
        labels: [("why".to_owned(), "backfill".to_owned())].into(),
    }
}

#[tokio::test]
async fn a_backfill_starts_no_more_than_it_may() {
    let world = World::new(vec![flow("f", &daily("NONE"))]);
    world.triggers.arm_all().await.unwrap();
    let key = world.key();
    let wish = BackfillRange {
        max_executions: Some(3),
        ..range(&world, 9, 2)
    };
    world.triggers.start_backfill(&key, wish).await.unwrap();
    for _ in 0..6 {
        world.pass(6).await;
        for row in world
            .executions()
            .await
            .iter()
            .filter(|row| row.ended_ms.is_none())
        {
            world.end(row, "SUCCESS").await;
        }
    }
    let state = world.triggers.backfill(&key).await.unwrap().unwrap();
    assert_eq!((state.over, state.started), (true, 3));
    assert_eq!(world.executions().await.len(), 3);
}

#[tokio::test]
async fn a_backfill_keeps_its_cap_pauses_and_skips_what_succeeded() {
    let world = World::new(vec![flow("f", &daily("NONE"))]);
    world.triggers.arm_all().await.unwrap();
    // One date fires by itself and succeeds.
    world.memory.clock.advance(3_600_000);
    world.triggers.look_at_due().await.unwrap();
    let own = world.executions().await.remove(0);
    world.end(&own, "SUCCESS").await;
    world.memory.clock.advance(3_600_000);
    let key = world.key();
    world
        .triggers
        .start_backfill(&key, range(&world, 5, 2))
        .await
        .unwrap();
    assert!(matches!(
        world
            .triggers
            .start_backfill(&key, range(&world, 5, 2))
            .await,
        Err(BackfillError::GoingOn)
    ));
    let active = |rows: &[operon_engine::ports::ExecutionRow]| {
        rows.iter().filter(|row| row.ended_ms.is_none()).count()
    };
    world.pass(20).await;
    assert_eq!(active(&world.executions().await), 2, "the cap");
    world.triggers.pause_backfill(&key, true).await.unwrap();
    for row in world
        .executions()
        .await
        .iter()
        .filter(|row| row.ended_ms.is_none())
    {
        world.end(row, "FAILED").await;
    }
    world.pass(20).await;
    assert_eq!(active(&world.executions().await), 0, "paused");
    world.triggers.pause_backfill(&key, false).await.unwrap();
    for _ in 0..5 {
        world.pass(6).await;
        for row in world
            .executions()
            .await
            .iter()
            .filter(|row| row.ended_ms.is_none())
        {
            assert_eq!(
                (&row.meta.inputs["n"], row.labels["why"].as_str()),
                (&5.into(), "backfill")
            );
            world.end(row, "SUCCESS").await;
        }
    }
    let state = world.triggers.backfill(&key).await.unwrap().unwrap();
    assert!(state.over, "{state:?}");
    assert_eq!((state.started, state.skipped), (4, 1));
    // The second one tries the two that failed again, and nothing else.
    world
        .triggers
        .start_backfill(&key, range(&world, 5, 10))
        .await
        .unwrap();
    world.pass(6).await;
    let state = world.triggers.backfill(&key).await.unwrap().unwrap();
    assert_eq!((state.started, state.skipped), (2, 3));
    assert!(matches!(
        world
            .triggers
            .start_backfill(
                &key,
                BackfillRange {
                    cap: 0,
                    ..range(&world, 1, 1)
                }
            )
            .await,
        Err(BackfillError::Range)
    ));
}

#[tokio::test]
async fn a_backfill_of_a_trigger_that_must_not_overlap_goes_one_by_one() {
    let serial = daily("NONE").replace("type: schedule", "type: schedule, allowConcurrent: false");
    let world = World::new(vec![flow("f", &serial)]);
    world.triggers.arm_all().await.unwrap();
    let key = world.key();
    let wish = range(&world, 3, 2);
    world.triggers.start_backfill(&key, wish).await.unwrap();
    for count in 1..=3 {
        world.pass(12).await;
        let rows = world.executions().await;
        let active: Vec<_> = rows.iter().filter(|row| row.ended_ms.is_none()).collect();
        assert_eq!((rows.len(), active.len()), (count, 1));
        world.end(active[0], "SUCCESS").await;
    }
    world.pass(12).await;
    let state = world.triggers.backfill(&key).await.unwrap().unwrap();
    assert_eq!((state.over, state.started, state.skipped), (true, 3, 0));
}
