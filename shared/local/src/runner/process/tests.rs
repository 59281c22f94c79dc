//! With real processes.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use operon_core::exec::{Outcome, Reason, Truth};
use operon_engine::ports::{
    ArtifactStore as _, ArtifactUri, AttemptResult, AttemptSpec, FileSource, InputFile, LogLevel,
    LogLine, RunnerError, TaskRunner as _,
};
use serde_json::json;
use tempfile::TempDir;

use super::{ProcessRunner, RunnerConfig, system};
use crate::runner::claims::{Claims as _, MemoryClaims};
use crate::runner::testing::{Files, Logs, attempt_id, ports, shell, spec};

struct Bench {
    runner: ProcessRunner,
    logs: Arc<Logs>,
    artifacts: Arc<Files>,
    claims: Arc<MemoryClaims>,
    config: RunnerConfig,
    directory: TempDir,
}

fn bench_with(change: impl FnOnce(&mut RunnerConfig)) -> Bench {
    let directory = tempfile::tempdir().unwrap();
    let (artifacts, logs) = ports(directory.path());
    let claims: Arc<MemoryClaims> = Arc::default();
    let mut config = RunnerConfig::new(directory.path().join("state"));
    config.grace = Duration::from_millis(300);
    config.linger = Duration::from_millis(300);
    change(&mut config);
    let runner = ProcessRunner::new(
        config.clone(),
        claims.clone(),
        artifacts.clone(),
        logs.clone(),
    );
    Bench {
        runner,
        logs,
        artifacts,
        claims,
        config,
        directory,
    }
}

fn bench() -> Bench {
    bench_with(|_| {})
}

impl Bench {
    async fn run(&self, spec: AttemptSpec) -> AttemptResult {
        self.runner.run(spec).await.unwrap()
    }

    fn work(&self) -> Vec<String> {
        let found = fs::read_dir(self.directory.path().join("state/work/exec-1"));
        let names = found.into_iter().flatten().flatten();
        names
            .map(|entry| entry.file_name().into_string().unwrap())
            .collect()
    }
}

fn input(path: &str, text: &str, executable: bool) -> InputFile {
    InputFile {
        path: path.to_owned(),
        source: FileSource::Inline(text.to_owned()),
        executable,
    }
}

