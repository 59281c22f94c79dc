//! Directories as buckets: what is an event, and what is not lost.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::fs;
use std::path::Path;

use super::directory::Watch;

fn watch(root: &Path) -> Watch {
    Watch::new("b", root.join("bucket"), &root.join("seen"))
}

/// Looks twice, accepts, and gives the keys.
fn keys(watch: &mut Watch) -> Vec<String> {
    let mut found = watch.look().unwrap();
    found.extend(watch.look().unwrap());
    watch.accepted(&found).unwrap();
    found
        .iter()
        .map(|one| one.event.fields["key"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn a_file_is_an_event_once_and_again_when_it_is_written_again() {
    let root = tempfile::tempdir().unwrap();
    let mut watch = watch(root.path());
    assert!(keys(&mut watch).is_empty());
    fs::create_dir_all(root.path().join("bucket/in")).unwrap();
    fs::write(root.path().join("bucket/in/a.fasta"), ">a\nACGT\n").unwrap();
    assert_eq!(keys(&mut watch), ["in/a.fasta"]);
    assert!(keys(&mut watch).is_empty());
    fs::write(root.path().join("bucket/in/a.fasta"), ">a\nACGTA\n").unwrap();
    assert_eq!(keys(&mut watch), ["in/a.fasta"]);
}

#[test]
fn what_is_being_written_waits_and_hidden_files_are_none() {
    let root = tempfile::tempdir().unwrap();
    let mut watch = watch(root.path());
    assert!(keys(&mut watch).is_empty());
    for name in ["a", ".hidden", "b.part", "c.tmp"] {
        fs::write(root.path().join("bucket").join(name), "1").unwrap();
    }
    assert!(watch.look().unwrap().is_empty(), "seen for the first time");
    fs::write(root.path().join("bucket/a"), "12").unwrap();
    assert!(watch.look().unwrap().is_empty(), "it grew");
    let found = watch.look().unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].event.fields["size"], 2);
    // Not accepted: given again, under the same name.
    let again = watch.look().unwrap();
    assert_eq!(again[0].event.identity, found[0].event.identity);
}

#[test]
fn nothing_is_lost_over_a_restart_and_what_was_there_before_is_no_event() {
    let root = tempfile::tempdir().unwrap();
    fs::create_dir_all(root.path().join("bucket")).unwrap();
    fs::write(root.path().join("bucket/old"), "1").unwrap();
    let mut first = watch(root.path());
    assert!(keys(&mut first).is_empty(), "as with S3");
    fs::write(root.path().join("bucket/new"), "1").unwrap();
    assert_eq!(keys(&mut first), ["new"]);
    drop(first);
    // While nothing runs.
    fs::write(root.path().join("bucket/meanwhile"), "1").unwrap();
    assert_eq!(keys(&mut watch(root.path())), ["meanwhile"]);
    assert!(keys(&mut watch(root.path())).is_empty());
    // A torn last line costs one repetition at most, and spoils nothing that comes after it.
    let log = fs::read_dir(root.path().join("seen"))
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    let text = fs::read_to_string(&log).unwrap();
    fs::write(&log, &text[..text.trim_end().len() - 3]).unwrap();
    assert_eq!(keys(&mut watch(root.path())), ["meanwhile"]);
    assert!(keys(&mut watch(root.path())).is_empty());
}
