//! What `operon explain-plan` prints.

use super::*;

#[test]
fn a_plan_is_explained() {
    let builder = flow()
        .task("fetch")
        .retry(3, 90_000)
        .with(|fetch| {
            fetch.resources.memory_mib = 2048;
            fetch.props = json!({"taskRunner": {"type": "fargate"}})
                .as_object()
                .unwrap()
                .clone();
        })
        .task("submit")
        .idempotent(false)
        .with(|submit| submit.quarantine_ms = 3_600_000)
        .when("{{ outputs.fetch.count > 0 }}")
        .looped_over("per-sample", json!("{{ outputs.fetch.samples }}"), |f| {
            f.task("align")
                .timeout_ms(5_400_000)
                .errors(|f| f.task("report"))
        })
        .window(20)
        .parallel("checks", 2, |f| f.task("a").allow_failure().task("b"))
        .stop_on_failure()
        .choice(
            "full",
            "{{ inputs.full }}",
            |f| f.task("tree"),
            |f| f.task("sketch"),
        )
        .push(Task {
            kind: TaskKind::Sleep {
                duration: Dynamic::Template("{{ inputs.wait }}".into()),
            },
            ..task("rest")
        })
        .finally(|f| f.task("clean"))
        .after_execution(|f| f.task("tell"));
    insta::assert_snapshot!(crate::plan::explain(&plan_of(builder)), @r#"
    plan of genomics.qc
    hash 8f7c5329b4b0b59e92a3476536233827089e81ea749c6fd7d8066da3b83a666d

    scope 0: 16 nodes in 1 shard
      shard 0: 16 slots, 0 mirrors, 176 bytes at most
      .flow: group, rank 6
        fetch: task io.kestra.plugin.core.debug.Return, timeout 1m, retry every 1m30s, 3 attempts, runner fargate, on AWS: worker, 0.100 CPU 2048 MiB, rank 6
        submit: task io.kestra.plugin.core.debug.Return, timeout 1m, launched at most once (quarantine 1h), on AWS: worker, after fetch, needs fetch, when {{ outputs.fetch.count > 0 }}, rank 5
        .guard.per-sample: group, after submit, rank 4
          per-sample: loop of scope 1 over {{ outputs.fetch.samples }}, window 20, needs fetch, rank 4
          [errors] report: task io.kestra.plugin.core.debug.Return, timeout 1m, on AWS: worker, rank 4
        checks: group, 2 at once, stops on failure, after .guard.per-sample, rank 3
          a: task io.kestra.plugin.core.debug.Return, timeout 1m, on AWS: worker, allow failure, rank 3
          b: task io.kestra.plugin.core.debug.Return, timeout 1m, on AWS: worker, rank 3
        full: choice {{ inputs.full }}, otherwise [else], after checks, rank 2
          [then] tree: task io.kestra.plugin.core.debug.Return, timeout 1m, on AWS: worker, rank 2
          [else] sketch: task io.kestra.plugin.core.debug.Return, timeout 1m, on AWS: worker, rank 2
        rest: sleep {{ inputs.wait }}, after full, rank 1
        [finally] clean: task io.kestra.plugin.core.debug.Return, timeout 1m, on AWS: worker, rank 1
      .after: group, rank 1
        tell: task io.kestra.plugin.core.debug.Return, timeout 1m, on AWS: worker, rank 1

    scope 1: body of per-sample, 1 node per iteration, 128 iterations per shard
      align: task io.kestra.plugin.core.debug.Return, timeout 1h30m, on AWS: worker, rank 4
    "#);
    let large = crate::plan::explain(&plan_of(chain(flow(), "t", 150)));
    let lines: Vec<&str> = large
        .lines()
        .filter(|line| !line.contains("Return"))
        .collect();
    insta::assert_snapshot!(lines.join("\n"), @r#"
    plan of genomics.qc
    hash b00ff918192ad2472729c077ce041ba8786064df6ae7c21b8821b3953ceb7af2

    scope 0: 153 nodes in 2 shards
      shard 0: 52 slots, 2 mirrors, 429 bytes at most
      shard 1: 101 slots, 1 mirror, 772 bytes at most
      .flow: group, rank 150, shard 0
        .part-1: group, rank 150, shard 1
        .part-2: group, rank 50, shard 0
    "#);
}
