//! Artifacts in S3.

use std::time::Duration;

use aws_sdk_s3::primitives::ByteStream;
use operon_engine::ports::{ArtifactError, ArtifactStore as _, ArtifactUri};

use crate::world::World;

fn uri(key: &str) -> ArtifactUri {
    ArtifactUri::new(key).unwrap()
}

#[tokio::test]
async fn bytes_come_back_whole_and_in_ranges() {
    let world = World::new().await;
    let store = world.artifacts();
    let key = uri("a/b c/ü.txt");
    assert!(matches!(
        store.get(&key, 9).await,
        Err(ArtifactError::Missing(_))
    ));
    assert!(matches!(
        store.size(&key).await,
        Err(ArtifactError::Missing(_))
    ));
    assert!(matches!(
        store.get_range(&key, 0..1).await,
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
    for (range, expected) in [
        (0..3, "012"),
        (8..99, "89"),
        (10..12, ""),
        (50..60, ""),
        (3..3, ""),
    ] {
        assert_eq!(store.get_range(&key, range).await.unwrap(), expected);
    }
    store.put(&key, "0123456789".into()).await.unwrap();
    assert!(store.delete(&key).await.unwrap());
    assert!(!store.delete(&key).await.unwrap());
    world.end().await;
}

#[tokio::test]
async fn an_object_elsewhere_becomes_an_artifact_that_stays() {
    let world = World::new().await;
    let store = world.artifacts();
    let target = uri("copy");
    let (bucket, object) = (&world.name, "uploads/a b+ü.json");
    let put = async |text: &'static str| {
        let body = ByteStream::from_static(text.as_bytes());
        let put = world.sdk.s3().put_object().bucket(bucket).key(object);
        put.body(body).send().await.unwrap();
    };
    put("old").await;
    let place = format!("s3://{bucket}/{object}");
    store.import(&place, None, &target).await.unwrap();
    put("new").await;
    assert_eq!(store.get(&target, 9).await.unwrap(), "old");
    // What somebody else stored is there, and no input.
    let stored = store.s3_uri(&target).unwrap();
    for wrong in [format!("{place}.gone"), "s3://bucket".to_owned(), stored] {
        let refused = store.import(&wrong, None, &uri("other")).await;
        assert!(
            matches!(refused, Err(ArtifactError::Refused(_))),
            "{refused:?}"
        );
    }
    world.end().await;
}

#[tokio::test]
async fn a_large_file_travels_in_parts_and_comes_back_the_same() {
    let world = World::new().await;
    let store = world.artifacts();
    let directory = tempfile::tempdir().unwrap();
    // Three parts, the last of them short.
    let content: Vec<u8> = (0..20_000_003_u32)
        .map(|n| u8::try_from(n.wrapping_mul(2_654_435_761) >> 24).unwrap())
        .collect();
    let source = directory.path().join("reads.fasta");
    std::fs::write(&source, &content).unwrap();
    let _ = world.sdk.meter().take();
    store.put_file(&uri("large"), &source).await.unwrap();
    let sent = world.sdk.meter().take();
    assert_eq!(sent.requests.get("S3.PUT"), Some(&3), "{sent:?}");
    assert_eq!(store.size(&uri("large")).await.unwrap(), 20_000_003);
    let path = store
        .local_path(&uri("large"), directory.path())
        .await
        .unwrap();
    assert!(std::fs::read(&path).unwrap() == content);
    // It is there already: only its size is asked for.
    let _ = world.sdk.meter().take();
    assert_eq!(
        store
            .local_path(&uri("large"), directory.path())
            .await
            .unwrap(),
        path
    );
    assert_eq!(world.sdk.meter().take().total(), 1);
    let middle = store
        .get_range(&uri("large"), 8_388_600..8_388_616)
        .await
        .unwrap();
    assert_eq!(middle, content[8_388_600..8_388_616]);
    for (name, content) in [("small", "x"), ("empty", "")] {
        let source = directory.path().join(name);
        std::fs::write(&source, content).unwrap();
        store.put_file(&uri(name), &source).await.unwrap();
        let path = store
            .local_path(&uri(name), directory.path())
            .await
            .unwrap();
        assert_eq!(std::fs::read_to_string(path).unwrap(), content);
    }
    world.end().await;
}

#[tokio::test]
async fn only_regular_files_are_taken_and_what_fails_leaves_nothing() {
    let world = World::new().await;
    let store = world.artifacts();
    let directory = tempfile::tempdir().unwrap();
    let link = directory.path().join("link");
    std::os::unix::fs::symlink("/etc/hostname", &link).unwrap();
    for path in [
        link.as_path(),
        directory.path(),
        &directory.path().join("absent"),
    ] {
        let error = store.put_file(&uri("k"), path).await.unwrap_err();
        assert!(
            error.to_string().contains(&path.display().to_string()),
            "{error}"
        );
    }
    assert!(matches!(
        store.size(&uri("k")).await,
        Err(ArtifactError::Missing(_))
    ));
    let missing = store.local_path(&uri("k"), directory.path()).await;
    assert!(matches!(missing, Err(ArtifactError::Missing(_))));
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
    world.end().await;
}

#[tokio::test]
async fn a_link_downloads_under_a_plain_name() {
    let world = World::new().await;
    let store = world.artifacts();
    store
        .put(&uri("ns/report.html"), "<script>".into())
        .await
        .unwrap();
    let link = store
        .link(&uri("ns/report.html"), Duration::from_hours(24))
        .await
        .unwrap();
    assert!(link.contains("/artifacts/ns/report.html?"), "{link}");
    // No longer than an hour, whatever is asked for.
    assert!(link.contains("X-Amz-Expires=3600"), "{link}");
    assert!(link.contains("attachment"), "{link}");
    world.end().await;
}
