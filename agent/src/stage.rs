//! Before the image starts: the volume is made, and the input files are in it.
//!
//! A file that is downloaded is written as it comes, so its size does not matter; a connection that breaks is
//! taken up where it broke, as long as the object is the same.

use std::fs::File;
use std::io::Write as _;

use operon_core::agent::{
    AgentInput, AgentSpec, EXIT_CONFIG, LogLevel, Part, S3Object, Source, StageNote,
};
use operon_core::exec::Reason;
use sha2::{Digest as _, Sha256};

use crate::aws::Aws;
use crate::config::Config;
use crate::log::Plain;
use crate::secrets::Secrets;
use crate::spec;
use crate::store::{Store, StoreError};
use crate::volume::{PathError, Volume, create_new};

/// How often a download is taken up again.
const RESUMES_MAX: u32 = 8;

/// Why the image cannot start.
#[derive(Debug)]
pub(crate) struct StageError {
    reason: Reason,
    message: String,
}

impl StageError {
    fn launch(message: impl Into<String>) -> Self {
        Self {
            reason: Reason::Launch,
            message: message.into(),
        }
    }

    fn invalid(message: impl Into<String>) -> Self {
        Self {
            reason: Reason::InvalidInput,
            message: message.into(),
        }
    }
}

/// Runs `operon-agent stage`; gives its exit code.
pub(crate) async fn run(config: Config) -> i32 {
    let volume = Volume::new(&config.volume);
    let mut log = Plain::stdout();
    match all(&config, &volume).await {
        Ok(()) => 0,
        Err(StageError { reason, message }) => {
            log.note(LogLevel::Error, &message);
            if let Err(error) = volume.leave_note(&StageNote { reason, message }) {
                let note = format!("the reason cannot be left in the volume: {error}");
                log.note(LogLevel::Error, &note);
            }
            EXIT_CONFIG
        }
    }
}

async fn all(config: &Config, volume: &Volume) -> Result<(), StageError> {
    let aws = Aws::new(&config.variables, &config.plan_queue_url);
    let aws = aws.map_err(StageError::launch)?;
    let spec = spec::load(config, &aws).await;
    let spec = spec.map_err(|error| StageError::launch(error.to_string()))?;
    let secrets = Secrets::of(&spec, &config.variables);
    let secrets = secrets.map_err(|error| StageError::launch(error.to_string()))?;
    fill(volume, &spec, &secrets, &aws)
        .await
        .map_err(|error| StageError {
            message: secrets.text(&error.message),
            ..error
        })
}

/// Makes the volume and writes all input files.
async fn fill(
    volume: &Volume,
    spec: &AgentSpec,
    secrets: &Secrets,
    store: &dyn Store,
) -> Result<(), StageError> {
    volume.create().map_err(|error| {
        StageError::launch(format!("the task's volume cannot be prepared: {error}"))
    })?;
    let mut left = spec.limits.input_bytes;
    for file in &spec.input_files {
        let target = volume.place(&file.path).map_err(|error| match error {
            PathError::Outside(_) | PathError::NotADirectory(..) => {
                StageError::invalid(format!("input file: {error}"))
            }
            PathError::Io { .. } => StageError::launch(format!("input file: {error}")),
        })?;
        let cannot = |error: std::io::Error| {
            StageError::launch(format!(
                "input file `{}` cannot be written: {error}",
                file.path
            ))
        };
        let mode = if file.executable { 0o755 } else { 0o644 };
        let mut target = create_new(&target, mode).map_err(cannot)?;
        left = match &file.source {
            Source::Inline(parts) => {
                let text = inline(file, parts, secrets)?;
                target.write_all(text.as_bytes()).map_err(cannot)?;
                take(file, left, text.len())?
            }
            Source::S3(object) => download(file, object, &mut target, left, store).await?,
        };
    }
    Ok(())
}

fn take(file: &AgentInput, left: u64, bytes: usize) -> Result<u64, StageError> {
    left.checked_sub(u64::try_from(bytes).unwrap_or(u64::MAX))
        .ok_or_else(|| {
            StageError::invalid(format!(
                "input file `{}`: the input files have more bytes than the limit allows",
                file.path
            ))
        })
}

fn inline(file: &AgentInput, parts: &[Part], secrets: &Secrets) -> Result<String, StageError> {
    let mut text = String::new();
    for part in parts {
        match part {
            Part::Text(piece) => text.push_str(piece),
            Part::Secret(name) => text.push_str(secrets.value(name).ok_or_else(|| {
                StageError::launch(format!(
                    "input file `{}` wants the secret `{name}`, which the specification does not declare",
                    file.path
                ))
            })?),
        }
    }
    Ok(text)
}

