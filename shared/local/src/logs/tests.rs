#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;
use std::time::Instant;

use operon_core::plan::ShardId;
use operon_engine::ports::{LogLevel, TaskRunKey};
use tempfile::TempDir;

use super::*;

fn fresh(limit: u64) -> (TempDir, LogFiles) {
    let directory = tempfile::tempdir().unwrap();
    let logs = LogFiles::start(directory.path(), limit).unwrap();
    (directory, logs)
}

fn attempt(number: u8) -> AttemptId {
    AttemptId {
        execution: "e-1".parse().unwrap(),
        task_run: TaskRunKey {
            shard: ShardId::ROOT.of_loop(12, 5),
            slot: 3,
        },
        attempt: number,
    }
}

fn line(seq: u64, text: &str) -> LogLine {
    LogLine {
        seq,
        time_ms: 1_000 + seq,
        level: LogLevel::Info,
        text: text.to_owned(),
    }
}

fn seqs(page: &LogPage) -> Vec<u64> {
    page.lines.iter().map(|line| line.seq).collect()
}

#[test]
fn lines_come_back_and_the_end_is_marked() {
    let (directory, logs) = fresh(LOG_MAX);
    let id = attempt(1);
    let lines: Vec<_> = (0..5).map(|seq| line(seq, "a \"b\"\n\u{0}ü")).collect();
    for line in &lines {
        logs.line(&id, line.clone());
    }
    logs.end(&id);
    let page = logs.reader().read(&id, 0, 100).unwrap();
    assert_eq!(page.lines, lines);
    assert_eq!(page.end.unwrap().lines, 5);
    let path = directory.path().join("e-1/0.12_5-3-1.jsonl");
    let text = fs::read_to_string(path).unwrap();
    assert!(text.ends_with("{\"end\":true,\"lines\":5}\n"), "{text}");
    // Nothing follows the end, and a second end changes nothing.
    logs.line(&id, line(5, "late"));
    logs.end(&id);
    assert_eq!(logs.reader().read(&id, 0, 100).unwrap(), page);
}

#[test]
fn what_logs_nothing_has_no_file() {
    let (directory, logs) = fresh(LOG_MAX);
    logs.end(&attempt(1));
    logs.flush();
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    let reader = logs.reader();
    assert_eq!(reader.read(&attempt(1), 0, 9).unwrap(), LogPage::default());
    assert_eq!(reader.tail(&attempt(1), 9).unwrap(), LogPage::default());
    assert_eq!(reader.next_seq(&attempt(1)).unwrap(), 0);
}

