//! `core.storage.Split`.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use serde_json::json;

use super::files::{Scratch, Stop, blocking, io, keep};
use super::records::{Records, separator};
use super::whole::good_extension;
use crate::tasks::props::Props;
use crate::tasks::{TaskCall, TaskError, TaskOutput, outputs};

/// Parts that one `Split` makes: their URIs are outputs.
pub const SPLIT_PARTS_MAX: u64 = 10_000;

/// How a file is cut.
#[derive(Debug, Clone, Copy)]
enum Cut {
    Rows(u64),
    Bytes(u64),
    Partitions(u64),
}

/// `core.storage.Split`: cuts `from` between records, and gives `uris`. The parts joined in order are the
/// file; a record larger than `bytes` is a part of its own.
pub(in crate::tasks) async fn split(call: &TaskCall<'_>) -> Result<TaskOutput, TaskError> {
    let props = Props::new(&call.props);
    let from = props.required_text("from")?;
    let separator = separator(&props)?;
    let cuts = [
        props.count("rows")?.map(Cut::Rows),
        props.size("bytes")?.map(Cut::Bytes),
        props.count("partitions")?.map(Cut::Partitions),
    ];
    let mut cuts = cuts.into_iter().flatten();
    let (Some(cut), None) = (cuts.next(), cuts.next()) else {
        return Err(TaskError::invalid(
            "exactly one of `rows`, `bytes` and `partitions` must say how the file is cut",
        ));
    };
    if let Cut::Partitions(parts) = cut
        && parts > SPLIT_PARTS_MAX
    {
        let what = format!("is {parts}; at most {SPLIT_PARTS_MAX} are possible");
        return Err(props.wrong("partitions", &what));
    }
    let scratch = Scratch::new()?;
    let file = scratch.local(call, &from).await?;
    let parts_in = Scratch::new()?;
    let directory = parts_in.path().to_path_buf();
    let parts =
        blocking(move |stop| cut_file(&file, &separator, cut, &directory, SPLIT_PARTS_MAX, &stop))
            .await?;
    let extension = Path::new(&from)
        .extension()
        .and_then(|extension| extension.to_str())
        .filter(|extension| good_extension(extension))
        .map(|extension| format!(".{extension}"))
        .unwrap_or_default();
    let mut uris = Vec::with_capacity(parts.len());
    for (index, part) in parts.iter().enumerate() {
        uris.push(keep(call, part, &format!("part-{index:05}{extension}")).await?);
    }
    Ok(outputs([("uris", json!(uris))]))
}

fn cut_file(
    file: &Path,
    separator: &[u8],
    cut: Cut,
    directory: &Path,
    limit: u64,
    stop: &Stop,
) -> Result<Vec<PathBuf>, TaskError> {
    let mut sizes = Sizes::new(file, separator, cut, stop)?;
    let mut records = Records::open(file, separator)?;
    let mut parts = Vec::new();
    let mut writer: Option<BufWriter<File>> = None;
    while let Some(record) = records.next()? {
        stop.check()?;
        let begins = sizes.begins_part(record.len());
        let mut open = match writer.take() {
            Some(open) if !begins => open,
            before => {
                finish(before)?;
                if u64::try_from(parts.len()).unwrap_or(u64::MAX) >= limit {
                    return Err(TaskError::invalid(format!(
                        "the file would have more than {limit} parts; make them larger"
                    )));
                }
                let path = directory.join(parts.len().to_string());
                let file = File::create(&path).map_err(io("writing a part"))?;
                parts.push(path);
                BufWriter::new(file)
            }
        };
        open.write_all(record).map_err(io("writing a part"))?;
        writer = Some(open);
    }
    finish(writer)?;
    Ok(parts)
}

fn finish(writer: Option<BufWriter<File>>) -> Result<(), TaskError> {
    match writer {
        Some(mut writer) => writer.flush().map_err(io("writing a part")),
        None => Ok(()),
    }
}

/// Decides where a part begins.
struct Sizes {
    /// Of the present part.
    rows: u64,
    bytes: u64,
    cut: Cut,
    /// With `partitions`, that many first parts have one row more than the others.
    larger: u64,
}

impl Sizes {
    fn new(file: &Path, separator: &[u8], cut: Cut, stop: &Stop) -> Result<Self, TaskError> {
        let (mut cut, mut larger) = (cut, 0);
        if let Cut::Partitions(parts) = cut {
            let mut records = Records::open(file, separator)?;
            while records.next()?.is_some() {
                stop.check()?;
            }
            let rows = records.number();
            larger = rows % parts;
            cut = Cut::Partitions(rows / parts);
        }
        Ok(Self {
            rows: 0,
            bytes: 0,
            cut,
            larger,
        })
    }

    fn begins_part(&mut self, record: usize) -> bool {
        let record = u64::try_from(record).unwrap_or(u64::MAX);
        let full = match self.cut {
            Cut::Rows(rows) => self.rows >= rows,
            Cut::Bytes(bytes) => self.bytes.saturating_add(record) > bytes,
            Cut::Partitions(rows) => self.rows >= rows + u64::from(self.larger > 0),
        };
        if full && self.rows > 0 {
            self.larger = self.larger.saturating_sub(1);
            (self.rows, self.bytes) = (0, 0);
        }
        self.rows += 1;
        self.bytes += record;
        self.rows == 1
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;

    fn parts(text: &str, cut: Cut, limit: u64) -> Result<Vec<String>, TaskError> {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("file");
        std::fs::write(&file, text).unwrap();
        let stop = Stop::default();
        let parts = cut_file(&file, b"\n", cut, directory.path(), limit, &stop)?;
        Ok(parts
            .iter()
            .map(|part| std::fs::read_to_string(part).unwrap())
            .collect())
    }

    #[test]
    fn a_file_is_cut_between_records() {
        let text = "a\nbb\nccc\ndddd\ne";
        assert_eq!(
            parts(text, Cut::Rows(2), 9).unwrap(),
            ["a\nbb\n", "ccc\ndddd\n", "e"]
        );
        assert_eq!(
            parts(text, Cut::Bytes(6), 9).unwrap(),
            ["a\nbb\n", "ccc\n", "dddd\ne"]
        );
        assert_eq!(parts(text, Cut::Bytes(1), 9).unwrap().len(), 5);
        assert_eq!(
            parts(text, Cut::Partitions(3), 9).unwrap(),
            ["a\nbb\n", "ccc\ndddd\n", "e"]
        );
        assert_eq!(
            parts(text, Cut::Partitions(2), 9).unwrap(),
            ["a\nbb\nccc\n", "dddd\ne"]
        );
        assert_eq!(parts(text, Cut::Partitions(7), 9).unwrap().len(), 5);
        assert_eq!(parts("", Cut::Rows(2), 9).unwrap(), Vec::<String>::new());
    }

    #[test]
    fn parts_have_a_limit() {
        assert_eq!(parts("a\nb\n", Cut::Rows(1), 2).unwrap().len(), 2);
        let error = parts("a\nb\nc\n", Cut::Rows(1), 2).unwrap_err();
        assert!(error.message.contains("more than 2 parts"), "{error}");
    }
}