/// Writes an object to a file; gives how many bytes may still come.
async fn download(
    file: &AgentInput,
    object: &S3Object,
    target: &mut File,
    mut left: u64,
    store: &dyn Store,
) -> Result<u64, StageError> {
    let S3Object {
        bucket,
        key,
        sha256,
    } = object;
    let failed = |error: StoreError| match error {
        StoreError::Missing(_) => {
            StageError::invalid(format!("input file `{}`: {error}", file.path))
        }
        StoreError::Changed(_) | StoreError::Broken(_) | StoreError::Failed(_) => {
            StageError::launch(format!("input file `{}`: {error}", file.path))
        }
    };
    let mut hash = Sha256::new();
    let mut written: u64 = 0;
    let mut etag: Option<String> = None;
    let mut resumes = 0;
    loop {
        let mut source = store
            .open(bucket, key, written, etag.as_deref())
            .await
            .map_err(failed)?;
        etag = source.etag().map(str::to_owned);
        let size = source.size();
        let broken = loop {
            match source.next().await {
                Ok(Some(bytes)) => {
                    target.write_all(&bytes).map_err(|error| {
                        StageError::launch(format!(
                            "input file `{}` cannot be written: {error}",
                            file.path
                        ))
                    })?;
                    hash.update(&bytes);
                    written += u64::try_from(bytes.len()).unwrap_or(u64::MAX);
                    left = take(file, left, bytes.len())?;
                }
                Ok(None) if written == size => break None,
                Ok(None) => {
                    break Some(StoreError::Broken(format!(
                        "{written} of {size} bytes came"
                    )));
                }
                Err(error) => break Some(error),
            }
        };
        match broken {
            None => break,
            Some(StoreError::Broken(_)) if resumes < RESUMES_MAX => resumes += 1,
            Some(error) => return Err(failed(error)),
        }
    }
    let found = hex::encode(hash.finalize());
    match sha256 {
        Some(wanted) if !wanted.eq_ignore_ascii_case(&found) => Err(StageError::launch(format!(
            "input file `{}` is damaged: its SHA-256 is {found}, not {wanted}",
            file.path
        ))),
        _ => Ok(left),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use std::os::unix::fs::PermissionsExt as _;
    use std::sync::atomic::Ordering;

    use super::*;
    use crate::log::testing;
    use crate::store::testing::MemoryStore;

    fn s3(path: &str, key: &str, sha256: Option<String>) -> AgentInput {
        let object = S3Object {
            bucket: "data".to_owned(),
            key: key.to_owned(),
            sha256,
        };
        AgentInput {
            path: path.to_owned(),
            source: Source::S3(object),
            executable: false,
        }
    }

    fn text(path: &str, parts: Vec<Part>, executable: bool) -> AgentInput {
        AgentInput {
            path: path.to_owned(),
            source: Source::Inline(parts),
            executable,
        }
    }

    async fn filled(
        files: Vec<AgentInput>,
        store: &MemoryStore,
        input_bytes: u64,
    ) -> Result<(tempfile::TempDir, Volume), StageError> {
        let root = tempfile::tempdir().unwrap();
        let volume = Volume::new(root.path());
        let mut spec = testing::spec();
        spec.input_files = files;
        spec.limits.input_bytes = input_bytes;
        let secrets = testing::secrets(&[("HOOK", "https://hooks/secret")]);
        fill(&volume, &spec, &secrets, store).await?;
        Ok((root, volume))
    }

    #[tokio::test]
    async fn scripts_and_files_with_secrets_are_written() {
        let parts = vec![
            Part::Text("hook: ".to_owned()),
            Part::Secret("HOOK".to_owned()),
        ];
        let files = vec![
            text("run.sh", vec![Part::Text("exit\n".to_owned())], true),
            text("etc/config.yaml", parts, false),
        ];
        let (_root, volume) = filled(files, &MemoryStore::default(), 100).await.unwrap();
        let read = |name: &str| std::fs::read_to_string(volume.work().join(name)).unwrap();
        assert_eq!(read("run.sh"), "exit\n");
        assert_eq!(read("etc/config.yaml"), "hook: https://hooks/secret");
        let found = std::fs::metadata(volume.work().join("run.sh")).unwrap();
        assert_eq!(found.permissions().mode() & 0o777, 0o755);
    }

    #[tokio::test]
    async fn a_download_goes_on_where_it_broke() {
        let content: Vec<u8> = (0..20_000_u32)
            .map(|at| u8::try_from(at % 256).unwrap())
            .collect();
        let store = MemoryStore::with("in", &content);
        store.breaks_after.store(7_500, Ordering::Relaxed);
        let sum = hex::encode(Sha256::digest(&content));
        let files = vec![s3("a/in", "in", Some(sum))];
        let (_root, volume) = filled(files, &store, 20_000).await.unwrap();
        assert_eq!(std::fs::read(volume.work().join("a/in")).unwrap(), content);
    }

    #[tokio::test]
    async fn an_object_that_changes_is_not_mixed() {
        let store = MemoryStore::with("in", &[1; 5_000]);
        store.breaks_after.store(2_000, Ordering::Relaxed);
        *store.changes.lock().unwrap() = Some(("data/in".to_owned(), vec![2; 5_000].into()));
        let error = filled(vec![s3("in", "in", None)], &store, 10_000)
            .await
            .unwrap_err();
        assert!(error.message.contains("changed"), "{}", error.message);
        assert_eq!(error.reason, Reason::Launch);
    }

    #[tokio::test]
    async fn what_cannot_be_staged_says_why() {
        let store = MemoryStore::with("in", b"12345");
        let cases = [
            (s3("in", "gone", None), Reason::InvalidInput, "no object"),
            (
                s3("in", "in", Some("00".to_owned())),
                Reason::Launch,
                "damaged",
            ),
            (s3("../in", "in", None), Reason::InvalidInput, "not inside"),
            (s3("/in", "in", None), Reason::InvalidInput, "not inside"),
            (
                text("in", vec![Part::Secret("X".to_owned())], false),
                Reason::Launch,
                "`X`",
            ),
        ];
        for (file, reason, words) in cases {
            let error = filled(vec![file], &store, 100).await.unwrap_err();
            assert_eq!(error.reason, reason, "{}", error.message);
            assert!(error.message.contains(words), "{}", error.message);
        }
        let error = filled(vec![s3("in", "in", None)], &store, 4)
            .await
            .unwrap_err();
        assert!(error.message.contains("limit"), "{}", error.message);
    }
}
