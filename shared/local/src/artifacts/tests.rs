#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::os::unix::fs::symlink;

use tempfile::TempDir;

use super::*;

fn fresh() -> (TempDir, DirectoryArtifacts) {
    let directory = tempfile::tempdir().unwrap();
    let store = DirectoryArtifacts::open(&directory.path().join("artifacts")).unwrap();
    (directory, store)
}

fn uri(key: &str) -> ArtifactUri {
    ArtifactUri::new(key).unwrap()
}

fn incoming_files(directory: &TempDir) -> usize {
    let incoming = directory.path().join("artifacts").join(INCOMING);
    fs::read_dir(incoming).unwrap().count()
}

#[tokio::test]
async fn a_file_of_a_bucket_becomes_an_artifact_that_stays() {
    let (directory, store) = fresh();
    let file = directory.path().join("a b.fasta");
    fs::write(&file, "old").unwrap();
    let place = format!("file://{}", file.display());
    store.import(&place, None, &uri("copy")).await.unwrap();
    // In place, so a link would change with it.
    fs::write(&file, "new").unwrap();
    assert_eq!(store.get(&uri("copy"), 9).await.unwrap(), "old");
    fs::remove_file(&file).unwrap();
    for wrong in [&place, "s3://bucket/key"] {
        let refused = store.import(wrong, None, &uri("other")).await;
        assert!(
            matches!(refused, Err(ArtifactError::Refused(_))),
            "{refused:?}"
        );
    }
    assert_eq!(incoming_files(&directory), 0);
}

#[tokio::test]
async fn bytes_come_back_whole_and_in_ranges() {
    let (directory, store) = fresh();
    let key = uri("a/b c/ü.txt");
    assert!(matches!(
        store.get(&key, 9).await,
        Err(ArtifactError::Missing(_))
    ));
    store.put(&key, "0123456789".into()).await.unwrap();
    assert_eq!(store.size(&key).await.unwrap(), 10);
    assert_eq!(store.get(&key, 10).await.unwrap(), "0123456789");
    let too_large = store.get(&key, 9).await;
    assert!(matches!(
        too_large,
        Err(ArtifactError::TooLarge {
            size: 10,
            limit: 9,
            ..
        })
    ));
    for (range, expected) in [(0..3, "012"), (8..99, "89"), (10..12, ""), (50..60, "")] {
        assert_eq!(store.get_range(&key, range).await.unwrap(), expected);
    }
    // The same again, as after a crash, is harmless.
    store.put(&key, "0123456789".into()).await.unwrap();
    assert_eq!(incoming_files(&directory), 0);
    assert!(store.delete(&key).await.unwrap());
    assert!(!store.delete(&key).await.unwrap());
    assert!(!store.delete(&uri("no/such")).await.unwrap());
}

#[tokio::test]
async fn a_finished_file_is_linked_and_read_only() {
    let (directory, store) = fresh();
    let source = directory.path().join("out.sh");
    fs::write(&source, "x").unwrap();
    fs::set_permissions(&source, fs::Permissions::from_mode(0o755)).unwrap();
    for key in ["one/out.sh", "one/out.sh", "two/out.sh"] {
        store.put_file(&uri(key), &source).await.unwrap();
        let path = store.local_path(&uri(key), directory.path()).await.unwrap();
        let (stored, source) = (fs::metadata(&path), fs::metadata(&source));
        assert_eq!(stored.as_ref().unwrap().ino(), source.unwrap().ino());
        assert_eq!(stored.unwrap().permissions().mode() & 0o777, 0o555);
    }
    assert_eq!(fs::metadata(&source).unwrap().nlink(), 3);
    assert_eq!(incoming_files(&directory), 0);
}

#[tokio::test]
async fn a_file_with_another_writable_name_is_copied() {
    let (directory, store) = fresh();
    let source = directory.path().join("out");
    fs::write(&source, "before").unwrap();
    let other = directory.path().join("other");
    fs::hard_link(&source, &other).unwrap();
    store.put_file(&uri("k"), &source).await.unwrap();
    fs::write(&other, "after").unwrap();
    assert_eq!(store.get(&uri("k"), 99).await.unwrap(), "before");
}

#[tokio::test]
async fn only_regular_files_are_taken() {
    let (directory, store) = fresh();
    let secret = directory.path().join("secret");
    fs::write(&secret, "s").unwrap();
    let link = directory.path().join("link");
    symlink(&secret, &link).unwrap();
    let fifo = directory.path().join("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    for path in [&link, &fifo, &directory.path().to_owned()] {
        let error = store.put_file(&uri("k"), path).await.unwrap_err();
        let text = error.to_string();
        assert!(text.contains("only regular files"), "{text}");
        assert!(text.contains(&path.display().to_string()), "{text}");
    }
    assert_eq!(incoming_files(&directory), 0);
}

#[tokio::test]
async fn no_key_leads_out_of_the_directory() {
    let (directory, store) = fresh();
    let outside = directory.path().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("secret"), "s").unwrap();
    let root = directory.path().join("artifacts");
    symlink(&outside, root.join("dir")).unwrap();
    symlink(outside.join("secret"), root.join("file")).unwrap();
    for key in ["dir/secret", "file"] {
        assert!(store.get(&uri(key), 9).await.is_err(), "{key}");
        assert!(store.size(&uri(key)).await.is_err(), "{key}");
        let path = store.local_path(&uri(key), directory.path()).await;
        assert!(path.is_err(), "{key}");
    }
    assert!(store.put(&uri("dir/new"), "x".into()).await.is_err());
    assert!(!outside.join("new").exists());
    // Writing to a link's place replaces the link, not what it points to.
    store.put(&uri("file"), "mine".into()).await.unwrap();
    assert_eq!(fs::read_to_string(outside.join("secret")).unwrap(), "s");
    for key in ["../outside/secret", "/etc/passwd", "a/../../x", "a//b"] {
        assert!(ArtifactUri::new(key).is_err(), "{key}");
    }
    let reserved = store.put(&uri(".incoming/x"), "x".into()).await;
    assert!(matches!(reserved, Err(ArtifactError::BadUri(_))));
}

#[tokio::test]
async fn a_key_that_is_a_file_and_a_directory_is_explained() {
    let (_directory, store) = fresh();
    store.put(&uri("a"), "x".into()).await.unwrap();
    store.put(&uri("d/x"), "x".into()).await.unwrap();
    for key in ["a/b", "d"] {
        let error = store.put(&uri(key), "x".into()).await.unwrap_err();
        assert!(error.to_string().contains("both a file"), "{error}");
    }
    assert!(matches!(
        store.get(&uri("a/b"), 9).await,
        Err(ArtifactError::Missing(_))
    ));
}

#[tokio::test]
async fn readers_see_all_or_nothing() {
    let (_directory, store) = fresh();
    let key = uri("k");
    let versions = [vec![b'a'; 300_000], vec![b'b'; 300_000]];
    store.put(&key, versions[0].clone().into()).await.unwrap();
    let writer = {
        let (store, key) = (store.clone(), key.clone());
        tokio::spawn(async move {
            for n in 0..20 {
                let bytes = versions[n % 2].clone();
                store.put(&key, bytes.into()).await.unwrap();
            }
        })
    };
    while !writer.is_finished() {
        let bytes = store.get(&key, 1 << 20).await.unwrap();
        assert_eq!(bytes.len(), 300_000);
        assert!(bytes.iter().all(|byte| *byte == bytes[0]));
        tokio::task::yield_now().await;
    }
    writer.await.unwrap();
}