/// Waits until `path` holds a number.
async fn number_in(path: &Path) -> u32 {
    for _ in 0..1000 {
        if let Ok(text) = fs::read_to_string(path)
            && text.ends_with('\n')
        {
            return text.trim().parse().unwrap();
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("{} was not written", path.display());
}

fn runs(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| !stat.rsplit_once(')').unwrap().1.starts_with(" Z"))
}

#[tokio::test]
async fn a_command_runs_in_a_clean_directory_with_little_environment() {
    let bench = bench();
    let mut spec = shell(
        1,
        "env | cut -d= -f1 | sort | tr '\\n' ' '; ls -A; pwd; echo $A; echo $OPERON_ATTEMPT $OPERON_TASK_RUN",
    );
    spec.env.insert("A".to_owned(), "b c".to_owned());
    spec.env
        .insert("WORKING_DIR".to_owned(), "/elsewhere".to_owned());
    let result = bench.run(spec.clone()).await;
    assert_eq!(result.outcome, Outcome::Success, "{:?}", result.message);
    let texts = bench.logs.texts(&spec.id);
    let variables: Vec<&str> = texts[0].split(' ').collect();
    for needed in [
        "A",
        "OPERON_ATTEMPT",
        "OPERON_EXECUTION",
        "OPERON_METRICS",
        "OPERON_OUTPUTS",
        "OPERON_TASK_RUN",
        "OUTPUT_DIR",
        "PATH",
        "TMPDIR",
        "WORKING_DIR",
    ] {
        assert!(variables.contains(&needed), "{needed} is missing");
    }
    assert!(!variables.iter().any(|name| name.starts_with("CARGO")));
    let directory = bench.runner.working_directory(&spec.id, &spec.name, None);
    assert!(
        texts[0].ends_with(&*directory.to_string_lossy()),
        "{texts:?}"
    );
    assert_eq!(texts.len(), 3, "files were there: {texts:?}");
    assert_eq!(texts[1], "b c");
    assert_eq!(texts[2], "1 align[1]");
    assert!(bench.logs.has_ended(&spec.id));
    assert_eq!(result.outputs["exitCode"], json!(0));
}

#[tokio::test]
async fn a_directory_is_taken_over_only_as_it_was_made() {
    let bench = bench();
    for (attempt, script) in [
        (1, "true"),
        (2, "ls -A . $TMPDIR $OUTPUT_DIR; touch left"),
        (3, "ls -A; mkdir -p $TMPDIR/deep"),
        (4, "ls -A . $TMPDIR; chmod 700 ."),
        (5, "stat -c %a ."),
    ] {
        let spec = shell(attempt, script);
        let result = bench.run(spec.clone()).await;
        assert_eq!(result.outcome, Outcome::Success, "{:?}", result.message);
        let texts = bench.logs.texts(&spec.id);
        let files = texts
            .iter()
            .filter(|line| line.contains("left") || line.contains("deep"));
        assert_eq!(files.count(), 0, "attempt {attempt} found {texts:?}");
        if attempt == 5 {
            assert_eq!(texts, ["755"]);
        }
    }
    assert_eq!(
        bench.work().len(),
        1,
        "only the last one is spare: {:?}",
        bench.work()
    );
    bench
        .runner
        .remove_execution(&shell(1, "").id.execution)
        .await
        .unwrap();
    assert!(bench.work().is_empty(), "left behind: {:?}", bench.work());
}

#[tokio::test]
async fn input_files_come_in_and_output_files_go_out() {
    let bench = bench();
    let uri = ArtifactUri::new("in/genome.fa").unwrap();
    bench
        .artifacts
        .put(&uri, ">a\nACGT\n".into())
        .await
        .unwrap();
    let mut spec = shell(
        1,
        "./bin/tool > out/result.txt; cat data/genome.fa > out/copy.fa; echo deep > out/x/deep.txt; \
         echo extra > $OUTPUT_DIR/extra.log; ln -s /etc/passwd out/link.txt; echo q > literal",
    );
    spec.input_files = vec![
        input("bin/tool", "#!/bin/sh\necho from tool", true),
        input("out/x/.keep", "", false),
        InputFile {
            path: "data/genome.fa".to_owned(),
            source: FileSource::Artifact(uri),
            executable: false,
        },
    ];
    spec.output_files = ["out/*.txt", "out/*.fa", "literal", "*.none"]
        .map(str::to_owned)
        .to_vec();
    let result = bench.run(spec.clone()).await;
    assert_eq!(result.outcome, Outcome::Success, "{:?}", result.message);
    assert_eq!(
        result.outputs["outputFiles"],
        json!({
            "extra.log": "operon:///exec-1/align/1/extra.log",
            "literal": "operon:///exec-1/align/1/literal",
            "out/copy.fa": "operon:///exec-1/align/1/out/copy.fa",
            "out/result.txt": "operon:///exec-1/align/1/out/result.txt",
        })
    );
    let stored = ArtifactUri::new("exec-1/align/1/out/result.txt").unwrap();
    assert_eq!(
        &bench.artifacts.get(&stored, 100).await.unwrap()[..],
        b"from tool\n"
    );
    let texts = bench.logs.texts(&spec.id);
    assert!(
        texts.iter().any(|text| text.contains("`*.none`")),
        "{texts:?}"
    );
    assert!(bench.work().is_empty());
}

#[tokio::test]
async fn a_missing_output_file_fails_and_says_which() {
    let bench = bench();
    let mut spec = shell(1, "true");
    spec.output_files = vec!["results/tree.nwk".to_owned()];
    let result = bench.run(spec).await;
    assert_eq!(result.outcome, Outcome::Failed(Reason::Output));
    assert!(
        result
            .message
            .unwrap()
            .contains("`results/tree.nwk` is missing")
    );
}

#[tokio::test]
async fn input_files_cannot_leave_the_directory() {
    let bench = bench();
    let mut attempt = shell(1, "true");
    attempt.input_files = vec![input("../escaped", "x", false)];
    let result = bench.run(attempt).await;
    assert_eq!(result.outcome, Outcome::Failed(Reason::InvalidInput));
    assert!(result.message.unwrap().contains("`../escaped`"));
    let mut attempt = shell(2, "true");
    attempt.input_files = vec![InputFile {
        path: "a".to_owned(),
        source: FileSource::Artifact(ArtifactUri::new("not/there").unwrap()),
        executable: false,
    }];
    let result = bench.run(attempt).await;
    assert_eq!(result.outcome, Outcome::Failed(Reason::InvalidInput));
    assert!(result.message.unwrap().contains("operon:///not/there"));
}

#[tokio::test]
async fn values_are_handed_back_by_lines_and_by_files() {
    let bench = bench();
    let attempt = shell(
        1,
        r#"echo before
        echo '::{"outputs":{"n":7,"name":"mpox"},"metrics":[{"name":"sequences","type":"counter","value":12,"tags":{"organism":"mpox"}}]}::'
        echo '::{"logs":[{"level":"ERROR","message":"said so"}]}::'
        echo '::{"outputs":oops}::'
        printf 'n=8\nkey=a=b\n{"list":[1,2]}\n' > $OPERON_OUTPUTS
        echo '{"name":"wall","type":"timer","value":0.5}' > $OPERON_METRICS"#,
    );
    let result = bench.run(attempt.clone()).await;
    assert_eq!(result.outcome, Outcome::Success, "{:?}", result.message);
    assert_eq!(
        result.outputs["vars"],
        json!({"n": "8", "name": "mpox", "key": "a=b", "list": [1, 2]})
    );
    assert_eq!(result.metrics.len(), 2);
    assert_eq!(result.metrics[0].tags["organism"], "mpox");
    let lines = bench.logs.of(&attempt.id);
    let shown: Vec<_> = lines
        .iter()
        .map(|line| (line.level, line.text.as_str()))
        .collect();
    assert_eq!(shown[0], (LogLevel::Info, "before"));
    assert_eq!(shown[1], (LogLevel::Error, "said so"));
    assert_eq!(shown[2].0, LogLevel::Warn);
    assert_eq!(shown[3], (LogLevel::Info, "::{\"outputs\":oops}::"));
    assert_eq!(shown.len(), 4);
}

#[tokio::test]
async fn outputs_that_are_too_large_fail() {
    let bench = bench();
    let script = "head -c 2000000 /dev/zero | tr '\\0' a > big; \
                  printf '::{\"outputs\":{\"a\":\"%s\"}}::\\n' \"$(cat big)\"";
    let result = bench.run(shell(1, script)).await;
    assert_eq!(result.outcome, Outcome::Failed(Reason::Output));
    let script = "head -c 2000000 /dev/zero | tr '\\0' a > $OPERON_OUTPUTS";
    let result = bench.run(shell(2, script)).await;
    assert_eq!(result.outcome, Outcome::Failed(Reason::Output));
    assert!(result.message.unwrap().contains("OPERON_OUTPUTS"));
}

#[tokio::test]
async fn secrets_are_hidden_in_logs_outputs_and_messages() {
    let bench = bench();
    let mut attempt = shell(
        1,
        "echo key=s3cr3t-value; echo '::{\"outputs\":{\"k\":\"x s3cr3t-value\"}}::'; echo s3cr3t-value >&2; exit 3",
    );
    attempt.secrets = vec!["s3cr3t-value".to_owned()];
    let result = bench.run(attempt.clone()).await;
    assert_eq!(result.outcome, Outcome::Failed(Reason::ExitCode));
    assert_eq!(result.exit_code, Some(3));
    let all = format!("{result:?} {:?}", bench.logs.texts(&attempt.id));
    assert!(!all.contains("s3cr3t"), "{all}");
    assert!(result.message.unwrap().contains("exit code 3"));
}

#[tokio::test]
async fn a_large_log_is_complete_and_in_order() {
    let bench = bench();
    let attempt = shell(1, "seq 1 100000");
    let result = bench.run(attempt.clone()).await;
    assert_eq!(result.outcome, Outcome::Success);
    let texts = bench.logs.texts(&attempt.id);
    assert_eq!(texts.len(), 100_000);
    let expected = |number: usize| (number + 1).to_string();
    assert!(
        texts
            .iter()
            .enumerate()
            .all(|(n, text)| *text == expected(n))
    );
}

#[tokio::test]
async fn garbage_and_endless_lines_become_text() {
    let bench = bench();
    let attempt = shell(
        1,
        "printf 'a\\377\\000b\\n'; head -c 300000 /dev/zero | tr '\\0' x; echo; head -c 100000 /dev/urandom; echo; printf last",
    );
    let result = bench.run(attempt.clone()).await;
    assert_eq!(result.outcome, Outcome::Success);
    let texts = bench.logs.texts(&attempt.id);
    assert_eq!(texts[0], "a\u{fffd}\u{fffd}b");
    assert!(texts[1].ends_with("(line cut)") && texts[1].len() <= LogLine::TEXT_MAX);
    assert_eq!(texts.last().unwrap(), "last");
}

#[tokio::test]
async fn a_log_has_a_limit_and_says_so() {
    let bench = bench_with(|config| config.log_bytes_max = 100);
    let attempt = shell(1, "seq 1 10000");
    bench.run(attempt.clone()).await;
    let texts = bench.logs.texts(&attempt.id);
    assert!(texts.len() < 100);
    assert!(texts.last().unwrap().contains("too large"));
}

#[tokio::test]
async fn a_timeout_ends_the_whole_tree() {
    for use_descriptors in [true, false] {
        let bench = bench_with(|config| config.use_descriptors = use_descriptors);
        let pids = bench.directory.path().join("pid");
        // A grandchild that ignores SIGTERM, and one that left the group and the session.
        let mut attempt = shell(
            1,
            "sh -c 'trap \"\" TERM; echo $$ > $PIDS.1; while :; do sleep 1; done' & \
             setsid sh -c 'trap \"\" TERM; echo $$ > $PIDS.2; while :; do sleep 1; done' & \
             wait",
        );
        let base = pids.to_string_lossy().into_owned();
        attempt.env.insert("PIDS".to_owned(), base.clone());
        attempt.timeout = Duration::from_millis(700);
        let start = Instant::now();
        let result = bench.run(attempt.clone()).await;
        assert_eq!(result.outcome, Outcome::Failed(Reason::Timeout));
        assert!(start.elapsed() < Duration::from_secs(5));
        assert!(result.message.unwrap().contains("0.7 s"));
        for suffix in ["1", "2"] {
            let pid = number_in(Path::new(&format!("{base}.{suffix}"))).await;
            assert!(!runs(pid), "grandchild {suffix} is alive");
        }
    }
}

#[tokio::test]
async fn a_child_that_holds_the_pipes_does_not_hang_the_attempt() {
    let bench = bench();
    let pid = bench.directory.path().join("pid");
    let mut attempt = shell(1, "sleep 60 & echo $! > $P; echo done");
    attempt
        .env
        .insert("P".to_owned(), pid.to_string_lossy().into_owned());
    let start = Instant::now();
    let result = bench.run(attempt.clone()).await;
    assert_eq!(result.outcome, Outcome::Success);
    assert!(start.elapsed() < Duration::from_secs(3));
    assert_eq!(bench.logs.texts(&attempt.id), ["done"]);
    assert!(!runs(number_in(&pid).await));
}

#[tokio::test]
async fn stopping_ends_it_and_an_attempt_is_launched_once() {
    let bench = bench();
    let attempt = shell(1, "sleep 60");
    let id = attempt.id.clone();
    assert_eq!(bench.runner.probe(&id).await.unwrap(), Truth::Absent);
    let runner = bench.runner.clone();
    let running = tokio::spawn({
        let attempt = attempt.clone();
        async move { runner.run(attempt).await }
    });
    let process = loop {
        if let Some(mark) = bench.claims.look(&id).await.unwrap().mark {
            break mark;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    assert_eq!(bench.runner.probe(&id).await.unwrap(), Truth::Alive);
    let again = bench.runner.run(attempt.clone()).await;
    assert!(matches!(again, Err(RunnerError::AlreadyLaunched)));
    bench.runner.stop(&id).await.unwrap();
    assert!(!runs(process.pid));
    let result = running.await.unwrap().unwrap();
    assert_eq!(result.outcome, Outcome::Failed(Reason::Kill));
    let killed = Truth::Ended(result.outcome);
    assert_eq!(bench.runner.probe(&id).await.unwrap(), killed);
    let again = bench.runner.run(attempt).await;
    assert!(matches!(again, Err(RunnerError::AlreadyLaunched)));
}

#[tokio::test]
async fn what_is_stopped_before_it_starts_never_starts() {
    let bench = bench();
    let attempt = shell(1, "true");
    bench.runner.stop(&attempt.id).await.unwrap();
    let refused = bench.runner.run(attempt.clone()).await;
    assert!(matches!(refused, Err(RunnerError::Stopped)));
    assert_eq!(
        bench.runner.probe(&attempt.id).await.unwrap(),
        Truth::Absent
    );
}

#[tokio::test]
async fn what_an_engine_left_behind_is_found_and_ended() {
    let bench = bench();
    // Stands for an engine that was killed: a process with the marker that nobody watches, and one more
    // that is in a session of its own.
    let pids = bench.directory.path().join("pid");
    let marker = bench.runner.shared.marker(&attempt_id(1));
    let script = "sleep 61 & echo $! > $P.1; setsid sh -c 'echo $$ > $P.2; exec sleep 62' & wait";
    let mut engine = std::process::Command::new("setsid")
        .args(["sh", "-c", script])
        .env(system::MARKER, &marker)
        .env("P", &pids)
        .spawn()
        .unwrap();
    let base = pids.to_string_lossy().into_owned();
    let first = number_in(Path::new(&format!("{base}.1"))).await;
    let second = number_in(Path::new(&format!("{base}.2"))).await;
    engine.kill().unwrap();
    engine.wait().unwrap();
    assert!(runs(first) && runs(second));
    for slot in [1, 2] {
        bench.claims.claim(&attempt_id(slot)).await.unwrap();
    }
    assert_eq!(
        bench.runner.probe(&attempt_id(1)).await.unwrap(),
        Truth::Gone
    );

    let next = ProcessRunner::new(
        bench.config.clone(),
        bench.claims.clone(),
        bench.artifacts.clone(),
        bench.logs.clone(),
    );
    let mut orphans = next.recover_orphans().await.unwrap();
    orphans.sort_by_key(|orphan| orphan.id.clone());
    assert_eq!(orphans.len(), 2);
    assert!(orphans[0].was_alive && !orphans[1].was_alive);
    assert!(!runs(first) && !runs(second));
    assert!(next.recover_orphans().await.unwrap().is_empty());
    assert_eq!(next.probe(&attempt_id(1)).await.unwrap(), Truth::Gone);
}

#[tokio::test]
async fn failures_to_start_say_what_to_do() {
    let bench = bench();
    for (slot, command, reason, words) in [
        (
            1,
            &["no-such-program-here"][..],
            Reason::Launch,
            "no-such-program-here",
        ),
        (2, &[][..], Reason::InvalidInput, "no command"),
        (
            3,
            &["./absent"][..],
            Reason::Launch,
            "not a file that can be executed",
        ),
        (4, &["./script"][..], Reason::Launch, "interpreter"),
    ] {
        let mut attempt = spec(slot, command);
        attempt.input_files = vec![input("script", "#!/no/such/shell\n", true)];
        let result = bench.run(attempt).await;
        assert_eq!(result.outcome, Outcome::Failed(reason));
        assert!(
            result.message.as_ref().unwrap().contains(words),
            "{result:?}"
        );
    }
}

#[tokio::test]
async fn signals_are_named_and_usage_is_measured() {
    let bench = bench();
    let result = bench.run(shell(1, "kill -SEGV $$")).await;
    assert_eq!(result.outcome, Outcome::Failed(Reason::ExitCode));
    assert_eq!(result.exit_code, Some(139));
    assert!(result.message.unwrap().contains("signal 11"));
    let busy = "i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done";
    let result = bench.run(shell(2, busy)).await;
    assert!(result.usage.cpu_seconds > 0.01, "{:?}", result.usage);
    assert!(result.usage.peak_rss_bytes > 100_000);
    assert!(result.ended_ms > result.started_ms);
}

#[tokio::test]
async fn a_shared_directory_stays_until_the_execution_is_over() {
    let bench = bench();
    let mut first = shell(1, "echo from first > note");
    let mut second = shell(2, "cat note");
    for attempt in [&mut first, &mut second] {
        attempt.shared_directory = Some("wdir".to_owned());
        assert_eq!(bench.run(attempt.clone()).await.outcome, Outcome::Success);
    }
    assert_eq!(bench.logs.texts(&second.id), ["from first"]);
    assert_eq!(bench.work().len(), 1);
    let execution = &first.id.execution;
    bench.runner.remove_execution(execution).await.unwrap();
    assert!(bench.work().is_empty());
}
