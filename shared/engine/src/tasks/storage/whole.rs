//! Tasks on whole files: write, join, turn round, measure, delete.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::files::{Scratch, Stop, artifact, blocking, io, keep};
use super::records::{Records, separator};
use crate::ports::ArtifactUri;
use crate::tasks::props::{Props, any_text, shown};
use crate::tasks::{TaskCall, TaskError, TaskOutput, outputs};

/// Bytes of `content`; more belongs into a script's output file.
pub const WRITE_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Files that one `Concat` joins.
pub const CONCAT_FILES_MAX: usize = 10_000;
/// Bytes of `extension`.
pub const EXTENSION_BYTES_MAX: usize = 32;
/// Bytes that `Reverse` turns round in memory at once.
const BLOCK_BYTES: usize = 8 * 1024 * 1024;

/// `core.storage.Write`: stores `content`, and gives `uri`.
pub(in crate::tasks) async fn write(call: &TaskCall<'_>) -> Result<TaskOutput, TaskError> {
    let props = Props::new(&call.props);
    let Some(content) = props.value("content").map(any_text) else {
        return Err(props.wrong("content", "is required and has no value"));
    };
    if content.len() > WRITE_BYTES_MAX {
        let what = format!(
            "has {} bytes; at most {WRITE_BYTES_MAX} are possible: write the file in a script",
            content.len()
        );
        return Err(props.wrong("content", &what));
    }
    let uri = artifact(call, &format!("content{}", extension(&props, "")?))?;
    call.ports.artifacts.put(&uri, content.into()).await?;
    Ok(outputs([("uri", json!(uri.to_string()))]))
}

/// `core.storage.Size`: gives `size` in bytes.
pub(in crate::tasks) async fn size(call: &TaskCall<'_>) -> Result<TaskOutput, TaskError> {
    let uri = uri(&Props::new(&call.props), "uri")?;
    let size = call.ports.artifacts.size(&uri).await?;
    Ok(outputs([("size", json!(size))]))
}

/// `core.storage.Delete`: gives `uri` and `deleted`, whether there was one.
pub(in crate::tasks) async fn delete(call: &TaskCall<'_>) -> Result<TaskOutput, TaskError> {
    let props = Props::new(&call.props);
    let uri = uri(&props, "uri")?;
    let must = props.flag("errorOnMissing", false)?;
    let deleted = call.ports.artifacts.delete(&uri).await?;
    if !deleted && must {
        return Err(TaskError::failed(format!(
            "there is no artifact {uri}, and `errorOnMissing` is `true`"
        )));
    }
    Ok(outputs([
        ("uri", json!(uri.to_string())),
        ("deleted", json!(deleted)),
    ]))
}

/// `core.storage.Concat`: joins `files`, each followed by `separator`, and gives `uri`.
pub(in crate::tasks) async fn concat(call: &TaskCall<'_>) -> Result<TaskOutput, TaskError> {
    let props = Props::new(&call.props);
    let Some(files) = props.texts("files")? else {
        return Err(props.wrong("files", "is required and has no value"));
    };
    if files.len() > CONCAT_FILES_MAX {
        let what = format!(
            "names {}; at most {CONCAT_FILES_MAX} are possible",
            files.len()
        );
        return Err(props.wrong("files", &what));
    }
    let after = props.text("separator")?.unwrap_or_default();
    let extension = extension(&props, ".tmp")?;
    let scratch = Scratch::new()?;
    let joined = scratch.path().join("joined");
    File::create(&joined).map_err(io("writing the file"))?;
    for file in files {
        // A directory for each: what is downloaded into it goes before the next one comes.
        let each = Scratch::new()?;
        let part = each.local(call, &file).await?;
        let (to, after) = (joined.clone(), after.clone());
        blocking(move |stop| append(&to, &part, after.as_bytes(), &stop)).await?;
    }
    let uri = keep(call, &joined, &format!("joined{extension}")).await?;
    Ok(outputs([("uri", json!(uri))]))
}

fn append(to: &Path, part: &Path, after: &[u8], stop: &Stop) -> Result<(), TaskError> {
    let mut to = File::options()
        .append(true)
        .open(to)
        .map_err(io("writing the file"))?;
    let mut from = File::open(part).map_err(io("opening the file"))?;
    let piece = 64 * 1024 * 1024;
    loop {
        stop.check()?;
        let mut some = (&mut from).take(piece);
        if std::io::copy(&mut some, &mut to).map_err(io("joining the files"))? == 0 {
            break;
        }
    }
    to.write_all(after).map_err(io("writing the file"))
}