#[test]
fn lines_are_visible_soon_without_an_end() {
    let (_directory, logs) = fresh(LOG_MAX);
    for (round, text) in ["first", "second"].into_iter().enumerate() {
        logs.line(&attempt(1), line(round as u64, text));
        let begin = Instant::now();
        while logs.reader().read(&attempt(1), 0, 9).unwrap().lines.len() <= round {
            assert!(begin.elapsed() < Duration::from_secs(10), "{text}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

#[test]
fn pages_tails_and_followers_see_every_line_once() {
    let (_directory, logs) = fresh(LOG_MAX);
    let (id, total) = (attempt(1), 5_000_u64);
    // Lengths differ, some above a block of the reader.
    for seq in 0..total {
        let length = if seq % 997 == 0 { 16_000 } else { seq % 61 };
        let text = "x".repeat(usize::try_from(length).unwrap());
        logs.line(&id, line(seq, &text));
    }
    logs.flush();
    let reader = logs.reader();
    for from in [0, 1, 996, 997, 2_500, 4_998, 4_999, 5_000, 9_000] {
        let page = reader.read(&id, from, 3).unwrap();
        let expected: Vec<u64> = (from..total).take(3).collect();
        assert_eq!(seqs(&page), expected, "from {from}");
    }
    for count in [0, 1, 5, 1_000, 4_999, 5_000, 6_000] {
        let page = reader.tail(&id, count).unwrap();
        let first = total.saturating_sub(count as u64);
        assert_eq!(seqs(&page), (first..total).collect::<Vec<_>>(), "{count}");
        assert!(page.end.is_none());
    }
    let mut followed = Vec::new();
    let mut offset = 0;
    loop {
        let page = reader.follow(&id, offset, 700).unwrap();
        if page.lines.is_empty() {
            break;
        }
        followed.extend(seqs(&page));
        offset = page.next;
    }
    assert_eq!(followed, (0..total).collect::<Vec<_>>());
    logs.line(&id, line(total, "more"));
    logs.end(&id);
    let page = reader.follow(&id, offset, 700).unwrap();
    assert_eq!(seqs(&page), [total]);
    assert_eq!(page.end.unwrap().lines, total + 1);
    let page = reader.tail(&id, 2).unwrap();
    assert_eq!(seqs(&page), [total - 1, total]);
    assert!(page.end.is_some());
    assert_eq!(reader.next_seq(&id).unwrap(), total + 1);
}

#[test]
fn a_large_log_is_cut_and_says_so() {
    let (directory, logs) = fresh(10_000);
    let id = attempt(1);
    for seq in 0..1_000 {
        logs.line(&id, line(seq, &"x".repeat(100)));
        if seq % 20 == 0 {
            logs.flush();
        }
    }
    logs.end(&id);
    let page = logs.reader().read(&id, 0, 10_000).unwrap();
    let last = page.lines.last().unwrap();
    assert_eq!(last.level, LogLevel::Warn);
    assert!(last.text.contains("log cut"), "{}", last.text);
    assert!(last.text.contains("10000"), "{}", last.text);
    let kept = page.lines.len() as u64;
    assert_eq!(seqs(&page), (0..kept).collect::<Vec<_>>());
    let end = page.end.unwrap();
    assert_eq!(end.lines, kept);
    assert_eq!(end.dropped, 1_000 - (kept - 1));
    let size = fs::metadata(directory.path().join("e-1/0.12_5-3-1.jsonl"));
    assert!(size.unwrap().len() < 10_000 + 500);
}

#[test]
fn the_longest_line_can_be_read_again() {
    let (_directory, logs) = fresh(LOG_MAX);
    let id = attempt(1);
    // Six bytes of JSON per byte of text; then a character across the limit.
    logs.line(&id, line(0, &"\u{1}".repeat(20_000)));
    logs.line(&id, line(1, &format!("x{}", "ü".repeat(20_000))));
    logs.end(&id);
    let page = logs.reader().read(&id, 0, 9).unwrap();
    let lengths: Vec<_> = page.lines.iter().map(|line| line.text.len()).collect();
    assert_eq!(lengths, [LogLine::TEXT_MAX, LogLine::TEXT_MAX - 1]);
}

#[test]
fn a_line_cut_off_by_a_crash_is_skipped_and_the_log_goes_on() {
    let directory = tempfile::tempdir().unwrap();
    let id = attempt(1);
    {
        let logs = LogFiles::start(directory.path(), LOG_MAX).unwrap();
        logs.line(&id, line(0, "zero"));
        logs.line(&id, line(1, "one"));
    }
    let path = path_of(directory.path(), &id);
    let bytes = fs::read(&path).unwrap();
    fs::write(&path, &bytes[..bytes.len() - 5]).unwrap();
    let logs = LogFiles::start(directory.path(), LOG_MAX).unwrap();
    let reader = logs.reader();
    let before = reader.follow(&id, 0, 9).unwrap();
    assert_eq!(seqs(&before), [0]);
    assert_eq!(seqs(&reader.tail(&id, 9).unwrap()), [0]);
    assert_eq!(reader.next_seq(&id).unwrap(), 1);
    logs.line(&id, line(1, "one again"));
    logs.end(&id);
    assert_eq!(seqs(&reader.read(&id, 0, 9).unwrap()), [0, 1]);
    let after = reader.follow(&id, before.next, 9).unwrap();
    assert_eq!(after.lines[0].text, "one again");
    assert_eq!(after.end.unwrap().lines, 2);
}

#[test]
fn lines_that_cannot_be_written_are_counted() {
    let (directory, logs) = fresh(LOG_MAX);
    let id = attempt(1);
    let obstacle = directory.path().join("e-1");
    fs::write(&obstacle, "").unwrap();
    for seq in 0..3 {
        logs.line(&id, line(seq, "lost"));
    }
    logs.flush();
    fs::remove_file(&obstacle).unwrap();
    logs.line(&id, line(3, "kept"));
    logs.end(&id);
    let page = logs.reader().read(&id, 0, 9).unwrap();
    assert_eq!(seqs(&page), [3]);
    let end = page.end.unwrap();
    assert_eq!((end.lines, end.dropped), (4, 3));
}

#[test]
fn attempts_do_not_mix_and_need_no_open_files() {
    let (_directory, logs) = fresh(LOG_MAX);
    // More than a process may usually have open.
    let ids: Vec<_> = (0..1_500_u16)
        .map(|slot| {
            let mut id = attempt(1);
            id.task_run.slot = slot;
            id
        })
        .collect();
    for id in &ids {
        logs.line(id, line(0, &id.to_string()));
    }
    logs.flush();
    for id in &ids {
        let page = logs.reader().tail(id, 1).unwrap();
        assert_eq!(page.lines[0].text, id.to_string());
    }
}
