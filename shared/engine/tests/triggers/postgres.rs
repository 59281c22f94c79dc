//! The `postgres` trigger against a real `PostgreSQL` of its own: from `.tools/postgres-bin` (tests/tools/postgres.py
//! puts it there, `make test` does so), from `OPERON_TEST_POSTGRES`, or the one of the machine.

use std::time::Duration;

use super::server::Server;
use super::world::{World, fields, flow};

fn world_of(server: &Server, sql: &str, more: &str) -> World {
    let trigger = format!(
        "  - {{id: rows, type: postgres, url: \"jdbc:postgresql://127.0.0.1:{}/postgres\", username: operon, \
         password: \"{{{{ secret('DB') }}}}\", ssl: false, sql: \"{sql}\", interval: 1m, \
         inputs: {{value: \"{{{{ trigger.row }}}}\"}}{more}}}\n",
        server.port()
    );
    let world = World::new(vec![flow("f", &trigger)]);
    world.memory.secrets.set("DB", "the password");
    world
}

async fn look(world: &World) -> usize {
    world.triggers.look(&world.key()).await.unwrap();
    if let Some(trouble) = world.triggers.state(&world.key()).await.unwrap().trouble {
        panic!("{}", trouble.message);
    }
    world.executions().await.len()
}

#[tokio::test]
async fn a_database_is_no_way_to_credentials_of_the_cloud() {
    for url in [
        "postgresql://169.254.169.254/x",
        "postgresql://[64:ff9b:1::a9fe:a9fe]/x",
        "postgresql://127.0.0.1/x?hostaddr=169.254.169.254",
        "postgresql:///x?host=/var/run",
    ] {
        let trigger = format!(
            "  - {{id: rows, type: postgres, url: \"{url}\", ssl: false, sql: \"select 1\", listen: x, interval: 1m}}\n"
        );
        let world = World::new(vec![flow("f", &trigger)]);
        let wanted = |text: &str| text.contains("link-local") || text.contains("must name a host");
        world.triggers.look(&world.key()).await.unwrap();
        let trouble = world.triggers.state(&world.key()).await.unwrap().trouble;
        assert!(
            trouble.is_some_and(|trouble| wanted(&trouble.message)),
            "{url}"
        );
        let refused = world.triggers.listen(&world.key()).await.unwrap_err();
        assert!(wanted(&refused), "{url}: {refused}");
    }
}