/// `core.storage.Reverse`: the records of `from`, the last first, each followed by `separator`. Gives `uri`.
pub(in crate::tasks) async fn reverse(call: &TaskCall<'_>) -> Result<TaskOutput, TaskError> {
    let props = Props::new(&call.props);
    let from = props.required_text("from")?;
    let separator = separator(&props)?;
    let scratch = Scratch::new()?;
    let file = scratch.local(call, &from).await?;
    let work = Scratch::new()?;
    let directory = work.path().to_path_buf();
    let reversed =
        blocking(move |stop| reverse_file(&file, &separator, &directory, BLOCK_BYTES, &stop))
            .await?;
    let uri = keep(call, &reversed, "reversed").await?;
    Ok(outputs([("uri", json!(uri))]))
}

/// Turns blocks of records round in memory, then copies the blocks, the last first.
fn reverse_file(
    file: &Path,
    separator: &[u8],
    directory: &Path,
    block_bytes: usize,
    stop: &Stop,
) -> Result<PathBuf, TaskError> {
    let mut records = Records::open(file, separator)?;
    let mut blocks = File::create_new(directory.join("blocks")).map_err(io("writing the file"))?;
    let mut lengths = Vec::new();
    let mut block: Vec<Vec<u8>> = Vec::new();
    let mut size = 0;
    loop {
        stop.check()?;
        let record = records.next()?.map(<[u8]>::to_vec);
        let ends = record.is_none();
        if let Some(mut record) = record {
            if !record.ends_with(separator) {
                record.extend_from_slice(separator);
            }
            size += record.len();
            block.push(record);
        }
        if size >= block_bytes || ends {
            for record in block.drain(..).rev() {
                blocks.write_all(&record).map_err(io("writing the file"))?;
            }
            lengths.push(u64::try_from(size).unwrap_or(u64::MAX));
            size = 0;
        }
        if ends {
            break;
        }
    }
    let mut blocks = File::open(directory.join("blocks")).map_err(io("reading the file"))?;
    let path = directory.join("reversed");
    let mut out = File::create_new(&path).map_err(io("writing the file"))?;
    let mut end: u64 = lengths.iter().sum();
    for length in lengths.into_iter().rev() {
        stop.check()?;
        end -= length;
        blocks
            .seek(SeekFrom::Start(end))
            .map_err(io("reading the file"))?;
        std::io::copy(&mut (&mut blocks).take(length), &mut out).map_err(io("writing the file"))?;
    }
    Ok(path)
}

fn uri(props: &Props<'_>, name: &str) -> Result<ArtifactUri, TaskError> {
    let text = props.required_text(name)?;
    Ok(text.trim().parse()?)
}

/// `extension` with its dot.
fn extension(props: &Props<'_>, default: &str) -> Result<String, TaskError> {
    let text = props
        .text("extension")?
        .unwrap_or_else(|| default.to_owned());
    let bare = text.strip_prefix('.').unwrap_or(&text);
    if text.is_empty() {
        return Ok(text);
    }
    if good_extension(bare) {
        return Ok(format!(".{bare}"));
    }
    let what = format!(
        "must have 1 to {EXTENSION_BYTES_MAX} letters, digits, `.`, `_` and `-`, not {}",
        shown(&Value::from(text))
    );
    Err(props.wrong("extension", &what))
}

pub(super) fn good_extension(text: &str) -> bool {
    (1..=EXTENSION_BYTES_MAX).contains(&text.len())
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;

    #[test]
    fn blocks_are_turned_round_at_any_size() {
        let text = "a\nbb\nccc\ndddd";
        for block in 1..20 {
            let directory = tempfile::tempdir().unwrap();
            let file = directory.path().join("file");
            std::fs::write(&file, text).unwrap();
            let stop = Stop::default();
            let path = reverse_file(&file, b"\n", directory.path(), block, &stop).unwrap();
            let reversed = std::fs::read_to_string(path).unwrap();
            assert_eq!(reversed, "dddd\nccc\nbb\na\n", "{block}");
        }
    }
}