#[tokio::test]
#[allow(
    clippy::too_many_lines,
    reason = "one story from its beginning to its end"
)]
async fn each_row_starts_the_flow_once() {
    let server = Server::start();
    let (one, two) = (server.client().await, server.client().await);
    one.batch_execute(
        "create table outbox (id bigserial primary key, kind text, at timestamptz default '2026-01-01T00:00:00Z');
         create table times (at timestamptz, name text)",
    )
    .await
    .unwrap();

    // A transaction that began first commits last: its number is smaller than one that was seen.
    let sql = "select id, kind from outbox where id > $1 order by id limit 100";
    let world = world_of(&server, sql, ", cursor: id, initialCursor: 0");
    one.batch_execute("begin; insert into outbox (kind) values ('late')")
        .await
        .unwrap();
    two.batch_execute("insert into outbox (kind) values ('early')")
        .await
        .unwrap();
    assert_eq!(look(&world).await, 1);
    assert_eq!(look(&world).await, 1, "read again, and started once");
    one.batch_execute("commit").await.unwrap();
    assert_eq!(look(&world).await, 2, "the late one was not passed over");
    let rows = world.executions().await;
    let kinds: Vec<&str> = rows
        .iter()
        .map(|row| fields(row)["row"]["kind"].as_str().unwrap())
        .collect();
    assert!(
        kinds.contains(&"late") && kinds.contains(&"early"),
        "{kinds:?}"
    );
    assert_eq!(
        rows[0].meta.inputs["value"]["kind"],
        fields(&rows[0])["row"]["kind"]
    );
    assert_eq!(look(&world).await, 2);

    // A crash at any write repeats no row and loses none.
    for writes in 0..25 {
        let before = world.executions().await.len();
        two.batch_execute("insert into outbox (kind) select 'x' from generate_series(1, 3)")
            .await
            .unwrap();
        world.fuse.set(writes);
        let _ = world.triggers.look(&world.key()).await;
        world.fuse.set(i64::MAX);
        assert_eq!(
            look(&world).await,
            before + 3,
            "crash after {writes} writes"
        );
    }

    // More rows than the query's own limit, while a transaction keeps the cursor back.
    one.batch_execute("begin; insert into outbox (kind) values ('open')")
        .await
        .unwrap();
    two.batch_execute("insert into outbox (kind) select 'y' from generate_series(1, 250)")
        .await
        .unwrap();
    let before = world.executions().await.len();
    for _ in 0..5 {
        look(&world).await;
    }
    assert_eq!(world.executions().await.len(), before + 250);
    one.batch_execute("commit").await.unwrap();
    assert_eq!(look(&world).await, before + 251);

    // A cursor of another type, and without any.
    let sql = "select at, name from times where at > $1 order by at";
    let times = world_of(
        &server,
        sql,
        ", cursor: at, initialCursor: \"2026-01-01T00:00:00Z\"",
    );
    let all = world_of(&server, "select name from times", "");
    two.batch_execute(
        "insert into times values ('2026-01-02', 'a'), ('2026-01-03', 'b'), ('2026-01-03', 'c')",
    )
    .await
    .unwrap();
    for world in [&times, &all] {
        assert_eq!(look(world).await, 3);
        assert_eq!(look(world).await, 3);
    }

    // What is wrong is told, without the password.
    let wrong = world_of(&server, "select nothing from nowhere", "");
    wrong.triggers.look(&wrong.key()).await.unwrap();
    let trouble = wrong
        .triggers
        .state(&wrong.key())
        .await
        .unwrap()
        .trouble
        .unwrap();
    assert!(
        trouble.message.contains("nowhere") && !trouble.message.contains("the password"),
        "{trouble:?}"
    );
    assert!(wrong.executions().await.is_empty());

    // A notification makes it look at once.
    let sql = "select id, kind from outbox where id > $1 order by id";
    let listening = world_of(
        &server,
        sql,
        ", cursor: id, initialCursor: 1000, listen: outbox",
    );
    let key = listening.key();
    let woken = async {
        for _ in 0..600 {
            // The first look may come before the row.
            two.batch_execute("insert into outbox (id, kind) values (2000, 'told') on conflict do nothing; notify outbox")
                .await
                .unwrap();
            tokio::time::sleep(Duration::from_millis(100)).await;
            if listening.executions().await.len() == 1 {
                return true;
            }
        }
        false
    };
    tokio::select! {
        ended = listening.triggers.listen(&key) => panic!("{ended:?}"),
        heard = woken => assert!(heard),
    }
}

/// As it is on AWS: one asks, and another one looks, who may die.
#[tokio::test]
async fn a_worker_reads_rows_once_wherever_it_dies() {
    let server = Server::start();
    let client = server.client().await;
    client
        .batch_execute("create table outbox (id bigserial primary key, kind text)")
        .await
        .unwrap();
    let sql = "select id, kind from outbox where id > $1 order by id limit 100";
    let mut world = world_of(&server, sql, ", cursor: id, initialCursor: 0");
    let asks = world.asking();
    let key = world.key();
    world.triggers.arm_all().await.unwrap();
    let mut died = 0;
    for writes in 0..25_u32 {
        client
            .batch_execute("insert into outbox (kind) select 'x' from generate_series(1, 3)")
            .await
            .unwrap();
        let before = world.executions().await.len();
        world.triggers.look(&key).await.unwrap();
        world.triggers.look_at_due().await.unwrap();
        assert_eq!(asks.count(), writes + 1, "asked once");
        assert_eq!(
            world.executions().await.len(),
            before,
            "who asks does not look"
        );
        world.fuse.set(i64::from(writes));
        died += u32::from(
            world
                .triggers
                .poll(&key, world.now() + 60_000)
                .await
                .is_err(),
        );
        world.fuse.set(i64::MAX);
        // Its message comes again.
        world
            .triggers
            .poll(&key, world.now() + 60_000)
            .await
            .unwrap();
        let state = world.triggers.state(&key).await.unwrap();
        assert_eq!((state.asked, state.trouble), (None, None));
        let now = world.executions().await.len();
        assert_eq!(now, before + 3, "crash after {writes} writes");
        world.memory.clock.advance(60_000);
    }
    assert!(died > 10, "it died {died} times only");
}
